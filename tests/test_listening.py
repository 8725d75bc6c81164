"""Speech that is still arriving: what is said of it, when, and at what cost."""

import contextlib
import functools
import io
import json
import struct
import subprocess
import sys
import threading
import types
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import recognisers
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data.logmel import logmel
from ser_jax.model import ModelConfig
from ser_jax.recognizer import SoundError, hearing, listening, microphone, pipe, schema
from ser_jax.recognizer.listening import Live, Moment, piped
from ser_jax.recognizer.pipe import StreamError

SMALL = ModelConfig(channels=8)


@functools.cache
def small():
    return recognisers.recogniser(seeds=2, sizes=SMALL)


@functools.cache
def quick():
    return recognisers.recogniser(targets=("arousal",), seeds=1, sizes=SMALL)


def whole(samples, kind="<i2"):
    return np.round(samples * 32767).astype(kind)


def wav(samples, rate=16_000, subtype="PCM_16", form="WAV"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=form)
    return file.getvalue()


def header(size=0xFFFFFFFF, form=1, channels=1, rate=16_000, bits=16, width=None, before=b"", behind=b""):
    width = channels * bits // 8 if width is None else width
    described = struct.pack("<HHIIHH", form, channels, rate, rate * width, width, bits)
    riff = b"RIFF" + struct.pack("<I", size) + b"WAVE" + before + b"fmt " + struct.pack("<I", 16)
    return riff + described + behind + b"data" + struct.pack("<I", size)


def heard(content, rate=None, by=None):
    return list(piped(by or quick(), io.BytesIO(content), rate))


def same(one, other, atol=1e-6):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.seconds == b.seconds
        close(a.window, b.window, atol)


