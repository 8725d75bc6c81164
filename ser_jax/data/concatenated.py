"""Several corpora as one: their utterances, one after another, as the rows of one array."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ser_jax.data.corpus import Corpus, Facts
from ser_jax.data.standardize import Moments, moments
from ser_jax.errors import UserError


class ConcatenationError(UserError):
    """Corpora that do not belong into one array."""


class Labelled(Protocol):
    """What this package needs of a task: the labels [N] or [N, K] of a corpus."""

    def labels(self, corpus: Facts, /) -> np.ndarray:
        """Return [N] int64, -1 if unlabelled, or [N, K] float32, NaN if unlabelled."""


class ConcatenatedArray:
    """Several arrays [n, T, F], one after another, whose rows are gathered without concatenating them."""

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T, F)."""
        return (int(self._ends[-1]), *self._parts[0].shape[1:])

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Return the rows [...] as an array [..., T, F]."""
        found = np.empty((*rows.shape, *self.shape[1:]), np.float32)
        number = np.searchsorted(self._ends, rows, side="right")
        for i, part in enumerate(self._parts):
            found[number == i] = part[rows[number == i] - (self._ends[i] - len(part))]
        return found


class Concatenated:
    """Several corpora as the rows of one array.

    Attributes:
      corpora: by name, in the order given.
      names: theirs.
      corpus: [N] int, which of them a row is of.
      id, speaker: [N] str.
      speaker_id: [N] str, speakers with their corpus, unlike among corpora.
      features: [N, T, F] float32, gathered from the corpora.
      frames: [N] int32, frames that are not padding.

    Raises: ConcatenationError if two corpora have the same name or features of different front ends.
    """

    def __init__(self, corpora: Sequence[Corpus]):
        self.corpora = {corpus.name: corpus for corpus in corpora}
        self.names = list(self.corpora)
        if len(self.names) < len(corpora):
            raise ConcatenationError(f"corpora {[c.name for c in corpora]}, expected different names")
        if any(other.frontend != corpora[0].frontend for other in corpora):
            found = ", ".join(f"{other.name} of {other.frontend}" for other in corpora)
            raise ConcatenationError(f"corpora have features {found}, expected one front end")
        self.corpus = np.repeat(np.arange(len(corpora)), [len(corpus) for corpus in corpora])
        self.id = np.concatenate([corpus.id for corpus in corpora])
        self.speaker = np.concatenate([corpus.speaker for corpus in corpora])
        self.speaker_id = np.concatenate([np.char.add(f"{c.name} ", c.speaker.astype(str)) for c in corpora])
        self.features = ConcatenatedArray([corpus.features for corpus in corpora])
        self.frames = np.concatenate([corpus.frames for corpus in corpora])

    def labels(self, task: Labelled) -> np.ndarray:
        """Return the labels of all rows: [N] int64, or [N, K] float32 for a regression."""
        return np.concatenate([task.labels(corpus) for corpus in self.corpora.values()])

    def moments(self) -> Moments:
        """Return the sums of all rows, from which all scalers follow."""
        each = [moments(corpus.features, corpus.frames) for corpus in self.corpora.values()]
        return Moments(*(np.concatenate(own) for own in zip(*each, strict=True)))
