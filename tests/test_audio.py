"""Reading sound: rates, channels, segments, and what is wrong with a file."""

import numpy as np
import pytest
import soundfile

from ser_jax.data.audio import AudioError, read

RATE = 16000


def write(path, samples, rate=RATE, subtype="FLOAT"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


def tone(seconds, rate, frequency=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def test_returns_what_was_written(tmp_path):
    samples, seconds = read(write(tmp_path / "a.wav", noise(8000)))
    np.testing.assert_array_equal(samples, noise(8000))
    assert samples.dtype == np.float64
    assert seconds == 0.5


def test_channels_are_averaged(tmp_path):
    left, right = noise(8000, 1), noise(8000, 2)
    samples, _ = read(write(tmp_path / "a.wav", np.stack([left, right], axis=1)))
    np.testing.assert_allclose(samples, (left.astype(float) + right) / 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_tone_survives_any_rate(tmp_path, rate):
    samples, seconds = read(write(tmp_path / "a.wav", tone(1, rate), rate))
    assert (len(samples), seconds) == (RATE, 1.0)
    np.testing.assert_allclose(samples[1000:-1000], tone(1, RATE)[1000:-1000], rtol=0, atol=2e-3)


def test_a_segment_is_a_slice(tmp_path):
    samples, seconds = read(write(tmp_path / "a.wav", noise(32000)), 0.25, 1.0)
    np.testing.assert_array_equal(samples, noise(32000)[4000:16000])
    assert seconds == 0.75


def test_a_segment_ends_with_its_file(tmp_path):
    samples, seconds = read(write(tmp_path / "a.wav", noise(16000)), 0.5, 1.9)
    assert (len(samples), seconds) == (8000, 0.5)


def test_a_segment_far_past_its_file_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", noise(16000))
    with pytest.raises(AudioError, match=r"segment ends at 9\.0 s, expected it within the file's 1\.0 s"):
        read(path, 0.5, 9.0)


def test_no_more_is_decoded_than_asked_for(tmp_path, monkeypatch):
    path = write(tmp_path / "a.flac", noise(20 * RATE), subtype="PCM_16")
    asked = []
    original = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda self, frames, **rest: asked.append(frames) or original(self, frames, **rest),
    )
    samples, seconds = read(path, 2.0)
    assert (len(samples), seconds) == (120000, 18.0)
    assert asked == [120000]


@pytest.mark.parametrize("suffix", ["wav", "raw", "flac"])
def test_text_is_not_audio(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text("hello")
    with pytest.raises(
        AudioError, match=rf"a\.{suffix}: not readable as audio \(.+\), expected WAV, FLAC, OGG or MP3$"
    ):
        read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: no such audio file"):
        read(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match="no such audio file"):
        read(tmp_path)


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"a\.wav: holds no samples"):
        read(write(tmp_path / "a.wav", noise(0)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_are_finite(tmp_path, value):
    samples = noise(8000)
    samples[77] = value
    with pytest.raises(AudioError, match=r"a\.wav: holds samples that are not finite"):
        read(write(tmp_path / "a.wav", samples))


def test_one_frame_is_the_least(tmp_path):
    assert len(read(write(tmp_path / "a.wav", noise(400)))[0]) == 400
    with pytest.raises(
        AudioError, match=r"b\.wav: the file holds 0\.0249 s of sound, expected at least .* 0\.025 s"
    ):
        read(write(tmp_path / "b.wav", noise(399)))
    with pytest.raises(AudioError, match=r"a\.wav: the segment from 0\.02 s holds 0\.0050 s"):
        read(tmp_path / "a.wav", 0.02, 0.5)


def test_a_segment_begins_within_its_file(tmp_path):
    with pytest.raises(
        AudioError, match=r"a\.wav: segment begins at 1\.5 s, expected it within the file's 1\.0 s"
    ):
        read(write(tmp_path / "a.wav", noise(16000)), 1.5, 2.0)


@pytest.mark.parametrize(("start", "stop"), [(-1.0, None), (1.0, 1.0), (float("nan"), None)])
def test_a_segment_has_a_length(tmp_path, start, stop):
    with pytest.raises(AudioError, match="expected 0 <= start < end"):
        read(write(tmp_path / "a.wav", noise(16000)), start, stop)
