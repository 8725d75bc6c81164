"""Reading sound: containers, codings, rates, channels, segments and blocks; what is damaged, or no sound."""

import os
import pickle
import struct

import numpy as np
import pytest
import soundfile

from ser_jax.data.audio import BLOCK, AudioError, check, opened, read
from ser_jax.data.ffmpeg import WARM_UP

RATE = 16000
# What has no first bytes of its own, is rarely speech, garbles samples (SDS) or hangs if it is damaged (SVX).
UNKNOWN = {"RAW", "HTK", "SD2", "MPC2K", "MAT4", "MAT5", "XI", "SDS", "SVX"}
CONTAINERS = sorted(soundfile.available_formats().keys() - UNKNOWN)
UNTOLD = {"AVR", "IRCAM", "PAF", "PVF"}  # of whose length libsndfile tells nothing


def write(path, samples, rate=RATE, subtype="FLOAT", **rest):
    soundfile.write(path, samples, rate, subtype=subtype, **rest)
    return path


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


def tone(seconds, rate, frequency=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def sweep(seconds, rate):
    """200 to 600 Hz, fading in; unlike a tone it cannot be shifted unnoticed."""
    time = np.arange(int(seconds * rate)) / rate
    return 0.4 * np.sin(2 * np.pi * (200 * time + 100 * time**2)) * np.minimum(1, 10 * time)


def wav(body, channels=1, rate=RATE, riff=None, data=None, before=b""):
    """A WAV file of 16 bit with any rate, channels and lengths in its header."""
    fmt = struct.pack("<HHIIHH", 1, channels, rate, min(2 * rate, 2**32 - 1), 2, 16)
    before = b"fmt " + struct.pack("<I", len(fmt)) + fmt + before
    riff = 12 + len(before) + len(body) if riff is None else riff
    data = len(body) if data is None else data
    return b"RIFF" + struct.pack("<I", riff) + b"WAVE" + before + b"data" + struct.pack("<I", data) + body


def mp3_in_wav(data):
    """A WAV file around an MP3 without its first frame, which only counts the others."""
    data = data[data.index(data[:2], 4) :]
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 3000, 1, 0, 12, 1, 2, 108, 1, 0)
    chunks = (b"fmt ", fmt), (b"fact", struct.pack("<I", 2 * RATE + 1500)), (b"data", data)
    body = b"".join(
        name + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for name, part in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


PCM = (noise(8000) * 32767).astype("<i2")
UNWRITABLE = {"DWVW_12", "MPEG_LAYER_I", "MPEG_LAYER_II"}  # libsndfile only reads them
CODINGS = [
    (container, subtype)
    for container in CONTAINERS
    for subtype in soundfile.available_subtypes(container)
    if subtype not in UNWRITABLE
]
EXACT = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
STEREO = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC", "AU", "CAF", "NIST", "IRCAM", "PVF", "VOC")
RATES = {"VOC": 8000, "WVE": 8000}  # whose headers hold no others


@pytest.mark.parametrize(("container", "subtype"), [c for c in CODINGS if c[0] in STEREO and c[1] in EXACT])
def test_lossless_codings_return_what_was_written(tmp_path, container, subtype):
    samples = np.random.default_rng(0).integers(-128, 128, (8000, 2)) / 128  # fit into any width
    found, seconds = read(write(tmp_path / "a", samples, subtype=subtype, format=container))
    np.testing.assert_array_equal(found, samples.mean(axis=1))
    assert found.dtype == np.float64
    assert seconds == 0.5


@pytest.mark.parametrize(("container", "subtype"), CODINGS)
def test_every_container_and_coding_comes_close_begins_on_time_and_has_segments(tmp_path, container, subtype):
    path, rate = tmp_path / "a", RATES.get(container, RATE)
    is_mp3_in_wav = (container, subtype) == ("WAV", "MPEG_LAYER_III")
    if is_mp3_in_wav:  # libsndfile only reads it
        soundfile.write(
            tmp_path / "a.mp3", sweep(2, RATE), RATE, bitrate_mode="CONSTANT", compression_level=0
        )
        path.write_bytes(mp3_in_wav((tmp_path / "a.mp3").read_bytes()))
    else:
        write(path, sweep(2, rate), rate, subtype, format=container)
    found, seconds = read(path)
    assert 2 <= seconds <= 2.05 + 0.1 * subtype.startswith("MPEG")  # codings in blocks fill their last one
    delay, error = (1105, 0.06) if is_mp3_in_wav else (0, 0.05)  # the encoder's delay; it turns down by 5 %
    rest = found[delay : delay + 2 * RATE] - sweep(2, RATE)[: len(found) - delay]
    assert np.sqrt((rest**2).mean() / (sweep(2, RATE) ** 2).mean()) < error
    part, seconds = read(path, 0.5, 1.5)
    assert (len(part), seconds) == (RATE, 1)
    np.testing.assert_allclose(part[100:-100], found[RATE // 2 :][100 : RATE - 100], atol=0.02)


@pytest.mark.parametrize(("riff", "data"), [(0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000), (8, 0)])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, riff, data):
    (tmp_path / "a.wav").write_bytes(wav(PCM.tobytes(), riff=riff, data=data))
    samples, seconds = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, PCM / 32768)
    assert seconds == 0.5


ZEROED = [  # container, byte order, what precedes the length of the sound, bytes in between and of the length
    ("RF64", "FILE", b"ds64", 16, 8, None),
    ("AU", "BIG", b".snd", 8, 4, None),
    ("AU", "LITTLE", b"dns.", 8, 4, None),
    *(
        (*case, outer)  # the length of all that follows
        for outer in (None, 0, 8, -1)
        for case in (
            ("WAV", "LITTLE", b"data", 4, 4),
            ("WAV", "BIG", b"data", 4, 4),
            ("WAVEX", "FILE", b"data", 4, 4),
            ("W64", "FILE", b"data", 16, 8),
            ("AIFF", "FILE", b"SSND", 4, 4),
        )
    ),
]


@pytest.mark.parametrize("samples", [noise(8000), np.zeros(8000)], ids=["noise", "silence"])
@pytest.mark.parametrize(("container", "endian", "chunk", "gap", "size", "outer"), ZEROED)
def test_a_length_of_zero_is_read_to_the_end(
    tmp_path, caplog, container, endian, chunk, gap, size, outer, samples
):
    path = write(tmp_path / "a", samples, subtype="PCM_16", endian=endian, format=container)
    data = bytearray(path.read_bytes())
    place = data.index(chunk) + gap
    data[place : place + size] = bytes(size)
    if outer is not None:
        order = "big" if data[:4] in (b"RIFX", b"FORM") else "little"
        data[gap : gap + size] = (outer % 256**size).to_bytes(size, order)
    path.write_bytes(data)
    found, seconds = read(path)
    assert seconds == 0.5
    np.testing.assert_allclose(found, samples, atol=1e-4)
    assert f"{path}: its header states no length, read to the end" in caplog.text
    path.write_bytes(data[:-16000])
    with pytest.raises(AudioError, match=r"holds no samples|not readable as audio"):
        read(path)


def test_a_file_that_states_its_length_is_read_without_a_warning(tmp_path, caplog):
    for container in CONTAINERS:
        read(write(tmp_path / "a", noise(8000), RATES.get(container, RATE), None, format=container))
    assert caplog.text == ""


def test_an_mp3_that_states_no_length_ends_where_its_sound_ends(tmp_path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(3, RATE), RATE, bitrate_mode="CONSTANT", compression_level=0.9)
    data = path.read_bytes()
    size = data.index(data[:2], 4)
    picture = b"ID3\3\0\0" + bytes([0, 0, 100, 0]) + bytes(range(256)) * 50  # libsndfile takes it for sound
    path.write_bytes(picture + data[size:])
    samples, seconds = read(path)
    assert seconds == pytest.approx(3, abs=0.2)
    assert len(samples) == round(seconds * RATE)


LYING_LIST = b"LIST" + struct.pack("<I", 5000) + bytes(40)
BACKWARD_LIST = b"LIST\x64\0\0\0INFOIXXX\xf8\xff\xff\xff" + bytes(88)  # libsndfile 1.2.2 never returns
DAMAGED = [
    (b"", r"not readable as audio \(it is empty\), expected WAV, AIFF, FLAC, OGG or MP3"),
    (b"hello there", r"not readable as audio \(it begins with b'hello th'\), expected WAV"),
    (wav(b""), "holds no samples, expected sound"),
    (wav(PCM.tobytes())[:30], r"not readable as audio \(.*No 'data' chunk marker\)"),
    (wav(PCM.tobytes())[:9000], r"\(truncated: 8956 bytes of the 16000 its header states\)"),
    (wav(PCM.tobytes(), data=10**6), r"\(truncated: 16000 bytes of the 1000000 its header states\)"),
    (wav(PCM.tobytes(), before=LYING_LIST), r"not readable as audio \(.+\), expected WAV"),
    (wav(PCM.tobytes(), before=BACKWARD_LIST), r"\(a part b'IXXX' of its list states 4294967288 bytes\)"),
    (wav(PCM.tobytes(), rate=1), "its header states 1 samples a second, expected 1000 to 768000"),
    (wav(PCM.tobytes(), rate=2**31 - 1), "its header states 2147483647 samples a second, expected 1000 to"),
    (wav(PCM.tobytes(), channels=60000), r"not readable as audio \(.+\), expected WAV"),
]


@pytest.mark.parametrize(("data", "sentence"), DAMAGED, ids=range(len(DAMAGED)))
def test_damage_is_named(tmp_path, data, sentence):
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=rf"^{path}: .*{sentence}") as caught:
        read(path)
    assert (caught.value.path, caught.value.finding) == (path, "undecodable")
    assert str(path) not in caught.value.reason


