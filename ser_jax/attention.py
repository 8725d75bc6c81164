"""Measure which segment has the largest attention weight, by how much, and the weight on padding (Sec. 6).

A short utterance fills only the first segments; the others are padding, but have weights as well. The paper's
figures are `largest` and `decisive` of all weights; `masked` removes the padding.

`valid`, from `valid_mask`, is [M, S] if all runs have the same utterances, else [R, M, S]. Utterances whose
weights are all zero are excluded from every share. If a weight of a run is NaN, so are its shares.
"""

import numpy as np
from numpy.typing import ArrayLike

from ser_jax.metrics import divide
from ser_jax.shapes import Bool, Float

MARGIN = 0.5  # between the two largest weights (Sec. 6)
Weights = Float[np.ndarray, "R M S"]


def valid_mask(frames: ArrayLike, segments: int, hop: int) -> Bool[np.ndarray, "*R M S"]:
    """Return which segments have valid frames; the others are padding alone.

    Args:
      frames: valid frames of every utterance, before padding; 0 leaves one out.
      segments: S; segment s begins with frame s hop.
      hop: stride times pool, 90 in the paper.

    >>> valid_mask([100, 300], segments=4, hop=90)  # 1 s and 3 s
    array([[ True,  True, False, False],
           [ True,  True,  True,  True]])
    """
    return np.asarray(frames)[..., None] > np.arange(segments) * hop


def largest(attention: ArrayLike) -> Float[np.ndarray, "R S"]:
    """Return the share of utterances in which each segment has the largest weight (Figs. 2 and 3).

    Of equal weights the first counts. Each row sums to 1; it is NaN for a run without utterances.

    >>> largest([[[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.0, 0.6, 0.4], [0.1, 0.8, 0.1]]])
    array([[0.25, 0.75, 0.  ]])
    """
    attention = np.asarray(attention, np.float64)
    return _mean(_winners(attention), _counted(attention))


def decisive(attention: ArrayLike) -> Float[np.ndarray, "R"]:
    """Return the share of utterances whose two largest weights differ by more than `MARGIN` (Sec. 6).

    It is NaN for a run without utterances. A single segment is compared with 0.
    """
    attention = np.asarray(attention, np.float64)
    second, first = np.sort(np.pad(attention, ((0, 0), (0, 0), (1, 0))), axis=-1)[..., -2:].transpose(2, 0, 1)
    above = np.where(np.isnan(attention).any(axis=-1), np.nan, first - second > MARGIN)
    return _mean(above, _counted(attention))


def masked(attention: ArrayLike, valid: ArrayLike) -> Weights:
    """Return the weights of a softmax over only the valid segments: 0 on padding, with sum 1.

    They are all zero for an utterance without valid segments, and equal if the valid weights were rounded to
    zero.

    >>> masked([[[0.25, 0.25, 0.5]]], [[True, True, False]])
    array([[[0.5, 0.5, 0. ]]])
    """
    attention, valid = np.asarray(attention, np.float64), np.asarray(valid)
    kept = np.where(valid, attention, 0.0)
    lost = (kept.sum(axis=-1) == 0) & _counted(attention)
    kept = np.where(lost[..., None] & valid, 1.0, kept)
    total = kept.sum(axis=-1, keepdims=True)
    return kept / np.where(total == 0, 1.0, total)


def expected_by_chance(valid: ArrayLike) -> Float[np.ndarray, "*R S"]:
    """Return the shares of `largest` if one valid segment of every utterance were drawn at random.

    They fall from the first segment to the last, and are NaN without utterances.

    >>> expected_by_chance([[True, False], [True, True]])
    array([0.75, 0.25])
    """
    valid = np.asarray(valid)
    lengths = valid.sum(axis=-1)
    return _mean(valid / np.maximum(lengths, 1)[..., None], lengths > 0)


def on_padding(attention: ArrayLike, valid: ArrayLike) -> Float[np.ndarray, "2 R"]:
    """Return the mean weight on padding, and the share of utterances whose largest weight is on padding.

    Both are over the utterances that have a valid segment.
    """
    attention, valid = np.asarray(attention, np.float64), np.asarray(valid)
    counted = valid.any(axis=-1) & _counted(attention)
    weights = (np.where(valid, 0.0, part).sum(axis=-1) for part in (attention, _winners(attention)))
    return np.stack([_mean(weight, counted) for weight in weights])


def _counted(attention: Weights) -> Bool[np.ndarray, "R M"]:
    """Return which utterances are not left out."""
    return (attention != 0).any(axis=-1)


def _winners(attention: Weights) -> Weights:
    """Return 1 at the first of the largest weights, else 0; NaN for an utterance with NaN."""
    first = np.arange(attention.shape[-1]) == attention.argmax(axis=-1)[..., None]
    return np.where(np.isnan(attention).any(axis=-1, keepdims=True), np.nan, first)


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the mean over the utterances counted [..., M] of values [..., M] or [..., M, S]."""
    own = counted if values.ndim == counted.ndim else counted[..., None]
    axis = counted.ndim - 1
    return divide(np.where(own, values, 0).sum(axis=axis), own.sum(axis=axis))
