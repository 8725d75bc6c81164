"""Whose statistics are taken, against statistics computed frame by frame."""

import numpy as np
import pytest
from corpora import noise_corpus

from ser_jax.data import standardize
from ser_jax.data.standardize import Membership, StandardizationError, affine, grouping, moments

FIRST, SECOND = noise_corpus(seed=1), noise_corpus("other", seed=2)
LOGMEL = np.concatenate([FIRST.logmel, SECOND.logmel + (SECOND.logmel != 0) * 9])
FRAMES = np.concatenate([FIRST.frames, SECOND.frames])
SPEAKERS = np.unique(
    np.char.add(np.repeat(["a", "b"], 60), np.r_[FIRST.speaker, SECOND.speaker]), return_inverse=True
)
MEMBER = Membership(np.repeat([0, 1], 60), np.tile(np.arange(60) // 12, 2), SPEAKERS[1])
SUMS = moments(LOGMEL, FRAMES)


def plain(rows):
    frames = np.concatenate([LOGMEL[i, : FRAMES[i]] for i in np.flatnonzero(rows)]).astype(float)
    return frames.mean(axis=0), frames.std(axis=0)


def check(mode, seen, row, expected_rows):
    """Utterance `row` of a run that trains on `seen` is standardised by the frames of `expected_rows`."""
    mean, scale = affine(mode, SUMS, MEMBER, seen)
    group = grouping(mode, MEMBER)[row]
    wanted_mean, wanted_deviation = plain(expected_rows)
    np.testing.assert_allclose(mean[group], wanted_mean, rtol=1e-5)
    np.testing.assert_allclose(scale[group], 1 / wanted_deviation, rtol=1e-4)


def among(rows):
    mask = np.zeros(120, bool)
    mask[rows] = True
    return mask


def test_train_takes_the_training_utterances_for_everything():
    seen = np.arange(12, 60)
    for row in (0, 30, 119):
        check("train", seen, row, among(seen))


def test_corpus_takes_the_training_utterances_of_the_utterances_own_corpus():
    seen = np.r_[12:60, 72:120]
    check("corpus", seen, 0, among(np.arange(12, 60)))
    check("corpus", seen, 65, among(np.arange(72, 120)))


def test_corpus_never_sees_the_fold_of_a_corpus_that_only_tests():
    seen = np.arange(60)
    for fold in range(5):
        row = 60 + 12 * fold
        others = np.setdiff1d(np.arange(60, 120), np.arange(row, row + 12))
        check("corpus", seen, row, among(others))


def test_speaker_takes_all_the_speaker_says():
    for row in (0, 7, 119):
        check("speaker", np.arange(12, 60), row, MEMBER.speaker == MEMBER.speaker[row])


def test_none_changes_nothing():
    mean, scale = affine("none", SUMS, MEMBER, np.arange(60))
    assert not mean.any()
    assert (scale == 1).all()


@pytest.mark.parametrize("mode", ["train", "corpus"])
def test_statistics_never_see_the_test_speakers(mode):
    seen = np.arange(12, 60)
    poisoned = LOGMEL.copy()
    poisoned[:12] += 1000
    before = affine(mode, SUMS, MEMBER, seen)
    after = affine(mode, moments(poisoned, FRAMES), MEMBER, seen)
    group = grouping(mode, MEMBER)[0]
    np.testing.assert_array_equal(before[0][group], after[0][group])


def test_a_band_that_never_varies_is_only_centred():
    constant = np.full((3, 750, 26), -100, np.float32)
    member = Membership(np.zeros(3, int), np.arange(3), np.zeros(3, int))
    mean, scale = affine("train", moments(constant, np.full(3, 750)), member, np.arange(3))
    np.testing.assert_allclose(mean, -100)
    np.testing.assert_allclose(scale, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_have_no_mean(value):
    features = LOGMEL.copy()
    features[7, 0, 3] = value
    with np.errstate(invalid="ignore"):
        sums = moments(features, FRAMES)
    with pytest.raises(StandardizationError, match="not finite numbers among 60 utterances, expected dB"):
        affine("train", sums, MEMBER, np.arange(60))
    affine("train", sums, MEMBER, np.arange(60, 120))
    affine("none", sums, MEMBER, np.arange(60))


def test_every_mode_is_known_to_both_functions():
    for mode in standardize.MODES:
        mean, scale = affine(mode, SUMS, MEMBER, np.arange(60))
        assert mean.shape == scale.shape == (grouping(mode, MEMBER).max() + 1, 26)
