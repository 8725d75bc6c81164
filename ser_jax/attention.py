"""Sec. 6: which segment wins, by how much, and how much of that is padding.

A short utterance fills the first segments only; the others are zeros, yet have weights as well. So attention
that "lies at the beginning" is in part a statement about lengths. The paper's figures are `largest` and
`decided` of the weights as they are; `among` takes the padding out, `expected` is what chance would do.

Weights are [R, M, S]: R runs, M utterances, S segments. `sound`, from `sounding`, is [M, S] where all runs
are asked about the same utterances, [R, M, S] where each is asked about its own. An utterance whose weights
are all zero is left out of every share: it has no sound, or only fills a stack up. A NaN among the weights of
a run makes its shares NaN.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

MARGIN = 0.5  # between the two largest weights (Sec. 6)


def largest(attention: ArrayLike) -> np.ndarray:
    """In which share of the utterances each segment has the largest weight (Figs. 2 and 3).

    Ties go to the first: the segments of an utterance's padding all weigh the same, so that where padding
    wins, its first segment does.

    Args:
      attention: [R, M, S] weights.
    Returns: [R, S] between 0 and 1, each row sums to 1; NaN for a run without utterances.

    >>> largest([[[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.0, 0.6, 0.4], [0.1, 0.8, 0.1]]])
    array([[0.25, 0.75, 0.  ]])
    """
    attention = _weights(attention)
    return _mean(_winners(attention), _counted(attention))


def decided(attention: ArrayLike, margin: float = MARGIN) -> np.ndarray:
    """In which share of the utterances the two largest weights differ by more than `margin` (Sec. 6).

    Args:
      attention: [R, M, S] weights; what a single segment is compared with is 0.
      margin: between 0 and 1.
    Returns: [R] between 0 and 1; NaN for a run without utterances.
    """
    attention = _weights(attention)
    return _mean(_is_decided(attention, margin), _counted(attention))


def sounding(frames: ArrayLike, segments: int, hop: int, least: int = 1) -> np.ndarray:
    """Which segments hear sound; the others hear padding alone.

    Segment s begins with frame s hop, and sound comes before padding, so that how many frames a segment
    spans does not matter.

    Args:
      frames: [M] or [R, M], frames of every utterance that hold sound; 0 leaves one out.
      segments: S.
      hop: frames from one segment to the next: stride times pool, 90 in the paper.
      least: how many of its frames must hold sound. Segments overlap by 7 frames in the paper: 8 asks for
        one that the segment before does not hear, 97 for a segment without any padding.
    Returns: [M, S] or [R, M, S] bool.

    >>> sounding([100, 300], segments=4, hop=90)  # 1 s and 3 s
    array([[ True,  True, False, False],
           [ True,  True,  True,  True]])
    """
    return np.asarray(frames)[..., None] >= np.arange(segments) * hop + least


def among(attention: ArrayLike, sound: ArrayLike) -> np.ndarray:
    """The weights among the sounding segments: padding weighs nothing, the rest sums to 1.

    They are what the softmax would have said of these segments alone. Where a rounded softmax left them
    nothing, they weigh the same.

    Args:
      attention: [R, M, S] weights.
      sound: [M, S] or [R, M, S] bool.
    Returns: [R, M, S]; all zero for an utterance without any sounding segment.

    >>> among([[[0.25, 0.25, 0.5]]], [[True, True, False]])
    array([[[0.5, 0.5, 0. ]]])
    """
    attention, sound = _aligned(attention, sound)
    kept = np.where(sound, attention, 0.0)
    lost = (kept.sum(axis=-1) == 0) & _counted(attention)
    kept = np.where(lost[..., None] & sound, 1.0, kept)
    total = kept.sum(axis=-1, keepdims=True)
    return kept / np.where(total == 0, 1.0, total)


def expected(sound: ArrayLike) -> np.ndarray:
    """The shares of `largest` if every utterance drew one of its own sounding segments at random.

    It falls from the first segment to the last as the lengths have it: attention that prefers no place looks
    like this, not like 1 / S.

    Args:
      sound: [M, S] or [R, M, S] bool.
    Returns: [S] or [R, S]; sums to 1, NaN without utterances.

    >>> expected([[True, False], [True, True]])
    array([0.75, 0.25])
    """
    sound = np.asarray(sound)
    filled = sound.sum(axis=-1, keepdims=True)
    return _mean(sound / np.maximum(filled, 1), filled[..., 0] > 0)


def preference(attention: ArrayLike, sound: ArrayLike) -> np.ndarray:
    """How many times as often as by chance each segment wins among the sounding ones.

    Args:
      attention: [R, M, S] weights.
      sound: [M, S] or [R, M, S] bool.
    Returns: [R, S], `largest` by `expected`; 1 throughout where no place is preferred, NaN for a segment that
      no utterance reaches.
    """
    return _divide(largest(among(attention, sound)), expected(sound))


class Padding(NamedTuple):
    """What padding draws of the attention.

    Attributes:
      weight: [R] mean over the utterances of the weight that lies on it.
      wins: [R] share of the utterances whose largest weight lies on it.
    """

    weight: np.ndarray
    wins: np.ndarray


def on_padding(attention: ArrayLike, sound: ArrayLike) -> Padding:
    """How much attention lies where there is no sound, utterances that fill the input included.

    Args:
      attention: [R, M, S] weights.
      sound: [M, S] or [R, M, S] bool; utterances without a sounding segment are left out.
    """
    attention, sound = _aligned(attention, sound)
    counted = sound.any(axis=-1) & _counted(attention)
    weight = np.where(sound, 0.0, attention).sum(axis=-1)
    wins = np.where(sound, 0.0, _winners(attention)).sum(axis=-1)
    return Padding(_mean(weight, counted), _mean(wins, counted))


class ByLength(NamedTuple):
    """The shares of utterances that fill 1, 2, ... S segments; NaN where there are none.

    Attributes:
      utterances: [R, S] int, how many fill just so many.
      largest: [R, S, S]; [r, n - 1] is `largest` of those that fill n.
      decided: [R, S]; [r, n - 1] is `decided` of those.
    """

    utterances: np.ndarray
    largest: np.ndarray
    decided: np.ndarray


def by_length(attention: ArrayLike, sound: ArrayLike) -> ByLength:
    """Which segment wins, apart for utterances of different lengths.

    Args:
      attention: [R, M, S] weights as they are, where what lies beyond n is padding's; or from `among`, where
        chance is 1 / n.
      sound: [M, S] or [R, M, S] bool.
    """
    attention, sound = _aligned(attention, sound)
    lengths = 1 + np.arange(attention.shape[-1])
    fills = (sound.sum(axis=-1)[..., None] == lengths) & _counted(attention)[..., None]  # [R, M, lengths]
    count = fills.sum(axis=1)
    won = np.einsum("rmn,rms->rns", fills.astype(float), _winners(attention))
    settled = np.einsum("rmn,rm->rn", fills.astype(float), _is_decided(attention, MARGIN))
    return ByLength(count, _divide(won, count[..., None]), _divide(settled, count))


class OverRuns(NamedTuple):
    """A figure of several runs.

    Attributes:
      mean: [...].
      deviation: [...] sample deviation (ddof = 1); NaN for a single run.
      runs: R.
    """

    mean: np.ndarray
    deviation: np.ndarray
    runs: int


def over_runs(values: ArrayLike) -> OverRuns:
    """Sums up what every run says: [R, ...] to mean and sample deviation [...]. NaN stays NaN."""
    values = np.asarray(values, np.float64)
    mean = values.mean(axis=0)
    deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.full_like(mean, np.nan)
    return OverRuns(mean, deviation, len(values))


def _weights(attention: ArrayLike) -> np.ndarray:
    attention = np.asarray(attention, np.float64)
    if attention.ndim != 3:
        raise ValueError(f"attention of shape {attention.shape}, expected [R, M, S]")
    return attention


def _aligned(attention: ArrayLike, sound: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    attention, sound = _weights(attention), np.asarray(sound)
    if sound.shape not in (attention.shape, attention.shape[1:]):
        raise ValueError(
            f"sound of shape {sound.shape}, expected {attention.shape[1:]} or {attention.shape} as attention"
        )
    return attention, np.broadcast_to(sound, attention.shape)


def _counted(attention: np.ndarray) -> np.ndarray:
    """[R, M] bool: which utterances a share is of."""
    return (attention != 0).any(axis=-1)


def _winners(attention: np.ndarray) -> np.ndarray:
    """[R, M, S]: 1 at the first of the largest weights, else 0; NaN where weights are."""
    first = np.arange(attention.shape[-1]) == attention.argmax(axis=-1)[..., None]
    return np.where(np.isnan(attention).any(axis=-1, keepdims=True), np.nan, first)


def _is_decided(attention: np.ndarray, margin: float) -> np.ndarray:
    """[R, M]: 1 where the two largest weights differ by more than `margin`, else 0; NaN where weights are."""
    ordered = np.sort(np.concatenate([attention, np.zeros_like(attention[..., :1])], axis=-1), axis=-1)
    difference = ordered[..., -1] - ordered[..., -2]
    return np.where(np.isnan(attention).any(axis=-1), np.nan, difference > margin)


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the utterances that count [..., M], of [..., M] or [..., M, S]."""
    own = counted if values.ndim == counted.ndim else counted[..., None]
    axis = counted.ndim - 1
    return _divide(np.where(own, values, 0).sum(axis=axis), own.sum(axis=axis))


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """total / count; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore"):
        return total / count
