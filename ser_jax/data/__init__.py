"""Speech with annotations: from a database's files to arrays.

    from ser_jax import data
    data.prepare("iemocap", "IEMOCAP_full_release")     # once; minutes
    corpus = data.load("iemocap")                       # a Corpus: arrays, facts only

Importing this is cheap: tfds, librosa and soundfile load when they are first needed.
"""

from pathlib import Path

from ser_jax.data.corpus import Corpus
from ser_jax.data.store import DamagedCorpusError, UnknownCorpusError, load

__all__ = ["Corpus", "DamagedCorpusError", "UnknownCorpusError", "load", "prepare"]


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
    """Reads a database, extracts its features and keeps both as a tfds dataset.

    Preparing the same source again under the same name returns what is there.

    Args:
      builder: "iemocap", "recola" or "manifest".
      source: the release folder, or the manifest (a CSV file).
      name: what `load` knows it by; the builder's name by default.
      data_dir: where it is kept; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      workers: processes; all cores by default. The outcome is the same to the byte.
      arousal_threshold, valence_threshold: for a manifest whose annotations are numbers.
      allow_outside: whether a manifest's paths may lead out of its folder.
      annotation_delay: how long RECOLA's raters trail the speech, s; the paper does not shift.
    Returns: the dataset's folder, DATA_DIR/BUILDER/NAME/VERSION.
    Raises: UserError (a subclass) naming the file, and the line where there is one.
    """
    from ser_jax.data import builder as shared

    return shared.prepare(
        builder,
        source,
        name=name,
        data_dir=data_dir,
        workers=workers,
        arousal_threshold=arousal_threshold,
        valence_threshold=valence_threshold,
        allow_outside=allow_outside,
        annotation_delay=annotation_delay,
    )
