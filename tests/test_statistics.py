"""Intervals that cover as often as they claim, tests that reject as seldom, on corpora of known truth."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from simulated_speakers import TRUTH, simulated

from ser_jax.metrics import ccc, uar
from ser_jax.statistics import chance_interval, holm, interval, paired_test

CONCORDANCE = 0.7013  # of `rated` corpora of very many people


def rated(seed, speakers=10, count=5):
    """Return ratings [M], predictions [R, M] of a bias and a gain for every speaker, and speakers [M]."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), rng.integers(50, 201, speakers))
    size = len(speaker)
    labels = rng.normal(0, 0.4, speakers)[speaker] + rng.normal(size=size)
    person = rng.normal(0.6, 0.15, speakers)[speaker] * labels + rng.normal(0, 0.3, speakers)[speaker]
    return labels, person + rng.normal(0, 0.5, size) + rng.normal(0, 0.2, (count, size)), speaker


BOTH = pytest.mark.parametrize(("metric", "corpus"), [("UAR", simulated), ("CCC", rated)])


def all_swaps(value, one, other, speaker):
    """Return the p-value by swapping predictions and computing every value anew."""
    names = np.unique(speaker)
    observed, as_large = abs(value(one) - value(other)), []
    for swaps in itertools.product([False, True], repeat=len(names)):
        swapped = np.isin(speaker, names[list(swaps)]).reshape(1, -1, *[1] * (one.ndim - 2))
        a, b = np.where(swapped, other, one), np.where(swapped, one, other)
        as_large.append(abs(value(a) - value(b)) >= observed - 1e-12)
    return np.mean(as_large)


def tolerance(corpora):
    return 3 * np.sqrt(0.95 * 0.05 / corpora)


def test_known_answers_of_two_classes():
    labels, predictions, speaker = simulated(0, 12, 50, 3)
    found = interval("UAR", labels, predictions, speaker)
    assert found == pytest.approx((0.6731307692666061, 0.7672489120415402), abs=1e-12)
    settings = ("UAR", labels, predictions[:1], predictions[1:], speaker)
    assert paired_test(*settings) == 0.09326171875
    assert paired_test(*settings, samples=99, seed=3) == 0.08
    assert chance_interval("UAR", labels) == (0.4598920320550793, 0.5401079679449207)


@pytest.mark.parametrize(
    ("metric", "corpus", "truth"), [("UAR", simulated, TRUTH), ("CCC", rated, CONCORDANCE)]
)
@pytest.mark.parametrize(("speakers", "corpora"), [(2, 200), (4, 200), (10, 400)])
def test_intervals_cover_as_often_as_they_claim(metric, corpus, truth, speakers, corpora):
    bounds = (interval(metric, *corpus(seed, speakers, count=2), samples=500) for seed in range(corpora))
    covered = np.mean([low <= truth <= high for low, high in bounds])
    assert covered > 0.95 - tolerance(corpora)
    assert covered < 0.95 + tolerance(corpora) or (metric, speakers) == ("CCC", 2)


@BOTH
def test_names_order_and_block_do_not_matter(metric, corpus, monkeypatch):
    labels, predictions, speaker = corpus(1, speakers=12, count=4)
    one, other = predictions[:2], predictions[2:]
    wanted = (
        *interval(metric, labels, predictions, speaker, samples=500),
        paired_test(metric, labels, one, other, speaker, samples=500),
    )
    order = np.random.default_rng(2).permutation(len(labels))
    renamed = np.array([str(name)[::-1] for name in speaker])[order]
    monkeypatch.setattr("ser_jax.statistics.BLOCK", 100)
    found = (
        *interval(metric, labels[order], predictions[::-1, order], renamed, samples=500),
        paired_test(metric, labels[order], other[:, order], one[:, order], renamed, samples=500),
    )
    assert found == pytest.approx(wanted, abs=1e-12)


def test_one_speaker_shows_nothing_of_others():
    labels, predictions = np.array([0, 1, 0, 1]), np.array([[0, 1, 1, 1]])
    assert np.isnan(interval("UAR", labels, predictions, ["a"] * 4)).all()
    assert np.isnan(interval("UAR", labels, predictions, ["a", "a", "a", "b"])).all()  # class 0 is all of one
    assert not np.isnan(interval("UAR", labels, predictions, ["a", "a", "b", "b"])).any()
    ratings = [[0.5, np.nan], [0.7, np.nan], [0.2, 2], [0.1, 4]]  # dimension 1 is all of one
    assert np.isnan(interval("CCC", ratings, np.ones((1, 4, 2)), ["a", "a", "b", "b"])).all()


def of_three_classes(seed, speakers=6):
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1, 2], 8 * speakers)
    right = rng.random((4, len(labels))) < [[0.2], [0.4], [0.6], [0.8]]
    predictions = np.where(right, labels, rng.integers(3, size=right.shape))
    return labels, predictions, rng.integers(speakers, size=len(labels))


def in_two_dimensions(seed):
    labels, predictions, speaker = rated(seed, speakers=6, count=4)
    labels = np.stack([labels, -labels], axis=-1)
    labels[::3, 1] = np.nan
    return labels, predictions[..., None] * [1, 0.5], speaker


