"""How well predictions agree with labels."""

import numpy as np
from numpy.typing import ArrayLike


def hits(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> np.ndarray:
    """Which predictions are right.

    Args:
      labels: [N] true classes, 0 to classes - 1.
      predictions: [..., N] predicted classes; the leading axes are runs, say.
      classes: K.
    Returns: [..., N] bool.
    Raises: ValueError where labels and predictions are not of equally many utterances, or hold anything that
      is no class (a probability, say).
    """
    labels, predictions = _checked(labels, predictions, classes)
    return predictions == labels


def members(labels: ArrayLike, classes: int = 2) -> np.ndarray:
    """Counts the utterances of every class.

    Args:
      labels: [N] true classes.
      classes: K.
    Returns: [K] int64, all positive.
    Raises: ValueError where a class has no utterance, so that its recall and UAR are not defined.
    """
    counts = np.bincount(_classes("labels", labels, classes), minlength=classes)
    if not counts.all():
        missing = ", ".join(str(k) for k in np.flatnonzero(counts == 0))
        raise ValueError(f"UAR of {counts.sum()} utterances is not defined: none is of class {missing}")
    return counts


def recalls(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> np.ndarray:
    """Recall of every class: of the utterances that are of it, the share found.

    Args:
      labels: [N] true classes, 0 to classes - 1.
      predictions: [..., N] predicted classes.
      classes: K.
    Returns: [..., K] float64; NaN for a class that no utterance is of.
    Raises: ValueError, see `hits`.

    >>> recalls([0, 0, 0, 1], [[0, 0, 1, 1], [0, 0, 0, 0]])
    array([[0.66666667, 1.        ],
           [1.        , 0.        ]])
    """
    right, labels = hits(labels, predictions, classes), np.asarray(labels)
    own = [right[..., labels == k] for k in range(classes)]
    return np.stack(
        [each.mean(axis=-1) if each.shape[-1] else np.full(each.shape[:-1], np.nan) for each in own], axis=-1
    )


def uar(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> float:
    """Unweighted average recall (Sec. 5): the mean of the classes' recalls, 0.5 for guessing between two.

    Args:
      labels: [N] true classes.
      predictions: [N] predicted classes.
      classes: K.
    Returns: Between 0 and 1.
    Raises: ValueError where a class has no utterance, so that its recall is not defined; see also `hits`.

    >>> uar([0, 0, 0, 1], [0, 0, 0, 0])  # three of four are right
    0.5
    """
    return float(pooled_uar(labels, predictions, classes))


def pooled_uar(labels: ArrayLike, decided: ArrayLike, classes: int = 2) -> np.ndarray:
    """UAR of every run over all utterances at once, whichever fold tested them.

    Args:
      labels: [M] true classes.
      decided: [R, M] what every run said.
      classes: K.
    Returns: [R] float64 between 0 and 1.
    Raises: ValueError, see `uar`.
    """
    members(labels, classes)
    return recalls(labels, decided, classes).mean(axis=-1)


def confusion(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> np.ndarray:
    """Counts the utterances by true and predicted class.

    Args:
      labels: [N] true classes.
      predictions: [N] predicted classes.
      classes: K.
    Returns: [K, K] int64; rows are true, columns predicted classes.
    Raises: ValueError, see `hits`.

    >>> confusion([0, 0, 0, 1], [0, 0, 1, 1])
    array([[2, 1],
           [0, 1]])
    """
    pair = np.ravel_multi_index(_checked(labels, predictions, classes), (classes, classes))
    return np.bincount(pair, minlength=classes**2).reshape(classes, classes)


def _checked(labels: ArrayLike, predictions: ArrayLike, classes: int) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions = _classes("labels", labels, classes), _classes("predictions", predictions, classes)
    if labels.ndim != 1 or predictions.shape[-1:] != labels.shape:
        raise ValueError(
            f"labels of shape {labels.shape} and predictions of shape {predictions.shape}, expected [N] and "
            "[..., N] of the same N utterances"
        )
    return labels, predictions


def _classes(name: str, values: ArrayLike, classes: int) -> np.ndarray:
    values = np.asarray(values)
    strange = ~np.isin(values, np.arange(classes))
    if strange.any():
        raise ValueError(f"{values[strange][0]} among the {name}, expected classes 0 to {classes - 1}")
    return values.astype(np.int64)