def close(one, other, atol=1e-6):
    assert (one.start, one.end) == pytest.approx((other.start, other.end))
    for name, estimate in one.targets.items():
        twin = other.targets[name]
        assert (estimate.probability, estimate.spread) == pytest.approx(
            (twin.probability, twin.spread), abs=atol
        )
        np.testing.assert_allclose(estimate.attention, twin.attention, atol=atol)


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time, of these sizes."""

    def __init__(self, content, sizes):
        self._content, self._sizes = content, iter(sizes)

    def read(self, most=-1):
        count = min(next(self._sizes, 1 << 30), most)
        given, self._content = self._content[:count], self._content[count:]
        return given


def test_an_estimate_is_of_the_features_of_the_whole_recording_at_its_place():
    samples = recognisers.speech(11.3)
    features = logmel(samples).astype(np.float32)
    moments = Live(small(), 16_000).feed(samples)
    assert [moment.seconds for moment in moments] == [0.5 * i for i in range(1, 23)]
    for moment in moments:
        frames = 1 + (round(moment.seconds * 16_000) - 400) // 160
        first = max(0, frames - 750)
        close(
            moment.window,
            small()
            .window(features[first:frames], first / 100)
            ._replace(start=first / 100, end=min(moment.seconds, first / 100 + 7.5)),
        )


def test_the_first_seven_seconds_and_a_half_are_heard_as_a_file_is():
    samples = recognisers.speech(7.5, seed=3)
    for moment in Live(small(), 16_000).feed(samples):
        known = small()(samples[: round(moment.seconds * 16_000)], 16_000)
        close(moment.window, known.windows[0])


@given(st.lists(st.integers(1, 20_000), max_size=12))
def test_pieces_do_not_change_a_bit(sizes):
    samples = recognisers.speech(3.1)
    live, moments, place = Live(small(), 16_000), [], 0
    for size in [*sizes, len(samples)]:
        moments += live.feed(samples[place : place + size])
        place += size
    assert moments == Live(small(), 16_000).feed(samples)


@given(st.lists(st.integers(1, 5000), max_size=12), st.sampled_from([8_000, 11_025, 44_100]))
def test_nor_do_the_pieces_of_a_pipe_at_any_rate(sizes, rate):
    content = wav(recognisers.speech(1.6, rate), rate, "PCM_24")
    assert list(piped(quick(), Trickle(content, [*[100] * 10, *sizes]))) == heard(content)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_at_another_rate_features_are_those_of_the_converted_recording(rate):
    seen = []
    recorder = types.SimpleNamespace(
        filters=small().filters, window=lambda x, s: seen.append((x, s)) or Watched()
    )
    samples = recognisers.speech(9.2, rate)
    known = hearing.from_samples(samples, rate, small().filters).logmel
    moments = Live(recorder, rate).feed(samples)
    assert len(seen) == 18
    for moment, (features, start) in zip(moments, seen, strict=True):
        first = round(start * 100)
        np.testing.assert_allclose(features, known[first : first + len(features)], atol=1e-3)
        assert 0 <= moment.seconds - (first + len(features)) / 100 <= 0.14


class Watched:
    """A window that was only looked at."""

    def _replace(self, **_):
        return self


def test_half_seconds_of_an_odd_rate_begin_where_their_first_sample_does():
    moments = Live(quick(), 11_025).feed(np.zeros(11_025 * 3))
    assert [moment.seconds for moment in moments] == pytest.approx([0.5, 1, 1.5, 2, 2.5, 3], abs=1 / 11_025)
    assert [moment.seconds for moment in moments][1::2] == [1, 2, 3]


def test_of_a_backlog_the_newest_alone_is_estimated():
    samples = recognisers.speech(9)
    live = Live(small(), 16_000)
    [first] = live.feed(samples[:70_000], every=False)
    [second] = live.feed(samples[70_000:], every=False)
    assert live.feed(samples[:7_999], every=False) == []
    every = Live(small(), 16_000).feed(samples)
    assert [first, second] == [every[7], every[17]]


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
    at_once = pipe.hear(io.BytesIO(content), quick().filters)
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
    assert pipe.hear(io.BytesIO(stated + samples), quick().filters).seconds == 0.5
    assert pipe.hear(io.BytesIO(endless + samples[:-1]), quick().filters).seconds == 7999 / 16_000
    with pytest.raises(
        StreamError, match=r"^the stream ends after 7999 of the 8000 frames its header promises, "
    ):
        pipe.hear(io.BytesIO(stated + samples[:-1]), quick().filters)
    with pytest.raises(StreamError, match="ends after 0 of the 8000 frames"):
        pipe.hear(io.BytesIO(stated), quick().filters)
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


def test_samples_far_beyond_full_scale_are_taken_for_a_slip_where_they_are_given_from_python():
    """Integers given as floating-point numbers would be 90 dB too loud."""
    samples = recognisers.speech(1.0)
    filters = quick().filters
    unscaled = samples / np.abs(samples).max() * 32768
    for wrong, peak in ((unscaled, "32768"), (np.full((800, 2), -8.5), "8.5")):
        message = rf"^floating-point samples of up to {peak}, expected -1 to 1$"
        for kind in (np.float32, np.float64):
            with pytest.raises(SoundError, match=message):
                hearing.from_samples(wrong.astype(kind), 16_000, filters)
    opposite = np.stack([np.full(800, 9.0), np.full(800, -9.0)], axis=1)  # whose mean is silence
    with pytest.raises(SoundError, match="of up to 9, expected -1 to 1"):
        hearing.from_samples(opposite, 16_000, filters)
    assert len(hearing.from_samples(np.full(800, 8.0), 16_000, filters).logmel) == 3
    assert len(hearing.from_samples(whole(samples), 16_000, filters).logmel) == 98
    loud = wav(16 * samples / np.abs(samples).max(), subtype="FLOAT")
    assert len(pipe.hear(io.BytesIO(loud), filters).logmel) == 98


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64])
def test_the_least_integer_is_minus_one(kind):
    bounds = np.iinfo(kind)
    found = hearing.as_sound(np.array([bounds.min, 0, bounds.max], kind))
    np.testing.assert_array_equal(found, [-1, 0, bounds.max / -float(bounds.min)])


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
from ser_jax.recognizer import Recognizer, listening

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

for count, moment in enumerate(listening.piped(Recognizer.load(sys.argv[1]), sys.stdin.buffer), 1):
    listening.line(moment), listening.as_dict(moment)
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


class PortAudioError(Exception):
    """As sounddevice's."""


class System:
    """A stand-in for sounddevice: one microphone, which gives half a second, and the rest when told to.

    Args:
      samples: [n, channels].
      rate: the only one that it can, Hz.
    """

    def __init__(self, samples, rate=16_000):
        self.PortAudioError, self._samples, self._rate = PortAudioError, samples.astype(np.float32), rate
        self.opened, self.closed, self._given, self.clock_begins = None, False, 0, 1234.5

    def query_devices(self, device, kind):
        assert kind == "input"
        if device not in (None, 0, "Built-in"):
            raise ValueError(f"No input device matching {device!r}")
        return {"default_samplerate": float(self._rate), "max_input_channels": self._samples.shape[1]}

    def check_input_settings(self, device, samplerate, channels, dtype):
        if (samplerate, channels) != (self._rate, self._samples.shape[1]):
            raise PortAudioError("Invalid sample rate")

    def InputStream(self, callback, blocksize, **settings):
        self.opened, self._callback, self._size = settings, callback, blocksize
        self.check_input_settings(**settings)
        return self

    def start(self):
        self.give(0.5)

    def close(self):
        self.closed = True

    def give(self, seconds, is_torn=False):
        """Gives what comes next; where it is torn, PortAudio says of each block that samples were lost."""
        given, self._samples = np.split(self._samples, [round(seconds * self._rate)])
        for place in range(0, len(given), self._size):
            block = given[place : place + self._size].copy()
            time = types.SimpleNamespace(inputBufferAdcTime=self.clock_begins + self._given / self._rate)
            self._callback(block, len(block), time, is_torn)
            self._given += len(block)
            block[:] = np.nan  # PortAudio uses its memory again

    def lose(self, seconds):
        """Loses what comes next."""
        self._samples = self._samples[round(seconds * self._rate) :]
        self._given += round(seconds * self._rate)


