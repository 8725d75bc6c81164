"""Reading sound: containers, rates, channels, segments, and what is wrong with a file."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_jax.data import container as containers
from ser_jax.data.audio import (
    BLOCK,
    SUFFIXES,
    AudioError,
    MissingAudioError,
    NonFiniteError,
    SegmentError,
    TooShortError,
    UndecodableError,
    check,
    opened,
    read,
)

RATE = 16000
CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC", "OGG", "MP3")
UNWRITABLE = {"DWVW_12", "MPEG_LAYER_I", "MPEG_LAYER_II", ("WAV", "MPEG_LAYER_III")}  # libsndfile only reads
CODINGS = [
    (container, subtype)
    for container in CONTAINERS
    for subtype in soundfile.available_subtypes(container)
    if not {subtype, (container, subtype)} & UNWRITABLE
]
EXACT = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


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


def wav(body, fmt=None, magic=b"RIFF", order="<", riff=None, data=None, before=b""):
    """A WAV file of our own, 16 kHz mono 16 bit unless `fmt` says otherwise, with any lengths."""
    fmt = fmt or struct.pack(order + "HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    before = b"fmt " + struct.pack(order + "I", len(fmt)) + fmt + before
    riff = 12 + len(before) + len(body) if riff is None else riff
    data = len(body) if data is None else data
    lengths = struct.pack(order + "I", riff), struct.pack(order + "I", data)
    return magic + lengths[0] + b"WAVE" + before + b"data" + lengths[1] + body


PCM = (noise(8000) * 32767).astype("<i2")


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


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_name_does_not_decide_what_a_file_is(tmp_path, container):
    path = tmp_path / "a.raw"
    write(path, noise(RATE), subtype=soundfile.default_subtype(container) or "PCM_16", format=container)
    assert len(read(path)[0]) == RATE


@pytest.mark.parametrize(("magic", "order"), [(b"RIFF", "<"), (b"RIFX", ">")])
def test_either_order_of_bytes(tmp_path, magic, order):
    (tmp_path / "a.wav").write_bytes(wav(PCM.astype(order + "i2").tobytes(), magic=magic, order=order))
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], PCM / 32768)


def test_extensible_wav_is_read(tmp_path):
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    fmt = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4) + guid
    (tmp_path / "a.wav").write_bytes(wav(PCM.tobytes(), fmt))
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], PCM / 32768)


@pytest.mark.parametrize(("riff", "data"), [(0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF024, 0x7FFFF000), (8, 0)])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, riff, data):
    (tmp_path / "a.wav").write_bytes(wav(PCM.tobytes(), riff=riff, data=data))
    samples, seconds = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(samples, PCM / 32768)
    assert seconds == 0.5


def test_a_flac_from_a_pipe_is_read_to_its_end(tmp_path):
    path = write(tmp_path / "a.flac", noise(20 * RATE), subtype="PCM_16")
    whole = read(path, 12.0, 14.0)[0]
    path.write_bytes(with_flac_frames(path.read_bytes(), 0))
    assert read(path)[1] == 20
    np.testing.assert_array_equal(read(path, 12.0, 14.0)[0], whole)


def with_flac_frames(data, count):
    """A FLAC file whose header claims another number of frames (36 bits from byte 21.5 on)."""
    assert data[:4] == b"fLaC"
    return data[:21] + bytes([data[21] & 0xF0 | count >> 32]) + struct.pack(">I", count % 2**32) + data[26:]


def test_side_information_does_not_matter(tmp_path):
    odd = b"LIST" + struct.pack("<I", 17) + b"INFOISFT" + struct.pack("<I", 5) + b"Lavf\0"
    for before in (
        odd + b"\0",
        b"what" + struct.pack("<I", 3) + b"odd\0",
        b"LIST" + struct.pack("<I", 400) + bytes(400),
    ):
        (tmp_path / "a.wav").write_bytes(wav(PCM.tobytes(), before=before))
        np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], PCM / 32768)


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


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_beginning_sounds_as_in_the_whole(tmp_path, rate):
    path = write(tmp_path / "a.wav", noise(4 * rate), rate)
    whole, part = read(path)[0], read(path, limit=2.0)[0]
    assert len(part) == 2 * RATE
    np.testing.assert_allclose(part[:-400], whole[: len(part) - 400], rtol=0, atol=1e-4)


def test_samples_may_lie_beyond_one(tmp_path):
    samples, _ = read(write(tmp_path / "a.wav", 30000 * noise(8000)))
    np.testing.assert_array_equal(samples, (30000 * noise(8000)).astype(np.float32))


def test_a_segment_is_a_slice(tmp_path):
    samples, seconds = read(write(tmp_path / "a.wav", noise(32000)), 0.25, 1.0)
    np.testing.assert_array_equal(samples, noise(32000)[4000:16000])
    assert seconds == 0.75


@pytest.mark.parametrize("subtype", ["G721_32", "NMS_ADPCM_16"])
def test_a_coding_without_seeking_has_segments_too(tmp_path, subtype):
    path = write(tmp_path / "a.wav", sweep(2, RATE), subtype=subtype)
    np.testing.assert_array_equal(read(path, 0.25, 1.0)[0], read(path)[0][4000:16000])


def test_a_segment_ends_with_its_file(tmp_path):
    samples, seconds = read(write(tmp_path / "a.wav", noise(16000)), 0.5, 1.9)
    assert (len(samples), seconds) == (8000, 0.5)


def test_a_segment_far_past_its_file_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", noise(16000))
    with pytest.raises(SegmentError, match=r"segment ends at 9\.0 s, expected it within the file's 1\.0 s"):
        read(path, 0.5, 9.0)


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
    "half a header": (
        wav(PCM.tobytes())[:30],
        r"not readable as audio \(its chunk b'fmt ' promises 16 bytes",
    ),
    "no sound": (wav(PCM.tobytes())[:36], r"not readable as audio \(it has no chunk b'data', which would"),
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
    with pytest.raises(UndecodableError, match=rf"^{path}: .*{sentence}") as caught:
        read(path)
    assert caught.value.path == path
    assert str(path) not in caught.value.reason


@pytest.mark.parametrize("keep", [0.3, 0.9])
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_truncated_file_is_named(tmp_path, container, keep):
    path = tmp_path / "a"
    subtype = soundfile.default_subtype(container) or "PCM_16"
    write(path, noise(3 * RATE), subtype=subtype, format=container)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(UndecodableError, match=r"truncated|ends after \d+ of the 48000 frames its header"):
        read(path)


def ogg(path, seconds, subtype, serial=None):
    """The bytes of an Ogg file, its pages' serial number and checksums replaced where one is given."""
    data = write(path, noise(int(seconds * RATE)), subtype=subtype, format="OGG").read_bytes()
    return data if serial is None else b"".join(numbered(page, serial) for page in pages(data))


