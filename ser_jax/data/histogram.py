"""Histogram equalisation: a corpus's log-mels take on the distribution of the corpora that train.

Where standardisation matches two moments, this matches the whole distribution, band by band: a value that
exceeds a fraction p of its own corpus becomes the value that exceeds p of the reference,

    y = R^-1(S(x)),    S, R: the distribution functions of source and reference.

After Chiou and Chen (Interspeech 2014; the paper's reference [8]); bands, frames and protocol are ours.
No label is looked at. Distributions are over frames that hold sound, never over padding.
"""

from collections.abc import Collection, Iterator

import numpy as np

from ser_jax import host
from ser_jax.data.joined import LogMel
from ser_jax.data.standardize import CHUNK, Membership, grouping

CELL = 0.01  # dB; quantiles are off by half of it at most
LEVELS = np.sin(np.linspace(0, np.pi / 2, 129)) ** 2  # 0.012 apart in the middle, 0.00015 at the tails


def histograms(logmel: LogMel, frames: np.ndarray, parts: list[np.ndarray]) -> tuple[int, np.ndarray]:
    """Counts the frames that hold sound in cells around the multiples of `CELL`.

    So memory grows with the range of the values, not with their number: 1 MB for 26 bands over 100 dB.

    Args:
      logmel: [N, T, F] dB, finite; anything that has a `shape` and gathers an array of rows.
      frames: [N] frames that hold sound.
      parts: sets of rows, each [M] int.
    Returns: (the lowest cell, [sets, F, cells] int32).
    """
    ends = [(cells.min(), cells.max()) for part in parts for cells in _cells(logmel, frames, part)]
    lowest, highest = (int(end) for end in (np.min(ends or 0), np.max(ends or 0)))
    bands, width = logmel.shape[2], highest - lowest + 1
    places = np.arange(bands) * width - lowest
    counts = np.zeros((len(parts), bands * width), np.int32)
    for own, part in zip(counts, parts, strict=True):
        for cells in _cells(logmel, frames, part):
            own += np.bincount((cells + places).ravel(), minlength=len(own))
    return lowest, counts.reshape(len(parts), bands, width)


def quantiles(lowest: int, counts: np.ndarray, levels: np.ndarray = LEVELS) -> np.ndarray:
    """Those of `np.quantile`, interpolated between order statistics as there, to `CELL` / 2.

    Args:
      lowest, counts: [F, cells], see `histograms`.
      levels: [Q] from 0, the smallest value, to 1, the largest.
    Returns: [F, Q] float64, dB.
    Raises: ValueError where no frame was counted.
    """
    below = np.cumsum(counts, axis=1, dtype=np.int64)
    if not below[0, -1]:
        raise ValueError("no frame to take quantiles of, expected at least one")
    rank = np.asarray(levels) * (below[0, -1] - 1)
    ends = np.stack([np.floor(rank), np.ceil(rank)])
    lower, upper = np.stack([np.searchsorted(band, ends, side="right") for band in below], axis=1)
    return (lowest + lower + (rank - ends[0]) * (upper - lower)) * CELL


def equalised(
    logmel: LogMel, frames: np.ndarray, group: np.ndarray, source: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Maps every band piecewise linearly, from the quantiles of an utterance's group to the reference's.

    Order is kept; beyond the extremes the slope is one. Where quantiles of the source coincide, their value
    goes to the middle one of the reference's; so a band that never varies is shifted to the median.

    Args:
      logmel, frames: as in `histograms`.
      group: [N] int, which source an utterance belongs to.
      source: [G, F, Q] dB, quantiles at the same levels as the reference's.
      reference: [F, Q] or [G, F, Q] dB.
    Returns: [N, T, F] float32, dB; padding and groups whose source is their reference are as they were.
    """
    reference = np.broadcast_to(reference, source.shape)
    found = host.aligned(logmel.shape)  # of large corpora there is no room for a copy
    for g in np.unique(group):
        unchanged = np.array_equal(source[g], reference[g])
        for chunk in _chunks(np.flatnonzero(group == g)):
            x = logmel[chunk]
            if not unchanged:
                sound = np.arange(x.shape[1]) < frames[chunk][:, None]
                bands = np.ascontiguousarray(x[sound].T)
                x[sound] = np.stack(list(map(_moved, bands, source[g], reference[g])), axis=1)
            found[chunk] = x
    return found


def towards(training: Collection[int], logmel: LogMel, frames: np.ndarray, member: Membership) -> np.ndarray:
    """Equalises every corpus towards the corpora that train, pooled, every frame with the same weight.

    An utterance's source is its own corpus in the folds other than its own, unlabelled. Its reference is all
    that the training corpora say or, where its own is one of them, what they say in the folds other than its
    own, since fold i of all of them is tested at once. So its map depends on corpus and fold alone, and has
    heard no test speaker of its own fold; and where one corpus trains, that corpus stays as it is. (In a run
    that tests fold i of corpora it trains on, the maps of the training utterances have heard fold i.)

    Args:
      training: the corpora that train, numbered as in `member`.
      logmel, frames: as in `histograms`.
      member: of every utterance.
    Returns: [N, T, F] float32, dB; padding as it was.
    Raises: ValueError where nothing trains, or a corpus has a single fold.
    """
    group = grouping("corpus", member)
    first = np.unique(group, return_index=True)[1]
    corpus, fold = member.corpus[first], member.fold[first]
    lowest, counts = histograms(logmel, frames, [np.flatnonzero(group == g) for g in range(len(first))])
    trains = np.isin(corpus, list(training))
    others = fold[:, None] != fold
    own = (corpus[:, None] == corpus) & others
    pooled = trains & (others | ~trains[:, None])
    source, reference = (
        np.stack([quantiles(lowest, counts[groups].sum(axis=0)) for groups in side]) for side in (own, pooled)
    )
    return equalised(logmel, frames, group, source, reference)


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK))


def _cells(logmel: LogMel, frames: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """The cells [frames, F] int that the frames of some rows lie in; cell i is around i * `CELL`."""
    for chunk in _chunks(rows):
        x = logmel[chunk]
        heard = x[np.arange(x.shape[1]) < frames[chunk][:, None]]
        if heard.size:
            yield np.rint(heard / np.float64(CELL)).astype(np.intp)


def _moved(values: np.ndarray, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """One band's values, from the source's quantiles [Q] to the reference's."""
    start, first, times = np.unique(source, return_index=True, return_counts=True)
    end = np.interp(first + (times - 1) / 2, np.arange(len(reference)), reference)
    inside = np.clip(values, start[0], start[-1])
    return (values + (np.interp(inside, start, end) - inside)).astype(np.float32)
