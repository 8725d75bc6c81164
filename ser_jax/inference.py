"""How far UAR can be trusted: intervals, tests, and what guessing would give.

Each of R runs said something of the same M test utterances. Utterances of one person are alike, so that
speakers are drawn at random here, never utterances. The runs are taken as they are: what other seeds would
give is not in these figures but in the deviation over the runs.
"""

import bisect
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr
from scipy.stats import binom, t

from ser_jax.metrics import hits, members

BLOCK = 1 << 20  # weights or signs held at once, 8 MiB


class Interval(NamedTuple):
    """A range of UAR, as fractions; both NaN where there is none."""

    low: float
    high: float


def interval(
    labels: ArrayLike,
    decided: ArrayLike,
    speaker: ArrayLike,
    level: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Where the mean UAR of these runs lies for all people of whom these speakers are a random choice.

    Bootstrap over speakers: they are drawn anew, with replacement, each with all utterances, and UAR is taken
    over what was drawn. As the plain percentiles are too narrow for few speakers, those at the levels

        Phi(-sqrt(n / (n - 1)) t),   t the (1 + level) / 2 quantile of Student's t with n - 1 degrees,

    and its complement are returned, where n is the number of speakers of the class that fewest speak in.
    Draws without an utterance of a class are left out, because UAR is not defined for them; this is the same
    as drawing again. Draws stay between the worst and the best speaker, who may lie on one side of the truth,
    with a probability of about 2^(1 - n). Where that alone is more than 1 - level (n < 6 for 95 %), the
    interval is UAR +- sqrt(n / (n - 1)) t s, where s is the deviation of the draws, cut at 0 and 1.

    Of 4,000 simulated corpora each (50 to 200 utterances a speaker, recalls of people beta(14, 6), 5 runs,
    2,000 draws) such 95 % intervals held the truth in

        speakers                   2     3     4     5     6     7    10    23
        %                       95.4  95.0  94.6  95.1  93.6  93.9  94.3  94.7
        utterances drawn, %       32    33    33    32    33    33    44    58

    It covers whom the corpus happens to hold. What other seeds would give, or training on other people, is
    not in it.

    Args:
      labels: [M] true classes, 0 or 1.
      decided: [R, M] what every run said.
      speaker: [M] who spoke. Where people talked to each other, their session may be given in its place.
      level: the share of such intervals that hold the true value.
      samples: how often speakers are drawn.
      seed: of the draws.
    Returns: the interval; NaN where a class is spoken by one person only, who cannot tell how people
      differ. It depends neither on the speakers' names nor on the order of the utterances.
    Raises: ValueError for arrays that do not fit together, a class without utterances, or a level that is not
      between 0 and 1.
    References: Hesterberg, "What Teachers Should Know About the Bootstrap", American Statistician 69 (2015),
      expanded percentile interval and t interval with bootstrap standard error.
    """
    tail = (1 - _checked(level)) / 2
    size, found = _tally(labels, decided, speaker)
    n = np.count_nonzero(size, axis=0).min()
    if n < 2:
        return Interval(np.nan, np.nan)
    order = np.lexsort(np.hstack([size, found]).T)
    size, found = size[order].astype(float), found[order] / np.shape(decided)[0]
    draws = _draws(size, found, samples, seed)
    deviations = -np.sqrt(n / (n - 1)) * t.ppf(tail, n - 1)
    if 2.0 ** (1 - n) > 2 * tail:
        mean, reach = (found.sum(axis=0) / size.sum(axis=0)).mean(), deviations * draws.std()
        return Interval(max(0.0, float(mean - reach)), min(1.0, float(mean + reach)))
    return Interval(*np.quantile(draws, [ndtr(-deviations), ndtr(deviations)]).tolist())


def _draws(size: np.ndarray, found: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """UAR of every draw of speakers for which it is defined, from their counts [n, 2]."""
    rng, people, values = np.random.default_rng(seed), len(size), []
    for rows in _blocks(samples, people):
        weight = rng.multinomial(people, np.full(people, 1 / people), rows).astype(float)
        drawn = weight @ size
        defined = drawn.all(axis=1)
        values.append(((weight @ found)[defined] / drawn[defined]).mean(axis=1))
    return np.concatenate(values)


def paired_test(
    labels: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    speaker: ArrayLike,
    samples: int = 10_000,
    seed: int = 0,
) -> float:
    """p-value of the hypothesis that it does not matter which of two settings answered a speaker.

    The statistic is the difference of the settings' mean UAR, two-sided. Under the hypothesis the answers of
    the two settings (their means, where R is not Q) to all utterances of a speaker may be swapped. UAR is
    linear in a speaker's hits, so that a swap changes the sign of that speaker's share in the difference. Of
    the speakers on whom the settings differ, all swaps are tried where those are at most `samples`, and p is
    exact; else random ones, and p is (1 + as large) / (1 + samples). Sums are of integers, without rounding:
    ties count as ties.

    Five speakers cannot give less than 2 / 2^5 = 0.0625, ten not less than 0.002. The hypothesis is about the
    runs as they were trained, and luck of the seeds may make it false: of 1,000 simulated pairs of one and
    the same setting (five seeds each, ten speakers of 1,000 utterances) 5.5 % had p <= 0.05 where seeds do
    not matter, and 37 % where a seed moves everybody's recall by 0.01 (deviation).

    Args:
      labels: [M] true classes, 0 or 1.
      one: [R, M] what the runs of one setting said.
      other: [R, M] what the runs of the other, as many or not, said of the same utterances.
      speaker: [M] who spoke.
      samples: how many swaps are tried at most.
      seed: of random swaps.
    Returns: greater than 0, and 1 for equal predictions. It depends neither on which setting is `one`, nor on
      the speakers' names, nor on the order of the utterances.
    Raises: ValueError for arrays that do not fit together, or a class without utterances.
    References: Phipson and Smyth, "Permutation P-values Should Never Be Zero", Stat. Appl. Genet. Mol. Biol.
      9 (2010).
    """
    size, found = _tally(labels, one, speaker)
    runs, others = np.shape(one)[0], np.shape(other)[0]
    difference = others * found - runs * _tally(labels, other, speaker)[1]
    # times twice both numbers of runs and classes' sizes: integers, which float64 adds exactly up to 9e15
    share = (difference @ size.sum(axis=0)[::-1]).astype(float)
    observed = abs(share.sum())
    share = np.sort(np.abs(share[share != 0]))
    as_large = sum(
        np.count_nonzero(np.abs(signs @ share) >= observed) for signs in _swaps(len(share), samples, seed)
    )
    exact = 2 ** len(share) <= samples
    return as_large / 2 ** len(share) if exact else (1 + as_large) / (1 + samples)


def _swaps(n: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Signs [., n] of all 2^n swaps where those are at most `samples`, else of so many random ones."""
    rng, done = np.random.default_rng(seed), 0
    exact = 2**n <= samples
    for rows in _blocks(2**n if exact else samples, n):
        numbers = np.arange(done, done + rows)[:, None]
        swapped = (numbers >> np.arange(n)) & 1 if exact else rng.integers(2, size=(rows, n))
        yield 1.0 - 2.0 * swapped
        done += rows


def holm(p: ArrayLike) -> np.ndarray:
    """Adjusts p-values for being several: who rejects those up to x errs at all with probability x at most.

    Args:
      p: [n] p-values; NaN is a comparison that was not made, stays NaN and does not count.
    Returns: [n] float64, none smaller than before and none above 1.
    Raises: ValueError for what is no probability.
    References: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6 (1979).

    >>> holm([0.25, 0.0625, 0.5])
    array([0.5   , 0.1875, 0.5   ])
    """
    p = np.asarray(p, float)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    if np.any((p < 0) | (p > 1)):
        raise ValueError(f"{p[(p < 0) | (p > 1)][0]} among the p-values, expected 0 to 1")
    adjusted = np.full(p.shape, np.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def chance(labels: ArrayLike, level: float = 0.95) -> Interval:
    """Where the UAR of one run lies that tosses a fair coin for every utterance.

    The smallest range around 0.5 that holds it with probability `level` or more, from the two binomial
    distributions of its recalls, exactly.

    Args:
      labels: [M] true classes, 0 or 1.
      level: the probability.
    Returns: the range. A coin tosses anew for every utterance: a model that guesses a class per speaker, or
      from anything else that several utterances share, strays further.
    Raises: ValueError where a class has no utterance, or for a level that is not between 0 and 1.

    >>> chance([0, 1], level=0.5)  # one utterance each: none, one or both are found
    Interval(low=0.5, high=0.5)
    """
    a, b = sorted(members(labels).tolist())
    found = np.arange(a + 1)
    likely = binom.pmf(found, a, 0.5)

    def inside(width: int) -> float:
        """Probability of |i b + j a - a b| <= width, for i of a and j of b found."""
        most, least = ((a * b + end - found * b) // a for end in (width, -width - 1))
        return likely @ (binom.cdf(most, b, 0.5) - binom.cdf(least, b, 0.5))

    half = bisect.bisect_left(range(a * b), _checked(level), key=inside) / (2 * a * b)
    return Interval(0.5 - half, 0.5 + half)


def _tally(labels: ArrayLike, decided: ArrayLike, speaker: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Utterances of every speaker and class, and how many of them all runs together found: [n, 2] int64."""
    right, labels, speaker = hits(labels, decided), np.asarray(labels, int), np.asarray(speaker)
    members(labels)
    if right.ndim != 2 or not len(right):
        raise ValueError(f"predictions of shape {right.shape}, expected [R, {len(labels)}], R at least 1")
    if speaker.shape != labels.shape:
        raise ValueError(
            f"labels of shape {labels.shape} and speakers of shape {speaker.shape}, expected both [M]"
        )
    names, who = np.unique(speaker, return_inverse=True)
    place, size = 2 * who + labels, 2 * len(names)
    found = np.bincount(place, weights=right.sum(axis=0), minlength=size).astype(np.int64)
    return np.bincount(place, minlength=size).reshape(-1, 2), found.reshape(-1, 2)


def _blocks(count: int, width: int) -> Iterator[int]:
    """Numbers of rows that sum to `count`, each of at most `BLOCK` elements in all."""
    most = max(1, BLOCK // max(1, width))
    while count > 0:
        yield min(most, count)
        count -= most


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level {level}, expected between 0 and 1")
    return level