@pytest.mark.parametrize(
    ("metric", "function", "corpus"),
    [
        ("UAR", lambda labels, run: uar(labels, run, 3), of_three_classes),
        ("CCC", lambda labels, run: ccc(labels, run).mean(), in_two_dimensions),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_sums_over_speakers_give_what_computing_anew_gives(metric, function, corpus, seed, monkeypatch):
    monkeypatch.setattr("ser_jax.statistics.BLOCK", 300)
    labels, predictions, speaker = corpus(seed)
    one, other = predictions[:2], predictions[2:]
    p = all_swaps(lambda of: np.mean([function(labels, run) for run in of]), one, other, speaker)
    assert paired_test(metric, labels, one, other, speaker, classes=3) == p


@BOTH
@pytest.mark.parametrize("speakers", [1, 6, 30])
def test_equal_settings_have_a_p_value_of_one(metric, corpus, speakers):
    labels, predictions, speaker = corpus(7, speakers, count=2)
    assert paired_test(metric, labels, predictions, predictions, speaker) == 1
    assert paired_test(metric, labels, predictions[:1], predictions[[0, 0, 0]], speaker) == 1


@pytest.mark.parametrize(
    ("speakers", "smallest"), [(1, 1.0), (5, 2 / 2**5), (10, 2 / 2**10), (40, 1 / 10_001)]
)
def test_no_p_value_is_smaller_than_the_speakers_allow(speakers, smallest):
    labels, _, speaker = simulated(8, speakers, each=10)
    assert paired_test("UAR", labels, [labels], [1 - labels], speaker) == smallest
    assert paired_test("CCC", labels.astype(float), [labels], [1 - labels], speaker) == smallest


def test_ties_are_ties_whatever_the_shares_round_to():
    labels = np.tile(np.r_[np.zeros(3, int), np.ones(7, int)], 6)  # shares of 1/18 and 1/42
    one, other = labels.copy(), labels.copy()
    for i, wrong in enumerate((one, other, one, other, one, one)):
        wrong[10 * i : 10 * i + 4] ^= 1
    p = paired_test("UAR", labels, [one], [other], np.repeat(np.arange(6), 10))
    assert p == 44 / 64  # |4 - 2| of 6 or more


@BOTH
def test_p_values_of_one_setting_against_itself_are_uniform(metric, corpus):
    p = np.empty(200)
    for seed in range(len(p)):
        labels, predictions, speaker = corpus(seed, count=4)
        p[seed] = paired_test(metric, labels, predictions[:2], predictions[2:], speaker)
    assert np.mean(p <= 0.05) < 0.05 + tolerance(len(p))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_run_that_diverged_has_neither_interval_nor_p_value():
    labels, predictions, speaker = rated(3)
    predictions[1, 7] = np.nan
    assert np.isnan(interval("CCC", labels, predictions, speaker)).all()
    assert np.isnan(paired_test("CCC", labels, predictions, predictions[2:], speaker))


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8), level=st.floats(0.001, 0.999))
def test_holm_rejects_step_by_step(p, level):
    rejected, left = set(), sorted(range(len(p)), key=lambda i: p[i])
    while left and p[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    assert set(np.flatnonzero(holm(p) <= level)) == rejected


def test_holm_leaves_out_what_was_not_compared():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.6]), [0.02, np.nan, 0.6])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 9), (20, 20), (20, 33), (7, 400)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_small_classes_have_the_smallest_range_that_holds_enough(sizes, level):
    a, b = (np.arange(size + 1) for size in sizes)
    strays = np.abs(a[:, None] / sizes[0] + b / sizes[1] - 1) / 2
    likely = stats.binom.pmf(a, sizes[0], 0.5)[:, None] * stats.binom.pmf(b, sizes[1], 0.5)
    low, high = chance_interval("UAR", np.repeat([1, 0], sizes), level=level)
    assert likely[strays < high - 0.5 + 1e-9].sum() >= level - 1e-12
    assert likely[strays < high - 0.5 - 1e-9].sum() < level
    assert low == pytest.approx(1 - high)


@pytest.mark.parametrize("sizes", [(40, 50, 60), (9, 30, 80, 200, 11)])
def test_guesses_fall_within_the_range(sizes):
    classes, labels = len(sizes), np.repeat(np.arange(len(sizes)), sizes)
    guesses = np.random.default_rng(1).integers(classes, size=(4000, len(labels)))
    low, high = chance_interval("UAR", np.r_[labels, -1], classes=classes)
    found = uar(labels, guesses, classes)
    assert np.mean((low <= found) & (found <= high)) == pytest.approx(0.95, abs=tolerance(4000))
    assert low + high == pytest.approx(2 / classes)


def test_permuted_labels_fall_within_the_range_of_ccc():
    rng = np.random.default_rng(0)
    labels = rng.gamma(2, size=(60, 2))
    labels[:20, 0] = np.nan
    low, high = chance_interval("CCC", labels)
    shuffled = np.broadcast_to(labels, (2000, 60, 2)).copy()
    rng.permuted(shuffled[:, 20:, 0], axis=1, out=shuffled[:, 20:, 0])
    rng.permuted(shuffled[:, :, 1], axis=1, out=shuffled[:, :, 1])
    found = ccc(labels, shuffled).mean(axis=1)
    assert np.mean((low <= found) & (found <= high)) == pytest.approx(0.95, abs=tolerance(2000))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (interval, ("UAR", [0, 0], [[0, 1]], ["a", "b"]), "UAR of 2 utterances is not defined: none is of"),
        (interval, ("CCC", [[np.nan]], [[[0]]], ["a"]), "none of 1 utterances has a label"),
        (interval, ("WAR", [0, 1], [[0, 1]], ["a", "b"]), "metric 'WAR', expected UAR or CCC"),
        (chance_interval, ("UAR", [0, 0]), "UAR of 2 utterances is not defined: none is of class 1"),
        (holm, ([0.1, np.nan, 1.2],), r"1\.2 among the p-values, expected 0 to 1"),
    ],
)
def test_bad_arguments_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
    with pytest.raises(ValueError, match="level 95, expected between 0 and 1"):
        chance_interval("UAR", [0, 1], level=95)
