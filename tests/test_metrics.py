"""UAR against hand-computed values, everything else against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from ser_jax.metrics import confusion, hits, members, pooled_uar, recalls, uar


def answers(rng, utterances, runs, classes=2):
    """(labels [M], what R runs said of them [R, M]), random; every class occurs."""
    labels = rng.permutation(np.r_[np.arange(classes), rng.integers(classes, size=utterances - classes)])
    return labels, rng.integers(classes, size=(runs, utterances))


@pytest.mark.parametrize(
    ("labels", "predictions", "wanted"),
    [
        ([0, 0, 0, 1], [0, 0, 0, 0], 0.5),  # always the majority: 3 of 3 and 0 of 1
        ([0, 0, 0, 1], [0, 1, 1, 1], (1 / 3 + 1) / 2),
        ([0, 1, 1, 1, 1], [0, 1, 0, 0, 0], (1 + 1 / 4) / 2),
        ([0, 1], [1, 0], 0.0),
    ],
)
def test_uar_is_the_mean_of_the_classes_recalls(labels, predictions, wanted):
    assert uar(labels, predictions) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1), st.integers(1, 5))
def test_uar_does_not_see_how_often_a_class_occurs(pairs, times):
    pairs = [*pairs, (0, 0), (1, 0)]
    more = pairs + [pair for pair in pairs if pair[0] == 1] * times
    assert uar(*zip(*pairs, strict=True)) == pytest.approx(uar(*zip(*more, strict=True)))


def test_a_class_without_utterances_has_no_recall():
    np.testing.assert_equal(recalls([1, 1], [1, 0]), [np.nan, 0.5])
    with pytest.raises(ValueError, match="UAR of 2 utterances is not defined: none is of class 0"):
        uar([1, 1], [1, 0])


@given(seed=st.integers(0, 99), classes=st.integers(2, 4))
def test_scikit_learn_agrees(seed, classes):
    labels, decided = answers(np.random.default_rng(seed), 30, 3, classes)
    names = np.arange(classes)
    wanted = [sklearn_metrics.recall_score(labels, run, labels=names, average=None) for run in decided]
    np.testing.assert_allclose(recalls(labels, decided, classes), wanted)
    wanted = [sklearn_metrics.balanced_accuracy_score(labels, run) for run in decided]
    np.testing.assert_allclose(pooled_uar(labels, decided, classes), wanted)
    assert uar(labels, decided[0], classes) == pytest.approx(wanted[0])
    for run in decided:
        wanted = sklearn_metrics.confusion_matrix(labels, run, labels=names)
        np.testing.assert_array_equal(confusion(labels, run, classes), wanted)


def test_rows_of_a_confusion_are_true_classes():
    np.testing.assert_array_equal(confusion([0, 0, 0, 1], [0, 1, 1, 1]), [[1, 2], [0, 1]])
    np.testing.assert_array_equal(confusion([1, 1], [1, 1], classes=3), np.diag([0, 2, 0]))


@given(seed=st.integers(0, 99))
def test_recalls_are_the_diagonal_of_a_confusion_by_its_rows(seed):
    labels, decided = answers(np.random.default_rng(seed), 20, 2, 3)
    for run, found in zip(decided, recalls(labels, decided, 3), strict=True):
        counts = confusion(labels, run, 3)
        np.testing.assert_allclose(np.diag(counts) / counts.sum(axis=1), found)
        np.testing.assert_array_equal(counts.sum(axis=1), members(labels, 3))
        assert np.trace(counts) == hits(labels, run, 3).sum()


def test_pooled_uar_is_not_the_mean_over_folds():
    labels, decided = [0, 1, 0, 0, 0, 1], [[0, 1, 1, 1, 1, 1]]  # folds of two and of four utterances
    assert pooled_uar(labels, decided) == pytest.approx([(1 / 4 + 1) / 2])
    assert np.mean([uar([0, 1], [0, 1]), uar(labels[2:], decided[0][2:])]) == pytest.approx((1 + 1 / 2) / 2)


@pytest.mark.parametrize("decided", [np.array([[True, False]]), np.array([[1, 0]], np.int8), [[1.0, 0.0]]])
def test_decisions_may_be_of_any_type(decided):
    np.testing.assert_array_equal(pooled_uar([1, 0], decided), [1.0])


@pytest.mark.parametrize("measure", [hits, recalls, uar, pooled_uar, confusion])
def test_what_cannot_be_compared_is_refused(measure):
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) and predictions of shape \(4,\), expected"):
        measure([0, 1, 1], [0, 1, 1, 0])
    with pytest.raises(ValueError, match=r"0\.7 among the predictions, expected classes 0 to 1"):
        measure([0, 1], [0.0, 0.7])
    with pytest.raises(ValueError, match="2 among the labels, expected classes 0 to 1"):
        measure([0, 1, 2], [0, 1, 1])


def test_every_class_must_have_members():
    np.testing.assert_array_equal(members([1, 0, 1]), [1, 2])
    with pytest.raises(ValueError, match="UAR of 2 utterances is not defined: none is of class 0, 2"):
        members([1, 1], classes=3)
    with pytest.raises(ValueError, match="UAR of 2 utterances is not defined: none is of class 1"):
        pooled_uar([0, 0], [[0, 1]])
