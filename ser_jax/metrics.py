"""Score predictions against labels: UAR, accuracy and F1 of K classes; CCC, Pearson and RMSE of numbers.

Predictions may have leading axes, such as runs. Utterances without a label, -1 or NaN, are left out.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from ser_jax.shapes import Bool, Float, Int


def labelled(labels: ArrayLike) -> Bool[np.ndarray, "N"]:
    """Return which utterances have a label: integers other than -1, or any number that is not NaN."""
    labels = np.asarray(labels)
    if labels.dtype.kind != "f":
        return labels != -1
    return ~np.isnan(labels).all(axis=tuple(range(1, labels.ndim)))


def confusion(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> Int[np.ndarray, "*R K K"]:
    """Count the utterances by true (rows) and predicted class (columns).

    Args:
      labels: [N] true classes, 0 to classes - 1, or -1.
      predictions: [..., N] predicted classes.
    Raises: ValueError if the shapes do not match, or a value is not a class (but a probability, say).

    >>> confusion([0, 0, 0, 1], [0, 0, 1, 1])
    array([[2, 1],
           [0, 1]])
    """
    labels, predictions = _matching(np.asarray(labels), np.asarray(predictions), (1,))
    known, leading = labelled(labels), predictions.shape[:-1]
    labels = _classes("labels", labels[known], classes)
    predictions = _classes("predictions", predictions[..., known], classes)
    run = np.arange(math.prod(leading)).reshape(*leading, 1)
    place = (run * classes + labels) * classes + predictions
    counts = np.bincount(place.ravel(), minlength=run.size * classes**2)
    return counts.reshape(*leading, classes, classes)


def recalls(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> Float[np.ndarray, "*R K"]:
    """Return the recall of every class, NaN without utterances; arguments as in `confusion`.

    >>> recalls([0, 0, 0, 1], [[0, 0, 1, 1], [0, 0, 0, 0]])
    array([[0.66666667, 1.        ],
           [1.        , 0.        ]])
    """
    return recalls_of_sums(recall_sums(labels, predictions, classes))


def uar(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> np.ndarray:
    """Return the unweighted average recall (Sec. 5), [...]; ValueError if a class has no utterances.

    Arguments as in `confusion`. Chance is 1 / K.

    >>> uar([0, 0, 0, 1], [[0, 0, 0, 0], [0, 0, 0, 1]])
    array([0.5, 1. ])
    """
    class_sizes(labels, classes)
    return recalls(labels, predictions, classes).mean(axis=-1)


def class_sizes(labels: ArrayLike, classes: int = 2) -> np.ndarray:
    """Return the number of utterances of every class, [K]; ValueError if one is 0 and UAR not defined."""
    labels = np.asarray(labels)
    sizes = np.bincount(_classes("labels", labels[labelled(labels)], classes), minlength=classes)
    if not sizes.all():
        missing = ", ".join(map(str, np.flatnonzero(sizes == 0)))
        raise ValueError(f"UAR of {sizes.sum()} utterances is not defined: none is of class {missing}")
    return sizes


def accuracy(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> np.ndarray:
    """Return the share of utterances predicted correctly, [...]; arguments as in `confusion`."""
    counts = confusion(labels, predictions, classes)
    return divide(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def macro_f1(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> np.ndarray:
    """Return the mean F1 of the classes that occur, [...]; arguments as in `confusion`."""
    counts = confusion(labels, predictions, classes)
    size = counts.sum(axis=-1) + counts.sum(axis=-2)
    f1 = 2 * np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(size, 1)
    return divide(f1.sum(axis=-1), np.count_nonzero(size, axis=-1))


def eer(labels: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Return the equal error rate of two classes, [...]: at a threshold where both errors are as frequent.

    Between two thresholds it is interpolated linearly.

    Args:
      labels: [N] 0 or 1, or -1.
      scores: [..., N], higher for class 1.
    Raises: ValueError if the shapes do not match or a class has no utterances.

    >>> eer([0, 0, 1, 1], [[1, 2, 3, 4], [1, 3, 2, 4], [4, 3, 2, 1]])
    array([0. , 0.5, 1. ])
    """
    from sklearn.metrics import roc_curve  # imported late, since it takes long

    labels, scores = _matching(np.asarray(labels), np.asarray(scores), (1,))
    class_sizes(labels)
    known = labelled(labels)
    curves = (roc_curve(labels[known], run) for run in scores[..., known].reshape(-1, known.sum()))
    rates = [np.interp(0, false + true - 1, false) for false, true, _ in curves]
    return np.reshape(rates, scores.shape[:-1])


