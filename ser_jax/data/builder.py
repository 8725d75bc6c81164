"""The tfds builders, one for each database: records, their shards, and how they are written.

TensorFlow is never imported: with the format array_record, tfds does not need it.
"""

import collections
import contextlib
import dataclasses
import errno
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from ser_jax import features
from ser_jax.data import beam, databases, extract, store
from ser_jax.data.corpus import NUMBERS, TEXTS, Facts
from ser_jax.data.extract import Flaw, Record
from ser_jax.data.utterance import Catalog, common_folder, source_fingerprint
from ser_jax.errors import UserError

SHARD = 512  # utterances; what a Beam worker does at a time, and tfds holds in memory (40 MB of log-mels)


@dataclasses.dataclass(eq=False, kw_only=True)
class CorpusConfig(tfds.core.BuilderConfig):
    """One corpus: the name of its folder, what it is read from and what is extracted.

    Attributes:
      source: what the database's reader reads.
      options: of the reader, see `databases.read`.
      frontend: extracts the features.
      workers: processes that do; changes no byte of the outcome.
      skip_bad: whether to leave out what cannot be a record.
    """

    source: Path
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    frontend: features.Frontend = features.LogMel()  # noqa: RUF009  frozen
    workers: int = 1
    skip_bad: bool = False


class FlawedError(UserError):
    """Utterances that cannot be records.

    Args:
      flaws: what is wrong, in order.
      count: utterances in all.
      audit: the command that lists all flaws.
    """

    def __init__(self, flaws: Sequence[Flaw], count: int, audit: str):
        findings = collections.Counter(flaw.finding for flaw in flaws)
        lines = ", ".join(f"{finding} {number:,}" for finding, number in findings.items())
        super().__init__(
            f"{len(flaws):,} of {count:,} utterances cannot be prepared ({lines}), the first is {flaws[0]}; "
            f"`{audit}` names all that is wrong"
            + (", --skip-bad leaves it out" if len(flaws) < count else ", and nothing would be left")
        )


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

    @functools.cached_property
    def catalog(self) -> Catalog:
        """The database's facts."""
        return databases.read(self.name, self.builder_config.source, **self.builder_config.options)

    @functools.cached_property
    def notes(self) -> dict[str, Any]:
        """What is stored as metadata beside the records."""
        return Facts.of(self.builder_config.name, self.name, self.catalog).metadata | {
            "frontend": features.describe(self.builder_config.frontend),
            "source_fingerprint": source_fingerprint(self.catalog),
        }

    def _info(self) -> tfds.core.DatasetInfo:
        database, frontend = databases.DATABASES[self.name], self.builder_config.frontend
        columns = {name: tfds.features.Text() for name in TEXTS}
        columns |= {name: _number(dtype) for name, dtype in NUMBERS.items()}
        columns["features"] = tfds.features.Tensor(
            shape=(frontend.frames, frontend.dims), dtype=np.float32, encoding="bytes"
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name}: {database.what}.",
            citation=database.citation,
            features=tfds.features.FeaturesDict(columns),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return StableWriter(self.info.file_format)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        config, utterances = self.builder_config, self.catalog.utterances
        self.flaws = extract.missing(utterances)
        self._judge()
        missing = {flaw.id for flaw in self.flaws}
        there = sorted((one for one in utterances if one.id not in missing), key=lambda one: one.id)
        if download_config is not None and download_config.beam_runner is not None:
            self._shards = beam.shards(there, config.frontend, SHARD, Path(self.data_dir))
            super()._download_and_prepare(dl_manager, download_config)
            flaws, lengths = beam.collect(Path(self.data_dir), len(self._shards))
            self.flaws += flaws
            split = dataclasses.replace(self.info.splits[store.SPLIT], shard_lengths=lengths)
            self.info.set_splits(tfds.core.splits.SplitDict([split]))
        else:
            records = extract.records(there, config.frontend, config.workers, config.name)
            with contextlib.closing(records):
                self._shards = [functools.partial(self._shard, records)] * -(-len(there) // SHARD)
                super()._download_and_prepare(dl_manager, download_config)
        self._judge()
        folder = common_folder(utterances)
        self.info.metadata.update(self.notes, left_out=[_left_out(flaw, folder) for flaw in self.flaws])

    def _judge(self) -> None:
        """Raise FlawedError if there are flaws that may not, or cannot, be left out."""
        count, config = len(self.catalog.utterances), self.builder_config
        if len(self.flaws) == count or (self.flaws and not config.skip_bad):
            command = databases.command("audit", self.name, config.source, config.options)
            raise FlawedError(self.flaws, count, command)

    def _shard(self, records: Iterator[Record | Flaw]) -> Iterator[tuple[str, Record]]:
        """Yield the next `SHARD` utterances' records."""
        for record in itertools.islice(records, SHARD):
            if isinstance(record, Flaw):
                self.flaws.append(record)
            else:
                yield record["id"], record

    def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, Sequence[Callable]]:
        return {store.SPLIT: self._shards}


def _number(dtype: type[np.generic]) -> Any:
    """Return the tfds feature of one number.

    A tf.train.Example holds single precision; a threshold can fall between a double and its rounding.
    """
    if np.issubdtype(dtype, np.integer):
        return tfds.features.Scalar(dtype)
    return tfds.features.Tensor(shape=(), dtype=dtype, encoding="bytes")


def _left_out(flaw: Flaw, folder: Path) -> dict[str, str]:
    return {
        "id": flaw.id,
        "file": Path(flaw.path.absolute()).relative_to(folder).as_posix(),
        "finding": flaw.finding,
        "reason": flaw.reason,
    }


def _builder(name: str) -> type[CorpusBuilder]:
    facts = {"name": name, "MANUAL_DOWNLOAD_INSTRUCTIONS": databases.DATABASES[name].instructions}
    return type(name, (CorpusBuilder,), {**facts, "__module__": __name__}, skip_registration=True)


BUILDERS = {name: _builder(name) for name in databases.DATABASES}
