"""Sound from a pipe: every header and width, what is no sound, and the memory it takes."""

import contextlib
import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import recognisers
from hypothesis import given
from hypothesis import strategies as st
from streams import SMALL, close, header, heard, quick, wav, whole

from ser_jax.recognizer import SoundError, streaming
from ser_jax.recognizer.streaming import Live, StreamError, piped


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time, of these sizes."""

    def __init__(self, content, sizes):
        self._content, self._sizes = content, iter(sizes)

    def read(self, most=-1):
        count = min(next(self._sizes, 1 << 30), most)
        given, self._content = self._content[:count], self._content[count:]
        return given


@given(st.lists(st.integers(1, 5000), max_size=12), st.sampled_from([8_000, 11_025, 44_100]))
def test_nor_do_the_pieces_of_a_pipe_at_any_rate(sizes, rate):
    content = wav(recognisers.speech(1.6, rate), rate, "PCM_24")
    assert list(piped(quick(), Trickle(content, [*[100] * 10, *sizes]))) == heard(content)


@pytest.mark.parametrize(
    ("subtype", "bits"),
    [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24), ("PCM_32", 32), ("FLOAT", 24), ("DOUBLE", 48)],
)
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_file_is_heard_as_it_was_written(subtype, bits, form, channels):
    samples = np.stack([recognisers.speech(1.2, seed=seed) for seed in range(channels)], axis=1)
    exact = np.round(samples * 2 ** (bits - 1)) / 2 ** (bits - 1)
    content = wav(exact, 16_000, subtype, form)
    assert heard(content) == Live(quick(), 16_000).feed(exact.mean(axis=1))
    at_once = streaming.hear(io.BytesIO(content), quick().filters)
    np.testing.assert_array_equal(at_once.logmel, quick().hear(exact, 16_000).logmel)


def test_samples_without_a_header_are_of_one_channel_and_16_bits():
    samples = whole(recognisers.speech(1.7))
    assert heard(samples.tobytes(), 16_000) == Live(quick(), 16_000).feed(samples / 32768)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFDB, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB])
def test_sizes_that_programs_write_into_pipes_have_no_end(size):
    samples = whole(recognisers.speech(1.2)).tobytes()
    assert heard(header(size) + samples) == heard(samples, 16_000)


def test_what_follows_sound_of_known_size_is_not_heard():
    samples = whole(recognisers.speech(1.2)).tobytes()
    content = header(len(samples)) + samples
    assert heard(content + b"LIST" + bytes(40_000)) == heard(samples, 16_000)


def test_other_chunks_before_the_sound_are_passed_by():
    samples = whole(recognisers.speech(0.6)).tobytes()
    odd = b"LIST" + struct.pack("<I", 7) + b"nothing" + b"\0"
    assert heard(header(before=odd, behind=odd * 3) + samples) == heard(samples, 16_000)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_recording_that_is_cut_off_is_refused_where_its_header_states_a_size(channels):
    samples = np.zeros(8000 * channels, "<i2").tobytes()
    stated, endless = header(len(samples), channels=channels), header(channels=channels)
    assert streaming.hear(io.BytesIO(stated + samples), quick().filters).seconds == 0.5
    assert streaming.hear(io.BytesIO(endless + samples[:-1]), quick().filters).seconds == 7999 / 16_000
    with pytest.raises(
        StreamError, match=r"^the stream ends after 7999 of the 8000 frames its header promises, "
    ):
        streaming.hear(io.BytesIO(stated + samples[:-1]), quick().filters)
    with pytest.raises(StreamError, match="ends after 0 of the 8000 frames"):
        streaming.hear(io.BytesIO(stated), quick().filters)
    assert heard(stated + samples[:-1])  # what listens while it comes has said what it heard


def test_half_a_sample_at_the_end_is_dropped():
    samples = whole(recognisers.speech(1.0)).tobytes()
    assert heard(samples + b"\7", 16_000) == heard(samples, 16_000)
    content = header(channels=2) + np.stack([np.frombuffer(samples, "<i2")] * 2, axis=1).tobytes()
    assert heard(content + b"\1\2\3") == heard(samples, 16_000)


@pytest.mark.parametrize("rate", [1_000, 8_000, 16_000, 44_100])
def test_a_stream_of_less_than_half_a_second_is_heard_once(rate):
    samples = whole(recognisers.speech(0.4, rate))
    [moment] = heard(samples.tobytes(), rate)
    assert moment.seconds == moment.window.end == pytest.approx(0.4)
    close(moment.window, quick()(samples, rate).windows[0])


def test_what_is_left_after_the_last_half_second_adds_nothing():
    samples = recognisers.speech(1.4)
    assert heard(wav(samples)) == heard(wav(samples[:16_000]))


@pytest.mark.parametrize(
    ("content", "rate", "message"),
    [
        (bytes(2 * 399), 16_000, r"0\.0249 s of sound, expected at least 0\.025"),
        (b"", 16_000, r"0\.0000 s of sound, expected at least 0\.025"),
        (header(), None, r"0\.0000 s of sound, expected at least 0\.025"),
        (b"", None, "the stream ends before the first sample, expected WAV with sound"),
        (header()[:30], None, "the stream ends before the first sample, expected WAV with sound"),
        (
            b"ID3\4" + bytes(20),
            None,
            r"the stream begins with b'ID3\\x04.*', expected WAV, or samples whose rate is given",
        ),
        (b"RIFX" + header()[4:], None, "the stream begins with b'RIFX"),
        (
            header(bits=64),
            None,
            r"the stream holds 1 channels of 64 bits in 8 bytes, WAV's format 0x1, expected 1 to 64 of 8, "
            r"16, 24 or 32 bits \(PCM\) or of float32 or float64$",
        ),
        (header(form=3), None, "1 channels of 16 bits in 2 bytes, WAV's format 0x3, expected"),
        (header(form=0x55), None, "WAV's format 0x55, expected"),
        (header(channels=0), None, "0 channels of 16 bits in 0 bytes"),
        (header(channels=65), None, "65 channels of 16 bits in 130 bytes"),
        (header(width=4), None, "1 channels of 16 bits in 4 bytes"),
        (header(rate=0), None, "0 samples a second, expected 1000 to 768000"),
        (b"", 900_000, "900000 samples a second, expected 1000 to 768000"),
        (header(), 16_000, "the stream is a WAV file, which says its own rate, expected samples alone"),
        (
            header()[:12] + header()[36:],
            None,
            "the stream's chunk b'data' of 4294967295 bytes, expected its format, then sound",
        ),
        (
            header(behind=b"junk" + struct.pack("<I", 1 << 31)),
            None,
            "the stream's chunk b'junk' of 2147483648 bytes, expected its format, then sound",
        ),
        (
            header()[:12] + (b"junk" + struct.pack("<I", 1 << 20) + bytes(1 << 20)) * 17,
            None,
            "the stream's chunk b'junk' of 1048576 bytes, expected its format, then sound",
        ),
    ],
)
def test_what_is_no_sound_is_refused_in_a_sentence(content, rate, message):
    with pytest.raises(StreamError, match=message) as raised:
        heard(content, rate)
    assert "\n" not in str(raised.value)


def test_samples_that_are_not_finite_are_refused():
    content = header(form=3, bits=32) + np.full(9_000, np.nan, "<f4").tobytes()
    with pytest.raises(SoundError, match="samples that are not finite numbers, expected sound"):
        heard(content)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
def test_no_header_ends_in_anything_but_sound_or_a_sentence(tail, place, value):
    damaged = bytearray(header() + tail)
    damaged[place % len(damaged)] = value
    with contextlib.suppress(StreamError, SoundError):
        heard(bytes(damaged))


def test_a_live_pipe_is_not_waited_on_for_more_than_it_gave():
    """The writer sends half a second, and the next not before it was answered."""
    samples = whole(recognisers.speech(0.5)).tobytes()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        cat.stdin.write(header() + samples)
        cat.stdin.flush()
        moments = piped(quick(), cat.stdout)
        for half in range(1, 4):
            assert next(moments).seconds == half / 2
            cat.stdin.write(samples)
            cat.stdin.flush()
        cat.stdin.close()
        assert [moment.seconds for moment in moments] == [2.0]


COUNTING = """
import sys
from ser_jax.recognizer import Recognizer, streaming

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

for count, moment in enumerate(streaming.piped(Recognizer.load(sys.argv[1]), sys.stdin.buffer), 1):
    streaming.line(moment), streaming.as_dict(moment)
    if moment.seconds == 600:
        early = resident()
print(count, moment.seconds, resident() - early)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="a system without /proc")
def test_an_hour_takes_no_more_memory_than_ten_minutes(tmp_path):
    model = recognisers.kept(tmp_path / "model", targets=("arousal",), seeds=1, sizes=SMALL)
    second = whole(recognisers.speech(60)).reshape(60, -1)
    command = [sys.executable, "-c", COUNTING, model]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False) as process:
        process.stdin.write(header())
        for i in range(3600):
            process.stdin.write(second[i % 60].tobytes())
        process.stdin.close()
        count, seconds, grown = process.stdout.read().split()
    assert (int(count), float(seconds)) == (7200, 3600)
    assert float(grown) < 8