def listened(monkeypatch, system, recognizer, device=None):
    monkeypatch.setitem(sys.modules, "sounddevice", system)
    monkeypatch.setattr(microphone, "PATIENCE", 0.3)
    return microphone.moments(recognizer, device)


def test_a_microphone_is_heard_as_a_pipe_is(monkeypatch):
    samples = recognisers.speech(2.0).astype(np.float32)
    system = System(samples[:, None])
    moments = listened(monkeypatch, system, quick(), "Built-in")
    found = [next(moments)]
    for seconds in (0.5, 0.6, 0.4):
        system.give(seconds)
        found.append(next(moments))
    same(found, Live(quick(), 16_000).feed(samples.astype(np.float64)))
    assert [moment.behind for moment in found] == pytest.approx([0, 0, 0.1, 0])
    with pytest.raises(StreamError, match=r"the microphone gave nothing for 0\.3 s, expected sound"):
        next(moments)
    assert system.opened == {"device": "Built-in", "samplerate": 16_000, "channels": 1, "dtype": "float32"}
    assert system.closed


def test_a_microphone_is_waited_for(monkeypatch):
    system = System(recognisers.speech(2.0)[:, None])
    moments = listened(monkeypatch, system, quick())
    next(moments)
    monkeypatch.setattr(microphone, "PATIENCE", 30)
    later = threading.Timer(0.2, system.give, [0.5])
    later.start()
    assert next(moments).seconds == 1.0
    later.join()
    moments.close()
    assert system.closed


def test_a_microphone_is_opened_as_it_can(monkeypatch):
    samples = np.stack([recognisers.speech(1.1, 44_100, seed) for seed in (0, 1)], axis=1).astype(np.float32)
    system = System(samples, rate=44_100)
    moments = listened(monkeypatch, system, quick(), "0")
    found = [next(moments)]
    system.give(0.5)
    found.append(next(moments))
    assert system.opened == {"device": 0, "samplerate": 44_100, "channels": 2, "dtype": "float32"}
    same(found, Live(quick(), 44_100).feed(samples.mean(axis=1, dtype=np.float64)))


@pytest.mark.parametrize("backlog", [3.0, 9.7, 39.5])
def test_who_computes_slowly_leaves_estimates_out_and_never_sound(monkeypatch, backlog):
    """What comes while nobody asks is more than is estimated, or even kept."""
    samples = recognisers.speech(41.0).astype(np.float32)
    system = System(samples[:, None])
    moments = listened(monkeypatch, system, quick())
    assert next(moments).seconds == 0.5
    system.give(backlog)
    late = next(moments)
    system.give(0.5)
    later = next(moments)
    assert late.seconds == (0.5 + backlog) // 0.5 / 2
    assert late.behind == pytest.approx((0.5 + backlog) % 0.5)
    every = {m.seconds: m.window for m in Live(quick(), 16_000).feed(samples.astype(np.float64))}
    for moment in (late, later):
        close(moment.window, every[moment.seconds])
    assert later.seconds == late.seconds + 0.5


@pytest.mark.parametrize(("lost", "rate"), [(0.02, 16_000), (1.73, 16_000), (0.31, 44_100)])
def test_no_window_spans_samples_that_were_lost_and_times_go_on(monkeypatch, lost, rate):
    samples = recognisers.speech(6.0, rate).astype(np.float32)
    system = System(samples[:, None], rate)
    moments = listened(monkeypatch, system, quick())
    assert next(moments).seconds == 0.5
    system.give(0.6)
    assert next(moments).seconds == 1.0
    system.lose(lost)
    system.give(0.05, is_torn=True)  # of its samples some may be from before, some from behind the gap
    system.give(2.0)
    begins = 1.15 + lost
    after = next(moments)
    assert after.seconds == (begins + 2.0) // 0.5 / 2
    assert after.window.start == pytest.approx(begins, abs=1e-4)
    assert after.behind == pytest.approx((begins + 2.0) % 0.5, abs=1e-3)
    place = round(1.1 * rate) + round(lost * rate) + round(0.05 * rate)
    behind = Live(quick(), rate, place).feed(samples[place:].astype(np.float64))
    same([after._replace(behind=0.0)], [moment for moment in behind if moment.seconds == after.seconds])


