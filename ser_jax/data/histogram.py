"""Histogram equalization: a corpus's features take on the distribution of the training corpora.

Standardisation matches two moments; this matches the whole distribution, dimension by dimension: a value that
exceeds a fraction p of its own corpus becomes the value that exceeds p of the reference,

    y = R^-1(S(x)),    S, R: the distribution functions of source and reference.

After Chiou and Chen (Interspeech 2014; the paper's reference [8]); dimensions, frames and protocol are ours.
No labels are used. Padding never counts.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ser_jax import devices
from ser_jax.data.standardize import Membership, blocks, group
from ser_jax.errors import UserError

if TYPE_CHECKING:
    from ser_jax.devices import Gathered

CELL = 0.01  # dB; quantiles are off by half of it at most
RANGE = 1000.0  # dB, between the smallest and the largest value
LEVELS = np.sin(np.linspace(0, np.pi / 2, 129)) ** 2  # 0.012 apart in the middle, 0.00015 at the tails


class HistogramError(UserError):
    """Features whose histograms would need too many cells."""


def histograms(
    features: "Gathered", frames: np.ndarray, parts: Sequence[np.ndarray]
) -> tuple[int, np.ndarray]:
    """Count the values of each dimension in cells around the multiples of `CELL`.

    Memory grows with the range of the values, not with their number: 1 MB for 26 bands over 100 dB.

    Args:
      features, frames: [N, T, F], finite, and [N] frames that are not padding.
      parts: sets of rows, each [M] int.
    Returns: (the lowest cell, [sets, F, cells] int32).
    Raises: HistogramError if the values are not in dB or of a similar range.
    """
    ends = [(cells.min(), cells.max()) for part in parts for cells in _cells(features, frames, part)]
    lowest, highest = (int(end) for end in (np.min(ends or 0), np.max(ends or 0)))
    dims, width = features.shape[2], highest - lowest + 1
    if width * CELL > RANGE:
        span = f"from {lowest * CELL:g} to {highest * CELL:g}"
        raise HistogramError(f"features {span}, expected them in dB or within {RANGE:g} of each other")
    places = np.arange(dims) * width - lowest
    counts = np.zeros((len(parts), dims * width), np.int32)
    for own, part in zip(counts, parts, strict=True):
        for cells in _cells(features, frames, part):
            own += np.bincount((cells + places).ravel(), minlength=len(own))
    return lowest, counts.reshape(len(parts), dims, width)


def quantiles(lowest: int, counts: np.ndarray, levels: np.ndarray = LEVELS) -> np.ndarray:
    """Return the quantiles of `np.quantile` to `CELL` / 2.

    Args:
      lowest, counts: [F, cells], see `histograms`.
      levels: [Q] from 0, the smallest value, to 1, the largest.
    Returns: [F, Q] float64.
    Raises: ValueError if no frame was counted.
    """
    below = np.cumsum(counts, axis=1, dtype=np.int64)
    if not below[0, -1]:
        raise ValueError("no frame to take quantiles of, expected at least one")
    rank = np.asarray(levels) * (below[0, -1] - 1)
    ends = np.stack([np.floor(rank), np.ceil(rank)])
    lower, upper = np.stack([np.searchsorted(own, ends, side="right") for own in below], axis=1)
    return (lowest + lower + (rank - ends[0]) * (upper - lower)) * CELL


def equalize(
    features: "Gathered", frames: np.ndarray, number: np.ndarray, source: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Map each dimension piecewise linearly, from the quantiles of an utterance's group to the reference's.

    The map is monotonic, with slope one beyond the extremes. If quantiles of the source coincide, their value
    becomes the middle one of the reference's; so a dimension that never varies is shifted to the median.

    Args:
      features, frames: as in `histograms`.
      number: [N] int, the group of each utterance.
      source, reference: quantiles at the same levels, [G, F, Q] and [F, Q] or [G, F, Q].
    Returns: [N, T, F] float32; padding, and groups whose source is their reference, are unchanged.
    """
    reference = np.broadcast_to(reference, source.shape)
    found = devices.aligned(features.shape)  # there may be no room for a copy
    for g in np.unique(number):
        unchanged = np.array_equal(source[g], reference[g])
        for rows in blocks(features, np.flatnonzero(number == g)):
            x = features[rows]
            if not unchanged:
                valid = np.arange(x.shape[1]) < frames[rows][:, None]
                dims = np.ascontiguousarray(x[valid].T)
                x[valid] = np.stack(list(map(_moved, dims, source[g], reference[g])), axis=1)
            found[rows] = x
    return found


def towards(
    training: Collection[int], features: "Gathered", frames: np.ndarray, member: Membership
) -> np.ndarray:
    """Equalize every corpus towards the training corpora, pooled, each frame with the same weight.

    An utterance's source is its own corpus in the folds other than its own. Its reference is all of the
    training corpora or, if its own corpus is one of them, these in the folds other than its own, since fold i
    of all of them is tested at once. So its map depends on corpus and fold alone and on no test speaker of
    its own fold, and if a single corpus trains, that corpus is unchanged. (In a run that tests fold i of
    corpora it trains on, the maps of the training utterances do depend on fold i.)

    Args:
      training: the training corpora, numbered as in `member`.
      features, frames: as in `histograms`.
      member: of every utterance.
    Returns: [N, T, F] float32; padding is unchanged.
    Raises: ValueError if nothing trains, or a corpus has a single fold.
    """
    number = group("corpus", member)
    first = np.unique(number, return_index=True)[1]
    corpus, fold = member.corpus[first], member.fold[first]
    parts = [np.flatnonzero(number == g) for g in range(len(first))]
    lowest, counts = histograms(features, frames, parts)
    trains = np.isin(corpus, list(training))
    others = fold[:, None] != fold
    own = (corpus[:, None] == corpus) & others
    pooled = trains & (others | ~trains[:, None])
    source, reference = (
        np.stack([quantiles(lowest, counts[groups].sum(axis=0)) for groups in side]) for side in (own, pooled)
    )
    return equalize(features, frames, number, source, reference)


def _cells(features: "Gathered", frames: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the cells [frames, F] int of the frames of some rows; cell i is around i * `CELL`."""
    for part in blocks(features, rows):
        x = features[part]
        valid = x[np.arange(x.shape[1]) < frames[part][:, None]]
        if valid.size:
            yield np.rint(valid / np.float64(CELL)).astype(np.intp)


def _moved(values: np.ndarray, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Map the values of one dimension from the source's quantiles [Q] to the reference's."""
    start, first, times = np.unique(source, return_index=True, return_counts=True)
    end = np.interp(first + (times - 1) / 2, np.arange(len(reference)), reference)
    inside = np.clip(values, start[0], start[-1])
    return (values + (np.interp(inside, start, end) - inside)).astype(np.float32)
