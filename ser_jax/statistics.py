"""Estimate the uncertainty of scores: intervals and tests over seeds and speakers, and the range of chance.

Each of R runs, trained with different seeds, predicted the same M test utterances. Statements are about other
seeds and other speakers, so both are treated as samples, like readers and cases in studies of diagnostic
imaging (multi-reader, multi-case analysis). Utterances of one person, or of people who met, are not
independent; therefore clusters of speakers, never utterances, are left out or drawn.

A metric is "UAR" or "CCC" (the mean over the dimensions with labels); that of several runs is their mean. It
follows from sums over the utterances of each cluster.
"""

import bisect
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri
from scipy.stats import binom, t

from ser_jax import metrics

BLOCK = 1 << 20  # numbers held at once, 8 MiB
ROUNDING = 1e-12  # smaller differences of scores are 0
FLIPS = 1 << 14  # choices of signs that are tried, at most
LEAST = {"UAR": 0.0, "CCC": -1.0}  # of each metric


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
    cluster: ArrayLike,
    *,
    classes: int = 2,
    level: float = 0.95,
) -> Interval:
    """Return a confidence interval of a setting's score, for other seeds and other speakers.

    The pseudo-values of a jackknife over S clusters, p[s, r] = S x[r] - (S - 1) x[r] without cluster s, are
    analysed as a two-way layout of clusters and runs. The variance of the mean score is

        MS(runs) / (S R) + max(V - MS(clusters x runs) / (S R), 0),

    V being the variance of the clusters' means, divided by S. The interval is that of Student's t, whose
    degrees of freedom follow from those of the two parts (Satterthwaite), and are less than the number of
    clusters in which the rarest class or dimension occurs. The interval of a single run is for other speakers
    only.

    Of 1,000 simulated corpora each (UAR; 60 utterances a speaker; 3, 5 or 10 runs, whose recalls differ by a
    standard deviation of 0, 1 or 3 points) 95 % intervals held the truth in

        speakers              2      3      4      5      6      8     12     23
        lowest of 9, %     99.1   95.3   94.3   93.6   94.7   94.2   94.3   93.9
        highest of 9, %   100.0   97.1   96.8   96.2   96.8   96.0   96.5   95.6

    Args:
      metric: "UAR" of `classes` classes, or "CCC".
      labels: [M] classes, -1 if unlabelled, or [M] or [M, D] numbers, NaN if unlabelled.
      predictions: [R, M] or [R, M, D].
      cluster: [M] names of speakers or, where several met in a session, of sessions.
      level: the share of intervals that contain the true value.
    Returns: NaN if some class or dimension occurs in one cluster only. Names of clusters and the order of
      utterances and runs do not matter.
    Raises: ValueError if arrays do not match, a class has no utterances, or for a bad level.
    References: Obuchowski and Rockette, Commun. Stat. Simul. Comput. 24 (1995); Hillis, "A comparison of
      denominator degrees of freedom methods for multiple observer ROC analysis", Stat. Med. 26 (2007).
    """
    return mean_interval(metric, [(labels, predictions, cluster)], classes=classes, level=level)


def mean_interval(
    metric: str,
    corpora: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]],
    *,
    classes: int = 2,
    level: float = 0.95,
) -> Interval:
    """Return a confidence interval of the mean score over corpora, for other seeds and other speakers.

    The corpora themselves are fixed. The variances of their scores, as in `interval`, are added; the degrees
    of freedom follow from those of the parts (Satterthwaite).

    Args:
      metric, classes, level: see `interval`, also for errors.
      corpora: labels, predictions and clusters of each.
    Returns: NaN if some class or dimension occurs in one cluster of a corpus only.
    """
    tail = (1 - _checked(level)) / 2
    scores, parts = [], []
    for labels, predictions, cluster in corpora:
        labels, who, predictions = _arrays(metric, classes, labels, cluster, predictions)
        found = _analysis(metric, labels, predictions, who, classes)
        if found.degrees < 1:
            return Interval(np.nan, np.nan)
        scores.append(found.score)
        parts.append(_variance(found.clusters - found.interaction, found.degrees, [found]))
    score, total = np.mean(scores), sum(variance for variance, _ in parts)
    uncertain = sum(variance**2 / degrees for variance, degrees in parts)
    degrees = total**2 / uncertain if uncertain else sum(degrees for _, degrees in parts)
    reach = t.ppf(1 - tail, degrees) * np.sqrt(total) / len(scores)
    low, high = np.clip([score - reach, score + reach], LEAST[metric], 1.0).tolist()
    return Interval(low, high)


