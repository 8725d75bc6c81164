"""How well predictions agree with labels."""

import numpy as np


def recalls(labels, predictions, classes: int = 2) -> np.ndarray:
    """Recall of every class: of the utterances that are of it, the share found.

    Args:
      labels: [N] true classes, 0 to classes - 1.
      predictions: [N] predicted classes.
      classes: K.
    Returns: [K] float64; NaN for a class that no utterance is of.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    members = [labels == k for k in range(classes)]
    return np.array(
        [np.mean(predictions[own] == k) if own.any() else np.nan for k, own in enumerate(members)]
    )


def uar(labels, predictions, classes: int = 2) -> float:
    """Unweighted average recall (Sec. 5): the mean of the classes' recalls, 0.5 for guessing between two.

    Args:
      labels: [N] true classes.
      predictions: [N] predicted classes.
      classes: K.
    Returns: Between 0 and 1.
    Raises: ValueError where a class has no utterance, so that its recall is not defined.
    """
    found = recalls(labels, predictions, classes)
    if np.isnan(found).any():
        missing = ", ".join(str(k) for k in np.flatnonzero(np.isnan(found)))
        raise ValueError(f"UAR of {len(labels)} utterances is not defined: none is of class {missing}")
    return float(found.mean())
