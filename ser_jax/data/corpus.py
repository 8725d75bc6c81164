"""A corpus in memory: facts only, one row per utterance; no class, no fold."""

import dataclasses
import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ser_jax.data.synthetic.marker import is_synthetic
from ser_jax.data.utterance import Listing

SEXES = ("female", "male", "unknown")
TARGETS = ("arousal", "valence")
TEXTS = ("id", "speaker", "session", "sex", "language", "emotion")
LABELS = (*TEXTS, *TARGETS)  # what is known of an utterance without listening


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a database's utterances without listening; what is loaded is sorted by id.

    Attributes:
      name: the name it was prepared under.
      builder: what read it, as in "iemocap"; decides what an annotation means.
      synthetic: whether it was made from synthesised speech.
      thresholds: per target, the annotation that separates the two classes.
      id: [N] str, unique.
      speaker, session, sex, language: [N] str. People of one session met and are never split
        between training and test, nor are sessions that share a speaker; sex is one of `SEXES`.
      emotion: [N] str, the category as the database names it; "" where it names none.
      arousal, valence: [N] float64, annotations as the database gives them.
    """

    name: str
    builder: str
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

    @classmethod
    def of(cls, name: str, builder: str, listing: Listing) -> "Facts":
        """What a reader listed, in the reader's order."""
        columns: dict[str, Any] = {
            key: np.array([getattr(utterance, key) for utterance in listing.utterances]) for key in LABELS
        }
        thresholds, synthetic = dict(listing.thresholds), is_synthesised(listing)
        return cls(name=name, builder=builder, synthetic=synthetic, thresholds=thresholds, **columns)


def is_synthesised(listing: Listing) -> bool:
    """Whether any recording, or what it is a link to, lies where the marker of synthesised speech does."""
    paths = {utterance.path for utterance in listing.utterances}
    folders = {path.parent for path in paths}
    links = (path for path in paths if os.path.islink(path))  # noqa: PTH114  is_symlink minds long names
    folders |= {Path(os.path.realpath(link)).parent for link in links}
    return any(map(is_synthetic, folders))


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


class Joined:
    """Several arrays [n, T, F], one after another, of which rows are gathered without joining them."""

    def __init__(self, parts: list[np.ndarray]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((*rows.shape, *self.shape[1:]), np.float32)
        part = np.searchsorted(self._ends, rows, side="right")
        for i, own in enumerate(self._parts):
            found[part == i] = own[rows[part == i] - (self._ends[i] - len(own))]
        return found


LogMel: TypeAlias = np.ndarray | Joined  # [N, T, F]
