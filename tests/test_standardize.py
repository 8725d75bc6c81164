"""Whose statistics are taken, against statistics computed frame by frame."""

import numpy as np
import pytest
from corpora import noise_corpus

from ser_jax.data import standardize
from ser_jax.data.corpus import Concatenated
from ser_jax.data.standardize import Membership, StandardizationError, fit_scaler, group, moments

PAIR = Concatenated([noise_corpus(seed=1), noise_corpus("other", seed=2)])
FEATURES = PAIR.features[np.arange(120)]
FEATURES[60:] += (FEATURES[60:] != 0) * 9
FRAMES = PAIR.frames
SPEAKER = np.unique(PAIR.speaker_id, return_inverse=True)[1]
MEMBER = Membership(PAIR.corpus, np.tile(np.arange(60) // 12, 2), SPEAKER)
SUMS = moments(FEATURES, FRAMES)


def check(mode, trains, row, expected):
    """Utterance `row` of a run that trains on `trains` is standardised by the frames of `expected` rows."""
    scaler = fit_scaler(mode, SUMS, MEMBER, trains)
    number = group(mode, MEMBER)[row]
    frames = np.concatenate([FEATURES[i, : FRAMES[i]] for i in expected]).astype(float)
    np.testing.assert_allclose(scaler.mean[number], frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scaler.scale[number], 1 / frames.std(axis=0), rtol=1e-4)


def test_train_takes_the_training_utterances_for_everything():
    trains = np.arange(12, 60)
    for row in (0, 30, 119):
        check("train", trains, row, trains)


def test_corpus_takes_the_training_utterances_of_the_utterances_own_corpus():
    trains = np.r_[12:60, 72:120]
    check("corpus", trains, 0, np.arange(12, 60))
    check("corpus", trains, 65, np.arange(72, 120))


@pytest.mark.parametrize("fold", range(5))
def test_corpus_never_takes_the_fold_of_a_corpus_that_only_tests(fold):
    row = 60 + 12 * fold
    check("corpus", np.arange(60), row, np.setdiff1d(np.arange(60, 120), np.arange(row, row + 12)))


def test_speaker_takes_all_utterances_of_the_speaker_and_utterance_itself():
    for row in (0, 7, 119):
        check("speaker", np.arange(12, 60), row, np.flatnonzero(SPEAKER[row] == SPEAKER))
        check("utterance", np.arange(12, 60), row, [row])


@pytest.mark.parametrize("mode", ["train", "corpus"])
def test_statistics_never_depend_on_the_test_speakers(mode):
    trains = np.arange(12, 60)
    poisoned = FEATURES.copy()
    poisoned[:12] += 1000
    number = group(mode, MEMBER)[0]
    before, after = (fit_scaler(mode, it, MEMBER, trains) for it in (SUMS, moments(poisoned, FRAMES)))
    np.testing.assert_array_equal(before.mean[number], after.mean[number])


@pytest.mark.parametrize("value", [-100, 0, 1e-3])
def test_a_dimension_that_never_varies_is_only_centred(value):
    constant = np.full((3, 750, 26), value, np.float32)
    member = Membership(np.zeros(3, int), np.arange(3), np.zeros(3, int))
    for mode in ("train", "utterance"):
        scaler = fit_scaler(mode, moments(constant, np.full(3, 750)), member, np.arange(3))
        np.testing.assert_allclose(scaler.mean, value)
        np.testing.assert_array_equal(scaler.scale, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_have_no_mean(value):
    features = FEATURES.copy()
    features[7, 0, 3] = value
    with np.errstate(invalid="ignore"):
        sums = moments(features, FRAMES)
    for mode in ("train", "utterance"):
        with pytest.raises(StandardizationError, match="are not all finite numbers, expected so"):
            fit_scaler(mode, sums, MEMBER, np.arange(60))
    fit_scaler("train", sums, MEMBER, np.arange(60, 120))
    fit_scaler("none", sums, MEMBER, np.arange(60))


def test_moments_do_not_depend_on_blocks(monkeypatch):
    monkeypatch.setattr(standardize, "BLOCK", 7 * 750 * 26)
    for whole, parts in zip(SUMS, moments(FEATURES, FRAMES), strict=True):
        np.testing.assert_array_equal(whole, parts)
