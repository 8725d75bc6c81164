"""Intervals that cover as often as they claim, tests that reject as seldom, on corpora of known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from simulated_speakers import TRUTH, simulated

from ser_jax.metrics import ccc, uar
from ser_jax.statistics import (
    chance_interval,
    difference_test,
    holm,
    interval,
    mean_interval,
    speaker_interval,
)

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


def tolerance(corpora):
    return 3 * np.sqrt(0.95 * 0.05 / corpora)


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


def analysed(value, labels, predictions, cluster):
    """Pseudo-values, leaving out one cluster after another, and mean squares, all computed anew."""
    names = np.unique(cluster)
    whole = np.array([value(labels, run) for run in predictions])
    without = [[value(labels[cluster != c], run[cluster != c]) for run in predictions] for c in names]
    p = len(names) * whole - (len(names) - 1) * np.array(without)  # [S, R]
    (s, r), mean = p.shape, p.mean()
    ms_runs = s * np.sum((p.mean(axis=0) - mean) ** 2) / (r - 1)
    rest = [p[i, j] - p[i].mean() - p[:, j].mean() + mean for i in range(s) for j in range(r)]
    return whole.mean(), p, ms_runs / (s * r), np.sum(np.square(rest)) / ((s - 1) * (r - 1)) / (s * r)


METRICS = [
    ("UAR", lambda labels, run: uar(labels, run, 3), of_three_classes),
    ("CCC", lambda labels, run: ccc(labels, run).mean(), in_two_dimensions),
]


@pytest.mark.parametrize(("metric", "value", "corpus"), METRICS)
@pytest.mark.parametrize("seed", range(2))
def test_intervals_and_tests_are_those_of_the_analysis_written_out(metric, value, corpus, seed):
    labels, predictions, cluster = corpus(seed)
    score, p, runs, interaction = analysed(value, labels, predictions, cluster)
    clusters = max(p.mean(axis=1).var(ddof=1) / len(p) - interaction, 0)
    degrees = (runs + clusters) ** 2 / (runs**2 / 3 + clusters**2 / (len(p) - 1))
    reach = stats.t.ppf(0.95, min(degrees, len(p) - 1)) * np.sqrt(runs + clusters)
    found = interval(metric, labels, predictions, cluster, classes=3, level=0.9)
    assert found == pytest.approx((max(score - reach, -1), min(score + reach, 1)))

    one, other = predictions[:2], predictions[1:]
    each = [analysed(value, labels, part, cluster) for part in (one, other)]
    apart = each[0][1].mean(axis=1) - each[1][1].mean(axis=1)
    clusters = max(apart.var(ddof=1) / len(apart) - each[0][3] - each[1][3], 0)
    parts = [(clusters, len(apart) - 1), (each[0][2], 1), (each[1][2], 2)]
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / own for part, own in parts)
    wanted = stats.t(min(degrees, len(apart) - 1)).sf(abs(each[0][0] - each[1][0]) / np.sqrt(variance)) * 2
    assert difference_test(metric, labels, one, other, cluster, classes=3) == pytest.approx(wanted)


def test_the_mean_of_corpora_adds_up_their_variances():
    corpora = [of_three_classes(seed, speakers=5 + seed) for seed in range(3)]
    total = uncertain = score = 0.0
    for one in corpora:
        own, p, runs, interaction = analysed(METRICS[0][1], *one)
        clusters = max(p.mean(axis=1).var(ddof=1) / len(p) - interaction, 0)
        degrees = min((runs + clusters) ** 2 / (runs**2 / 3 + clusters**2 / (len(p) - 1)), len(p) - 1)
        score, total = score + own / 3, total + (runs + clusters) / 9
        uncertain += ((runs + clusters) / 9) ** 2 / degrees
    reach = stats.t.ppf(0.975, total**2 / uncertain) * np.sqrt(total)
    assert mean_interval("UAR", corpora, classes=3) == pytest.approx((score - reach, score + reach))
    alone = [(np.tile([0, 1, 2], 4), np.zeros((1, 12), int), np.zeros(12, int))]
    assert np.isnan(mean_interval("UAR", corpora + alone, classes=3)).all()


def rates(corpora, speakers, count, seed_effect, gain=0.0):
    """Return how often intervals hold the truth, and settings differ by a test, in simulated corpora."""
    covered = np.empty(corpora), np.empty(corpora)
    for seed in range(corpora):
        effects = {"each": 60, "seed_effect": seed_effect, "gain": np.repeat([0, gain], count)}
        labels, both, speaker = simulated(seed, speakers, count=2 * count, **effects)
        low, high = interval("UAR", labels, both[:count], speaker)
        p = difference_test("UAR", labels, both[:count], both[count:], speaker)
        covered[0][seed], covered[1][seed] = low <= TRUTH <= high, p <= 0.05
    return [one.mean() for one in covered]


@pytest.mark.parametrize(("speakers", "count", "seed_effect"), [(3, 5, 0.0), (6, 3, 0.03), (12, 5, 0.01)])
def test_intervals_cover_as_often_and_tests_reject_as_seldom_as_they_claim(speakers, count, seed_effect):
    covered, rejected = rates(200, speakers, count, seed_effect)
    assert covered > 0.95 - tolerance(200)
    assert rejected < 0.05 + tolerance(200)


def test_a_difference_of_ten_points_is_found():
    assert rates(100, 12, 5, 0.01, gain=0.1)[1] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [2, 3, 4, 5, 6, 8, 12, 23])
@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize("seed_effect", [0, 0.01, 0.03])
def test_calibration(speakers, count, seed_effect):
    """Bounds that the tables in the documentation of `interval` and `difference_test` respect."""
    covered, rejected = rates(2000, speakers, count, seed_effect)
    error = 3 * np.sqrt(0.93 * 0.07 / 2000)
    assert covered > 0.93 - error
    assert rejected < 0.07 + error
    if speakers >= 6:
        assert covered < 0.975 + error
    if (speakers, count) == (12, 5):
        assert rates(1000, speakers, count, seed_effect, gain=0.1)[1] > 0.8


def test_seeds_count():
    """A test that takes the trained runs as given would call halves of one setting's seeds different."""
    differ = []
    for seed in range(100):
        labels, predictions, speaker = simulated(seed, 10, each=400, count=6, seed_effect=0.02)
        differ.append(difference_test("UAR", labels, predictions[:3], predictions[3:], speaker) <= 0.05)
    assert np.mean(differ) < 0.1
    wide, narrow = (np.diff(one("UAR", labels, predictions, speaker)) for one in (interval, speaker_interval))
    assert wide > narrow


