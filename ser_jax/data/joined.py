"""Several corpora as one: their utterances, one after another, as the rows of one array."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ser_jax.data.corpus import Corpus
from ser_jax.data.labels import classes
from ser_jax.data.standardize import Moments, moments


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


class Together:
    """Several corpora as the rows of one array.

    Attributes:
      corpora: by name, in the order given; no two have the same.
      names: theirs.
      corpus: [N] int, which of them a row is of.
      id, speaker: [N] str of all rows.
      voice: [N] str, speakers with their corpus.
      logmel: [N, T, F] float32, dB.
      frames: [N] int32, frames that hold sound.
    """

    def __init__(self, corpora: Sequence[Corpus], label_rule: str):
        self.corpora = {corpus.name: corpus for corpus in corpora}
        self.names = list(self.corpora)
        self.corpus = np.repeat(np.arange(len(corpora)), [len(corpus) for corpus in corpora])
        self.id = np.concatenate([corpus.id for corpus in corpora])
        self.speaker = np.concatenate([corpus.speaker for corpus in corpora])
        self.voice = np.concatenate([np.char.add(f"{c.name} ", c.speaker.astype(str)) for c in corpora])
        self.logmel = Joined([corpus.logmel for corpus in corpora])
        self.frames = np.concatenate([corpus.frames for corpus in corpora])
        self._label_rule = label_rule

    def labels(self, target: str) -> np.ndarray:
        """[N] int8 classes of all rows; LabelError as of `labels.classes`."""
        return np.concatenate([classes(corpus, target, self._label_rule) for corpus in self.corpora.values()])

    def moments(self) -> Moments:
        """The sums of all rows, from which all standardisations follow."""
        each = [moments(corpus.logmel, corpus.frames) for corpus in self.corpora.values()]
        return Moments(*(np.concatenate(own) for own in zip(*each, strict=True)))
