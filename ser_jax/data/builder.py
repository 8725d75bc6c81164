"""The tfds builders, one for each database: records, their shards, and how they are written.

TensorFlow is never imported: with the format array_record, tfds does not need it.
"""

import collections
import contextlib
import dataclasses
import errno
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from ser_jax.data import beam, databases, extract, store
from ser_jax.data.extract import Flaw, Record
from ser_jax.data.utterance import Catalog, common_folder
from ser_jax.errors import UserError
from ser_jax.features import Frontend

SPLIT = "utterances"
SHARD = 512  # utterances; what a Beam worker does at a time, and tfds holds in memory (40 MB of log-mels)


@dataclasses.dataclass(eq=False, kw_only=True)
class CorpusConfig(tfds.core.BuilderConfig):
    """One corpus: the name of its folder, what is known of it and what is extracted.

    Attributes:
      catalog: the database's facts.
      notes: metadata that is stored beside the records.
      audit: the command that finds all that is wrong with the database.
      frontend: extracts the features.
      workers: processes that do; changes no byte of the outcome.
      skip_bad: whether to leave out what cannot be a record.
    """

    catalog: Catalog
    notes: Mapping[str, Any]
    audit: str
    frontend: Frontend
    workers: int
    skip_bad: bool


class FlawedError(UserError):
    """Utterances that cannot be records."""


class StableWriter(tfds.core.ExampleWriter):
    """Writes a record's fields in one order; protobuf's own changes from process to process.

    Raises: OSError if the disk does not take it, for which array_record raises RuntimeError.
    """

    def write(self, path: Path, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Write (key, serialised record) pairs; return what tfds's own writer returns."""
        try:
            return super().write(path, ((key, _stable(record)) for key, record in examples))
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error), str(path)) from error


def _stable(record: bytes) -> bytes:
    return tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True)


class CorpusBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # tfds is untyped
    """One split, `utterances`, in the order of their ids; a subclass is named after its database.

    tfds's usual builder keeps all records in memory to shuffle them, and above 1 GB needs TensorFlow. This
    one writes shard by shard as they come; training shuffles anyway.

    Attributes:
      flaws: why utterances could not be records; filled while preparing.
    """

    VERSION = tfds.core.Version(store.VERSION)
    RELEASE_NOTES = {store.VERSION: "Front ends, dominance, raters, scales."}  # noqa: RUF012
    flaws: list[Flaw]
    _shards: Sequence[Callable[[], Iterator[tuple[str, Record]]]]

    def _info(self) -> tfds.core.DatasetInfo:
        database, frontend = databases.DATABASES[self.name], self.builder_config.frontend
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name}: {database.what}.",
            citation=database.citation,
            features=store.columns(frontend.frames, frontend.dims),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return StableWriter(self.info.file_format)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        config = self.builder_config
        utterances = config.catalog.utterances
        self.flaws = extract.missing(utterances)
        self._judge()
        missing = {flaw.id for flaw in self.flaws}
        there = sorted((one for one in utterances if one.id not in missing), key=lambda one: one.id)
        if download_config is not None and download_config.beam_runner is not None:
            self._shards = beam.shards(there, config.frontend, SHARD, Path(self.data_dir))
            super()._download_and_prepare(dl_manager, download_config)
            flaws, lengths = beam.collect(Path(self.data_dir), len(self._shards))
            self.flaws += flaws
            split = dataclasses.replace(self.info.splits[SPLIT], shard_lengths=lengths)
            self.info.set_splits(tfds.core.splits.SplitDict([split]))
        else:
            records = extract.records(there, config.frontend, config.workers, config.name)
            with contextlib.closing(records):
                self._shards = [functools.partial(self._shard, records)] * -(-len(there) // SHARD)
                super()._download_and_prepare(dl_manager, download_config)
        self._judge()
        folder = common_folder(utterances)
        left_out = [
            {
                "id": flaw.id,
                "file": flaw.path.absolute().relative_to(folder).as_posix(),
                "finding": flaw.finding,
                "reason": flaw.reason,
            }
            for flaw in self.flaws
        ]
        self.info.metadata.update(config.notes, left_out=left_out)

    def _judge(self) -> None:
        """Raise FlawedError if there are flaws that may not, or cannot, be left out."""
        config = self.builder_config
        count = len(config.catalog.utterances)
        if self.flaws and not (config.skip_bad and len(self.flaws) < count):
            findings = collections.Counter(flaw.finding for flaw in self.flaws)
            lines = ", ".join(f"{finding} {number:,}" for finding, number in findings.items())
            raise FlawedError(
                f"{len(self.flaws):,} of {count:,} utterances cannot be prepared ({lines}), the first is "
                f"{self.flaws[0]}; `{config.audit}` names all that is wrong, "
                + ("and nothing would be left" if len(self.flaws) == count else "--skip-bad leaves it out")
            )

    def _shard(self, records: Iterator[Record | Flaw]) -> Iterator[tuple[str, Record]]:
        """Yield the next `SHARD` utterances' records."""
        for record in itertools.islice(records, SHARD):
            if isinstance(record, Flaw):
                self.flaws.append(record)
            else:
                yield record["id"], record

    def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, Sequence[Callable]]:
        return {SPLIT: self._shards}


BUILDERS: dict[str, Any] = {
    name: type(name, (CorpusBuilder,), {"name": name, "__module__": __name__}, skip_registration=True)
    for name in databases.DATABASES
}


def build(
    database: str, root: Path, config: CorpusConfig, runner: str | None = None, options: Sequence[str] = ()
) -> None:
    """Prepare a corpus as a dataset in `root`, here or by a Beam runner with options of its own.

    Raises: FlawedError, BeamError; OSError.
    """
    download = tfds.download.DownloadConfig(try_download_gcs=False)
    if runner is not None:
        download = beam.download_config(runner, options, try_download_gcs=False)
    try:  # nothing is downloaded, but tfds requires a folder for it
        BUILDERS[database](config=config, data_dir=root).download_and_prepare(
            file_format="array_record", download_dir=tempfile.gettempdir(), download_config=download
        )
    except (OSError, UserError):
        raise
    except Exception as error:
        if runner is None:
            raise
        raise beam.failed(runner, error) from error
