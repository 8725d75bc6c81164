"""Containers and codings: all are read to their end, and what is wrong with a file is named."""

import struct

import numpy as np
import pytest
import soundfile
from sounds import CONTAINERS, PCM, RATE, noise, sweep, tone, wav, with_flac_frames, write

from ser_jax.data.audio import AudioError, read

UNWRITABLE = {"DWVW_12", "MPEG_LAYER_I", "MPEG_LAYER_II", ("WAV", "MPEG_LAYER_III")}  # libsndfile only reads
CODINGS = [
    (container, subtype)
    for container in CONTAINERS
    for subtype in soundfile.available_subtypes(container)
    if not {subtype, (container, subtype)} & UNWRITABLE
]
EXACT = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


@pytest.mark.parametrize(("container", "subtype"), [c for c in CODINGS if c[1] in EXACT])
def test_lossless_codings_return_what_was_written(tmp_path, container, subtype):
    samples = np.random.default_rng(0).integers(-128, 128, (8000, 2)) / 128  # fit into any width
    found, seconds = read(write(tmp_path / "a", samples, subtype=subtype, format=container))
    np.testing.assert_array_equal(found, samples.mean(axis=1))
    assert found.dtype == np.float64
    assert seconds == 0.5


@pytest.mark.parametrize(("container", "subtype"), [c for c in CODINGS if c[1] not in EXACT])
def test_lossy_codings_come_close_and_begin_on_time(tmp_path, container, subtype):
    path = write(tmp_path / "a", sweep(2, RATE), subtype=subtype, format=container)
    found, seconds = read(path)
    assert 2 <= seconds <= 2.05  # codings in blocks fill their last one
    rest = found[: 2 * RATE] - sweep(2, RATE)
    assert np.sqrt((rest**2).mean() / (sweep(2, RATE) ** 2).mean()) < 0.05


@pytest.mark.parametrize(("riff", "data"), [(0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000), (8, 0)])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, riff, data):
    (tmp_path / "a.wav").write_bytes(wav(PCM.tobytes(), riff=riff, data=data))
    samples, seconds = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, PCM / 32768)
    assert seconds == 0.5


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


DAMAGED = {
    "empty": (b"", r"not readable as audio \(it is empty\), expected WAV, AIFF, FLAC, OGG or MP3"),
    "text": (b"hello there", r"not readable as audio \(it begins with b'hello th'\), expected WAV"),
    "header only": (wav(b""), "holds no samples, expected sound"),
    "half a header": (wav(PCM.tobytes())[:30], r"not readable as audio \(.*No 'data' chunk marker\)"),
    "truncated": (wav(PCM.tobytes())[:9000], r"\(truncated: 8956 bytes of the 16000 its header promises\)"),
    "lying": (
        wav(PCM.tobytes(), data=10**6),
        r"\(truncated: 16000 bytes of the 1000000 its header promises\)",
    ),
    "lying list": (
        wav(PCM.tobytes(), before=b"LIST" + struct.pack("<I", 5000) + bytes(40)),
        r"not readable as audio \(.+\), expected WAV",
    ),
    "backward list": (  # libsndfile 1.2.2 would never return
        wav(PCM.tobytes(), before=b"LIST\x64\0\0\0INFOIXXX\xf8\xff\xff\xff" + bytes(88)),
        r"\(a part b'IXXX' of its list promises 4294967288 bytes\)",
    ),
    "no rate": (
        wav(PCM.tobytes(), struct.pack("<HHIIHH", 1, 1, 1, 2, 2, 16)),
        "its header promises 1 samples a second, expected 1000 to 768000",
    ),
    "wild rate": (
        wav(PCM.tobytes(), struct.pack("<HHIIHH", 1, 1, 2**31 - 1, 2**31 - 2, 2, 16)),
        "its header promises 2147483647 samples a second, expected 1000 to 768000",
    ),
    "too many channels": (
        wav(PCM.tobytes(), struct.pack("<HHIIHH", 1, 60000, RATE, 2 * RATE, 2, 16)),
        r"not readable as audio \(.+\), expected WAV",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_named(tmp_path, what):
    data, sentence = DAMAGED[what]
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=rf"^{path}: .*{sentence}") as caught:
        read(path)
    assert (caught.value.path, caught.value.finding) == (path, "undecodable")
    assert str(path) not in caught.value.reason


@pytest.mark.parametrize("keep", [0.3, 0.95])
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_truncated_file_is_named(tmp_path, container, keep):
    path = tmp_path / "a"
    subtype = soundfile.default_subtype(container) or "PCM_16"
    write(path, noise(3 * RATE), subtype=subtype, format=container)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(AudioError, match=r"truncated|ends after \d+ of the 48000 frames its header"):
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
        (2**36 - 1, "at its end: its header promises 68719476735 frames"),
        (16001, "at its end: its header promises 16001 frames"),
        (0, "states no length, expected one, as ffmpeg"),  # it came from a pipe
    ],
)
def test_a_flac_of_another_length_is_named(tmp_path, claimed, sentence):
    path = write(tmp_path / "a.flac", noise(RATE), subtype="PCM_16")
    path.write_bytes(with_flac_frames(path.read_bytes(), claimed))
    with pytest.raises(AudioError, match=sentence):
        read(path)
