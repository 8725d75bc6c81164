"""Write a prepared corpus as a tfds dataset, here or by an Apache Beam engine, to the same bytes.

TensorFlow is never imported: tfds does not need it for the format array_record. Beam processes each shard of
the dataset as one element, so all workers, and the process that started them, must see the recordings and
the data directory under the same paths.
"""

import collections
import contextlib
import dataclasses
import errno
import functools
import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import absl.logging
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from ser_jax import devices
from ser_jax.data import audio, databases, store
from ser_jax.data.catalog import Catalog
from ser_jax.data.corpus import NUMBERS, TEXTS
from ser_jax.data.preparation import Flaw, PrepareError, Record, in_order, notes, recorder, worker_count
from ser_jax.errors import UserError, beside
from ser_jax.features import Frontend, describe, tag
from ser_jax.io import write_json

SPLIT = "utterances"
SHARD = 512  # utterances; what a Beam worker does at a time, and tfds holds in memory (40 MB of log-mels)
FLAWS = "flaws-{}.json"


class BeamError(PrepareError):
    """A Beam engine that is not available, or that failed."""


@dataclasses.dataclass(eq=False, kw_only=True)
class CorpusConfig(tfds.core.BuilderConfig):
    """One corpus: the name of its folder, its facts and its features."""

    catalog: Catalog | None = None  # by default what is read from tfds's `manual_dir`
    frontend: Frontend
    workers: int | None  # processes; None for all cores
    skip_bad: bool  # whether to leave out utterances that cannot be prepared
    holder: Path | None = None  # the dataset whose records hold the facts; None for this one