def pages(data):
    while data:
        length = 27 + data[26] + sum(data[27 : 27 + data[26]])
        yield data[:length]
        data = data[length:]


def numbered(page, serial):
    """A page of another serial number; its checksum is RFC 3533's, polynomial 0x04c11db7."""
    page = page[:14] + struct.pack("<I", serial) + page[18:22] + bytes(4) + page[26:]
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum >> 31 else 0)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", checksum) + page[26:]


@pytest.mark.parametrize("searched", [1, 77, containers.SEARCHED])
@pytest.mark.parametrize("serials", [(7, 7), (7, 8)])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_files_are_named(tmp_path, monkeypatch, subtype, serials, searched):
    monkeypatch.setattr(containers, "SEARCHED", searched)
    path = tmp_path / "a.ogg"
    parts = [ogg(path, seconds, subtype, serial) for seconds, serial in zip((1, 0.5), serials, strict=True)]
    for part, seconds in zip(parts, (1, 0.5), strict=True):
        path.write_bytes(part)
        assert read(path)[1] == seconds
    for first, second in (parts, parts[::-1]):
        path.write_bytes(first + second)
        with pytest.raises(
            UndecodableError, match=rf"\(another Ogg file begins in it at byte {len(first)}\)"
        ):
            read(path)


def test_streams_of_one_ogg_file_that_begin_together_are_no_chain(tmp_path):
    path = tmp_path / "a.ogg"
    one, other = (list(pages(ogg(path, 1, "VORBIS", serial))) for serial in (7, 8))
    path.write_bytes(b"".join([one[0], other[0], *one[1:]]))
    assert containers.examine(path) == containers.Container("OGG")
    path.write_bytes(b"".join([*one[:2], other[0], *one[2:]]))
    with pytest.raises(containers.MalformedError, match="another Ogg file begins"):
        containers.examine(path)


@pytest.mark.parametrize("claimed", [2**36 - 1, 16001])
def test_a_flac_that_promises_too_much_is_named(tmp_path, claimed):
    path = write(tmp_path / "a.flac", noise(RATE), subtype="PCM_16")
    path.write_bytes(with_flac_frames(path.read_bytes(), claimed))
    with pytest.raises(UndecodableError, match=f"at its end: its header promises {claimed} frames"):
        read(path)


def test_damage_far_behind_is_found_by_reading_on(tmp_path):
    samples = noise(20 * RATE)
    samples[-77] = np.nan
    path = write(tmp_path / "a.wav", samples)
    assert len(read(path)[0]) == 120000
    with opened(path) as sound, pytest.raises(NonFiniteError, match="not finite"):
        list(sound.blocks())