def difference_test(
    metric: str,
    labels: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    cluster: ArrayLike,
    *,
    classes: int = 2,
) -> float:
    """Test whether two settings score equally on other seeds and other speakers; return the p-value.

    The difference of the settings' mean scores is compared with its standard error, as in `interval`: V is
    the variance of the clusters' differences, divided by S; the interactions of both settings are subtracted,
    and their MS(runs) / (S R) added. Runs of the two settings are not paired, whatever their seeds.

    In the same simulations, of two settings that are equal for every speaker, p <= 0.05 in

        speakers              2      3      4      5      6      8     12     23
        lowest of 9, %      0.0    0.0    0.0    0.7    1.1    1.7    2.3    2.4
        highest of 9, %     0.1    1.0    1.9    2.6    3.1    3.7    4.4    4.8

    It is 3.7 to 5.9 % with 5 to 23 speakers whose recalls differ between the settings by 5 or 10 points
    (standard deviation), if the settings are equal on average. A true difference of 10 points is found with
    12 speakers and 5 runs of each in 98.2 to 100 %. Of real predictions (Table 2 on RAVDESS and EmoDB, ten
    seeds, 10 epochs) halves of one setting's seeds differ in 0 to 4 % of 126 splits, whichever of 16 cells.

    Args:
      metric, labels, cluster, classes: see `interval`, also for errors.
      one: [R, M] or [R, M, D] predictions of one setting's runs.
      other: [Q, M] or [Q, M, D] predictions of the other's runs of the same utterances.
    Returns: 1 for equal predictions; NaN if some class or dimension occurs in one cluster only, or if scores
      vary neither over runs nor over clusters.
    """
    labels, who, one, other = _arrays(metric, classes, labels, cluster, one, other)
    both = [_analysis(metric, labels, predictions, who, classes) for predictions in (one, other)]
    first, second = both
    if first.degrees < 1:
        return np.nan
    apart = (first.means - second.means).var(ddof=1) / len(first.means)
    variance, degrees = _variance(apart - first.interaction - second.interaction, first.degrees, both)
    difference = abs(first.score - second.score)
    if np.isnan(variance + difference) or difference < ROUNDING:
        return np.nan if np.isnan(variance + difference) else 1.0
    return float(2 * t.sf(difference / np.sqrt(variance), degrees)) if variance else np.nan


class _Analysis(NamedTuple):
    """The parts of the variance of a setting's mean score."""

    score: float
    means: np.ndarray  # [S] pseudo-values, the mean over runs
    clusters: float  # variance of `means`, divided by S
    runs: float  # MS(runs) / (S R)
    interaction: float  # MS(clusters x runs) / (S R)
    degrees: int  # clusters of the class or dimension that the fewest have, less 1
    seeds: int  # runs, less 1


def _analysis(
    metric: str, labels: np.ndarray, predictions: np.ndarray, who: np.ndarray, classes: int
) -> _Analysis:
    score, sums = _score_of_sums(metric, labels, predictions, who, classes)
    total, (clusters, runs) = sums.sum(axis=0), (len(sums), len(predictions))
    each = score(total)
    values = clusters * each - (clusters - 1) * score(np.moveaxis(total - sums, 1, 0))
    by_cluster, by_run = values.mean(axis=1), values.mean(axis=0)
    rest = values - by_cluster[:, None] - by_run + values.mean()
    degrees = np.count_nonzero(sums[:, 0].reshape(clusters, -1), axis=0).min() - 1
    if degrees < 1:
        return _Analysis(each.mean(), by_cluster, 0.0, 0.0, 0.0, degrees, runs - 1)
    several, spread = max(runs - 1, 1), np.sum(rest**2) / (clusters - 1)
    return _Analysis(
        score=each.mean(),
        means=by_cluster,
        clusters=by_cluster.var(ddof=1) / clusters,
        runs=np.sum((by_run - by_run.mean()) ** 2) / several / runs,
        interaction=spread / several / (clusters * runs),
        degrees=degrees,
        seeds=runs - 1,
    )


