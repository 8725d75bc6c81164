"""A corpus in memory: facts only, one row per utterance; no class, no fold."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ser_jax.data.logmel import BANDS, FRAMES
from ser_jax.data.marker import is_synthetic
from ser_jax.data.utterance import Listing

SEXES = ("female", "male", "unknown")
TARGETS = ("arousal", "valence")
TEXTS = ("id", "speaker", "session", "sex", "language", "emotion")
NUMBERS: dict[str, type[np.generic]] = {
    "seconds": np.float64,
    "frames": np.int32,
    "arousal": np.float64,
    "valence": np.float64,
}
LABELS = (*TEXTS, *TARGETS)  # what is known of an utterance without listening


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a database's utterances without listening; what is loaded is sorted by id.

    Attributes:
      name: the name it was prepared under.
      database: what it was read from, as in "iemocap"; decides what an annotation means.
      synthetic: whether it was made from synthesised speech.
      thresholds: per target, the annotation that separates the two classes.
      id: [N] str, unique.
      speaker, session, sex, language: [N] str. People of one session met and are never split
        between training and test, nor are sessions that share a speaker; sex is one of `SEXES`.
      emotion: [N] str, the category as the database names it; "" where it names none.
      arousal, valence: [N] float64, annotations as the database gives them.
    """

    name: str
    database: str
    synthetic: bool
    thresholds: dict[str, float]
    id: np.ndarray
    speaker: np.ndarray
    session: np.ndarray
    sex: np.ndarray
    language: np.ndarray
    emotion: np.ndarray
    arousal: np.ndarray
    valence: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    @property
    def head(self) -> dict[str, Any]:
        """What is the same for all utterances, as files say it."""
        return {"builder": self.database, "synthetic": self.synthetic, "thresholds": self.thresholds}

    @classmethod
    def of(cls, name: str, database: str, listing: Listing) -> "Facts":
        """What a reader listed, in the reader's order."""
        columns: dict[str, Any] = {
            key: np.array([getattr(utterance, key) for utterance in listing.utterances]) for key in LABELS
        }
        thresholds, synthetic = dict(listing.thresholds), is_synthetic(listing)
        return cls(name=name, database=database, synthetic=synthetic, thresholds=thresholds, **columns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus(Facts):
    """All utterances of one database: its facts, and what the network hears of them.

    Attributes (those of `Facts`, and):
      fingerprint: hexadecimal digest of every fact and feature in it; equal data, equal digest.
      left_out: how many utterances could not be read and were left out on request.
      seconds: [N] float64, the whole utterance's duration, s (features hold at most 7.5 s).
      logmel: [N, T, F] float32, dB; zero from `frames` on.
      frames: [N] int32, number of frames that hold sound.
    """

    fingerprint: str
    left_out: int = 0
    seconds: np.ndarray
    logmel: np.ndarray
    frames: np.ndarray


def is_corpus(columns: Mapping[str, np.ndarray]) -> bool:
    """Whether columns [N], among them `logmel` [N, T, F], are those of a `Corpus`.

    They are all there and of their types, sorted by id, and no utterance has more frames than features.
    """
    logmel = columns["logmel"]
    return (
        columns.keys() == {*TEXTS, *NUMBERS, "logmel"}
        and logmel.shape[1:] == (FRAMES, BANDS)
        and logmel.dtype == np.float32
        and logmel.flags.c_contiguous
        and all(columns[name].shape == logmel.shape[:1] for name in (*TEXTS, *NUMBERS))
        and all(columns[name].dtype.kind == "U" for name in TEXTS)
        and all(columns[name].dtype == dtype for name, dtype in NUMBERS.items())
        and bool((columns["id"][1:] > columns["id"][:-1]).all())
        and bool(((columns["frames"] > 0) & (columns["frames"] <= FRAMES)).all())
    )