@BOTH
def test_names_and_order_do_not_matter(metric, corpus, monkeypatch):
    labels, predictions, speaker = corpus(1, speakers=12, count=4)
    one, other = predictions[:2], predictions[2:]
    wanted = (
        *interval(metric, labels, predictions, speaker),
        *speaker_interval(metric, labels, predictions, speaker, samples=500),
        difference_test(metric, labels, one, other, speaker),
    )
    order = np.random.default_rng(2).permutation(len(labels))
    renamed = np.array([str(name)[::-1] for name in speaker])[order]
    monkeypatch.setattr("ser_jax.statistics.BLOCK", 100)
    found = (
        *interval(metric, labels[order], predictions[::-1, order], renamed),
        *speaker_interval(metric, labels[order], predictions[::-1, order], renamed, samples=500),
        difference_test(metric, labels[order], other[:, order], one[:, order], renamed),
    )
    assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("function", [interval, speaker_interval])
def test_one_speaker_shows_nothing_of_others(function):
    labels, predictions = np.array([0, 1, 0, 1]), np.array([[0, 1, 1, 1]])
    assert np.isnan(function("UAR", labels, predictions, ["a"] * 4)).all()
    assert np.isnan(function("UAR", labels, predictions, ["a", "a", "a", "b"])).all()  # class 0 is all of one
    assert not np.isnan(function("UAR", labels, predictions, ["a", "a", "b", "b"])).any()
    ratings = [[0.5, np.nan], [0.7, np.nan], [0.2, 2], [0.1, 4]]  # dimension 1 is all of one
    assert np.isnan(function("CCC", ratings, np.ones((1, 4, 2)), ["a", "a", "b", "b"])).all()
    assert np.isnan(difference_test("UAR", labels, predictions, 1 - predictions, ["a"] * 4))
    same = np.tile([0, 1], 6)  # one setting is always right, the other never: nothing to judge it by
    assert np.isnan(difference_test("UAR", same, [same], [1 - same], np.repeat(range(6), 2)))


