"""Normalisation of features, each of the F dimensions separately. Padding never counts.

Standardisation subtracts a mean and divides by a standard deviation, computed over:

    none       nothing: the features are unchanged
    train      the run's training utterances, for all utterances
    corpus     the utterance's own corpus: the run's training utterances if it trains on that corpus, else,
               without labels, the corpus's speakers outside the utterance's own fold
    speaker    all utterances of the speaker, without labels
    utterance  the utterance itself

Only `speaker` and `utterance` use speech of the test speaker.

Histogram equalisation matches whole distributions instead of two moments: a value that exceeds a fraction p
of its own corpus becomes the value that exceeds p of the training corpora, y = R^-1(S(x)) for the
distribution functions S of the source and R of the reference. After Chiou and Chen (Interspeech 2014; the
paper's reference [8]); dimensions, frames and protocol are ours. It uses no labels.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ser_jax import devices
from ser_jax.errors import UserError
from ser_jax.shapes import Float, Int

if TYPE_CHECKING:
    from ser_jax.devices import Gathered

Mode = Literal["train", "corpus", "speaker", "utterance", "none"]
CONSTANT = 1e-5  # of the mean; a dimension with a smaller standard deviation is only centred
BLOCK = 5_000_000  # numbers converted to float64 at once, 40 MB
CELL = 0.01  # dB; quantiles are off by half of it at most
RANGE = 1000.0  # dB, between the smallest and the largest value
LEVELS = np.sin(np.linspace(0, np.pi / 2, 129)) ** 2  # 0.012 apart in the middle, 0.00015 at the tails


class StandardizationError(UserError):
    """Features without a mean, or whose histograms would need too many cells."""


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


def moments(features: "Gathered", frames: Int[np.ndarray, "N"]) -> Moments:
    """Return the sums of features [N, T, F] that are zero from `frames` [N] on, in float64."""
    total, square = (np.empty((features.shape[0], features.shape[2])) for _ in range(2))
    for rows in _blocks(features, np.arange(features.shape[0])):
        x = features[rows].astype(np.float64)
        total[rows] = x.sum(axis=1)
        square[rows] = np.einsum("ntf,ntf->nf", x, x)
    return Moments(frames.astype(np.int64), total, square)


def group(mode: str, member: Membership) -> Int[np.ndarray, "N"]:
    """Number the groups of utterances that share one scaler, from 0.

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
    """Fit the scaler [G, F] of every group, as `group` numbers them, for a run that trains on `rows` [M].

    Raises: StandardizationError if a feature that counts is NaN or infinite.
    """
    if mode == "utterance":
        return _scaler(sums._replace(count=sums.count[:, None]))
    dims = sums.total.shape[1]
    if mode == "none":
        return Scaler(np.zeros((1, dims), np.float32), np.ones((1, dims), np.float32))
    number = group(mode, member)
    trains = np.zeros(len(number), bool)
    trains[rows] = True
    scalers = []
    for g, first in enumerate(np.unique(number, return_index=True)[1]):
        chosen = trains if mode == "train" else number == g
        if mode == "corpus":
            corpus = member.corpus == member.corpus[first]
            chosen = trains & corpus
            if not chosen.any():
                chosen = corpus & (member.fold != member.fold[first])
        scalers.append(statistics(sums, chosen))
    return Scaler(*(np.stack(parts) for parts in zip(*scalers, strict=True)))


def statistics(sums: Moments, rows: np.ndarray) -> Scaler:
    """Fit the scaler [F] that takes the frames of `rows`, [M] int or [N] bool, to mean 0 and deviation 1.

    Raises: StandardizationError if there is no frame, or a feature is NaN or infinite.
    """
    return _scaler(Moments(*(part[rows].sum(axis=0) for part in sums)))


def histograms(
    features: "Gathered", frames: Int[np.ndarray, "N"], parts: Sequence[np.ndarray]
) -> tuple[int, Int[np.ndarray, "S F cells"]]:
    """Count the values of each dimension, in each of S parts, in cells around the multiples of `CELL`.

    Memory grows with the range of the values, not with their number: 1 MB for 26 bands over 100 dB.

    Returns: the lowest cell and the counts.
    Raises: StandardizationError if the values are not in dB or of a similar range.
    """
    ends = [(cells.min(), cells.max()) for part in parts for cells in _cells(features, frames, part)]
    lowest, highest = int(np.min(ends or 0)), int(np.max(ends or 0))
    dims, width = features.shape[2], highest - lowest + 1
    if width * CELL > RANGE:
        span = f"from {lowest * CELL:g} to {highest * CELL:g}"
        raise StandardizationError(f"features {span}, expected them in dB or within {RANGE:g} of each other")
    offsets = np.arange(dims) * width - lowest
    counts = np.zeros((len(parts), dims * width), np.int32)
    for histogram, part in zip(counts, parts, strict=True):
        for cells in _cells(features, frames, part):
            histogram += np.bincount((cells + offsets).ravel(), minlength=len(histogram))
    return lowest, counts.reshape(len(parts), dims, width)