class StableWriter(tfds.core.ExampleWriter):
    """Writes a record's fields in one order; the default order changes from process to process."""

    def write(self, path: Path, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Write (key, serialised record) pairs; raise OSError where array_record raises RuntimeError."""
        parse = tf_example_pb2.Example.FromString
        stable = ((key, parse(record).SerializeToString(deterministic=True)) for key, record in examples)
        try:
            return super().write(path, stable)
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error), str(path)) from error


class CorpusBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # tfds is untyped
    """One split, `utterances`, in the order of their ids; a subclass is named after its database.

    tfds's usual builder keeps all records in memory to shuffle them, and needs TensorFlow above 1 GB. This
    one writes shard by shard; training shuffles anyway.
    """

    VERSION = tfds.core.Version(store.VERSION)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "give the folder of its release (of manifests, that of manifest.csv) as "
        "download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=...))"
    )

    def __init__(self, *, file_format: Any = "array_record", **options: Any):
        super().__init__(file_format=file_format, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        database, config = databases.DATABASES[self.name], self.builder_config
        columns = (*TEXTS, *NUMBERS) if config.holder is None else store.OWN
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name}: {database.what}.",
            citation=database.citation,
            features=store.record_features(describe(config.frontend), columns),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def download_and_prepare(self, **options: Any) -> None:
        """Prepare the dataset, unless it is there, and make one named after its database the default."""
        super().download_and_prepare(**options)
        if self.builder_config.name == self.name:  # so that `tfds.builder` finds it without its configuration
            note = Path(self._data_dir_root) / self.name / ".config" / "metadata.json"
            note.parent.mkdir(exist_ok=True)
            write_json(note, {"default_config_name": self.name})

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return StableWriter(self.info.file_format)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        config, folder = self.builder_config, Path(self.data_dir)
        if config.catalog is None:
            source = Path(dl_manager.manual_dir)
            config.catalog = databases.read(
                self.name, source / "manifest.csv" if self.name == "manifest" else source
            )
        flaws, present, left_out = [], [], {}
        if config.holder is not None:
            left_out = {row["id"]: row for row in store.metadata(config.holder)["left_out"]}
        for utterance in config.catalog.utterances:
            if row := left_out.get(utterance.id):
                flaws.append(Flaw(utterance.id, str(utterance.path), row["finding"], row["reason"]))
                continue
            try:
                audio.check(utterance.path)
                present.append(utterance)
            except audio.AudioError as error:
                flaws.append(Flaw.of(utterance, error))
        self._check(flaws)  # before anything is decoded
        present.sort(key=lambda utterance: utterance.id)
        do = recorder(config.frontend)
        workers = worker_count(config.workers)
        if hasattr(config.frontend, "extract_batch") and devices.backend() != "cpu":
            workers = 1  # each process would claim the accelerator's memory for itself
        records = in_order(do, present, workers, config.name)  # starts when it is first read
        firsts = range(0, len(present), SHARD)
        results: list[Callable] = [functools.partial(itertools.islice, records, SHARD) for _ in firsts]
        if download_config.beam_runner is not None:  # whose workers have another working directory
            moved = [dataclasses.replace(utterance, path=utterance.path.absolute()) for utterance in present]
            results = [functools.partial(do, moved[first : first + SHARD]) for first in firsts]
        files = [folder.absolute() / FLAWS.format(first) for first in firsts]
        shard = functools.partial(_shard, list(self.info.features))
        self._shards = list(map(functools.partial, itertools.repeat(shard), results, files))
        with contextlib.closing(records):
            super()._download_and_prepare(dl_manager, download_config)
        for infos in folder.glob("*.shard_infos.json"):  # of Beam; tfds sorts them as text, 10 before 2
            counts = json.loads(infos.read_text())
            infos.unlink()
            lengths = [counts[str(number)] for number in range(len(files))]
            split = dataclasses.replace(self.info.splits[SPLIT], shard_lengths=lengths)
            self.info.set_splits(tfds.core.splits.SplitDict([split]))
        for file in files:
            flaws += [Flaw(*row) for row in json.loads(file.read_text(encoding="utf-8"))]
            file.unlink()
        self._check(flaws)
        lacking = [flaw._asdict() for flaw in flaws]
        for row in lacking:
            row["file"] = Path(row["file"]).absolute().relative_to(config.catalog.folder).as_posix()
        own = {"left_out": lacking, "facts": config.holder is None}
        self.info.metadata.update(notes(self.name, config.catalog, config.frontend), **own)

    def _check(self, flaws: Sequence[Flaw]) -> None:
        """Raise PrepareError if there are flaws that may not, or cannot, be left out."""
        config, count = self.builder_config, len(self.builder_config.catalog.utterances)
        if flaws and not (config.skip_bad and len(flaws) < count):
            findings = collections.Counter(flaw.finding for flaw in flaws)
            lines = ", ".join(f"{finding} {number:,}" for finding, number in findings.items())
            file, reason = flaws[0].file, flaws[0].reason
            raise PrepareError(
                f"{len(flaws):,} of {count:,} utterances cannot be prepared ({lines}), the first is "
                f"{file}: {reason}{beside(Path(file))}; `ser-jax audit` lists all problems, "
                + ("and --skip-bad would leave none" if len(flaws) == count else "--skip-bad leaves it out")
            )

    def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, Sequence[Callable]]:
        return {SPLIT: self._shards}


def _shard(
    columns: Sequence[str], results: Callable[[], Iterable[Record | Flaw]], flaws: Path
) -> Iterator[tuple[str, Record]]:
    """Yield (id, record of some columns) of one shard, and write its flaws to a file."""
    flawed = []
    for result in results():
        if isinstance(result, Flaw):
            flawed.append(result)
        else:
            yield result["id"], {key: result[key] for key in columns}
    flaws.write_text(json.dumps(flawed), encoding="utf-8")


def builder(
    database: str, *, name: str | None = None, features: Frontend = store.LOGMEL,
    data_dir: Path | str | None = None, workers: int | None = 1, skip_bad: bool = False,
) -> tfds.core.DatasetBuilder:  # fmt: skip
    """Return a tfds builder of a corpus, for code that prepares datasets by tfds's own methods.

    Its `download_and_prepare` reads what `DownloadConfig(manual_dir=...)` names and downloads nothing. With
    more than one of the `workers`, the calling script must guard its calls by `if __name__ == "__main__":`.
    For the arguments see `prepare`, which also checks names, and what is there already, before it works.

    Raises: DatabaseError if there is no such database.
    """
    databases.check(database, {})
    folder = (name or database) + tag(features)
    config = CorpusConfig(name=folder, frontend=features, workers=workers, skip_bad=skip_bad)
    return _kind(database)(config=config, data_dir=store.data_dir_or_default(data_dir))


def _kind(database: str) -> Any:
    """Return the subclass of `CorpusBuilder` for a database."""
    members = {"name": database, "__module__": __name__}
    return type(database, (CorpusBuilder,), members, skip_registration=True)


def build(
    database: str, root: Path, config: CorpusConfig, runner: str | None = None, options: Sequence[str] = ()
) -> None:
    """Prepare a corpus as a dataset in `root`, here or by a Beam runner with options "name=value" of Beam.

    Raises: PrepareError; OSError.
    """
    absl.logging.set_verbosity(absl.logging.ERROR)
    tfds.display_progress_bar(False)
    chosen = {"try_download_gcs": False} | ({} if runner is None else _beam(runner, options))
    before = tempfile.tempdir
    try:  # tfds leaves folders behind in tempfile.tempdir, and requires one for downloads
        with tempfile.TemporaryDirectory() as tempfile.tempdir:
            _kind(database)(config=config, data_dir=root).download_and_prepare(
                download_dir=tempfile.tempdir,
                download_config=tfds.download.DownloadConfig(**chosen),
            )
    except (OSError, UserError):
        raise
    except Exception as error:
        if runner is None:
            raise
        reason = str(error).rpartition("\n")[2] or type(error).__name__  # Beam gives it below a traceback
        raise BeamError(f"{runner} failed ({reason}), expected it to finish") from error
    finally:
        tempfile.tempdir = before


def _beam(runner: str, options: Sequence[str]) -> dict[str, Any]:
    """Return the part of a `DownloadConfig` that chooses an engine; raise BeamError if Beam has none such."""
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        extra = 'expected the extra: pip install "ser_jax[beam]"'
        raise BeamError(f"--beam-runner {runner} needs apache-beam ({error}), {extra}") from error
    pipeline = PipelineOptions([f"--{option.removeprefix('--')}" for option in options])
    pipeline.get_all_options(retain_unknown_options=True)  # parses them, and exits if one is wrong
    try:
        engine = apache_beam.runners.runner.create_runner(runner)
        if not isinstance(engine, apache_beam.runners.PipelineRunner):
            raise TypeError("it is not a runner")
    except Exception as error:  # whatever is named is imported and called
        raise BeamError(
            f"unknown Beam runner {runner!r} ({error}), expected a name such as DirectRunner"
        ) from error
    return {"beam_runner": runner, "beam_options": pipeline}
