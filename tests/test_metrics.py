"""Metrics against hand-computed values and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn import metrics as sklearn_metrics

from ser_jax.metrics import (
    accuracy,
    ccc,
    class_sizes,
    confusion,
    eer,
    labelled,
    macro_f1,
    pearson,
    recalls,
    rmse,
    uar,
)

OF_CLASSES = (recalls, uar, confusion, accuracy, macro_f1)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(rng, utterances, runs, classes=2):
    """Return random labels [M] with every class and predictions [R, M]."""
    labels = rng.permutation(np.r_[np.arange(classes), rng.integers(classes, size=utterances - classes)])
    return labels, rng.integers(classes, size=(runs, utterances))


@given(seed=SEEDS, classes=st.integers(2, 5))
def test_scikit_learn_agrees(seed, classes):
    labels, predictions = drawn(np.random.default_rng(seed), 30, 3, classes)
    names = np.arange(classes)
    for ours, theirs in (
        (recalls, lambda run: sklearn_metrics.recall_score(labels, run, labels=names, average=None)),
        (uar, lambda run: sklearn_metrics.balanced_accuracy_score(labels, run)),
        (accuracy, lambda run: sklearn_metrics.accuracy_score(labels, run)),
        (macro_f1, lambda run: sklearn_metrics.f1_score(labels, run, average="macro")),
        (confusion, lambda run: sklearn_metrics.confusion_matrix(labels, run, labels=names)),
    ):
        np.testing.assert_allclose(ours(labels, predictions, classes), [theirs(run) for run in predictions])


@given(seed=SEEDS, classes=st.integers(2, 4))
def test_utterances_without_a_label_are_left_out(seed, classes):
    rng = np.random.default_rng(seed)
    labels, predictions = drawn(rng, 20, 2, classes)
    more = np.r_[labels, -np.ones(5, int)]
    extra = np.hstack([predictions, rng.integers(-1, classes, (2, 5))])
    order = rng.permutation(25)
    for metric in OF_CLASSES:
        expected = metric(labels, predictions, classes)
        np.testing.assert_array_equal(metric(more[order], extra[:, order], classes), expected)
    np.testing.assert_array_equal(labelled(more), np.arange(25) < 20)


@given(seed=SEEDS, separation=st.sampled_from([0, 1, 5]))
def test_both_errors_are_equal_at_the_equal_error_rate(seed, separation):
    """With many scores they are as good as equal at some threshold; the sign swaps rate and 1 - rate."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(400) % 2)
    scores = rng.normal(size=(2, 400)) + separation * labels
    found = eer(labels, scores)
    for run, rate in zip(scores, found, strict=True):
        thresholds = np.sort(run)
        false = np.array([(run[labels == 0] >= t).mean() for t in thresholds])
        missed = np.array([(run[labels == 1] < t).mean() for t in thresholds])
        nearest = np.argmin(np.abs(false - missed))
        assert abs(rate - (false + missed)[nearest] / 2) <= 1 / 200
    np.testing.assert_allclose(eer(labels, -scores), 1 - found, atol=1e-12)
    np.testing.assert_array_equal(eer(np.r_[labels, -1], np.hstack([scores, [[9], [9]]])), found)
    with pytest.raises(ValueError, match="class"):
        eer(np.zeros(3, int), np.zeros((1, 3)))


@pytest.mark.parametrize("metric", OF_CLASSES)
def test_bad_classes_are_refused(metric):
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) and predictions of shape \(4,\), expected"):
        metric([0, 1, 1], [0, 1, 1, 0])
    with pytest.raises(ValueError, match=r"0\.7 among the predictions, expected classes 0 to 1"):
        metric([0, 1], [0.0, 0.7])
    with pytest.raises(ValueError, match="2 among the labels, expected classes 0 to 1"):
        metric([0, 1, 2], [0, 1, 1])


@given(seed=SEEDS)
def test_scores_of_numbers_are_those_of_their_definitions(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(3, 1, (30, 2)), rng.normal(2.5, 2, (4, 30, 2))
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:3] = [[1, np.nan], [np.nan, 2], [np.nan, np.nan]]
    for d in range(2):
        known = ~np.isnan(x[:, d])
        a, b = x[known, d], y[:, known, d]
        cov = ((a - a.mean()) * (b - b.mean(axis=1, keepdims=True))).mean(axis=1)
        wanted = 2 * cov / (a.var() + b.var(axis=1) + (a.mean() - b.mean(axis=1)) ** 2)
        np.testing.assert_allclose(ccc(x, y)[:, d], wanted, atol=1e-12)
        np.testing.assert_allclose(ccc(x[:, d], y[..., d]), wanted, atol=1e-12)
        for found, agreed in ((pearson, pearsonr), (rmse, sklearn_metrics.root_mean_squared_error)):
            each = [np.ravel(agreed(a, run))[0] for run in b]
            np.testing.assert_allclose(found(x, y)[:, d], each, atol=1e-12)


def test_known_values():
    np.testing.assert_equal(recalls([1, 1], [1, 0]), [np.nan, 0.5])
    np.testing.assert_array_equal(class_sizes([1, 0, 1, -1]), [1, 2])
    with pytest.raises(ValueError, match="UAR of 2 utterances is not defined: none is of class 0, 2"):
        uar([1, 1, -1], [1, 0, 1], classes=3)
    assert ccc([1, 2, 3], [2, 2, 2]) == 0  # always the mean
    assert np.isnan(pearson([1, 2, 3], [2, 2, 2]))
    np.testing.assert_array_equal(rmse([[1, np.nan], [2, np.nan]], [[1, 0], [4, 0]]), [2**0.5, np.nan])
    np.testing.assert_equal(ccc([[1, np.nan], [2, np.nan]], [[1, 0], [2, 0]]), [1, np.nan])
    assert np.isnan(ccc([1, 2], [1, np.nan]))
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) and predictions of shape \(2,\), expected"):
        ccc([1, 2, 3], [1, 2])
