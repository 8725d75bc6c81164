"""A corpus in memory: facts only, one row per utterance; no class, no fold."""

import dataclasses

import numpy as np

SEXES = ("female", "male", "unknown")
TARGETS = ("arousal", "valence")


@dataclasses.dataclass(frozen=True)
class Corpus:
    """All utterances of one database, sorted by id.

    Attributes:
      name: the name it was prepared under.
      builder: what read it: "iemocap", "recola" or "manifest"; decides what an annotation means.
      synthetic: whether it was made from synthesised speech.
      fingerprint: hexadecimal digest of every fact and feature in it; equal data, equal digest.
      thresholds: per target, the annotation that separates the two classes.
      id: [N] str, unique.
      speaker, session, sex, language: [N] str. People of one session met and are never split
        between training and test, nor are sessions that share a speaker; sex is one of `SEXES`.
      seconds: [N] float64, the whole utterance's duration, s (features hold at most 7.5 s).
      logmel: [N, T, F] float32, dB; zero from `frames` on.
      frames: [N] int32, number of frames that hold sound.
      arousal, valence: [N] float64, annotations as the database gives them.
    """

    name: str
    builder: str
    synthetic: bool
    fingerprint: str
    thresholds: dict[str, float]
    id: np.ndarray
    speaker: np.ndarray
    session: np.ndarray
    sex: np.ndarray
    language: np.ndarray
    seconds: np.ndarray
    logmel: np.ndarray
    frames: np.ndarray
    arousal: np.ndarray
    valence: np.ndarray

    def __len__(self) -> int:
        return len(self.id)