@pytest.mark.parametrize("keep", [0.3, 0.95])
@pytest.mark.parametrize("container", [c for c in CONTAINERS if c not in UNTOLD])
def test_a_truncated_file_is_named(tmp_path, container, keep):
    path = tmp_path / "a"
    subtype = soundfile.default_subtype(container) or "PCM_16"
    write(path, noise(3 * RATE), RATES.get(container, RATE), subtype, format=container)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(
        AudioError, match=r": .*(truncated:|ends after \d+ of the 48000|malformed|damaged|in one)"
    ):
        read(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_file_without_its_end_or_with_another_behind_it_is_named(tmp_path, subtype):
    path = write(tmp_path / "a.ogg", noise(3 * RATE), subtype=subtype, format="OGG")
    one = path.read_bytes()
    other = write(tmp_path / "b.ogg", noise(3 * RATE), subtype=subtype, format="OGG").read_bytes()
    last = one.rindex(b"OggS")
    for content, what in ((one[:last], "last page lacks an end-of-stream bit"), (one + other, "junk after")):
        path.write_bytes(content)
        with pytest.raises(AudioError, match=rf"\(truncated, or several files in one: {what}"):
            read(path)


@pytest.mark.parametrize(
    ("claimed", "sentence"),
    [
        (2**36 - 1, "at its end: its header states 68719476735 frames"),
        (16001, "at its end: its header states 16001 frames"),
        (0, "states no length, expected one, as ffmpeg"),  # it came from a pipe
    ],
)
def test_a_flac_of_another_length_is_named(tmp_path, claimed, sentence):
    path = write(tmp_path / "a.flac", noise(RATE), subtype="PCM_16")
    data = path.read_bytes()  # the number of frames are 36 bits from byte 21.5 on
    count = bytes([data[21] & 0xF0 | claimed >> 32]) + struct.pack(">I", claimed % 2**32)
    path.write_bytes(data[:21] + count + data[26:])
    with pytest.raises(AudioError, match=sentence):
        read(path)


def test_channels_are_averaged(tmp_path):
    samples = np.stack([noise(8000, seed) for seed in range(8)], axis=1)
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


def half_an_hour(path):
    """Half an hour at 16 kHz, cheaply: a hole, silence, or one MP3 again and again."""
    frames = 1800 * RATE
    if path.suffix == ".wav":
        path.write_bytes(wav(b"", riff=36 + 2 * frames, data=2 * frames))
        os.truncate(path, 44 + 2 * frames)
    elif path.suffix == ".flac":
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for _ in range(30):
                file.write(np.zeros(60 * RATE, np.int16))
    else:
        constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.9}
        soundfile.write(path, tone(36, RATE), RATE, **constant)
        data = path.read_bytes()
        size = data.index(data[:2], 4)  # of the first frame, which holds the count of frames
        path.write_bytes(data[size:] * 50)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_no_more_is_decoded_than_asked_for(tmp_path, decoded, suffix):
    path = half_an_hour(tmp_path / f"a.{suffix}")
    for start in (0.0, 1350.0):
        decoded.clear()
        samples, seconds = read(path, start)
        assert len(samples) == 120000
        assert seconds == pytest.approx(1800 - start, rel=0.01)
        before = RATE * WARM_UP if suffix == "mp3" and start else 0  # which its decoder needs
        assert sum(decoded) <= 120001 + before  # of FLAC the last frame is tried
    with opened(path, 1350.0) as sound:
        decoded.clear()
        assert sum(map(len, sound.blocks(limit=1.0))) == RATE == sum(decoded) - before


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
    with pytest.raises(AudioError, match=r"a\.wav: float64 samples that are not finite, expected"):
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
