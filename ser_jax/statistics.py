"""Uncertainty of a metric: confidence intervals, permutation tests, and the range of chance.

Each of R runs predicted the same M test utterances. Utterances of one speaker are not independent, so that
speakers are resampled, never utterances. The runs are taken as they are.

A metric is "UAR" or "CCC" (the mean over the dimensions with labels); that of several runs is their mean. It
follows from sums over the utterances of each speaker, so that many draws of speakers are one matrix product.
"""

import bisect
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri
from scipy.stats import binom, t

from ser_jax import metrics

BLOCK = 1 << 20  # numbers held at once, 8 MiB
ROUNDING = 1e-12  # differences of values that are smaller than this share of them are 0


class Interval(NamedTuple):
    """A range of a metric; both NaN if there is none."""

    low: float
    high: float


def over_runs(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sample standard deviation (NaN for a single run) over the first axis of [R, ...]."""
    values = np.asarray(values, float)
    mean = values.mean(axis=0)
    return mean, values.std(axis=0, ddof=1) if len(values) > 1 else np.full_like(mean, np.nan)


def interval(
    metric: str,
    labels: ArrayLike,
    predictions: ArrayLike,
    speaker: ArrayLike,
    *,
    classes: int = 2,
    level: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return a confidence interval of the mean over runs, for the population that these speakers sample.

    Speakers are drawn with replacement, each with all utterances (bootstrap). Draws whose metric is NaN are
    left out. Plain percentiles are too narrow for few speakers; those returned are at

        Phi(-sqrt(n / (n - 1)) t),   t the (1 + level) / 2 quantile of Student's t with n - 1 degrees,

    and its complement, n being the number of speakers of the class or dimension that has fewest. If all n lie
    on one side of the truth with a probability above 1 - level (n < 6 for 95 %), the interval is the value
    +- sqrt(n / (n - 1)) t s, where s is the standard deviation of the draws, cut at the limits of the metric.

    Of 4,000 simulated corpora each (50 to 200 utterances a speaker; 5 runs, 2,000 draws) 95 % intervals held
    the truth in

        speakers                        2     3     4     5     6     7    10    23
        UAR of two classes, %        95.4  95.0  94.6  95.1  93.6  93.9  94.3  94.7
        if utterances are drawn, %     32    33    33    32    33    33    44    58
        CCC, %                       97.5  95.8  94.8  94.0  92.9  95.0  94.0  94.1

    Args:
      metric: "UAR" of `classes` classes, or "CCC".
      labels: [M] classes, -1 if unlabelled, or [M] or [M, D] numbers, NaN if unlabelled.
      predictions: [R, M] or [R, M, D].
      speaker: [M] who spoke; of dyads, the session may be given in its place.
      level: the share of such intervals that hold the true value.
      samples, seed: number and seed of the draws.
    Returns: NaN if only one speaker has a class or dimension. Speakers' names and the order of utterances do
      not matter.
    Raises: ValueError if arrays do not match, a class has no utterances, or for a bad level.
    References: Hesterberg, "What Teachers Should Know About the Bootstrap", American Statistician 69 (2015),
      expanded percentile interval and t interval with bootstrap standard error.
    """
    tail = (1 - _checked(level)) / 2
    labels, who, predictions = _arrays(metric, classes, labels, speaker, predictions)
    value, sums = _evaluation(metric, labels, predictions, who, classes)
    speakers, n = len(sums), np.count_nonzero(sums[:, 0].reshape(len(sums), -1), axis=0).min()
    rank = np.argsort(np.lexsort(sums.sum(axis=2).reshape(speakers, -1).T))  # so that names do not matter
    rng, chances = np.random.default_rng(seed), np.full(speakers, 1 / speakers)
    blocks = _blocks(samples, max(speakers, sums[0].size))
    draws = np.concatenate([value(rng.multinomial(speakers, chances, rows)[:, rank]) for rows in blocks])
    draws = draws[~np.isnan(draws)]
    if n < 2 or not len(draws):
        return Interval(np.nan, np.nan)
    reach = -np.sqrt(n / (n - 1)) * t.ppf(tail, n - 1)
    if 2.0 ** (1 - n) > 2 * tail:
        ends = value(np.ones((1, speakers)))[0] + reach * draws.std() * np.array([-1, 1])
        low = {"UAR": 0.0, "CCC": -1.0}
        return Interval(*np.clip(ends, low[metric], 1.0).tolist())
    return Interval(*np.quantile(draws, [ndtr(-reach), ndtr(reach)]).tolist())


def paired_test(
    metric: str,
    labels: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    speaker: ArrayLike,
    *,
    classes: int = 2,
    samples: int = 10_000,
    seed: int = 0,
) -> float:
    """Return the p-value of a permutation test that two settings predict speakers equally well.

    The statistic is the difference of the settings' means over runs, two-sided. Under the hypothesis the
    settings' predictions of all utterances of a speaker may be swapped, run by run (R and Q runs are repeated
    to their least common multiple). If the speakers on whom the settings differ have at most `samples` swaps,
    all are tried and p is exact; otherwise random ones, and p is (1 + as large) / (1 + samples).

    Five speakers cannot give less than 2 / 2^5 = 0.0625, ten not less than 0.002. The hypothesis is about the
    runs as they were trained: of 1,000 simulated pairs of the same setting (UAR, five seeds each, ten
    speakers of 1,000 utterances) 5.5 % had p <= 0.05 if seeds do not matter, and 37 % if a seed moves
    everybody's recall by 0.01 (standard deviation).

    Args:
      metric, labels, speaker, classes, seed: see `interval`, also for errors.
      one: [R, M] or [R, M, D] predictions of one setting's runs.
      other: [Q, M] or [Q, M, D] predictions of the other's runs of the same utterances.
    Returns: greater than 0, and 1 for equal predictions; NaN if the metric is. Neither which setting is
      `one`, nor speakers' names, nor the order of utterances matter.
    References: Phipson and Smyth, "Permutation P-values Should Never Be Zero", Stat. Appl. Genet. Mol. Biol.
      9 (2010).
    """
    labels, who, one, other = _arrays(metric, classes, labels, speaker, one, other)
    runs, speakers = np.arange(math.lcm(len(one), len(other))), int(who.max()) + 1
    both = np.concatenate([one[runs % len(one)], other[runs % len(other)]], axis=1)
    value, sums = _evaluation(
        metric, np.concatenate([labels, labels]), both, np.concatenate([who, speakers + who]), classes
    )

    def difference(swapped: np.ndarray) -> np.ndarray:
        """Return one setting's value less the other's, [B], if predictions of speakers [B, S] are swapped."""
        chosen = np.hstack([~swapped, swapped])
        return value(chosen) - value(~chosen)

    means = value(np.repeat(np.eye(2), speakers, axis=1))
    observed, rounding = means[0] - means[1], ROUNDING * np.abs(means).max()
    share = observed - difference(np.eye(speakers, dtype=bool))
    differ = np.flatnonzero(np.abs(share) > rounding)
    differ = differ[np.argsort(np.abs(share[differ]))]  # so that names do not matter
    every = 2 ** len(differ)
    rng, tried, as_large = np.random.default_rng(seed), 0, 0
    for rows in _blocks(min(every, samples), max(2 * speakers, sums[0].size)):
        bits = np.arange(tried, tried + rows)[:, None] >> np.arange(len(differ)) & 1
        swaps = bits if every <= samples else rng.integers(2, size=bits.shape)
        swapped = np.zeros((rows, speakers), bool)
        swapped[:, differ] = swaps != (share[differ] < 0)  # whichever setting is `one`
        as_large += int(np.sum(~(np.abs(difference(swapped)) < abs(observed) - rounding)))
        tried += rows
    if np.isnan(observed):
        return np.nan
    return as_large / every if every <= samples else (1 + as_large) / (1 + samples)


def holm(p: ArrayLike) -> np.ndarray:
    """Adjust n p-values for being several: rejecting those up to x errs at all with probability x at most.

    NaN is a comparison that was not made; it stays NaN and does not count.

    Raises: ValueError for a number that is not a probability.
    References: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6 (1979).

    >>> holm([0.25, 0.0625, 0.5])
    array([0.5   , 0.1875, 0.5   ])
    """
    p = np.asarray(p, float)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    if np.any((p < 0) | (p > 1)):
        raise ValueError(f"{p[(p < 0) | (p > 1)][0]} among the p-values, expected 0 to 1")
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def chance_interval(metric: str, labels: ArrayLike, *, classes: int = 2, level: float = 0.95) -> Interval:
    """Return the smallest range around chance that a guessing run's score is in with probability `level`.

    For UAR a guess is one of K classes at random: exact for two, from the binomial distributions of the
    recalls, otherwise from 100,000 simulated runs. For CCC it is the label of another utterance, drawn in
    every dimension: the correlation of permuted numbers is 0 with variance 1 / (n - 1), and taken for normal.

    Arguments and errors are those of `interval`. A model that makes the same guess for several utterances,
    as those of one speaker, deviates further.

    >>> chance_interval("UAR", [0, 1], level=0.5)  # one utterance each: none, one or both are found
    Interval(low=0.5, high=0.5)
    """
    level, sizes = _checked(level), _sizes(metric, np.asarray(labels), classes)
    if metric == "CCC":
        half = ndtri((1 + level) / 2) * np.sqrt(np.sum(1 / np.maximum(sizes - 1, 1))) / len(sizes)
        return Interval(max(-1.0, -half), min(1.0, half))
    if classes == 2:
        a, b = int(sizes.min()), int(sizes.max())
        found = np.arange(a + 1)
        likely = binom.pmf(found, a, 0.5)

        def inside(width: int) -> float:
            """Return the probability of |i b + j a - a b| <= width if i of a and j of b are found."""
            most, least = ((a * b + end - found * b) // a for end in (width, -width - 1))
            return likely @ (binom.cdf(most, b, 0.5) - binom.cdf(least, b, 0.5))

        half = bisect.bisect_left(range(a * b), level, key=inside) / (2 * a * b)
    else:
        shares = np.random.default_rng(0).binomial(sizes, 1 / classes, (100_000, classes)) / sizes
        half = float(np.quantile(np.abs(shares.mean(axis=1) - 1 / classes), level))
    return Interval(max(0.0, 1 / classes - half), min(1.0, 1 / classes + half))


def _evaluation(
    metric: str, labels: np.ndarray, predictions: np.ndarray, who: np.ndarray, classes: int
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Return a function from how often each of S speakers counts, [B, S], to the metric [B]; and their sums.

    The sums are [S, C, R or 1, ...], the first of C being numbers of utterances, of every class or dimension.
    """
    sums_of = metrics.ccc_sums if metric == "CCC" else partial(metrics.recall_sums, classes=classes)
    value_of = metrics.ccc_of_sums if metric == "CCC" else metrics.recalls_of_sums
    rows = np.split(np.argsort(who, kind="stable"), np.cumsum(np.bincount(who))[:-1])
    sums = np.stack([sums_of(labels[own], predictions[:, own]) for own in rows]).astype(float)
    if metric == "UAR":
        sums = sums.sum(axis=2, keepdims=True)  # linear in what is found: all runs are as one

    def value(weights: np.ndarray) -> np.ndarray:
        found = value_of(np.moveaxis(np.tensordot(weights, sums, 1), 1, 0))
        return found.reshape(len(weights), -1).mean(axis=1)

    return value, sums


def _arrays(
    metric: str, classes: int, labels: ArrayLike, speaker: ArrayLike, *predictions: ArrayLike
) -> tuple[np.ndarray, ...]:
    """Return labels, numbers of the speakers and predictions of the labelled utterances."""
    labels, speaker = np.asarray(labels, float if metric == "CCC" else None), np.asarray(speaker)
    each = [np.asarray(one) for one in predictions]
    known = metrics.labelled(labels)
    _sizes(metric, labels, classes)
    if metric == "CCC" and labels.ndim == 2:
        some = ~np.isnan(labels).all(axis=0)
        labels, each = labels[:, some], [one[..., some] for one in each]
    return labels[known], np.unique(speaker[known], return_inverse=True)[1], *(one[:, known] for one in each)


def _sizes(metric: str, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how many utterances have each class, or a label in each dimension that has any."""
    if metric == "UAR":
        return metrics.class_sizes(labels, classes)
    if metric != "CCC":
        raise ValueError(f"metric {metric!r}, expected UAR or CCC")
    if not metrics.labelled(labels).any():
        raise ValueError(f"none of {len(labels)} utterances has a label")
    sizes = np.atleast_1d(np.count_nonzero(labels == labels, axis=0))  # NaN is not equal to itself
    return sizes[sizes > 0]


def _blocks(count: int, width: int) -> list[int]:
    """Return numbers of rows that sum to `count`, each of at most `BLOCK` numbers in all."""
    return np.diff([*range(0, count, max(1, BLOCK // width)), count]).tolist()


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level {level}, expected between 0 and 1")
    return level