@pytest.mark.parametrize(
    ("metric", "corpus", "truth"), [("UAR", simulated, TRUTH), ("CCC", rated, CONCORDANCE)]
)
@pytest.mark.parametrize(("speakers", "corpora"), [(2, 200), (4, 200), (10, 400)])
def test_intervals_over_speakers_cover_as_often_as_they_claim(metric, corpus, truth, speakers, corpora):
    each = (
        speaker_interval(metric, *corpus(seed, speakers, count=2), samples=500) for seed in range(corpora)
    )
    covered = np.mean([low <= truth <= high for low, high in each])
    assert covered > 0.95 - tolerance(corpora)
    assert covered < 0.95 + tolerance(corpora) or (metric, speakers) == ("CCC", 2)


def test_a_known_interval_over_speakers():
    found = speaker_interval("UAR", *simulated(0, 12, 50, 3))
    assert found == pytest.approx((0.6731307692666061, 0.7672489120415402), abs=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_a_single_run_has_an_interval_for_other_speakers_alone(seed):
    """Close to that of the bootstrap, which takes runs as they are."""
    labels, predictions, speaker = simulated(seed, 12, count=1)
    found = interval("UAR", labels, predictions, speaker)
    assert found == pytest.approx(speaker_interval("UAR", labels, predictions, speaker), abs=0.01)


def test_single_runs_are_compared_over_clusters_alone():
    """As by a paired t test of the clusters' pseudo-values."""
    labels, predictions, cluster = of_three_classes(0)
    each = [
        [
            6 * uar(labels, run, 3) - 5 * uar(labels[cluster != c], run[cluster != c], 3)
            for c in np.unique(cluster)
        ]
        for run in predictions[:2]
    ]
    means = [uar(labels, run, 3) for run in predictions[:2]]
    error = np.std(np.subtract(*each), ddof=1) / np.sqrt(6)
    wanted = 2 * stats.t(5).sf(abs(means[0] - means[1]) / error)
    found = difference_test("UAR", labels, predictions[:1], predictions[1:2], cluster, classes=3)
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("speakers", [6, 10])
def test_settings_that_differ_by_speaker_but_not_on_average_are_rarely_called_different(speakers):
    rejected = []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        labels, both, speaker = rated(seed, speakers, count=6)
        own = draw.normal(0, 0.2, (2, speakers))[:, np.unique(speaker, return_inverse=True)[1]]
        one, other = both[:3] + own[0], both[3:] + own[1]
        rejected.append(difference_test("CCC", labels, one, other, speaker) <= 0.05)
    assert 0 < np.mean(rejected) < 0.05 + tolerance(200)


@BOTH
@pytest.mark.parametrize("speakers", [2, 6, 30])
def test_equal_settings_have_a_p_value_of_one(metric, corpus, speakers):
    labels, predictions, speaker = corpus(7, speakers, count=2)
    assert difference_test(metric, labels, predictions, predictions, speaker) == 1
    assert difference_test(metric, labels, predictions[:1], predictions[[0, 0, 0]], speaker) == 1


def test_a_run_that_diverged_has_neither_interval_nor_p_value():
    labels, predictions, speaker = rated(3)
    predictions[1, 7] = np.nan
    assert np.isnan(interval("CCC", labels, predictions, speaker)).all()
    assert np.isnan(difference_test("CCC", labels, predictions, predictions[2:], speaker))


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