def ccc(labels: ArrayLike, predictions: ArrayLike) -> np.ndarray:
    """Return Lin's concordance correlation coefficient of every dimension.

    2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2), sums divided by N as in the reference.

    Args:
      labels: [N] or [N, D] numbers; NaN leaves an utterance out of that dimension.
      predictions: [..., N] or [..., N, D].
    Returns: [...] or [..., D], NaN if a prediction is NaN, there is no label, or all labels and predictions
      are the same number.
    Raises: ValueError if the shapes do not match.
    References: Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility", Biometrics 45, 1989.

    >>> ccc([1, 2, 3], [[1, 2, 3], [2, 3, 4], [3, 2, 1]]).round(6)
    array([ 1.      ,  0.571429, -1.      ])
    """
    return ccc_of_sums(ccc_sums(labels, predictions))


def pearson(labels: ArrayLike, predictions: ArrayLike) -> np.ndarray:
    """Return Pearson's correlation coefficient of every dimension; arguments and errors as in `ccc`.

    >>> pearson([1, 2, 3], [[1, 2, 3], [12, 14, 16], [3, 2, 1]]).round(6)
    array([ 1.,  1., -1.])
    """
    count, *sums = ccc_sums(labels, predictions)
    x, y, xx, yy, xy = (divide(each, count) for each in sums)
    return divide(xy - x * y, np.sqrt(np.maximum((xx - x * x) * (yy - y * y), 0)))


def rmse(labels: ArrayLike, predictions: ArrayLike) -> np.ndarray:
    """Return the root mean squared error of every dimension; arguments and errors as in `ccc`.

    >>> rmse([1, 2, 3], [[1, 2, 3], [2, 3, 4]])
    array([0., 1.])
    """
    x, y = _matching(np.asarray(labels, float), np.asarray(predictions, float), (1, 2))
    known = ~np.isnan(x)
    return np.sqrt(divide(np.where(known, (x - y) ** 2, 0).sum(axis=-x.ndim), known.sum(axis=0)))


def recall_sums(labels: ArrayLike, predictions: ArrayLike, classes: int = 2) -> Int[np.ndarray, "2 *R K"]:
    """Return the numbers of utterances of each class, and of those found, from which recalls follow."""
    counts = confusion(labels, predictions, classes)
    return np.stack([counts.sum(axis=-1), np.diagonal(counts, axis1=-2, axis2=-1)])


def recalls_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return the recalls [..., K] that follow from sums [2, ..., K]."""
    return divide(sums[1], sums[0])


def ccc_sums(labels: ArrayLike, predictions: ArrayLike) -> np.ndarray:
    """Return what CCC follows from: sums of 1, x, y, xx, yy, xy, x being labels; [6, ...] or [6, ..., D]."""
    x, y = _matching(np.asarray(labels, float), np.asarray(predictions, float), (1, 2))
    known = ~np.isnan(x)
    x, y = np.where(known, x, 0), np.where(known, y, 0)
    terms = np.broadcast_arrays(known, x, y, x * x, y * y, x * y)
    return np.stack([term.sum(axis=-x.ndim, dtype=float) for term in terms])


def ccc_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return the CCC [...] or [..., D] that follows from sums [6, ...] or [6, ..., D] over all utterances."""
    x, y, xx, yy, xy = (divide(each, sums[0]) for each in sums[1:])
    return divide(2 * (xy - x * y), xx - x * x + (yy - y * y) + (x - y) ** 2)


def _matching(labels: np.ndarray, predictions: np.ndarray, axes: tuple) -> tuple[np.ndarray, np.ndarray]:
    if labels.ndim not in axes or predictions.shape[-labels.ndim :] != labels.shape:
        raise ValueError(
            f"labels of shape {labels.shape} and predictions of shape {predictions.shape}, expected [N] and "
            f"[..., N]{' or [N, D] and [..., N, D]' if 2 in axes else ''} of the same N utterances"
        )
    return labels, predictions


def _classes(name: str, values: np.ndarray, classes: int) -> np.ndarray:
    strange = ~np.isin(values, np.arange(classes))
    if strange.any():
        raise ValueError(f"{values[strange][0]} among the {name}, expected classes 0 to {classes - 1}")
    return values.astype(np.int64)


def divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return total / count, NaN for 0 / 0."""
    with np.errstate(invalid="ignore"):
        return total / count
