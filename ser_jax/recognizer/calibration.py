"""Probabilities that mean what they say: temperature scaling of an ensemble, and how well it does.

A temperature divides every network's margin m (the difference of its two logits) before the sigmoid:

    p = mean_r sigmoid(m_r / T),   T = value share^-decay

It rises as the share of the window that holds sound falls: half a second is less sure than seven, and says
so. Both numbers are what makes the labels of held-out utterances, whole and cut short, likeliest; neither
changes a network's class. References: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017);
Platt, "Probabilistic Outputs for Support Vector Machines" (1999), for labels that are a little less than
certain.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from ser_jax.recognizer.trained import DECAYS, VALUES, Temperature

SMALLEST = 1e-7  # probability, so that a single certain mistake does not cost infinitely much
BINS = 10
DRAWS = 1000  # of labels, for the error of a perfect recogniser


def probability(margin: ArrayLike, temperature: float | np.ndarray) -> np.ndarray:
    """[M] of class 1: the networks' mean.

    Args:
      margin: [R, M] differences of logits.
      temperature: [M] or one, more than 0.

    >>> probability([[3.0, 0.0], [3.0, 0.0]], temperature=3.0).round(3)
    array([0.731, 0.5  ])
    """
    return expit(np.asarray(margin, np.float64) / temperature).mean(axis=0)


def fitted(
    margin: ArrayLike, labels: ArrayLike, share: ArrayLike, members: np.ndarray | None = None
) -> Temperature:
    """The temperature that makes labels likeliest.

    As n utterances of a class without a mistake do not show that there is none, their labels count as
    (n + 1) / (n + 2), Platt's estimate; else what is separable would be called certain.

    Args:
      margin: [R, M] of held-out utterances, each perhaps several times, cut short.
      labels: [M] 0 or 1, of both classes.
      share: [M] of the window that holds sound, more than 0 and 1 at most.
      members: [2] how many utterances there are of each class; as often as it comes in `labels` by default.
    Raises: ValueError where a class is missing: any temperature could be right then.
    """
    labels, share = np.asarray(labels), np.asarray(share)
    members = np.bincount(labels, minlength=2) if members is None else members
    if not np.all(members) or len(np.unique(labels)) < 2:
        raise ValueError("utterances of one class only, expected both to calibrate on")
    target = np.where(labels == 1, (members[1] + 1) / (members[1] + 2), 1 / (members[0] + 2))
    varies = np.ptp(share) > 0  # else the two numbers cannot be told apart

    def loss(point: Sequence[float] | np.ndarray) -> float:
        found = Temperature(np.exp(point[0]), point[1] if varies else 0.0)
        return log_loss(probability(margin, found.at(share)), target)

    # Of several networks the loss is not convex in T: the best of a grid is refined.
    low, high = np.log(VALUES)
    bounds = [(low, high), DECAYS]
    decays = np.linspace(*DECAYS, 7) if varies else [0.0]
    grid = [(value, decay) for value in np.linspace(low, high, 29) for decay in decays]
    best = grid[int(np.argmin([loss(point) for point in grid]))]
    found = minimize(
        loss, best, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-4, "fatol": 1e-9}
    ).x
    return Temperature(float(np.exp(found[0])), float(found[1]) if varies else 0.0)


def log_loss(probability: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative logarithm of the probability of what was so, nats.

    Args:
      probability: [M] of class 1.
      labels: [M] 0, 1, or how likely class 1 was.
    """
    p, labels = np.clip(probability, SMALLEST, 1 - SMALLEST), np.asarray(labels)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log1p(-p)))


def brier(probability: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared difference between the probability [M] of class 1 and what was so [M], 0 or 1."""
    return float(np.mean((np.asarray(probability) - labels) ** 2))


def calibration_error(probability: ArrayLike, labels: ArrayLike) -> float:
    """Expected calibration error: over `BINS` of equal width, how far the share of class 1 is from the mean
    probability, each bin weighing as much as it holds.

    Args:
      probability: [M] of class 1.
      labels: [M] 0 or 1.

    >>> calibration_error([0.75, 0.75, 0.75, 0.75], [1, 1, 0, 0])  # 0.75 is said, 0.5 is so
    0.25
    """
    probability, labels = np.asarray(probability, np.float64), np.asarray(labels)
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    gap = np.bincount(place, weights=probability - labels, minlength=BINS)
    return float(np.abs(gap).sum() / len(labels))


def least_error(probability: ArrayLike) -> float:
    """The calibration error to expect of labels that are drawn with just these probabilities [M]: what a
    perfect recogniser shows of so few utterances."""
    probability = np.asarray(probability, np.float64)
    labels = np.random.default_rng(0).uniform(size=(DRAWS, len(probability))) < probability
    return float(np.mean([calibration_error(probability, own) for own in labels]))


def left_out(
    margin: np.ndarray,
    labels: np.ndarray,
    share: np.ndarray,
    speaker: np.ndarray,
    members: Mapping[str, np.ndarray],
    fits: np.ndarray,
) -> np.ndarray:
    """[M] probabilities of every speaker by the temperature of the other speakers; NaN where those are of one
    class only.

    Args:
      margin, labels, share: as in `fitted`.
      speaker: [M].
      members: speaker -> [2], the utterances of each class.
      fits: [M] bool, what temperatures are fitted to.
    """
    found, total = np.full(len(labels), np.nan), sum(members.values())
    for one in members:
        own, rest = speaker == one, total - members[one]
        if np.all(rest):
            others = fits & ~own
            temperature = fitted(margin[:, others], labels[others], share[others], rest)
            found[own] = probability(margin[:, own], temperature.at(share[own]))
    return found
