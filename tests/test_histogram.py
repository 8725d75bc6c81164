"""Equalised distributions, against np.quantile and np.interp frame by frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data import standardize
from ser_jax.data.corpus import ConcatenatedArray
from ser_jax.data.standardize import (
    CELL,
    LEVELS,
    Membership,
    StandardizationError,
    equalize,
    histograms,
    map_quantiles,
)  # fmt: skip

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
    lowest, counts = histograms(features, frames, [rows])
    return standardize.quantiles(lowest, counts[0], levels)


def plainly_quantiles(sounding, levels):
    return np.quantile(sounding.astype(np.float64), levels, axis=0).T


def plainly_mapped(sounding, source, reference):
    """np.interp band by band, with slope one where it would clamp."""
    columns = []
    for x, start, end in zip(sounding.T.astype(np.float64), source, reference, strict=True):
        inside = np.clip(x, start[0], start[-1])
        columns.append(np.interp(x, start, end) + x - inside)
    return np.stack(columns, axis=1)


# Three corpora, each of five folds; their rows are mixed, as the pool's need not be, but their numbers match.
PARTS = [utterances(1, 300), utterances(2, 100, -70, 5), utterances(3, 150, -30, 12)]
ORDER = np.random.default_rng(0).permutation(550)
FEATURES = np.concatenate([features for features, _ in PARTS])[ORDER]
FRAMES = np.concatenate([frames for _, frames in PARTS])[ORDER]
CORPUS = np.repeat([0, 1, 2], [300, 100, 150])[ORDER]
FOLD = (np.arange(550) % 5)[ORDER]
MEMBER = Membership(CORPUS, FOLD, np.arange(550))


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
    found = valid(map_quantiles(flat, frames, group, source[None], reference), frames)
    median = np.median(valid(features, frames), axis=0)
    np.testing.assert_allclose(found[:, bands:] - median[bands:], 0, atol=CELL)
    np.testing.assert_array_equal(found[:, :bands], valid(features, frames)[:, :bands])
    assert np.isfinite(map_quantiles(features, frames, group, reference[None], source)).all()


@pytest.mark.parametrize("training", [{0}, {1}, {0, 1}, {0, 1, 2}])
def test_equalised_features_are_those_of_the_definition(training):
    found = equalize(training, FEATURES, FRAMES, MEMBER)
    trains = np.isin(CORPUS, list(training))
    for corpus in range(3):
        for fold in range(5):
            own = (MEMBER.corpus == corpus) & (MEMBER.fold == fold)
            other = (MEMBER.corpus == corpus) & (MEMBER.fold != fold)
            pooled = trains & (MEMBER.fold != fold) if corpus in training else trains
            curves = [plainly_quantiles(valid(FEATURES, FRAMES, rows), LEVELS) for rows in (other, pooled)]
            expected = plainly_mapped(valid(FEATURES, FRAMES, own), *curves)
            difference = np.abs(valid(found, FRAMES, own) - expected)
            assert difference.max() < 20 * CELL
            assert difference.mean() < CELL


def test_where_one_corpus_trains_it_stays_as_it_is():
    found = equalize({1}, FEATURES, FRAMES, MEMBER)
    np.testing.assert_array_equal(found[MEMBER.corpus == 1], FEATURES[MEMBER.corpus == 1])
    for corpus in (0, 2):
        assert np.abs(valid(found - FEATURES, FRAMES, MEMBER.corpus == corpus)).mean() > 10


@pytest.mark.parametrize("training", [{0}, {2}, {0, 1}, {0, 1, 2}])
@pytest.mark.parametrize("fold", [0, 3])
def test_an_utterances_own_fold_never_matters(training, fold):
    """All others of its fold change, in all corpora tested with it; its own values go where they went."""
    probes = [np.flatnonzero((MEMBER.corpus == corpus) & (MEMBER.fold == fold))[0] for corpus in range(3)]
    before = equalize(training, FEATURES, FRAMES, MEMBER)
    for corpus, probe in enumerate(probes):
        tested = training if corpus in training else {corpus}
        changed = (MEMBER.fold == fold) & np.isin(CORPUS, list(tested))
        changed[probe] = False
        poisoned = silenced(np.where(changed[:, None, None], FEATURES * 1.5 - 40, FEATURES), FRAMES)
        after = equalize(training, poisoned, FRAMES, MEMBER)
        np.testing.assert_array_equal(after[probe], before[probe])


@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e30])
def test_what_lies_in_the_padding_never_matters_and_stays(padding):
    poisoned = silenced(FEATURES, FRAMES, padding)
    found, expected = (equalize({0, 1}, x, FRAMES, MEMBER) for x in (poisoned, FEATURES))
    np.testing.assert_array_equal(valid(found, FRAMES), valid(expected, FRAMES))
    np.testing.assert_array_equal(silenced(found, FRAMES, padding), found)
    np.testing.assert_array_equal(silenced(expected, FRAMES), expected)


def test_joined_and_mapped_corpora_are_equalised_the_same_and_left_alone(tmp_path):
    np.save(tmp_path / "features.npy", FEATURES)
    stored = np.load(tmp_path / "features.npy", mmap_mode="r")
    expected = equalize({0}, FEATURES, FRAMES, MEMBER)
    assert expected.dtype == np.float32
    for features in (stored, ConcatenatedArray([FEATURES[:100], stored[100:]])):
        found = equalize({0}, features, FRAMES, MEMBER)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(stored, FEATURES)


def test_features_of_too_wide_a_range_are_refused():
    with pytest.raises(StandardizationError, match=r"features from .*, expected them in dB or within 1000"):
        histograms(100 * FEATURES, FRAMES, [np.arange(550)])
