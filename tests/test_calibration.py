"""Temperature scaling finds the temperature; the measures of calibration say what they are defined to say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import brier_score_loss, log_loss

from ser_jax.recognizer import evaluation


def drawn(n, temperature=1.0, networks=1, seed=0):
    """Margins that are right once divided by the temperature, and labels drawn accordingly."""
    draw = np.random.default_rng(seed)
    margin = draw.normal(0, 3, n)
    labels = (draw.uniform(size=n) < expit(margin / temperature)).astype(int)
    return np.repeat(margin[None], networks, axis=0), labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("networks", [1, 5])
def test_the_temperature_that_made_the_labels_is_found(temperature, networks):
    margin, labels = drawn(50_000, temperature, networks)
    found = evaluation.fitted(margin, labels, np.ones(len(labels)))
    assert found == (pytest.approx(temperature, rel=0.05), 0)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.5])
def test_how_it_rises_as_the_window_empties_is_found(decay):
    draw = np.random.default_rng(2)
    share = draw.choice([0.07, 0.13, 0.27, 0.53, 1.0], 50_000)
    margin = draw.normal(0, 3, 50_000)
    labels = (draw.uniform(size=50_000) < expit(margin / (1.5 * share**-decay))).astype(int)
    found = evaluation.fitted(margin[None], labels, share)
    assert found == (pytest.approx(1.5, rel=0.06), pytest.approx(decay, abs=0.05))
    np.testing.assert_allclose(found.at(share), found.value * share**-found.decay)


def test_no_other_temperature_makes_the_labels_likelier():
    draw = np.random.default_rng(1)
    for _ in range(20):
        labels = draw.integers(0, 2, 40)
        labels[:2] = 0, 1
        margin = draw.normal(labels - 0.5, 2, (5, 40)) * draw.uniform(0.1, 10)
        found = evaluation.fitted(margin, labels, np.ones(40)).value
        n = np.bincount(labels)
        soft = np.where(labels == 1, (n[1] + 1) / (n[1] + 2), 1 / (n[0] + 2))
        loss = [
            evaluation.log_loss(evaluation.probability(margin, t), soft) for t in np.geomspace(0.05, 50, 3000)
        ]
        assert evaluation.log_loss(evaluation.probability(margin, found), soft) <= min(loss) + 1e-6


@given(factor=st.floats(0.3, 3))
def test_margins_in_another_unit_have_their_temperature_in_it(factor):
    margin, labels = drawn(500, 1.0)
    one, full = evaluation.fitted(margin, labels, np.ones(500)).value, np.ones(500)
    assert evaluation.fitted(factor * margin, labels, full).value == pytest.approx(factor * one, rel=1e-3)


def test_what_is_separable_is_not_called_certain():
    margin = np.array([[-3.0, -2, -1, 1, 2, 3]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = evaluation.probability(margin, evaluation.fitted(margin, labels, np.ones(6)).value)
    assert 0.6 < p[5] < 0.99


def test_utterances_of_one_class_set_no_temperature():
    with pytest.raises(ValueError, match="expected both"):
        evaluation.fitted(np.ones((2, 3)), np.ones(3, int), np.ones(3))


def test_the_ensemble_is_the_mean_of_probabilities_not_of_margins():
    assert evaluation.probability([[4.0], [0.0]], 2.0) == pytest.approx([(expit(2.0) + 0.5) / 2])


@given(n=st.integers(2, 200), seed=st.integers(0, 99))
def test_measures_agree_with_their_definitions(n, seed):
    draw = np.random.default_rng(seed)
    p, labels = draw.uniform(size=n), draw.integers(0, 2, n)
    assert evaluation.brier(p, labels) == pytest.approx(brier_score_loss(labels, p))
    assert evaluation.log_loss(p, labels) == pytest.approx(log_loss(labels, p, labels=[0, 1]))
    gap = 0.0
    for low in np.arange(10) / 10:
        inside = (p >= low) & (p < low + 0.1)
        if inside.any():
            gap += inside.sum() / n * abs(labels[inside].mean() - p[inside].mean())
    assert evaluation.calibration_error(p, labels) == pytest.approx(gap, abs=1e-9)


def test_a_certain_mistake_costs_much_and_not_infinitely():
    assert evaluation.log_loss(np.array([0.0]), np.array([1])) == pytest.approx(-np.log(1e-7))
    assert evaluation.calibration_error(np.array([1.0, 1.0]), np.array([1, 1])) == 0


def test_nobody_is_calibrated_by_their_own_labels():
    draw = np.random.default_rng(0)
    labels, speaker, share = draw.integers(0, 2, 60), np.repeat(list("abc"), 20), draw.uniform(0.05, 1, 60)
    margin, fits = draw.normal(2 * labels - 1, 2, (3, 60)), np.arange(60) % 4 > 0

    def found(labels, speaker):
        members = {one: np.bincount(labels[speaker == one], minlength=2) for one in np.unique(speaker)}
        return evaluation.left_out(margin, labels, share, speaker, members, fits)

    turned = np.where(speaker == "a", 1 - labels, labels)
    np.testing.assert_array_equal(found(labels, speaker)[:20], found(turned, speaker)[:20])
    assert not np.array_equal(found(labels, speaker)[20:], found(turned, speaker)[20:])
    unfitted = np.where(fits, labels, 1 - labels)  # what is not fitted to changes nothing but the members
    members = {one: np.bincount(labels[speaker == one], minlength=2) for one in "abc"}
    np.testing.assert_array_equal(
        found(labels, speaker), evaluation.left_out(margin, unfitted, share, speaker, members, fits)
    )
    assert np.isnan(found(labels, np.repeat("a", 60))).all()


def test_a_perfect_recogniser_shows_an_error_as_well():
    draw = np.random.default_rng(1)
    p = draw.uniform(size=100)
    shown = [evaluation.calibration_error(p, draw.uniform(size=100) < p) for _ in range(2000)]
    assert evaluation.least_error(p) == pytest.approx(np.mean(shown), rel=0.05)
