"""The corpora of an experiment, joined into one set of rows that every run indexes."""

import gc
from collections.abc import Callable
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

from ser_jax.arrays import Array, Gathered
from ser_jax.data import Corpus, histogram, standardize
from ser_jax.data.folds import Fold, folds, groups
from ser_jax.data.joined import Together
from ser_jax.data.labels import CLASS_NAMES

LANGUAGE = "language"  # as a target: which corpus an utterance is of
Place = Callable[[Gathered, np.ndarray], tuple[Array, Array]]


class Features(NamedTuple):
    """What is known of all rows by listening.

    Attributes:
      logmel, frames: where they are computed on, as `Machine.place` leaves them.
      moments: their sums, from which all standardisations follow.
    """

    logmel: Array
    frames: Array
    moments: standardize.Moments


class Pool(Together):
    """The corpora, and what an experiment makes of their rows: folds, classes, features to compute with.

    Args:
      place: (log-mels, frames) on the host to where they are computed on, as `Machine.place` does.
    """

    def __init__(self, corpora: list[Corpus], fold_count: int, label_rule: str, place: Place):
        super().__init__(corpora, label_rule)
        self._starts = dict(zip(self.names, np.cumsum([0, *map(len, corpora)], dtype=np.int32), strict=False))
        self._fold_count = fold_count
        self._place = place
        self._latest: tuple[tuple[str, ...], Features] | None = None

    def rows(self, name: str) -> np.ndarray:
        """All rows of one corpus, int32."""
        return np.arange(len(self.corpora[name]), dtype=np.int32) + self._starts[name]

    @cache  # noqa: B019  a pool lives as long as the program
    def folds(self, name: str) -> list[Fold]:
        """The corpus's folds, as rows of the pool."""
        start, own = self._starts[name], folds(self.corpora[name], self._fold_count)
        return [Fold(fold.train + start, fold.dev + start, fold.test + start) for fold in own]

    @cache  # noqa: B019
    def labels(self, target: str) -> np.ndarray:
        """[N] int8 classes of all rows; of the target "language" the number of the corpus."""
        if target == LANGUAGE:
            return self.corpus.astype(np.int8)
        return super().labels(target)

    def classes(self, target: str) -> tuple[str, ...]:
        """What the classes of a target are called."""
        return tuple(self.names) if target == LANGUAGE else CLASS_NAMES[target]

    @cached_property
    def membership(self) -> standardize.Membership:
        """Corpus, fold and speaker of every row."""
        fold = np.concatenate([groups(corpus, self._fold_count) for corpus in self.corpora.values()])
        return standardize.Membership(self.corpus, fold, np.unique(self.voice, return_inverse=True)[1])

    def features(self, mode: str, train: tuple[str, ...]) -> Features:
        """All rows' features where they are computed on, as standardisation `mode` of runs wants them.

        Args:
          mode: one of `standardize.MODES`.
          train: the corpora that the runs train on; only "histogram" depends on them.
        """
        return self._equalised(train) if mode == "histogram" else self._stored

    @cached_property
    def _stored(self) -> Features:
        return Features(*self._place(self.logmel, self.frames), self.moments())

    def _equalised(self, train: tuple[str, ...]) -> Features:
        """The latest is kept: each is a copy of all features."""
        if self._latest is None or self._latest[0] != train:
            self._latest = None
            gc.collect()  # else what has computed with it, which refers to itself, holds it still
            own = [self.names.index(name) for name in train]
            logmel = histogram.towards(own, self.logmel, self.frames, self.membership)
            sums = standardize.moments(logmel, self.frames)
            self._latest = train, Features(*self._place(logmel, self.frames), sums)
        return self._latest[1]
