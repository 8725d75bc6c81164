"""Speech with annotations: from a database's files to arrays.

    from ser_jax import data
    data.prepare("iemocap", "IEMOCAP_full_release")     # once; minutes
    corpus = data.load("iemocap")                       # a Corpus: arrays, facts only

Importing this is cheap: tfds, librosa and soundfile load when they are first needed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_jax.data.batching import batches
from ser_jax.data.corpus import Corpus, Facts
from ser_jax.data.store import DamagedCorpusError, UnknownCorpusError, facts, load

__all__ = [
    "Corpus", "DamagedCorpusError", "Facts", "UnknownCorpusError", "batches", "facts", "load", "prepare",
]  # fmt: skip


def prepare(
    builder: str,
    source: Path | str,
    *,
    name: str | None = None,
    data_dir: Path | str | None = None,
    workers: int | None = None,
    skip_bad: bool = False,
    labels_only: bool = False,
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Reads a database, extracts its features and keeps both as a tfds dataset.

    Preparing the same source again under the same name returns what is there.

    Args:
      builder: one of `databases.DATABASES`, as in "iemocap" or "manifest".
      source: what that database is read from: its release folder, or the manifest (a CSV file).
      name: what `load` knows it by; the builder's name by default.
      data_dir: where it is kept; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      workers: processes; all cores by default. The outcome is the same to the byte.
      skip_bad: leave out utterances whose sound is missing or cannot be used, and note which, instead of
        refusing.
      labels_only: look at no recording and keep the labels alone, for `facts` to read.
      beam_runner: an Apache Beam runner, as in "FlinkRunner", that does the work in place of the workers,
        to the same bytes.
      beam_options: Beam's own, each "name=value".
      options: what the builder's reader takes: `annotation_delay` (recola), `arousal_threshold`,
        `valence_threshold` and `allow_outside` (manifest); see `recola.read` and `manifest.read`.
    Returns: the dataset's folder, DATA_DIR/BUILDER/NAME/VERSION, or the file of labels beside it.
    Raises: UserError (a subclass) naming the file, and the line where there is one.
    """
    from ser_jax.data import preparation
    from ser_jax.data.beam import Engine

    if labels_only and (skip_bad or beam_runner is not None):
        raise preparation.PrepareError(
            "--labels-only reads no recording, expected no --skip-bad or --beam-runner"
        )
    if beam_options and beam_runner is None:
        raise preparation.PrepareError("--beam-options without --beam-runner, expected both")
    if labels_only:
        return preparation.prepare_labels(builder, source, name=name, data_dir=data_dir, **options)
    return preparation.prepare(
        builder,
        source,
        name=name,
        data_dir=data_dir,
        processes=workers,
        skip_bad=skip_bad,
        engine=None if beam_runner is None else Engine(beam_runner, tuple(beam_options)),
        **options,
    )
