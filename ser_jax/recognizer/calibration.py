"""Probabilities that mean what they say: temperature scaling of an ensemble, and how well it does.

One number T divides every network's margin m (the difference of its two logits) before the sigmoid:

    p = mean_r sigmoid(m_r / T)

T is what makes the labels of held-out utterances likeliest; it changes no network's class. References: Guo et
al., "On Calibration of Modern Neural Networks" (ICML 2017); Platt, "Probabilistic Outputs for Support Vector
Machines" (1999), for labels that are a little less than certain.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

TEMPERATURES = (0.05, 50.0)
SMALLEST = 1e-7  # probability, so that a single certain mistake does not cost infinitely much
BINS = 10


def probability(margin, temperature: float) -> np.ndarray:
    """[N] of class 1: the networks' mean.

    Args:
      margin: [R, N] differences of logits.
      temperature: more than 0.
    """
    return expit(np.asarray(margin, np.float64) / temperature).mean(axis=0)


def temperature(margin, labels) -> float:
    """What the margins are best divided by, within `TEMPERATURES`.

    As n utterances of a class without a mistake do not show that there is none, their labels count as
    (n + 1) / (n + 2), Platt's estimate; else what is separable would be called certain.

    Args:
      margin: [R, N] of held-out utterances.
      labels: [N] 0 or 1, of both classes.
    Raises: ValueError where a class is missing: any temperature could be right then.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        raise ValueError("utterances of one class only, expected both to calibrate on")
    members = np.bincount(labels)
    target = np.where(labels == 1, (members[1] + 1) / (members[1] + 2), 1 / (members[0] + 2))
    low, high = np.log(TEMPERATURES)
    # The loss is not convex in T for several networks: the best of a grid is refined.
    grid = np.linspace(low, high, 61)
    loss = [log_loss(probability(margin, np.exp(t)), target) for t in grid]
    best = grid[int(np.argmin(loss))]
    found = minimize_scalar(
        lambda t: log_loss(probability(margin, np.exp(t)), target),
        bounds=(max(low, best - 0.25), min(high, best + 0.25)),
        method="bounded",
    )
    return float(np.exp(found.x))


def log_loss(probability, labels) -> float:
    """Mean negative logarithm of the probability of what was so, nats.

    Args:
      probability: [N] of class 1.
      labels: [N] 0, 1, or how likely class 1 was.
    """
    p = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log1p(-p)))


def brier(probability, labels) -> float:
    """Mean squared difference between the probability of class 1 and what was so."""
    return float(np.mean((np.asarray(probability) - labels) ** 2))


def calibration_error(probability, labels, bins: int = BINS) -> float:
    """Expected calibration error: over bins of equal width, how far the share of class 1 is from the mean
    probability, each bin weighing as much as it holds.

    Args:
      probability: [N] of class 1.
      labels: [N] 0 or 1.
      bins: how many.
    """
    probability, labels = np.asarray(probability, np.float64), np.asarray(labels)
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=probability - labels, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def left_out(margin, labels, speaker) -> np.ndarray:
    """[N] probabilities of every speaker by the temperature of the other speakers; NaN where those are of one
    class only.

    Args:
      margin: [R, N].
      labels: [N] 0 or 1.
      speaker: [N].
    """
    labels, speaker = np.asarray(labels), np.asarray(speaker)
    found = np.full(len(labels), np.nan)
    for one in np.unique(speaker):
        own = speaker == one
        if len(np.unique(labels[~own])) == 2:
            found[own] = probability(margin[:, own], temperature(margin[:, ~own], labels[~own]))
    return found
