"""UAR against hand-computed values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.metrics import recalls, uar


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
