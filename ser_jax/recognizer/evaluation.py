"""Calibration by temperature scaling, and evaluation on held-out speakers.

A temperature divides every network's margin m (the difference of its two logits) before the sigmoid:

    p = mean_r sigmoid(m_r / T),   T = value share^-decay

It rises as the share of the window that holds sound falls: half a second is less sure than seven. Both
numbers are what makes the labels of held-out utterances, whole and cut short, likeliest; neither changes a
network's class. References: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017); Platt,
"Probabilistic Outputs for Support Vector Machines" (1999), for labels that are a little less than certain.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from ser_jax.devices import Gathered
from ser_jax.features import logmel
from ser_jax.metrics import confusion, uar
from ser_jax.recognizer import trained
from ser_jax.recognizer.trained import DECAYS, VALUES, Temperature, Trained
from ser_jax.statistics import interval

SMALLEST = 1e-7  # probability, so that a single certain mistake does not cost infinitely much
BINS = 10
DRAWS = 1000  # of labels, for the error of a perfect recogniser
BATCH = 64  # windows predicted at once
CUTS = (0.5, 1.0, 2.0, 4.0)  # s, to which longer utterances are cut
LEVELS = (-10.0, 10.0)  # dB
LEAST = 10 * np.log10(logmel.FLOOR)  # dB


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


class Variants(NamedTuple):
    """Versions of utterances that are predicted, several of most.

    Attributes:
      row: [M] which of the N utterances.
      frames: [M] of each that are used.
      cut: [M] s that it was cut to, one of `CUTS`; infinite for whole ones.
      level: [M] dB by which it was made louder; 0 for those that were not.
    """

    row: np.ndarray
    frames: np.ndarray
    cut: np.ndarray
    level: np.ndarray

    def only(self, which: np.ndarray) -> "Variants":
        """Return those at some places: [n] int, or [M] bool."""
        return Variants(*(part[which] for part in self))


class HeldOut(NamedTuple):
    """The N held-out utterances.

    Attributes:
      labels: [N] 0 or 1; -1 without a label.
      speaker, corpus: [N] str.
    """

    labels: np.ndarray
    speaker: np.ndarray
    corpus: np.ndarray


def variants(frames: np.ndarray) -> Variants:
    """Return utterances of `frames` [N] whole, at each of `LEVELS`, and cut to each shorter of `CUTS`."""
    rows = np.arange(len(frames))
    inf = np.full(len(frames), np.inf)
    parts = [Variants(rows, frames, inf, np.full(len(rows), level)) for level in (0.0, *LEVELS)]
    for seconds in CUTS:
        most = logmel.frame_count(round(seconds * logmel.RATE))
        longer = rows[frames > most]
        one = np.ones(len(longer))
        parts.append(Variants(longer, np.full(len(longer), most), seconds * one, 0 * one))
    return Variants(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def margins(model: Trained, features: Gathered, rows: np.ndarray, wanted: Variants) -> np.ndarray:
    """Return the differences of logits [A, R, M] for variants of `features[rows]` [N, T, F]."""
    own, found = trained.weights(model), []
    for first in range(0, len(wanted.row), BATCH):
        places = np.arange(first, first + BATCH) % len(wanted.row)  # one program for all
        some = wanted.only(places)
        x = np.maximum(features[rows[some.row]] + some.level[:, None, None], LEAST).astype(np.float32)
        found.append(np.asarray(trained.margins(model.sizes, own, x, some.frames.astype(np.int32))[0]))
    return np.concatenate(found, axis=2)[:, :, : len(wanted.row)]


def measured(margin: np.ndarray, wanted: Variants, held_out: HeldOut) -> tuple[Temperature, dict[str, Any]]:
    """Calibrate and evaluate one target's networks; utterances without a label are left out.

    The probabilities of a speaker are calibrated by the temperature of the others; those of the only speaker
    by none, that is 1.

    Args:
      margin: [R, M].
      wanted: the variants.
      held_out: their utterances.
    Returns: (the temperature of all of them; JSON: fractions, null if something is not defined).
    """
    known = held_out.labels >= 0
    counted = known[wanted.row]
    margin, wanted = margin[:, counted], wanted.only(counted)
    wanted = wanted._replace(row=(np.cumsum(known) - 1)[wanted.row])
    held_out = HeldOut(*(part[known] for part in held_out))
    temperature, fair = _calibrated(margin, wanted, held_out)
    labels, corpus = held_out.labels[wanted.row], held_out.corpus[wanted.row]
    whole = (wanted.level == 0) & np.isinf(wanted.cut)

    def quality(probabilities: np.ndarray, which: np.ndarray) -> dict[str, Any]:
        return _quality(probabilities[which], labels[which])

    decided = (fair[whole] > 0.5).astype(int)
    low, high = interval("UAR", held_out.labels, decided[None, :], held_out.speaker)
    seeds = uar(held_out.labels, (margin[:, whole] > 0).astype(int))
    return temperature, {
        "utterances": len(held_out.labels),
        "speakers": len(np.unique(held_out.speaker)),
        **quality(fair, whole),
        "uar_interval": [_number(low), _number(high)],
        "uar_seeds": [_number(one) for one in seeds],
        "confusion": confusion(held_out.labels, decided).tolist(),
        "calibration_error_of_a_perfect_one": _number(least_error(fair[whole])),
        "uncalibrated": quality(probability(margin, 1.0), whole),
        "temperature": {name: _number(value) for name, value in temperature._asdict().items()},
        "corpora": {str(one): quality(fair, whole & (corpus == one)) for one in np.unique(held_out.corpus)},
        "seconds": {
            f"{cut:g}": quality(fair, wanted.cut == cut) for cut in CUTS if (wanted.cut == cut).any()
        },
        "louder": {f"{gain:+g} dB": quality(fair, wanted.level == gain) for gain in LEVELS},
    }


def _calibrated(margin: np.ndarray, wanted: Variants, held_out: HeldOut) -> tuple[Temperature, np.ndarray]:
    """Return the temperature of all, and the probabilities [M] of every speaker by that of the others."""
    labels, speaker = held_out.labels[wanted.row], held_out.speaker[wanted.row]
    share, fits = wanted.frames / logmel.FRAMES, wanted.level == 0
    members = {
        str(one): np.bincount(held_out.labels[held_out.speaker == one], minlength=2)
        for one in np.unique(held_out.speaker)
    }
    total = sum(members.values(), np.zeros(2, int))
    temperature = fitted(margin[:, fits], labels[fits], share[fits], total)
    fair = left_out(margin, labels, share, speaker, members, fits)
    return temperature, np.where(np.isnan(fair), probability(margin, 1.0), fair)


def _quality(probability: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Evaluate probabilities [M] of class 1."""
    both = len(np.unique(labels)) == 2
    return {
        "asked": len(labels),
        "uar": _number(uar(labels, (probability > 0.5).astype(int))) if both else None,
        "log_loss": _number(log_loss(probability, labels)),
        "brier": _number(brier(probability, labels)),
        "calibration_error": _number(calibration_error(probability, labels)),
    }


def _number(value: float | np.ndarray) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
