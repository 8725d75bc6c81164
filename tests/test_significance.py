"""Paired tests that reject as seldom as they say, and Holm's adjustment of many of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from simulated_speakers import recalls_of_people, runs, simulated, truths
from sklearn.metrics import recall_score

from ser_jax import inference
from ser_jax.inference import holm, paired_test


def macro_recall(labels, decided):
    return np.mean([recall_score(labels, run, average="macro") for run in decided])


def brute_force(labels, one, other, speaker):
    """The p-value by swapping answers and asking scikit-learn for every UAR."""
    names = np.unique(speaker)
    observed = abs(macro_recall(labels, one) - macro_recall(labels, other))
    as_large = []
    for swaps in itertools.product([False, True], repeat=len(names)):
        swapped = np.isin(speaker, names[list(swaps)])
        a, b = np.where(swapped, other, one), np.where(swapped, one, other)
        as_large.append(abs(macro_recall(labels, a) - macro_recall(labels, b)) >= observed - 1e-12)
    return np.mean(as_large)


@pytest.mark.parametrize("seed", range(4))
def test_swapped_answers_give_the_p_value(seed, monkeypatch):
    monkeypatch.setattr(inference, "BLOCK", 12)  # three swaps at a time
    labels, decided, speaker = simulated(seed, speakers=4, each=12, count=4)
    one, other = decided[:2], decided[2:]
    assert paired_test(labels, one, other, speaker) == brute_force(labels, one, other, speaker)


@pytest.mark.parametrize(("count", "speakers"), [(5, 9), (3, 12)])
def test_scipys_permutation_test_agrees(count, speakers):
    labels, decided, speaker = simulated(count, speakers, count=5)
    one, other = decided[:count] | (labels[None] > 0), decided[5 - count :]
    shares = []
    for answers in (one, other):
        rate = (answers == labels).mean(axis=0) / np.bincount(labels)[labels] / 2
        shares.append([rate[speaker == name].sum() for name in np.unique(speaker)])
    wanted = stats.permutation_test(
        shares,
        lambda a, b, axis: (a - b).sum(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert paired_test(labels, one, other, speaker) == pytest.approx(wanted.pvalue, abs=1e-12)


def test_random_swaps_estimate_what_all_of_them_give():
    labels, decided, speaker = simulated(6, speakers=14)
    one, other = decided[:1], decided[1:]
    exact = paired_test(labels, one, other, speaker, samples=2**14)
    assert 0.05 < exact < 0.95
    for seed in range(3):
        drawn = paired_test(labels, one, other, speaker, samples=9999, seed=seed)
        assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999))
        assert drawn * 10_000 == pytest.approx(round(drawn * 10_000))


@pytest.mark.parametrize("speakers", [1, 6, 30])
def test_equal_settings_have_a_p_value_of_one(speakers):
    labels, decided, speaker = simulated(7, speakers)
    assert paired_test(labels, decided, decided[::-1], speaker) == 1.0
    assert paired_test(labels, decided[:1], np.repeat(decided[:1], 3, axis=0), speaker) == 1.0


@pytest.mark.parametrize(
    ("speakers", "smallest"), [(1, 1.0), (5, 2 / 2**5), (10, 2 / 2**10), (40, 1 / 10_001)]
)
def test_no_p_value_is_smaller_than_the_speakers_allow(speakers, smallest):
    labels, _, speaker = simulated(8, speakers, each=10)
    assert paired_test(labels, [labels], [1 - labels], speaker) == smallest


def test_ties_are_ties_whatever_the_shares_round_to():
    labels = np.tile(np.r_[np.zeros(3, int), np.ones(7, int)], 6)  # shares of 1/18 and 1/42
    one, other = labels.copy(), labels.copy()
    for i, wrong in enumerate((one, other, one, other, one, one)):
        wrong[10 * i : 10 * i + 4] ^= 1
    assert paired_test(labels, [one], [other], np.repeat(np.arange(6), 10)) == 44 / 64  # |4 - 2| of 6 or more


def test_p_values_of_one_setting_against_itself_are_uniform():
    p = np.empty(400)
    for seed in range(len(p)):
        labels, decided, speaker = simulated(seed, count=4)
        p[seed] = paired_test(labels, decided[:2], decided[2:], speaker)
    assert np.mean(p <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(p))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_settings_that_differ_are_told_apart():
    p = np.empty(100)
    for seed in range(len(p)):
        rng = np.random.default_rng(seed)
        labels, speaker = truths(rng)
        recall = recalls_of_people(rng, labels, speaker)
        p[seed] = paired_test(
            labels, runs(rng, labels, recall, 3), runs(rng, labels, recall + 0.06, 5), speaker
        )
    assert np.mean(p <= 0.05) > 0.9


def test_holm_of_known_values():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.01, np.nan, 0.02, 0.03]), [0.03, np.nan, 0.04, 0.04])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    np.testing.assert_array_equal(holm([np.nan]), [np.nan])
    assert holm([]).shape == (0,)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8), level=st.floats(0.001, 0.999))
def test_holm_rejects_step_by_step(p, level):
    rejected, left = set(), sorted(range(len(p)), key=lambda i: p[i])
    while left and p[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    assert set(np.flatnonzero(holm(p) <= level)) == rejected


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8), missing=st.integers(0, 8))
def test_comparisons_not_made_do_not_count(p, missing):
    with_gap = np.insert(np.array(p), min(missing, len(p)), np.nan)
    adjusted = holm(with_gap)
    np.testing.assert_array_equal(adjusted[~np.isnan(with_gap)], holm(p))
    assert (holm(p) >= p).all()
    assert (holm(p) <= np.minimum(1, np.array(p) * len(p))).all()  # Bonferroni
