"""Standardisation of features, each of the F dimensions by itself: whose mean and deviation are taken.

    none       the features as they are
    train      of the run's training utterances, for all utterances
    corpus     of the utterance's own corpus: of the run's training utterances if it trains on that corpus,
               else, without labels, of the corpus's speakers outside the utterance's own fold
    speaker    of all utterances of the speaker, without labels
    utterance  of the utterance itself

Only `speaker` and `utterance` look at speech of the person under test. Padding never counts.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ser_jax.errors import UserError

if TYPE_CHECKING:
    from ser_jax.devices import Gathered

MODES = ("train", "corpus", "speaker", "utterance", "none")
CONSTANT = 1e-5  # of the mean; a dimension that deviates by less is only centred
BLOCK = 5_000_000  # numbers converted to float64 at once, 40 MB


class StandardizationError(UserError):
    """Features without a mean."""


class Moments(NamedTuple):
    """Sums over the frames of each utterance, from which the statistics of any subset follow."""

    count: np.ndarray  # type: ignore[assignment]  # [N] frames that are not padding; hides a tuple's method
    total: np.ndarray  # [N, F] of the features
    square: np.ndarray  # [N, F] of their squares


class Membership(NamedTuple):
    """The corpus, fold and speaker of every utterance, [N] int from 0; speakers of two corpora differ."""

    corpus: np.ndarray
    fold: np.ndarray
    speaker: np.ndarray


class Scaler(NamedTuple):
    """The map (x - mean) * scale; mean and scale are [F], or [G, F] for G groups of utterances, float32."""

    mean: Any
    scale: Any


def blocks(features: "Gathered", rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield consecutive parts of rows [M] whose features hold `BLOCK` numbers at most."""
    size = max(1, BLOCK // (features.shape[1] * features.shape[2]))
    return (rows[first : first + size] for first in range(0, len(rows), size))


def moments(features: "Gathered", frames: np.ndarray) -> Moments:
    """Return the sums of features [N, T, F] that are zero from `frames` [N] on, in float64."""
    total, square = (np.empty((features.shape[0], features.shape[2])) for _ in range(2))
    for rows in blocks(features, np.arange(features.shape[0])):
        x = features[rows].astype(np.float64)
        total[rows] = x.sum(axis=1)
        square[rows] = np.einsum("ntf,ntf->nf", x, x)
    return Moments(frames.astype(np.int64), total, square)


def group(mode: str, member: Membership) -> np.ndarray:
    """Number the groups of utterances that share one scaler: [N] int32 from 0.

    >>> member = Membership(corpus=np.array([0, 0, 1]), fold=np.array([0, 1, 0]), speaker=np.array([0, 1, 2]))
    >>> group("train", member).tolist(), group("corpus", member).tolist()
    ([0, 0, 0], [0, 1, 2])
    """
    everyone = np.zeros_like(member.corpus)
    key = {
        "none": everyone,
        "train": everyone,
        "corpus": member.corpus * (member.fold.max() + 1) + member.fold,
        "speaker": member.speaker,
        "utterance": np.arange(len(everyone)),
    }[mode]
    return np.unique(key, return_inverse=True)[1].astype(np.int32)


def fit_scaler(mode: str, sums: Moments, member: Membership, rows: np.ndarray) -> Scaler:
    """Fit the scaler of every group for one run.

    Args:
      mode: one of `MODES`.
      sums, member: of all utterances.
      rows: [M] int, the utterances that the run trains on.
    Returns: the scaler [G, F], indexed by `group(mode, member)`.
    Raises: StandardizationError if a feature that counts is NaN or infinite.
    """
    if mode == "utterance":
        return _scaler(sums.count[:, None], sums.total, sums.square)
    dims = sums.total.shape[1]
    if mode == "none":
        return Scaler(np.zeros((1, dims), np.float32), np.ones((1, dims), np.float32))
    number = group(mode, member)
    trains = np.zeros(len(number), bool)
    trains[rows] = True
    scalers = []
    for g, first in enumerate(np.unique(number, return_index=True)[1]):
        own = trains if mode == "train" else number == g
        if mode == "corpus":
            corpus = member.corpus == member.corpus[first]
            own = trains & corpus
            if not own.any():
                own = corpus & (member.fold != member.fold[first])
        scalers.append(statistics(sums, own))
    return Scaler(*(np.stack(parts) for parts in zip(*scalers, strict=True)))


def statistics(sums: Moments, rows: np.ndarray) -> Scaler:
    """Fit the scaler [F] that takes the frames of some utterances to mean 0 and standard deviation 1.

    Args:
      sums: of all utterances.
      rows: [M] int or [N] bool, which.
    Raises: StandardizationError if there is no frame, or a feature is NaN or infinite.
    """
    return _scaler(sums.count[rows].sum(), sums.total[rows].sum(axis=0), sums.square[rows].sum(axis=0))


def _scaler(count: np.ndarray, total: np.ndarray, square: np.ndarray) -> Scaler:
    mean = total / count
    if not np.isfinite(mean).all():  # a maximum compiled for a CPU would ignore NaN, and training not notice
        raise StandardizationError(
            f"features of {np.sum(count)} frames are not all finite numbers, expected so; prepare them again"
        )
    deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
    scale = 1 / np.where(deviation > CONSTANT * np.abs(mean), deviation, 1.0)
    return Scaler(mean.astype(np.float32), scale.astype(np.float32))
