"""Reading sound: rates, channels, segments and blocks; files that cannot be opened; what is no sound."""

import os
import pickle

import numpy as np
import pytest
import soundfile
from sounds import RATE, noise, sweep, tone, wav, write

from ser_jax.data.audio import BLOCK, AudioError, check, opened, read


@pytest.mark.parametrize("channels", [2, 8])
def test_channels_are_averaged(tmp_path, channels):
    samples = np.stack([noise(8000, seed) for seed in range(channels)], axis=1)
    found, _ = read(write(tmp_path / "a.wav", samples))
    np.testing.assert_allclose(found, samples.astype(float).mean(axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000, 192000, 768000])
def test_a_tone_survives_any_rate(tmp_path, rate):
    samples, seconds = read(write(tmp_path / "a.wav", tone(1, rate), rate))
    assert (len(samples), seconds) == (RATE, 1.0)
    np.testing.assert_allclose(samples[1000:-1000], tone(1, RATE)[1000:-1000], rtol=0, atol=2e-3)


def test_a_segment_is_a_slice(tmp_path):
    samples, seconds = read(write(tmp_path / "a.wav", noise(32000)), 0.25, 1.0)
    np.testing.assert_array_equal(samples, noise(32000)[4000:16000])
    assert seconds == 0.75


@pytest.mark.parametrize("subtype", ["G721_32", "NMS_ADPCM_16"])
def test_a_coding_without_seeking_has_no_segments(tmp_path, subtype):
    path = write(tmp_path / "a.wav", sweep(2, RATE), subtype=subtype)
    assert len(read(path)[0]) >= 2 * RATE
    with pytest.raises(AudioError, match="Seek attempted on unseekable file type"):
        read(path, 0.25, 1.0)


@pytest.fixture
def decoded(monkeypatch):
    """Frames that each call to the decoder returned."""
    counts = []
    original = soundfile.SoundFile.read

    def counting(self, *args, **rest):
        block = original(self, *args, **rest)
        counts.append(len(block))
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    return counts


def two_hours(path):
    """Two hours at 16 kHz, cheaply: a hole, silence, or one MP3 again and again."""
    frames = 7200 * RATE
    if path.suffix == ".wav":
        path.write_bytes(wav(b"", riff=36 + 2 * frames, data=2 * frames))
        os.truncate(path, 44 + 2 * frames)
    elif path.suffix == ".flac":
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for _ in range(120):
                file.write(np.zeros(60 * RATE, np.int16))
    else:
        constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.9}
        soundfile.write(path, tone(36, RATE), RATE, **constant)
        data = path.read_bytes()
        size = data.index(data[:2], 4)  # of the first frame, which holds the count of frames
        path.write_bytes(data[size:] * 200)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_no_more_is_decoded_than_asked_for(tmp_path, decoded, suffix):
    path = two_hours(tmp_path / f"a.{suffix}")
    for start in (0.0, 5400.0):
        decoded.clear()
        samples, seconds = read(path, start)
        assert len(samples) == 120000
        assert seconds == pytest.approx(7200 - start, rel=0.01)
        assert sum(decoded) <= 120001  # of FLAC the last frame is tried
    with opened(path, 5400.0) as sound:
        decoded.clear()
        assert sum(map(len, sound.blocks(limit=1.0))) == RATE == sum(decoded)


def test_a_whole_recording_comes_in_small_blocks(tmp_path):
    samples = np.stack([noise(300000, seed) for seed in range(3)], axis=1)
    with opened(write(tmp_path / "a.wav", samples), 1.0, 15.0) as sound:
        assert (sound.rate, sound.channels, sound.encoding, sound.seconds) == (RATE, 3, "WAV FLOAT", 14.0)
        blocks = list(sound.blocks())
    assert max(block.size for block in blocks) <= BLOCK
    np.testing.assert_array_equal(np.concatenate(blocks), samples[RATE : 15 * RATE])


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_in_blocks_sounds_as_in_one(tmp_path, mode):
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(400000), RATE, bitrate_mode=mode, compression_level=0.5)
    with opened(path) as sound:
        blocks = list(sound.blocks())
    assert len(blocks) > 3
    np.testing.assert_array_equal(np.concatenate(blocks), soundfile.read(path, always_2d=True)[0])


@pytest.mark.parametrize("refuse", [check, read])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gone.wav", r"gone\.wav: no such audio file$"),
        ("a.wav/b.wav", r"a\.wav/b\.wav: no such audio file$"),
        (".", "not a regular file, expected an audio file$"),
        ("pipe.wav", "not a regular file, expected an audio file$"),  # whose writer nobody waits for
        ("a" * 300, r"cannot be opened \(File name too long\), expected an audio file$"),
        ("a\0b.wav", r"cannot be opened \(.*embedded null.+\), expected an audio file$"),
        ("loop.wav", r"cannot be opened \(Too many levels of symbolic links\), expected an audio file$"),
    ],
)
def test_a_missing_file_is_named(tmp_path, refuse, name, sentence):
    write(tmp_path / "a.wav", noise(8000))
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / name, f"{tmp_path}/{name}"):
        with pytest.raises(AudioError, match=sentence):
            refuse(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_samples_are_finite(tmp_path, value):
    samples = noise(8000).astype(float)
    samples[77] = value
    with pytest.raises(AudioError, match=r"a\.wav: holds samples that are not finite"):
        read(write(tmp_path / "a.wav", samples, subtype="DOUBLE"))


def test_one_frame_is_the_least(tmp_path):
    assert len(read(write(tmp_path / "a.wav", noise(400)))[0]) == 400
    with pytest.raises(
        AudioError, match=r"b\.wav: the file holds 0\.0249 s of sound, expected at least .* 0\.025 s"
    ):
        read(write(tmp_path / "b.wav", noise(399)))
    with pytest.raises(AudioError, match=r"a\.wav: the segment from 0\.02 s holds 0\.0050 s"):
        read(tmp_path / "a.wav", 0.02, 0.5)


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(AudioError("a/b.wav", "too short", "is broken")))
    assert (str(error), str(error.path), error.reason) == ("a/b.wav: is broken", "a/b.wav", "is broken")
    assert error.finding == "too short"