def test_a_clock_that_stands_does_not_turn_time_back():
    inbox, still = microphone._Inbox(16_000, 1000), types.SimpleNamespace(inputBufferAdcTime=0.0)
    block = np.zeros((100, 1), np.float32)
    for is_torn in (True, False, False, True, True, False):
        inbox.put(block, 100, still, is_torn)
    place, samples = inbox.take()
    assert (place, len(samples), inbox.arrived) == (500, 100, 600)


def test_a_microphone_that_loses_samples_without_end_is_given_up(monkeypatch):
    system = System(recognisers.speech(2.0)[:, None])
    moments = listened(monkeypatch, system, quick())
    next(moments)
    system.give(1.0, is_torn=True)
    with pytest.raises(StreamError, match=r"^the microphone gave no sound without gaps for 0\.3 s, expected"):
        next(moments)
    assert system.closed


def test_no_more_waits_than_is_kept():
    inbox = microphone._Inbox(16_000, 1000)
    for i in range(50):
        time = types.SimpleNamespace(inputBufferAdcTime=i * 90 / 16_000)
        inbox.put(np.full((90, 1), i / 50, np.float32), 90, time, None)
    place, samples = inbox.take()
    assert (inbox.arrived, place + len(samples)) == (4500, 4500)
    assert 1000 <= len(samples) < 1090
    np.testing.assert_allclose(samples, (np.arange(place, 4500) // 90) / 50, atol=1e-6)


def test_a_microphone_that_is_not_there_is_named_in_a_sentence(monkeypatch):
    system = System(np.zeros((10, 1)))
    message = (
        r"the microphone 'Headset' cannot be opened \(No input device matching 'Headset'\), expected one"
    )
    with pytest.raises(StreamError, match=message):
        next(listened(monkeypatch, system, quick(), "Headset"))
    monkeypatch.setattr(system, "query_devices", lambda *_: refuse("Error querying device -1"))
    with pytest.raises(StreamError, match=r"^a microphone cannot be opened \(Error querying device -1\)"):
        next(listened(monkeypatch, system, quick()))


def refuse(why):
    raise PortAudioError(why)


def test_a_library_that_is_not_there_is_named_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(
        StreamError, match=r'^a microphone needs sounddevice: pip install "ser_jax\[listen\]"$'
    ):
        next(microphone.moments(quick()))


def test_portaudio_that_is_not_there_is_named_in_a_sentence(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    message = r"^a microphone needs PortAudio \(Debian's libportaudio2\): PortAudio library not found$"
    with pytest.raises(StreamError, match=message):
        next(microphone.moments(quick()))


def test_a_line_says_when_and_what():
    [moment] = Live(small(), 16_000).feed(recognisers.speech(0.5))
    arousal, valence = moment.window.targets.values()
    arousal = arousal._replace(label="low", probability=0.214, spread=0.031)
    valence = valence._replace(label="positive", probability=0.8, spread=0.0)
    moment = moment._replace(window=moment.window._replace(targets={"arousal": arousal, "valence": valence}))
    said = "    0.5 s   arousal low      (high: 0.21 ± 0.03)   valence positive (positive: 0.80)"
    assert listening.line(moment) == said
    assert listening.line(moment._replace(behind=0.4)) == said
    assert listening.line(moment._replace(behind=1.25)) == said + "   1.2 s behind"


def test_json_is_a_window_of_the_schema_and_the_seconds():
    moments = Live(small(), 16_000).feed(recognisers.speech(9))
    known = schema()
    window = known["properties"]["windows"]["items"] | {"$defs": known["$defs"]}
    for moment in moments:
        found = json.loads(json.dumps(listening.as_dict(moment)))
        assert list(found) == ["seconds", "start", "end", "arousal", "valence"]
        assert found.pop("seconds") == moment.seconds
        jsonschema.validate(found, window, jsonschema.Draft202012Validator)
        assert found["arousal"]["probability"] == pytest.approx(
            moment.window.targets["arousal"].probability, abs=1e-6
        )


def test_a_moment_of_a_pipe_is_never_behind():
    assert Moment._field_defaults == {"behind": 0.0}
    assert {moment.behind for moment in heard(wav(recognisers.speech(2)))} == {0.0}
