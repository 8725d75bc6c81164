"""What every tfds builder shares: the record, its shards, and how they are written.

TensorFlow is never imported: tfds needs it for nothing when the format is array_record.
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

from ser_jax.data import beam, databases, extract, store
from ser_jax.data.corpus import NUMBERS, TEXTS, Facts
from ser_jax.data.extract import Flaw, Record
from ser_jax.data.logmel import BANDS, FRAMES
from ser_jax.data.utterance import Listing, common_folder, source_fingerprint
from ser_jax.errors import UserError

SHARD = 512  # utterances; what one Beam worker does at a time, and tfds holds in memory (40 MB)


@dataclasses.dataclass(eq=False, kw_only=True)
class CorpusConfig(tfds.core.BuilderConfig):
    """One corpus: the name it is prepared under, and what to read it from.

    Attributes:
      source: what the database's reader reads, and the options that one takes.
      options: see `databases.read`.
      workers: processes that extract features; changes no byte of the outcome.
      skip_bad: whether to leave out what cannot be a record.
    """

    source: Path
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    workers: int = 1
    skip_bad: bool = False


class FlawedError(UserError):
    """Utterances that cannot be records.

    Args:
      flaws: what is wrong, in order.
      count: utterances in all.
      audit: the command that names them all.
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

    Raises: OSError where the disk does not take it; array_record says so by a RuntimeError.
    """

    def write(self, path: Path, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Writes (key, serialised record) pairs; returns what tfds's own writer does."""
        try:
            return super().write(path, ((key, _stable(record)) for key, record in examples))
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error), str(path)) from error


def _stable(record: bytes) -> bytes:
    return tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True)


class CorpusBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # tfds is untyped
    """One split, `utterances`, in the order of their ids; a subclass is named after its database.

    tfds's usual builder keeps all records in memory to shuffle them, and above 1 GB needs TensorFlow. This
    one writes shard by shard as they come; whoever trains shuffles anyway.

    Attributes:
      flaws: the utterances found not to be records while preparing.
    """

    VERSION = tfds.core.Version(store.VERSION)
    RELEASE_NOTES = {store.VERSION: "First release."}  # noqa: RUF012
    flaws: list[Flaw]
    _shards: Sequence[Callable[[], Iterator[tuple[str, Record]]]]

    @functools.cached_property
    def listing(self) -> Listing:
        """The database's facts."""
        return databases.read(self.name, self.builder_config.source, **self.builder_config.options)

    @functools.cached_property
    def notes(self) -> dict[str, Any]:
        """What is kept beside the records."""
        facts = Facts.of(self.builder_config.name, self.name, self.listing)
        return facts.head | {"source_fingerprint": source_fingerprint(self.listing)}

    def _info(self) -> tfds.core.DatasetInfo:
        features = {name: tfds.features.Text() for name in TEXTS}
        features |= {name: _number(dtype) for name, dtype in NUMBERS.items()}
        features["logmel"] = tfds.features.Tensor(shape=(FRAMES, BANDS), dtype=np.float32, encoding="bytes")
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return StableWriter(self.info.file_format)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        self.flaws = extract.missing(self.listing.utterances)
        self._judge()
        absent = {flaw.id for flaw in self.flaws}
        there = [utterance for utterance in self.listing.utterances if utterance.id not in absent]
        there.sort(key=lambda utterance: utterance.id)
        if download_config is not None and download_config.beam_runner is not None:
            self._shards = beam.shards(there, SHARD, Path(self.data_dir))
            super()._download_and_prepare(dl_manager, download_config)
            flaws, lengths = beam.collect(Path(self.data_dir), len(self._shards))
            self.flaws += flaws
            split = dataclasses.replace(self.info.splits[store.SPLIT], shard_lengths=lengths)
            self.info.set_splits(tfds.core.splits.SplitDict([split]))
        else:
            config = self.builder_config
            with contextlib.closing(extract.records(there, config.workers, config.name)) as records:
                self._shards = [functools.partial(self._shard, records)] * -(-len(there) // SHARD)
                super()._download_and_prepare(dl_manager, download_config)
        self._judge()
        folder = common_folder(self.listing.utterances)
        self.info.metadata.update(self.notes, left_out=[_left_out(flaw, folder) for flaw in self.flaws])

    def _judge(self) -> None:
        count, config = len(self.listing.utterances), self.builder_config
        if len(self.flaws) == count or (self.flaws and not config.skip_bad):
            command = databases.command("audit", self.name, config.source, config.options)
            raise FlawedError(self.flaws, count, command)

    def _shard(self, records: Iterator[Record | Flaw]) -> Iterator[tuple[str, Record]]:
        """The next `SHARD` utterances' records."""
        for record in itertools.islice(records, SHARD):
            if isinstance(record, Flaw):
                self.flaws.append(record)
            else:
                yield record["id"], record

    def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, Sequence[Callable]]:
        return {store.SPLIT: self._shards}


def _number(dtype: type[np.generic]) -> Any:
    """One number as tfds keeps it; `foreign` says the same of what it writes.

    A tf.train.Example keeps single precision; a threshold can fall between a double and its rounding.
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