@pytest.mark.parametrize("suffix", ["wav", "raw", "flac", "mp3"])
def test_text_is_not_audio(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text("hello")
    with pytest.raises(
        UndecodableError,
        match=rf"a\.{suffix}: not readable as audio \(.+\), expected WAV, AIFF, FLAC, OGG or MP3$",
    ):
        read(path)


@pytest.mark.parametrize("refuse", [check, read])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gone.wav", r"gone\.wav: no such audio file$"),
        ("a.wav/b.wav", r"a\.wav/b\.wav: no such audio file$"),
        (".", "not a regular file, expected an audio file$"),
        ("a" * 300, r"cannot be opened \(File name too long\), expected an audio file$"),
        ("a\0b.wav", r"cannot be opened \(.*embedded null.+\), expected an audio file$"),
        ("loop.wav", r"cannot be opened \(Too many levels of symbolic links\), expected an audio file$"),
    ],
)
def test_a_missing_file_is_named(tmp_path, refuse, name, sentence):
    write(tmp_path / "a.wav", noise(8000))
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    for path in (tmp_path / name, f"{tmp_path}/{name}"):
        with pytest.raises(MissingAudioError, match=sentence):
            refuse(path)


def test_checking_a_file_opens_nothing(tmp_path):
    for kind in (Path, str):
        check(kind(write(tmp_path / "a.wav", noise(8000))))
    (tmp_path / "text.wav").write_text("not audio")
    check(tmp_path / "text.wav")
    (tmp_path / "link.wav").symlink_to("a.wav")
    check(tmp_path / "link.wav")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_of_a_container_that_is_read(tmp_path, suffix):
    kind = {".aif": "AIFF"}.get(suffix, suffix[1:].upper())
    soundfile.write(tmp_path / f"a{suffix}", noise(8000), RATE, format=kind)
    assert read(tmp_path / f"a{suffix}")[1] == 0.5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_nobody_waits_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(MissingAudioError, match=r"a\.wav: not a regular file, expected an audio file"):
        read(tmp_path / "a.wav")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_locked_file_is_named(tmp_path):
    path = write(tmp_path / "a.wav", noise(8000))
    path.chmod(0)
    with pytest.raises(MissingAudioError, match=r"a\.wav: cannot be opened \(Permission denied\)"):
        read(path)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
@pytest.mark.parametrize("name", ["été 声.wav".encode(), b"\xe9t\xe9.wav"])
def test_any_letters_make_a_name(tmp_path, name):
    data = write(tmp_path / "a.wav", noise(8000)).read_bytes()
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(data)
    except OSError:
        pytest.skip("the file system wants UTF-8")
    assert len(read(path)[0]) == 8000


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_samples_are_finite(tmp_path, value):
    samples = noise(8000).astype(float)
    samples[77] = value
    with pytest.raises(NonFiniteError, match=r"a\.wav: holds samples that are not finite"):
        read(write(tmp_path / "a.wav", samples, subtype="DOUBLE"))


def test_one_frame_is_the_least(tmp_path):
    assert len(read(write(tmp_path / "a.wav", noise(400)))[0]) == 400
    with pytest.raises(
        TooShortError, match=r"b\.wav: the file holds 0\.0249 s of sound, expected at least .* 0\.025 s"
    ):
        read(write(tmp_path / "b.wav", noise(399)))
    with pytest.raises(TooShortError, match=r"a\.wav: the segment from 0\.02 s holds 0\.0050 s"):
        read(tmp_path / "a.wav", 0.02, 0.5)


@pytest.mark.parametrize("start", [1.0, 1.5, 1e308])
def test_a_segment_begins_within_its_file(tmp_path, start):
    with pytest.raises(
        SegmentError, match=r"a\.wav: segment begins at .+ s, expected it within the file's 1"
    ):
        read(write(tmp_path / "a.wav", noise(16000)), start)


@pytest.mark.parametrize(("start", "stop"), [(-1.0, None), (1.0, 1.0), (float("nan"), None), (0.0, np.nan)])
def test_a_segment_has_a_length(tmp_path, start, stop):
    with pytest.raises(SegmentError, match="expected 0 <= start < end"):
        read(write(tmp_path / "a.wav", noise(16000)), start, stop)


@pytest.mark.parametrize("kind", [AudioError, *AudioError.__subclasses__()])
def test_errors_travel_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("a/b.wav", "is broken")))
    assert type(error) is kind
    assert (str(error), str(error.path), error.reason) == ("a/b.wav: is broken", "a/b.wav", "is broken")


def test_every_error_has_a_line_in_the_audit():
    findings = {kind.__name__: kind.finding for kind in AudioError.__subclasses__()}
    assert findings == {
        "MissingAudioError": "missing",
        "UndecodableError": "undecodable",
        "NonFiniteError": "non-finite",
        "TooShortError": "too short",
        "SegmentError": "outside",
    }
