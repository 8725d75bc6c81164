"""The corpora of an experiment as one set of rows, and what every run needs of them."""

import contextlib
import gc
from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import NamedTuple

import numpy as np

from ser_jax.data import standardize
from ser_jax.data.corpus import Concatenated, Corpus
from ser_jax.data.folds import Fold, FoldError, folds, groups
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Gathered
from ser_jax.model import Array
from ser_jax.tasks import Task
from ser_jax.train import Data

Place = Callable[[Gathered, np.ndarray], tuple[Array, Array]]


class Features(NamedTuple):
    """Features of all rows as `Machine.place` returns them, and their sums per utterance."""

    features: Array  # [N, T F], or [N, T, F] on the host
    frames: Array  # [N]
    moments: standardize.Moments


class Pool(Concatenated):
    """The corpora of an experiment, no two of the same name, with their folds, labels and features.

    Of `fold_count` folds, a corpus with fewer separate groups of speakers has fewer. `place` moves (features,
    frames) to the device, as `Machine.place`.
    """

    def __init__(self, corpora: list[Corpus], fold_count: int, place: Place):
        super().__init__(corpora)
        self.session = np.concatenate([corpus.session for corpus in corpora])
        starts = np.cumsum([0, *map(len, corpora)], dtype=np.int32)
        self._starts = dict(zip(self.names, starts, strict=False))
        self._fold_count = fold_count
        self._place = place
        self._latest: tuple[tuple[str, ...], Features] | None = None

    def rows(self, name: str) -> np.ndarray:
        """Return all rows of one corpus, int32."""
        return np.arange(len(self.corpora[name]), dtype=np.int32) + self._starts[name]

    @cache  # noqa: B019  a pool lives as long as the program
    def folds(self, name: str) -> list[Fold]:
        """Return the folds of a corpus as rows of the pool."""
        start, own = self._starts[name], folds(self.corpora[name], self._fold_count)
        return [Fold(fold.train + start, fold.dev + start, fold.test + start) for fold in own]

    def every_fold(self) -> dict[str, list[Fold]]:
        """Return the folds of every corpus; none of one that cannot be divided."""
        found: dict[str, list[Fold]] = {name: [] for name in self.names}
        for name in self.names:
            with contextlib.suppress(FoldError):  # stops only settings that divide it
                found[name] = self.folds(name)
        return found

    @cache  # noqa: B019
    def labels(self, task: Task) -> np.ndarray:  # type: ignore[override]  # cached
        """Return the labels of all rows: [N] int32, -1 unlabelled; or [N, K] float32, NaN unlabelled."""
        found = super().labels(task)
        return found.astype(np.int32 if found.ndim == 1 else np.float32)

    @cached_property
    def membership(self) -> standardize.Membership:
        """Corpus, fold and speaker of every row, as numbers."""
        fold = np.concatenate([self._groups(corpus) for corpus in self.corpora.values()])
        return standardize.Membership(self.corpus, fold, np.unique(self.speaker_id, return_inverse=True)[1])

    def _groups(self, corpus: Corpus) -> np.ndarray:
        """Return the fold that tests each utterance; all 0 if the corpus cannot be divided."""
        try:
            return groups(corpus, self._fold_count)
        except FoldError:
            return np.zeros(len(corpus), np.int32)

    def data(self, mode: str, train: tuple[str, ...] | None) -> Data:
        """Return the features of all rows, to be standardized by a mode of `standardize.MODES`.

        Histograms are equalized towards the corpora `train`, unless that is None.
        """
        found = self._features(train)
        return Data(
            features=found.features,
            frames=found.frames,
            group=standardize.group(mode, self.membership),
            speaker=self.membership.speaker.astype(np.int32),
            corpus=self.corpus.astype(np.int32),
            corpora=len(self.names),
        )

    def scaler(self, mode: str, train: tuple[str, ...] | None, rows: np.ndarray) -> Callable[[], Scaler]:
        """Return a function that fits the scaler of a run whose statistics are taken from `rows`."""
        return partial(self._fit_scaler, mode, train, rows.tobytes())

    @cache  # noqa: B019  the seeds and tasks of a fold share their scaler
    def _fit_scaler(self, mode: str, train: tuple[str, ...] | None, rows: bytes) -> Scaler:
        moments = self._features(train).moments
        return standardize.fit_scaler(mode, moments, self.membership, np.frombuffer(rows, np.int32))

    def _features(self, train: tuple[str, ...] | None) -> Features:
        return self._stored if train is None else self._equalized(train)

    @cached_property
    def _stored(self) -> Features:
        return Features(*self._place(self.features, self.frames), self.moments())

    def _equalized(self, train: tuple[str, ...]) -> Features:
        """Equalize all features; only the latest are kept, since each is a copy of all."""
        if self._latest is None or self._latest[0] != train:
            self._latest = None
            gc.collect()  # compiled functions refer to themselves and would keep the old features
            own = [self.names.index(name) for name in train]
            features = standardize.equalize(own, self.features, self.frames, self.membership)
            sums = standardize.moments(features, self.frames)
            self._latest = train, Features(*self._place(features, self.frames), sums)
        return self._latest[1]
