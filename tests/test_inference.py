"""Intervals that cover as often as they say, and what chance gives, on corpora whose truth is known."""

import numpy as np
import pytest
from scipy import stats
from simulated_speakers import TRUTH, recalls_of_people, runs, simulated, truths

from ser_jax import inference
from ser_jax.inference import chance, holm, interval, paired_test
from ser_jax.metrics import pooled_uar


def over_utterances(rng, labels, decided, samples=1000):
    """The 95 % percentile interval that takes utterances for independent."""
    kinds, counts = np.unique([labels, (decided == labels).sum(axis=0)], axis=1, return_counts=True)
    drawn = rng.multinomial(len(labels), counts / len(labels), size=samples)
    found = [
        drawn[:, kinds[0] == k] @ kinds[1, kinds[0] == k] / drawn[:, kinds[0] == k].sum(axis=1)
        for k in (0, 1)
    ]
    return np.quantile(np.mean(found, axis=0) / len(decided), [0.025, 0.975])


def test_intervals_cover_as_often_as_they_say_and_those_over_utterances_do_not():
    rng, corpora = np.random.default_rng(0), 400
    ours, plain = np.zeros(corpora, bool), np.zeros(corpora, bool)
    for seed in range(corpora):
        labels, decided, speaker = simulated(seed)
        low, high = interval(labels, decided, speaker, samples=1000)
        ours[seed] = low <= TRUTH <= high
        low, high = over_utterances(rng, labels, decided)
        plain[seed] = low <= TRUTH <= high
    assert ours.mean() == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / corpora))
    assert plain.mean() < 0.6


@pytest.mark.parametrize("speakers", [2, 4])
def test_intervals_cover_also_where_speakers_are_too_few_for_percentiles(speakers):
    corpora = 300
    bounds = [interval(*simulated(seed, speakers, count=2), samples=300) for seed in range(corpora)]
    covered = np.mean([low <= TRUTH <= high for low, high in bounds])
    assert covered == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / corpora))


def test_a_class_that_few_speak_in_is_as_few_speakers():
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels, speaker = truths(rng, speakers=20, each=40)
        labels[speaker > "s002"] = 1  # three are left in class 0
        decided = runs(rng, labels, recalls_of_people(rng, labels, speaker), 2)
        low, high = interval(labels, decided, speaker, samples=300)
        covered.append(low <= TRUTH <= high)
    assert np.mean(covered) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)


