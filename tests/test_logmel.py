"""The features: librosa's numbers, and what any spectrogram owes its signal."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ser_jax.data.logmel import BANDS, FRAMES, HOP, RATE, WINDOW, ShortSignalError, filterbank, logmel, pad

SIGNALS = arrays(np.float64, 720, elements=st.floats(-1, 1))


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, count)


@given(samples=SIGNALS, level=st.sampled_from([1.0, 1e-3, 1e-6]))
def test_equals_librosa(samples, level):
    power = librosa.feature.melspectrogram(
        y=level * samples, sr=RATE, n_fft=WINDOW, hop_length=HOP, window="hann", center=False, n_mels=BANDS
    )
    expected = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
    np.testing.assert_allclose(logmel(level * samples), expected.T, rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [400, 559, 560, 719, 720, 16000])
def test_counts_the_windows_that_fit(count):
    assert logmel(noise(count)).shape == (1 + (count - 400) // 160, BANDS)


def test_seven_and_a_half_seconds_give_748_frames():
    assert len(logmel(noise(int(7.5 * RATE)))) == 748


def test_silence_is_100_db_below_one():
    np.testing.assert_array_equal(logmel(np.zeros(4000)), -100.0)


def test_twice_the_amplitude_is_six_decibels_everywhere():
    np.testing.assert_allclose(logmel(2 * noise(4000)) - logmel(noise(4000)), 20 * np.log10(2), atol=1e-9)


def test_a_frame_sees_its_own_400_samples_only():
    samples = noise(4000)
    changed = samples.copy()
    frame = 5
    changed[: frame * HOP] = 0
    changed[frame * HOP + WINDOW :] = 0
    np.testing.assert_array_equal(logmel(samples)[frame], logmel(changed)[frame])


@pytest.mark.parametrize("band", [3, 12, 22])
def test_a_tone_is_loudest_in_its_own_band(band):
    edges = librosa.mel_frequencies(n_mels=BANDS + 2, fmin=0, fmax=RATE / 2)
    tone = np.sin(2 * np.pi * edges[band + 1] * np.arange(8000) / RATE)
    assert (logmel(tone).argmax(axis=1) == band).all()


def test_given_filters_are_the_own_ones():
    np.testing.assert_array_equal(logmel(noise(4000), filterbank()), logmel(noise(4000)))


def test_too_short_a_signal_is_refused():
    with pytest.raises(ShortSignalError, match="holds 399 samples, expected at least 400"):
        logmel(np.zeros(399))


@pytest.mark.parametrize("count", [1, 748, 750, 900])
def test_padding_keeps_what_fits_and_is_zero_elsewhere(count):
    features = np.random.default_rng(count).normal(-50, 10, (count, BANDS))
    padded, frames = pad(features)
    assert padded.shape == (FRAMES, BANDS)
    assert padded.dtype == np.float32
    assert frames == min(count, FRAMES)
    np.testing.assert_array_equal(padded[:frames], features[:frames].astype(np.float32))
    assert not padded[frames:].any()