def quantiles(
    lowest: int, counts: Int[np.ndarray, "F cells"], levels: Float[np.ndarray, "Q"] = LEVELS
) -> Float[np.ndarray, "F Q"]:
    """Return the quantiles of `np.quantile` to `CELL` / 2, from what `histograms` returned.

    Raises: ValueError if no frame was counted.
    """
    below = np.cumsum(counts, axis=1, dtype=np.int64)
    if not below[0, -1]:
        raise ValueError("no frame to take quantiles of, expected at least one")
    rank = np.asarray(levels) * (below[0, -1] - 1)
    ends = np.stack([np.floor(rank), np.ceil(rank)])
    lower, upper = np.stack([np.searchsorted(row, ends, side="right") for row in below], axis=1)
    return (lowest + lower + (rank - ends[0]) * (upper - lower)) * CELL


def map_quantiles(
    features: "Gathered",
    frames: Int[np.ndarray, "N"],
    number: Int[np.ndarray, "N"],
    source: Float[np.ndarray, "G F Q"],
    reference: Float[np.ndarray, "*G F Q"],
) -> Float[np.ndarray, "N T F"]:
    """Map each dimension piecewise linearly, from the quantiles of an utterance's group to the reference's.

    The map is monotonic, with slope one beyond the extremes. If quantiles of the source coincide, their value
    becomes the middle one of the reference's; so a dimension that never varies is shifted to the median.

    Args:
      number: the group of each utterance.
      source, reference: quantiles at the same levels; the reference may be that of all groups.
    Returns: float32; padding, and groups whose source is their reference, are unchanged.
    """
    reference = np.broadcast_to(reference, source.shape)
    found = devices.aligned(features.shape)  # there may be no room for a copy
    for g in np.unique(number):
        unchanged = np.array_equal(source[g], reference[g])
        for rows in _blocks(features, np.flatnonzero(number == g)):
            x = features[rows]
            if not unchanged:
                valid = np.arange(x.shape[1]) < frames[rows][:, None]
                dims = np.ascontiguousarray(x[valid].T)
                x[valid] = np.stack(list(map(_mapped, dims, source[g], reference[g])), axis=1)
            found[rows] = x
    return found


def equalize(
    training: Collection[int], features: "Gathered", frames: Int[np.ndarray, "N"], member: Membership
) -> Float[np.ndarray, "N T F"]:
    """Equalise the histograms of every corpus to the training corpora, pooled, each frame with equal weight.

    The source of a training corpus is the corpus itself; so if a single corpus trains, it is unchanged. That
    of any other utterance is its own corpus in the folds other than its own, so that its map depends on
    corpus and fold alone and on no test speaker of its fold. A corpus of a single fold is its own source.

    Args:
      training: numbers of the training corpora, as in `member`.
    Returns: float32; padding is unchanged.
    Raises: ValueError if nothing trains.
    """
    number = group("corpus", member)
    first = np.unique(number, return_index=True)[1]
    corpus, fold = member.corpus[first], member.fold[first]
    parts = [np.flatnonzero(number == g) for g in range(len(first))]
    lowest, counts = histograms(features, frames, parts)
    trains = np.isin(corpus, list(training))
    same = corpus[:, None] == corpus
    sources = same & (trains | (fold[:, None] != fold))
    sources |= same & ~sources.any(axis=1, keepdims=True)
    source, reference = (
        np.stack([quantiles(lowest, counts[groups].sum(axis=0)) for groups in side])
        for side in (sources, trains[None])
    )
    return map_quantiles(features, frames, number, source, reference)


def _blocks(features: "Gathered", rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield consecutive parts of rows [M] whose features hold `BLOCK` numbers at most."""
    size = max(1, BLOCK // (features.shape[1] * features.shape[2]))
    return (rows[first : first + size] for first in range(0, len(rows), size))


def _cells(features: "Gathered", frames: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the cells [frames, F] int of the frames of some rows; cell i is around i * `CELL`."""
    for part in _blocks(features, rows):
        x = features[part]
        valid = x[np.arange(x.shape[1]) < frames[part][:, None]]
        if valid.size:
            yield np.rint(valid / np.float64(CELL)).astype(np.intp)


def _mapped(values: np.ndarray, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Map the values of one dimension from the source's quantiles [Q] to the reference's."""
    start, first, times = np.unique(source, return_index=True, return_counts=True)
    end = np.interp(first + (times - 1) / 2, np.arange(len(reference)), reference)
    inside = np.clip(values, start[0], start[-1])
    return (values + (np.interp(inside, start, end) - inside)).astype(np.float32)


def _scaler(sums: Moments) -> Scaler:
    mean = sums.total / sums.count
    if not np.isfinite(mean).all():  # a maximum compiled for a CPU would ignore NaN, and training not notice
        found = f"features of {np.sum(sums.count)} frames contain non-finite numbers"
        raise StandardizationError(f"{found}, expected finite ones; prepare the corpus again")
    deviation = np.sqrt(np.maximum(sums.square / sums.count - mean**2, 0))
    scale = 1 / np.where(deviation > CONSTANT * np.abs(mean), deviation, 1.0)
    return Scaler(mean.astype(np.float32), scale.astype(np.float32))
