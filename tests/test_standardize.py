"""Standardisation and histogram equalisation, against statistics, np.quantile and np.interp by frame."""

import numpy as np
import pytest
from corpora import noise_corpus
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data import standardize
from ser_jax.data.corpus import Concatenated, ConcatenatedArray
from ser_jax.data.standardize import CELL, LEVELS, Membership, StandardizationError, equalize, fit_scaler

PAIR = Concatenated([noise_corpus(seed=1), noise_corpus("other", seed=2)])
FEATURES = PAIR.features[np.arange(120)]
FEATURES[60:] += (FEATURES[60:] != 0) * 9
FRAMES = PAIR.frames
SPEAKER = np.unique(PAIR.speaker_id, return_inverse=True)[1]
MEMBER = Membership(PAIR.corpus, np.tile(np.arange(60) // 12, 2), SPEAKER)
SUMS = standardize.moments(FEATURES, FRAMES)


def check(mode, trains, row, expected):
    """Utterance `row` of a run that trains on `trains` is standardised by the frames of `expected` rows."""
    scaler = fit_scaler(mode, SUMS, MEMBER, trains)
    number = standardize.group(mode, MEMBER)[row]
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
    number = standardize.group(mode, MEMBER)[0]
    before, after = (
        fit_scaler(mode, it, MEMBER, trains) for it in (SUMS, standardize.moments(poisoned, FRAMES))
    )
    np.testing.assert_array_equal(before.mean[number], after.mean[number])


@pytest.mark.parametrize("value", [-100, 0, 1e-3])
def test_a_dimension_that_never_varies_is_only_centred(value):
    constant = np.full((3, 750, 26), value, np.float32)
    member = Membership(np.zeros(3, int), np.arange(3), np.zeros(3, int))
    for mode in ("train", "utterance"):
        scaler = fit_scaler(mode, standardize.moments(constant, np.full(3, 750)), member, np.arange(3))
        np.testing.assert_allclose(scaler.mean, value)
        np.testing.assert_array_equal(scaler.scale, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_have_no_mean(value):
    features = FEATURES.copy()
    features[7, 0, 3] = value
    with np.errstate(invalid="ignore"):
        sums = standardize.moments(features, FRAMES)
    for mode in ("train", "utterance"):
        with pytest.raises(StandardizationError, match="contain non-finite numbers"):
            fit_scaler(mode, sums, MEMBER, np.arange(60))
    fit_scaler("train", sums, MEMBER, np.arange(60, 120))
    fit_scaler("none", sums, MEMBER, np.arange(60))


def test_moments_do_not_depend_on_blocks(monkeypatch):
    monkeypatch.setattr(standardize, "BLOCK", 7 * 750 * 26)
    for whole, parts in zip(SUMS, standardize.moments(FEATURES, FRAMES), strict=True):
        np.testing.assert_array_equal(whole, parts)


ROUNDING = 1e-4  # dB; float32 at 100 dB, several times over
PERCENT = np.linspace(0, 1, 101)


def utterances(seed, count, centre=-50.0, deviation=8.0, time=30, bands=3):
    """Noise [count, time, bands] and how long each lasts; what is past that is zero."""
    draw = np.random.default_rng(seed)
    frames = draw.integers(time // 2, time + 1, count)
    features = draw.normal(centre, deviation, (count, time, bands)).astype(np.float32)
    return silenced(features, frames), frames


def silenced(features, frames, value=0):
    return np.where(within(features, frames)[..., None], features, np.float32(value))


def within(features, frames):
    return np.arange(features.shape[1]) < frames[:, None]


def valid(features, frames, rows=slice(None)):
    return features[rows][within(features[rows], frames[rows])]


def quantiles(features, frames, rows, levels=LEVELS):
    lowest, counts = standardize.histograms(features, frames, [rows])
    return standardize.quantiles(lowest, counts[0], levels)


def plainly_quantiles(sounding, levels):
    return np.quantile(sounding.astype(np.float64), levels, axis=0).T


def plainly_mapped(sounding, source, reference, move=0.0):
    """np.interp band by band, with slope one where it would clamp; for values that differ by `move`."""
    columns = []
    for x, start, end in zip(sounding.T.astype(np.float64), source, reference, strict=True):
        inside = np.clip(x, start[0], start[-1])
        columns.append(np.interp(inside + move, start, end) + x - inside)
    return np.stack(columns, axis=1)


# Three corpora, each of five folds; their rows are mixed, as the pool's need not be, but their numbers match.
PARTS = [utterances(1, 300), utterances(2, 100, -70, 5), utterances(3, 150, -30, 12)]
ORDER = np.random.default_rng(0).permutation(550)
MIXED = np.concatenate([features for features, _ in PARTS])[ORDER]
LENGTHS = np.concatenate([frames for _, frames in PARTS])[ORDER]
CORPUS = np.repeat([0, 1, 2], [300, 100, 150])[ORDER]
FOLD = (np.arange(550) % 5)[ORDER]
WHO = Membership(CORPUS, FOLD, np.arange(550))


@given(seed=st.integers(0, 999), rows=st.lists(st.integers(0, 9), min_size=1, max_size=10, unique=True))
def test_quantiles_are_those_of_numpy_to_half_a_cell(seed, rows):
    features, frames = utterances(seed, 10)
    rows = np.array(rows)
    for levels in (LEVELS, PERCENT, np.array([0, 0.5, 1])):
        found = quantiles(features, frames, rows, levels)
        expected = plainly_quantiles(valid(features, frames, rows), levels)
        np.testing.assert_allclose(found, expected, rtol=0, atol=CELL / 2 + ROUNDING)


@pytest.mark.parametrize("bands", [0, 1])
def test_a_band_that_never_varies_is_shifted_to_the_median(bands):
    features, frames = utterances(6, 20)
    flat = silenced(np.full_like(features, -100), frames)
    flat[..., :bands] = features[..., :bands]
    rows, group = np.arange(20), np.zeros(20, int)
    source, reference = quantiles(flat, frames, rows), quantiles(features, frames, rows)
    found = valid(standardize.map_quantiles(flat, frames, group, source[None], reference), frames)
    median = np.median(valid(features, frames), axis=0)
    np.testing.assert_allclose(found[:, bands:] - median[bands:], 0, atol=CELL)
    np.testing.assert_array_equal(found[:, :bands], valid(features, frames)[:, :bands])
    assert np.isfinite(standardize.map_quantiles(features, frames, group, reference[None], source)).all()


@pytest.mark.parametrize("training", [{0}, {1}, {0, 1}, {0, 1, 2}])
def test_equalised_features_are_those_of_the_definition(training):
    found = equalize(training, MIXED, LENGTHS, WHO)
    trains = np.isin(CORPUS, list(training))
    for corpus in range(3):
        for fold in range(5):
            own = (corpus == CORPUS) & (fold == FOLD)
            source = (corpus == CORPUS) & (trains | (fold != FOLD))
            curves = [plainly_quantiles(valid(MIXED, LENGTHS, rows), LEVELS) for rows in (source, trains)]
            x, y = (valid(features, LENGTHS, own) for features in (MIXED, found))
            assert np.abs(y - plainly_mapped(x, *curves)).mean() < CELL
            # Values of one cell are not told apart, so each lies between those of its neighbours.
            lowest, highest = (plainly_mapped(x, *curves, move=move) for move in (-CELL, CELL))
            assert (y > lowest - CELL).all()
            assert (y < highest + CELL).all()


def test_where_one_corpus_trains_it_stays_as_it_is():
    found = equalize({1}, MIXED, LENGTHS, WHO)
    np.testing.assert_array_equal(found[CORPUS == 1], MIXED[CORPUS == 1])
    for corpus in (0, 2):
        assert np.abs(valid(found - MIXED, LENGTHS, corpus == CORPUS)).mean() > 10


@pytest.mark.parametrize("training", [{0}, {2}, {0, 1}])
@pytest.mark.parametrize("fold", [0, 3])
def test_a_tested_utterances_own_fold_never_matters(training, fold):
    """All others of its fold change; its own values go where they went."""
    before = equalize(training, MIXED, LENGTHS, WHO)
    for corpus in {0, 1, 2} - training:
        changed = (fold == FOLD) & (corpus == CORPUS)
        probe = np.flatnonzero(changed)[0]
        changed[probe] = False
        poisoned = silenced(np.where(changed[:, None, None], MIXED * 1.5 - 40, MIXED), LENGTHS)
        after = equalize(training, poisoned, LENGTHS, WHO)
        np.testing.assert_array_equal(after[probe], before[probe])


@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e30])
def test_what_lies_in_the_padding_never_matters_and_stays(padding):
    poisoned = silenced(MIXED, LENGTHS, padding)
    found, expected = (equalize({0, 1}, x, LENGTHS, WHO) for x in (poisoned, MIXED))
    np.testing.assert_array_equal(valid(found, LENGTHS), valid(expected, LENGTHS))
    np.testing.assert_array_equal(silenced(found, LENGTHS, padding), found)
    np.testing.assert_array_equal(silenced(expected, LENGTHS), expected)


def test_joined_and_mapped_corpora_are_equalised_the_same_and_left_alone(tmp_path):
    np.save(tmp_path / "features.npy", MIXED)
    stored = np.load(tmp_path / "features.npy", mmap_mode="r")
    expected = equalize({0}, MIXED, LENGTHS, WHO)
    assert expected.dtype == np.float32
    for features in (stored, ConcatenatedArray([MIXED[:100], stored[100:]])):
        found = equalize({0}, features, LENGTHS, WHO)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(stored, MIXED)


def test_features_of_too_wide_a_range_are_refused():
    with pytest.raises(StandardizationError, match=r"features from .*, expected them in dB or within 1000"):
        standardize.histograms(100 * MIXED, LENGTHS, [np.arange(550)])
