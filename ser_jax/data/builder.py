"""What every tfds builder shares: the record, its extraction, and preparing a corpus.

TensorFlow is never imported: tfds needs it for nothing when the format is array_record.
"""

import abc
import contextlib
import dataclasses
import functools
import importlib
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from ser_jax.data import extract, store
from ser_jax.data.logmel import BANDS, FRAMES
from ser_jax.data.synthetic.marker import is_synthetic
from ser_jax.data.utterance import Utterance, source_fingerprint
from ser_jax.errors import UserError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_log = logging.getLogger(__name__)


class PrepareError(UserError):
    """A request to prepare that cannot be met."""


@dataclasses.dataclass(eq=False, kw_only=True)
class CorpusConfig(tfds.core.BuilderConfig):
    """One corpus: the name it is prepared under, and what to read it from.

    Attributes:
      source: a release folder, or a manifest.
      workers: processes that extract features; changes no byte of the outcome.
      arousal_threshold, valence_threshold, allow_outside: see `manifest.read`.
      annotation_delay: s, see `recola.read`.
    """

    source: Path
    workers: int = 1
    arousal_threshold: float | None = None
    valence_threshold: float | None = None
    allow_outside: bool = False
    annotation_delay: float = 0.0


class StableWriter(tfds.core.ExampleWriter):
    """Writes a record's fields in one order; protobuf's own changes from process to process."""

    def write(self, path, examples):
        return super().write(path, ((key, _stable(record)) for key, record in examples))


def _stable(record: bytes) -> bytes:
    return tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True)


class CorpusBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """One split, `utterances`; a subclass says how to read its database's facts."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012

    @abc.abstractmethod
    def read(self) -> tuple[list[Utterance], dict[str, float]]:
        """Utterances, and per target the annotation that separates the classes."""

    @functools.cached_property
    def facts(self) -> tuple[list[Utterance], dict[str, float]]:
        """What `read` gives, read once."""
        return self.read()

    @functools.cached_property
    def notes(self) -> dict[str, Any]:
        """What is kept beside the records."""
        utterances, thresholds = self.facts
        return {
            "builder": self.name,
            "synthetic": any(
                is_synthetic(place)
                for place in {
                    folder
                    for utterance in utterances
                    for folder in (utterance.path.parent, utterance.path.resolve().parent)
                }
            ),
            "thresholds": thresholds,
            "source_fingerprint": source_fingerprint(utterances, thresholds),
        }

    def _info(self) -> tfds.core.DatasetInfo:
        # A tf.train.Example keeps single precision; a threshold can fall between a double and its rounding.
        double = functools.partial(tfds.features.Tensor, shape=(), dtype=np.float64, encoding="bytes")
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    **{name: tfds.features.Text() for name in store.TEXTS},
                    "logmel": tfds.features.Tensor(shape=(FRAMES, BANDS), dtype=np.float32, encoding="bytes"),
                    "frames": tfds.features.Scalar(np.int32),
                    "seconds": double(),
                    "arousal": double(),
                    "valence": double(),
                }
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _example_writer(self):
        return StableWriter(self.info.file_format)

    def _split_generators(self, dl_manager):
        self.info.metadata.update(self.notes)
        return {store.SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        utterances, _ = self.facts
        config = self.builder_config
        with contextlib.closing(extract.examples(utterances, config.workers, config.name)) as records:
            for record in records:
                yield record["id"], record


def prepare(
    builder: str,
    source: Path | str,
    *,
    name: str | None = None,
    data_dir: Path | str | None = None,
    workers: int | None = None,
    arousal_threshold: float | None = None,
    valence_threshold: float | None = None,
    allow_outside: bool = False,
    annotation_delay: float = 0.0,
) -> Path:
    """See `ser_jax.data.prepare`."""
    name = builder if name is None else name
    root = store.data_dir_or_default(data_dir)
    workers = _cores() if workers is None else workers
    _check(builder, name, workers, (arousal_threshold, valence_threshold), allow_outside, annotation_delay)
    module = importlib.import_module(f"ser_jax.data.{builder}.{builder}_dataset_builder")
    config = CorpusConfig(
        name=name,
        source=Path(source),
        workers=workers,
        arousal_threshold=arousal_threshold,
        valence_threshold=valence_threshold,
        allow_outside=allow_outside,
        annotation_delay=annotation_delay,
    )
    if name in (present := store.prepared(root)):
        store.check(present[name])
    with store.quiet():
        corpus = module.Builder(config=config, data_dir=root)
        if name in present:
            return _reuse(present[name], corpus.notes)
        folder = Path(corpus.data_dir)
        if folder.exists():
            raise PrepareError(f"{folder}: not a whole corpus (no dataset_info.json); delete this folder")
        corpus.notes  # noqa: B018  a source that cannot be read is found before anything is written
        try:
            _sweep(folder.parent)
            with tempfile.TemporaryDirectory() as unused:  # tfds insists on a folder for downloads
                corpus.download_and_prepare(
                    file_format="array_record",
                    download_dir=unused,
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False),
                )
        except OSError as error:
            raise PrepareError(
                f"{folder}: cannot be written ({error.strerror or error}), "
                "expected a data directory with space"
            ) from error
        finally:
            _sweep(folder.parent)
    return folder


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(builder, name, workers, thresholds, allow_outside, annotation_delay) -> None:
    if builder not in store.BUILDERS:
        raise PrepareError(f"no builder {builder!r}, expected one of {', '.join(store.BUILDERS)}")
    if not _NAME.fullmatch(name):
        raise PrepareError(f"name {name!r}, expected small letters, digits and underscores, a letter first")
    if workers < 1:
        raise PrepareError(f"{workers} workers, expected at least 1")
    if builder != "manifest" and (thresholds != (None, None) or allow_outside):
        raise PrepareError(
            f"{builder} has its own thresholds and paths, expected none of --arousal-threshold, "
            "--valence-threshold and --allow-outside, which are for a manifest"
        )
    if annotation_delay and builder != "recola":
        raise PrepareError(
            f"{builder} has no continuous annotation, expected --annotation-delay with recola only"
        )
    if not (annotation_delay >= 0 and math.isfinite(annotation_delay)):
        raise PrepareError(f"--annotation-delay is {annotation_delay}, expected seconds, 0 or more")


def _reuse(folder: Path, notes: dict[str, Any]) -> Path:
    before = store.metadata(folder)
    if any(before[key] != notes[key] for key in ("builder", "source_fingerprint")):
        raise PrepareError(
            f"{folder}: was prepared by {before['builder']} from another source, or from this one before it "
            "changed; delete this folder to prepare it again, or choose another --name"
        )
    _log.info("%s: already prepared", folder)
    return folder


def _sweep(folder: Path) -> None:
    """Removes what a preparation that failed or was killed left in a corpus's folder, and empty parents."""
    for leftover in folder.glob("incomplete.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()
