"""The corpora of an experiment, joined into one set of rows that every run indexes."""

import gc
from collections.abc import Callable
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

from ser_jax.arrays import Array, Gathered
from ser_jax.data import Corpus, histogram, standardize
from ser_jax.data.corpus import Joined
from ser_jax.data.folds import Fold, folds, groups
from ser_jax.data.labels import CLASS_NAMES, classes

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


class Pool:
    """Several corpora, one after another, as the rows of one array.

    Attributes:
      corpora: in the order given.
      names: theirs.
      id, speaker: [N] str of all rows.
      voice: [N] str, speakers with their corpus.

    Args:
      place: (log-mels, frames) on the host to where they are computed on, as `Machine.place` does.
    """

    def __init__(self, corpora: list[Corpus], fold_count: int, label_rule: str, place: Place):
        self.corpora = {corpus.name: corpus for corpus in corpora}
        self.names = [corpus.name for corpus in corpora]
        self.id = np.concatenate([corpus.id for corpus in corpora])
        self.speaker = np.concatenate([corpus.speaker for corpus in corpora])
        self.voice = np.concatenate([np.char.add(f"{c.name} ", c.speaker.astype(str)) for c in corpora])
        self._starts = dict(zip(self.names, np.cumsum([0, *map(len, corpora)])[:-1], strict=True))
        self._fold_count = fold_count
        self._label_rule = label_rule
        self._place = place
        self._latest: tuple[tuple[str, ...], Features] | None = None

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
        """[N] int8 classes of all rows; of the target "language" the number of the corpus."""
        if target == LANGUAGE:
            return self.membership.corpus.astype(np.int8)
        return np.concatenate([classes(corpus, target, self._label_rule) for corpus in self.corpora.values()])

    def classes(self, target: str) -> tuple[str, ...]:
        """What the classes of a target are called."""
        return tuple(self.names) if target == LANGUAGE else CLASS_NAMES[target]

    @cached_property
    def membership(self) -> standardize.Membership:
        """Corpus, fold and speaker of every row."""
        corpora = list(self.corpora.values())
        return standardize.Membership(
            np.repeat(np.arange(len(corpora)), [len(c) for c in corpora]),
            np.concatenate([groups(c, self._fold_count) for c in corpora]),
            np.unique(self.voice, return_inverse=True)[1],
        )

    def features(self, mode: str, train: tuple[str, ...]) -> Features:
        """All rows' features where they are computed on, as standardisation `mode` of runs wants them.

        Args:
          mode: one of `standardize.MODES`.
          train: the corpora that the runs train on; only "histogram" depends on them.
        """
        return self._equalised(train) if mode == "histogram" else self._stored

    @property
    def frames(self) -> np.ndarray:
        """[N] frames that hold sound."""
        return self._joined[1]

    @cached_property
    def _joined(self) -> tuple[Joined, np.ndarray]:
        corpora = self.corpora.values()
        return Joined([c.logmel for c in corpora]), np.concatenate([c.frames for c in corpora])

    @cached_property
    def _stored(self) -> Features:
        each = [standardize.moments(c.logmel, c.frames) for c in self.corpora.values()]
        sums = standardize.Moments(*(np.concatenate(parts) for parts in zip(*each, strict=True)))
        return Features(*self._place(*self._joined), sums)

    def _equalised(self, train: tuple[str, ...]) -> Features:
        """The latest is kept: each is a copy of all features."""
        if self._latest is None or self._latest[0] != train:
            self._latest = None
            gc.collect()  # else what has computed with it, which refers to itself, holds it still
            own = [self.names.index(name) for name in train]
            logmel = histogram.towards(own, *self._joined, self.membership)
            sums = standardize.moments(logmel, self.frames)
            self._latest = train, Features(*self._place(logmel, self.frames), sums)
        return self._latest[1]
