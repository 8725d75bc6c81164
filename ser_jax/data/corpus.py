"""A corpus in memory: facts only, one row per utterance; no class, no fold."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ser_jax.data.utterance import Catalog

SEXES = ("female", "male", "unknown")
DIALOGUES = ("improvised", "scripted", "")
DIMENSIONS = ("arousal", "valence", "dominance")
TEXTS = ("id", "speaker", "session", "sex", "language", "emotion", "dialogue", "raters")
NUMBERS: dict[str, type[np.generic]] = {
    "seconds": np.float64,
    "frames": np.int32,
    "arousal": np.float64,
    "valence": np.float64,
    "dominance": np.float64,
}
LABELS = (*TEXTS, *DIMENSIONS)  # columns that are known without opening a recording


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a database's utterances without their recordings; sorted by id once loaded.

    Attributes:
      name: the name it was prepared under.
      database: the database it was read from, as in "iemocap"; decides what an annotation means.
      synthetic: whether it was made from synthesised speech.
      thresholds: dimension to the annotation that separates the two classes; lacks unannotated dimensions.
      scales: dimension to the lowest and the highest possible rating; lacks dimensions that nobody rated.
      id: [N] str, unique.
      speaker, session, sex, language: [N] str. Speakers of one session met and are never split between
        training and test, nor are sessions that share a speaker; sex is one of `SEXES`.
      emotion: [N] str, the category as the database names it; "" if it names none.
      dialogue: [N] str, one of `DIALOGUES`; "" if unknown.
      raters: [N] str, the annotation of each rater as JSON (see `utterance.ratings`); "" if not published.
      arousal, valence, dominance: [N] float64, the consensus as the database gives it; NaN if not annotated.
    """

    name: str
    database: str
    synthetic: bool
    thresholds: dict[str, float]
    scales: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    id: np.ndarray
    speaker: np.ndarray
    session: np.ndarray
    sex: np.ndarray
    language: np.ndarray
    emotion: np.ndarray
    dialogue: np.ndarray
    raters: np.ndarray
    arousal: np.ndarray
    valence: np.ndarray
    dominance: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what all utterances share, as it is stored."""
        return {
            "builder": self.database,
            "synthetic": self.synthetic,
            "thresholds": self.thresholds,
            "scales": {dimension: list(scale) for dimension, scale in self.scales.items()},
        }

    @classmethod
    def of(cls, name: str, database: str, catalog: Catalog) -> "Facts":
        """Return the facts of a catalog, in its order."""
        return cls(
            name=name,
            database=database,
            synthetic=catalog.synthetic,
            thresholds=dict(catalog.thresholds),
            scales=dict(catalog.scales),
            **label_columns([vars(utterance) for utterance in catalog.utterances]),
        )


def label_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the columns `LABELS` [N] of the rows of N utterances; None is NaN."""
    return {key: np.array([row[key] for row in rows], NUMBERS.get(key)) for key in LABELS}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus(Facts):
    """All utterances of one database: its facts and its features.

    Attributes (those of `Facts`, and):
      fingerprint: hexadecimal digest of every fact and feature in it; equal data, equal digest.
      frontend: the front end that extracted the features and its configuration, see `features.describe`.
      left_out: how many utterances could not be read and were left out on request.
      seconds: [N] float64, the whole utterance's duration, s (features may hold less).
      features: [N, T, F] float32; zero from `frames` on.
      frames: [N] int32, number of frames that are not padding.
    """

    fingerprint: str
    frontend: dict[str, Any]
    left_out: int = 0
    seconds: np.ndarray
    features: np.ndarray
    frames: np.ndarray


def is_corpus(columns: Mapping[str, np.ndarray]) -> bool:
    """Return whether columns [N], among them `features` [N, T, F], are those of a `Corpus`.

    They are all there and of their types, sorted by id, and no utterance has more than T frames.
    """
    features = columns["features"]
    return (
        columns.keys() == {*TEXTS, *NUMBERS, "features"}
        and features.ndim == 3
        and features.dtype == np.float32
        and features.flags.c_contiguous
        and all(columns[name].shape == features.shape[:1] for name in (*TEXTS, *NUMBERS))
        and all(columns[name].dtype.kind == "U" for name in TEXTS)
        and all(columns[name].dtype == dtype for name, dtype in NUMBERS.items())
        and bool((columns["id"][1:] > columns["id"][:-1]).all())
        and bool(((columns["frames"] > 0) & (columns["frames"] <= features.shape[1])).all())
    )