def _variance(clusters: float, degrees: int, settings: list[_Analysis]) -> tuple[float, float]:
    """Return the variance of clusters and the settings' runs together, and its degrees of freedom."""
    parts = [(max(clusters, 0.0), degrees), *((one.runs, one.seeds) for one in settings if one.seeds)]
    total = sum(part for part, _ in parts)
    uncertain = sum(part**2 / own for part, own in parts)
    return total, min(total**2 / uncertain, degrees) if uncertain else degrees


def speaker_interval(
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
    """Return a confidence interval for other speakers only, with the runs as trained.

    It suits a trained recogniser. Speakers are drawn with replacement, each with all utterances (bootstrap).
    Draws whose metric is NaN are left out. Plain percentiles are too narrow for few speakers; those returned
    are at

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
      metric, labels, predictions, classes, level: see `interval`, also for errors.
      speaker: [M] names of the speakers; for dyads, sessions may be given instead.
      samples, seed: number and seed of the draws.
    Returns: NaN if only one speaker has a class or dimension.
    References: Hesterberg, "What Teachers Should Know About the Bootstrap", American Statistician 69 (2015),
      expanded percentile interval and t interval with bootstrap standard error.
    """
    tail = (1 - _checked(level)) / 2
    labels, who, predictions = _arrays(metric, classes, labels, speaker, predictions)
    score, sums = _score_of_sums(metric, labels, predictions, who, classes)
    if metric == "UAR":
        sums = sums.sum(axis=2, keepdims=True)  # linear in what is found: all runs are as one
    speakers, n = len(sums), np.count_nonzero(sums[:, 0].reshape(len(sums), -1), axis=0).min()
    rank = np.argsort(np.lexsort(sums.sum(axis=2).reshape(speakers, -1).T))  # so that names do not matter
    rng, chances = np.random.default_rng(seed), np.full(speakers, 1 / speakers)

    def drawn(times: np.ndarray) -> np.ndarray:
        """Return the scores [B] if each of S speakers counts so often, [B, S]."""
        return score(np.moveaxis(np.tensordot(times, sums, 1), 1, 0)).mean(axis=1)

    blocks = _blocks(samples, max(speakers, sums[0].size))
    draws = np.concatenate([drawn(rng.multinomial(speakers, chances, rows)[:, rank]) for rows in blocks])
    draws = draws[~np.isnan(draws)]
    if n < 2 or not len(draws):
        return Interval(np.nan, np.nan)
    reach = -np.sqrt(n / (n - 1)) * t.ppf(tail, n - 1)
    if 2.0 ** (1 - n) > 2 * tail:
        ends = drawn(np.ones((1, speakers)))[0] + reach * draws.std() * np.array([-1, 1])
        return Interval(*np.clip(ends, LEAST[metric], 1.0).tolist())
    return Interval(*np.quantile(draws, [ndtr(-reach), ndtr(reach)]).tolist())


class Ranking(NamedTuple):
    """Hold the result of a `ranking_test`."""

    auc: float  # NaN if nobody has both classes
    p: float  # NaN likewise
    clusters: int  # of speakers who met, some of whom have both classes
    parts: np.ndarray  # [M] what each utterance adds to `auc` - 0.5


def ranking_test(scores: ArrayLike, first: ArrayLike, speaker: ArrayLike, cluster: ArrayLike) -> Ranking:
    """Test whether utterances of a first class score lower than those of a second.

    The AUC of a speaker is the probability that an utterance of the first class scores higher than one of the
    second, with ties counted half. The overall AUC is the mean over speakers, weighted by m n / (m + n),
    where m and n are their numbers of utterances of the two classes (as in van Elteren's test). Utterances of
    different speakers are not compared, so that voices and microphones do not matter.

    The null hypothesis is an AUC of 0.5 or more on other speakers: the contribution of a cluster of speakers
    to AUC - 0.5 is at least as likely positive as negative. p is the share of the 2^S choices of the
    clusters' signs, or of `FLIPS` random ones, that yield no higher AUC; a sign is changed by swapping the
    classes in the whole cluster. So p is never below 2^-S: 0.0625 for 4 clusters, 0.002 for 9.

    If labels are random within speakers, all signs are equally likely, and p <= a has a probability of at
    most a. Of 1,000 simulated corpora each (4 classes, 5 utterances of each by every speaker, whose biases
    differ), p <= 0.05 after Holm's correction over the 6 pairs in

        speakers                                      4     7     9     15
        any pair, all AUCs 0.5, %                   0.0   4.9   5.8    4.1
        any pair, AUCs of speakers around 0.5, %    0.0   4.0   4.2    3.0
        any pair, AUC 0.68, %                       0.0   0.0   0.0    0.0
        a swapped pair, AUC 0.32, %                 0.0  22.5  33.1   65.5
        a swapped pair, AUC 0.17, %                 0.0  72.3  92.7  100.0

    Args:
      scores: [M] numbers.
      first: [M] bool, whether an utterance is of the first class.
      speaker, cluster: [M] names of the speakers and of the sets of speakers who met.
    References: van Elteren, "On the combination of independent two-sample tests of Wilcoxon", Bull. Inst.
      Int. Stat. 37 (1960).

    >>> found = ranking_test([1, 2, 3, 4], [True, False, True, False], ["a", "a", "b", "b"], [0, 0, 1, 1])
    >>> found.auc, found.p  # lower in both of two clusters
    (0.0, 0.25)
    """
    scores, first, speaker = np.asarray(scores), np.asarray(first), np.asarray(speaker)
    parts, weight = np.zeros(len(scores)), np.zeros(len(scores))
    for who in np.unique(speaker):
        one, other = (np.flatnonzero((speaker == who) & (first == is_first)) for is_first in (True, False))
        size = len(one) + len(other)
        higher = np.sign(scores[one, None] - scores[None, other]) / (4 * size)
        parts[one], parts[other] = higher.sum(axis=1), higher.sum(axis=0)
        weight[one] = len(other) / size
    number = np.unique(cluster, return_inverse=True)[1]
    if not weight.any():
        return Ranking(np.nan, np.nan, 0, parts)
    parts /= weight.sum()
    each = np.bincount(number, parts)[np.bincount(number, weight) > 0]
    count, most = len(each), parts.sum() + ROUNDING
    if (every := 2**count) <= FLIPS:
        signs = 1 - 2 * (np.arange(every)[:, None] >> np.arange(count)[None, :] & 1)
        p = np.mean(signs @ each <= most)
    else:
        rng = np.random.default_rng(0)
        draws = (rng.choice([-1, 1], (rows, count)) @ each <= most for rows in _blocks(FLIPS, count))
        p = (1 + sum(map(np.sum, draws))) / (1 + FLIPS)
    return Ranking(float(np.clip(0.5 + parts.sum(), 0, 1)), float(p), count, parts)


def holm(p: ArrayLike) -> np.ndarray:
    """Adjust n p-values for multiple comparisons.

    If all hypotheses with adjusted values up to x are rejected, the probability of any false rejection is at
    most x.

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
    """Return the smallest range around chance that contains a share `level` of random guesses' scores.

    For UAR a guess is one of K classes at random: exact for two, from the binomial distributions of the
    recalls, otherwise from 100,000 simulated runs. For CCC it is the label of another utterance, drawn in
    every dimension: the correlation of permuted numbers has mean 0 and variance 1 / (n - 1), and is taken as
    normal.

    Arguments and errors are those of `interval`. A model that guesses the same for several utterances, for
    example of one speaker, deviates further.

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


def _score_of_sums(
    metric: str, labels: np.ndarray, predictions: np.ndarray, who: np.ndarray, classes: int
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Return a function from sums [C, ..., R, K] or [C, ..., R] to scores [..., R]; and those of S clusters.

    The latter are [S, C, R, ...], the first of C being numbers of utterances, of every class or dimension.
    """
    sums_of = metrics.ccc_sums if metric == "CCC" else partial(metrics.recall_sums, classes=classes)
    value_of = metrics.ccc_of_sums if metric == "CCC" else metrics.recalls_of_sums
    rows = np.split(np.argsort(who, kind="stable"), np.cumsum(np.bincount(who))[:-1])
    sums = np.stack([sums_of(labels[own], predictions[:, own]) for own in rows]).astype(float)
    by_part = sums.ndim == 4  # of classes or dimensions

    def score(sums: np.ndarray) -> np.ndarray:
        return value_of(sums).mean(axis=-1) if by_part else value_of(sums)

    return score, sums


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
