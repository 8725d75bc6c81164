"""The corpora of an experiment, joined into one set of rows that every run indexes."""

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from ser_jax.data import Corpus, standardize
from ser_jax.data.folds import Fold, folds, groups
from ser_jax.data.labels import classes
from ser_jax.runs import Data


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


class Pool:
    """Several corpora, one after another, as the rows of one array.

    Attributes:
      corpora: in the order given.
      names: theirs.
      id, speaker: [N] str of all rows.

    Args:
      place: (log-mels, frames) on the host to where they are computed on, as `engine.place` does.
    """

    def __init__(self, corpora: list[Corpus], fold_count: int, label_rule: str, place: Callable):
        self.corpora = {corpus.name: corpus for corpus in corpora}
        self.names = [corpus.name for corpus in corpora]
        self.id = np.concatenate([corpus.id for corpus in corpora])
        self.speaker = np.concatenate([corpus.speaker for corpus in corpora])
        self._starts = dict(zip(self.names, np.cumsum([0, *map(len, corpora)])[:-1], strict=True))
        self._fold_count = fold_count
        self._label_rule = label_rule
        self._place = place

    def rows(self, name: str) -> np.ndarray:
        """All rows of one corpus, int32."""
        return np.arange(len(self.corpora[name]), dtype=np.int32) + np.int32(self._starts[name])

    @cache  # noqa: B019  a pool lives as long as the program
    def folds(self, name: str) -> list[Fold]:
        """The corpus's folds, as rows of the pool."""
        start = np.int32(self._starts[name])
        own = folds(self.corpora[name], self._fold_count)
        return [Fold(fold.train + start, fold.dev + start, fold.test + start) for fold in own]

    @cache  # noqa: B019
    def labels(self, target: str) -> np.ndarray:
        """[N] int8 classes of all rows."""
        return np.concatenate([classes(corpus, target, self._label_rule) for corpus in self.corpora.values()])

    @cached_property
    def membership(self) -> standardize.Membership:
        """Corpus, fold and speaker of every row."""
        corpora = list(self.corpora.values())
        names = np.concatenate([np.char.add(f"{c.name} ", c.speaker.astype(str)) for c in corpora])
        return standardize.Membership(
            np.repeat(np.arange(len(corpora)), [len(c) for c in corpora]),
            np.concatenate([groups(c, self._fold_count) for c in corpora]),
            np.unique(names, return_inverse=True)[1],
        )

    @cached_property
    def moments(self) -> standardize.Moments:
        """Sums of every row's features, from which all standardisations follow."""
        each = [standardize.moments(c.logmel, c.frames) for c in self.corpora.values()]
        return standardize.Moments(*(np.concatenate(parts) for parts in zip(*each, strict=True)))

    @cached_property
    def _features(self) -> tuple:
        corpora = self.corpora.values()
        return self._place(Joined([c.logmel for c in corpora]), np.concatenate([c.frames for c in corpora]))

    def data(self, mode: str) -> Data:
        """All rows where they were placed, grouped as standardisation `mode` wants them."""
        return Data(*self._features, standardize.grouping(mode, self.membership))
