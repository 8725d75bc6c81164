"""Several corpora as one array of utterances."""

import dataclasses

import numpy as np
import pytest
from corpora import noise_corpus

from ser_jax.data.concatenated import Concatenated, ConcatenatedArray, ConcatenationError
from ser_jax.data.standardize import moments
from ser_jax.features import Waveform, describe

ONE, OTHER = noise_corpus("one", seed=1), noise_corpus("other", seed=2, each=4)
BOTH = Concatenated([ONE, OTHER])


def test_rows_are_those_of_the_corpora():
    assert BOTH.names == ["one", "other"]
    assert BOTH.features.shape == (100, 750, 26)
    assert BOTH.corpus.tolist() == [0] * 60 + [1] * 40
    for name in ("id", "speaker", "frames"):
        joined = np.r_[getattr(ONE, name), getattr(OTHER, name)]
        np.testing.assert_array_equal(getattr(BOTH, name), joined)
    assert len(set(BOTH.speaker_id)) == 20
    assert BOTH.speaker_id[0] == "one s0F"


@pytest.mark.parametrize(
    "rows", [np.array([99, 0, 60, 59, 0]), np.arange(6).reshape(2, 3) * 19, np.arange(0)]
)
def test_gathering_is_that_of_one_array(rows):
    whole = np.concatenate([ONE.features, OTHER.features])
    np.testing.assert_array_equal(ConcatenatedArray([ONE.features, OTHER.features])[rows], whole[rows])


def test_moments_and_labels_are_those_of_the_corpora():
    class Task:
        def labels(self, corpus):
            return corpus.arousal.astype(int) * (1 if corpus is ONE else 7)

    whole = np.concatenate([ONE.features, OTHER.features])
    for found, expected in zip(BOTH.moments(), moments(whole, BOTH.frames), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(BOTH.labels(Task()), np.r_[ONE.arousal, 7 * OTHER.arousal])


def test_corpora_that_do_not_belong_together_are_refused():
    with pytest.raises(ConcatenationError, match=r"corpora \['one', 'one'\], expected different names"):
        Concatenated([ONE, ONE])
    waves = dataclasses.replace(OTHER, frontend=describe(Waveform()))
    with pytest.raises(ConcatenationError, match=r"features one of .*, other of .*, expected one front end"):
        Concatenated([ONE, waves])