def test_the_bootstrap_is_scipys_at_the_expanded_level():
    labels, decided, speaker = simulated(0)
    names, who = np.unique(speaker, return_inverse=True)
    cells = [(who == i) & (labels == k) for i in range(len(names)) for k in (0, 1)]
    size = np.array([own.sum() for own in cells]).reshape(-1, 2)
    found = np.array([(decided == labels)[:, own].mean(axis=0).sum() for own in cells]).reshape(-1, 2)

    def statistic(*counts, axis):
        found_0, found_1, size_0, size_1 = (each.sum(axis=axis) for each in counts)
        return (found_0 / size_0 + found_1 / size_1) / 2

    n = len(names)
    expanded = 1 - 2 * stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    theirs = stats.bootstrap(
        (*found.T, *size.T),
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        confidence_level=expanded,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    ours = interval(labels, decided, speaker, samples=20_000)
    np.testing.assert_allclose(ours, theirs.confidence_interval, atol=0.1 * theirs.standard_error)


@pytest.mark.parametrize(("speakers", "level"), [(3, 0.95), (10, 0.9), (40, 0.95), (40, 0.68)])
def test_of_speakers_of_equal_size_it_is_close_to_students_interval(speakers, level):
    rng = np.random.default_rng(speakers)
    labels, speaker = np.tile([0, 1], 50 * speakers), np.repeat(np.arange(speakers), 100)
    decided = runs(rng, labels, recalls_of_people(rng, labels, speaker), 3)
    each = [pooled_uar(labels[speaker == i], decided[:, speaker == i]).mean() for i in range(speakers)]
    wanted = stats.t.interval(level, speakers - 1, np.mean(each), stats.sem(each))
    low, high = interval(labels, decided, speaker, level)
    np.testing.assert_allclose([low, high], wanted, atol=0.06 * (wanted[1] - wanted[0]))


def test_it_does_not_see_names_order_or_block(monkeypatch):
    labels, decided, speaker = simulated(1, speakers=12)
    wanted = (
        interval(labels, decided, speaker, samples=500),
        paired_test(labels, decided[:2], decided[2:], speaker, samples=500),
    )
    order = np.random.default_rng(2).permutation(len(labels))
    renamed = np.array([name[::-1] for name in speaker])
    monkeypatch.setattr(inference, "BLOCK", 100)
    assert wanted == (
        interval(labels[order], decided[::-1, order], renamed[order], samples=500),
        paired_test(labels[order], decided[2:, order], decided[:2, order], renamed[order], samples=500),
    )


def test_swapping_the_classes_keeps_the_interval():
    labels, decided, speaker = simulated(3)
    here, there = (
        np.array(interval(*each, speaker)) for each in ((labels, decided), (1 - labels, 1 - decided))
    )
    np.testing.assert_allclose(here, there, atol=0.05 * (here[1] - here[0]))


def test_a_higher_level_is_a_wider_interval_around_the_uar():
    labels, decided, speaker = simulated(4, speakers=8)
    bounds = np.array([interval(labels, decided, speaker, level) for level in (0.5, 0.8, 0.95, 0.99, 0.999)])
    uar = pooled_uar(labels, decided).mean()
    assert (np.diff(bounds[:, 0]) < 0).all()
    assert (np.diff(bounds[:, 1]) > 0).all()
    assert ((bounds[:, 0] < uar) & (uar < bounds[:, 1])).all()
    assert ((bounds >= 0) & (bounds <= 1)).all()


def test_runs_that_agree_are_one_run():
    labels, decided, speaker = simulated(5, count=1)
    np.testing.assert_allclose(
        interval(labels, np.repeat(decided, 4, axis=0), speaker), interval(labels, decided, speaker)
    )


def test_what_reaches_beyond_0_and_1_is_cut():
    labels, decided, speaker = simulated(9, speakers=2)
    assert interval(labels, decided, speaker, level=0.999) == (0, 1)


def test_one_speaker_says_nothing_of_others():
    labels, decided = np.array([0, 1, 0, 1]), np.array([[0, 1, 1, 1]])
    assert np.isnan(interval(labels, decided, ["a"] * 4)).all()
    assert np.isnan(interval(labels, decided, ["a", "a", "a", "b"])).all()  # who alone is of class 0
    assert not np.isnan(interval(labels, decided, ["a", "a", "b", "b"])).any()


def test_draws_without_a_class_are_left_out():
    labels, speaker = np.repeat([0, 0, 1, 1, 1, 1, 1, 1], 10), np.repeat(list("abcdefgh"), 10)
    decided = np.zeros((1, 80), int)  # always class 0
    np.testing.assert_array_equal(interval(labels, decided, speaker, samples=200), [0.5, 0.5])


@pytest.mark.parametrize(
    ("sizes", "reach"), [((3121, 6918), 0.010), ((520, 788), 0.027), ((241, 1067), 0.035)]
)
def test_large_classes_have_the_normal_range(sizes, reach):
    low, high = chance(np.repeat([0, 1], sizes))
    normal = stats.norm.ppf(0.975) / 4 * np.sqrt(sum(1 / size for size in sizes))
    assert high - 0.5 == pytest.approx(0.5 - low)
    assert high - 0.5 == pytest.approx(normal, rel=0.01)
    assert high - 0.5 == pytest.approx(reach, abs=0.001)  # as Neumann & Vu's corpora have it


@pytest.mark.parametrize("sizes", [(1, 1), (2, 9), (20, 20), (20, 33), (7, 400)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_small_classes_have_the_smallest_range_that_holds_enough(sizes, level):
    labels = np.repeat([1, 0], sizes)
    a, b = (np.arange(size + 1) for size in sizes)
    strays = np.abs(a[:, None] / sizes[0] + b / sizes[1] - 1) / 2
    likely = stats.binom.pmf(a, sizes[0], 0.5)[:, None] * stats.binom.pmf(b, sizes[1], 0.5)
    low, high = chance(labels, level)
    assert likely[strays < high - 0.5 + 1e-9].sum() >= level - 1e-12
    assert likely[strays < high - 0.5 - 1e-9].sum() < level
    assert low == pytest.approx(1 - high)


def test_coins_fall_within_the_range():
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], (20, 90))
    low, high = chance(labels)
    uar = pooled_uar(labels, rng.integers(2, size=(4000, 110)))
    assert np.mean((low <= uar) & (uar <= high)) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 4000))


def test_what_does_not_fit_together_is_refused():
    labels, decided, speaker = np.array([0, 1, 1]), np.array([[0, 1, 1]]), np.array(["a", "b", "c"])
    lengths = r"labels of shape \(3,\) and predictions of shape \(1, 2\), expected"
    with pytest.raises(ValueError, match=lengths):
        interval(labels, decided[:, :2], speaker)
    with pytest.raises(ValueError, match=lengths):
        paired_test(labels, decided, decided[:, :2], speaker)
    with pytest.raises(
        ValueError, match=r"labels of shape \(3,\) and speakers of shape \(2,\), expected both"
    ):
        interval(labels, decided, speaker[:2])
    with pytest.raises(ValueError, match=r"predictions of shape \(3,\), expected \[R, 3\], R at least 1"):
        interval(labels, decided[0], speaker)
    with pytest.raises(ValueError, match=r"predictions of shape \(0, 3\), expected \[R, 3\], R at least 1"):
        paired_test(labels, decided, decided[:0], speaker)
    with pytest.raises(ValueError, match=r"0\.3 among the predictions, expected classes 0 to 1"):
        interval(labels, decided + 0.3, speaker)


def test_a_class_without_utterances_is_refused():
    undefined = "UAR of 2 utterances is not defined: none is of class 1"
    for statistic in (
        lambda: interval([0, 0], [[0, 1]], ["a", "b"]),
        lambda: paired_test([0, 0], [[0, 1]], [[1, 1]], ["a", "b"]),
        lambda: chance([0, 0]),
    ):
        with pytest.raises(ValueError, match=undefined):
            statistic()


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="level 95, expected between 0 and 1"):
        interval([0, 1], [[0, 1]], ["a", "b"], level=95)
    with pytest.raises(ValueError, match="level 0, expected between 0 and 1"):
        chance([0, 1], level=0)
    with pytest.raises(ValueError, match=r"1\.2 among the p-values, expected 0 to 1"):
        holm([0.1, np.nan, 1.2])
