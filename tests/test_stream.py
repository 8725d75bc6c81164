"""Speech that is still arriving: windows are those of the whole recording, whatever the pieces."""

import contextlib
import functools
import io
import json
import os
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
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_jax.recognizer import Prediction, RecordingError, read_recording, schema, stream
from ser_jax.recognizer.stream import LiveWindow


@functools.cache
def small():
    return recognisers.recogniser(tasks=("arousal",), seeds=2, channels=4)


@pytest.fixture
def piped():
    """Return a function that gives the reading end of a pipe which content is written to."""
    opened, threads = [], []

    def pipe(content):
        reader, writer = os.pipe()

        def write():
            with open(writer, "wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):  # noqa: PTH123
                file.write(content)

        threads.append(threading.Thread(target=write))
        threads[-1].start()
        opened.append(open(reader, "rb"))  # noqa: PTH123, SIM115
        return opened[-1]

    yield pipe
    for file in opened:
        file.close()
    for thread in threads:
        thread.join()


def wav(samples, rate=16_000, subtype="PCM_16", format="WAV"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=format)
    return file.getvalue()


def header(size=0xFFFFFFFF, form=1, channels=1, rate=16_000, bits=16, before=b"", behind=b""):
    width = channels * bits // 8
    described = struct.pack("<HHIIHH", form, channels, rate, rate * width, width, bits)
    riff = b"RIFF" + struct.pack("<I", size) + b"WAVE" + before + b"fmt " + struct.pack("<I", 16)
    return riff + described + behind + b"data" + struct.pack("<I", size)


def as_int16(samples):
    return np.round(samples * 32767).astype("<i2")


def fed(samples, rate=16_000, pieces=()):
    """Return the moments of samples that are fed in pieces which end at half seconds at the latest."""
    live, moments, pieces = LiveWindow(small(), rate), [], iter(pieces)
    while live.place < len(samples):
        size = min(live.missing, next(pieces, len(samples)))
        if live.feed(samples[live.place : live.place + size]):
            moments.append(live.predict())
    return moments


def assert_same(moments, others, atol=1e-5):
    assert len(moments) == len(others) > 0
    for one, other in zip(moments, others, strict=True):
        assert one.seconds == pytest.approx(other.seconds)
        assert_same_window(one.window, other.window, atol)


def assert_same_window(one, other, atol=1e-5):
    assert (one.start, one.end) == pytest.approx((other.start, other.end))
    for name, estimate in one.tasks.items():
        for part in ("values", "spread"):
            assert getattr(estimate, part) == pytest.approx(getattr(other.tasks[name], part), abs=atol)
        np.testing.assert_allclose(estimate.attention, other.tasks[name].attention, atol=atol)


def test_each_moment_predicts_the_last_seconds_of_the_recording():
    samples = recognisers.speech(9.2)
    moments = fed(samples)
    assert [moment.seconds for moment in moments] == [0.5 * i for i in range(1, 19)]
    for moment in moments:
        end = round(moment.seconds * 16_000)
        start = max(0, end - 120_000)
        known = small().window(samples[start:end].astype(np.float32), start / 16_000)
        assert_same_window(moment.window, known)


@settings(max_examples=10)
@given(st.lists(st.integers(1, 20_000), max_size=12), st.sampled_from([16_000, 11_025]))
def test_pieces_do_not_matter(pieces, rate):
    samples = recognisers.speech(1.6, rate)
    assert_same(fed(samples, rate, pieces), fed(samples, rate))


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_samples_at_another_rate_are_those_of_the_converted_recording(rate, monkeypatch):
    samples, seen = recognisers.speech(8.2, rate), []
    window = types.SimpleNamespace(_replace=lambda **_: None)
    monkeypatch.setattr(small(), "window", lambda samples, start: seen.append((samples, start)) or window)
    known = read_recording(samples, rate).samples
    moments = fed(samples, rate)
    assert len(moments) == len(seen) == 16
    for moment, (part, start) in zip(moments, seen, strict=True):
        first = round(start * 16_000)
        np.testing.assert_allclose(part, known[first : first + len(part)], atol=1e-4)
        assert 0 <= moment.seconds - (first + len(part)) / 16_000 <= 0.14  # what the converter holds back


@pytest.mark.parametrize(("subtype", "format"), [("PCM_U8", "WAV"), ("PCM_24", "WAVEX"), ("FLOAT", "WAV")])
def test_a_pipe_of_wav_is_read_as_it_was_written(subtype, format, piped):
    samples = np.stack([recognisers.speech(1.2, seed=seed) for seed in range(2)], axis=1)
    content = wav(samples, 16_000, subtype, format)
    exact, _ = soundfile.read(io.BytesIO(content))
    assert_same(list(stream.pipe(small(), piped(content))), fed(exact.mean(axis=1)))


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFDB, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB])
def test_lengths_that_programs_write_into_pipes_have_no_end(size, piped):
    samples = as_int16(recognisers.speech(1.2))
    found = list(stream.pipe(small(), piped(header(size) + samples.tobytes())))
    assert_same(found, fed(samples / 32768))


def test_headerless_samples_and_other_chunks(piped):
    samples = as_int16(recognisers.speech(1.2))
    content, odd = samples.tobytes(), b"LIST" + struct.pack("<I", 7) + b"nothing" + b"\0"
    stated = header(len(content), before=odd, behind=odd * 3)
    for given_, rate in ((content + b"\7", 16_000), (stated + content + b"LIST" + bytes(40_000), None)):
        assert_same(list(stream.pipe(small(), piped(given_), rate)), fed(samples / 32768))


@pytest.mark.parametrize("rate", [1_000, 8_000, 16_000])
def test_a_stream_shorter_than_half_a_second_is_predicted_once(rate, piped):
    samples = as_int16(recognisers.speech(0.4, rate))
    [moment] = stream.pipe(small(), piped(samples.tobytes()), rate)
    assert moment.seconds == moment.window.end == pytest.approx(0.4)
    assert_same_window(moment.window, small()(samples / 32768, rate).windows[0])


@pytest.mark.parametrize(
    ("content", "rate", "message"),
    [
        (bytes(2 * 399), 16_000, r"^0\.0249 s of sound, expected at least 0\.025"),
        (header(), None, r"^0\.0000 s of sound, expected at least 0\.025"),
        (b"", None, r"^the stream cannot be read \(.*\), expected WAV, or samples whose rate is given"),
        (header()[:30], None, "the stream cannot be read"),
        (b"ID3\4" + bytes(20), None, "the stream cannot be read"),
        (header(form=0x55), None, "the stream cannot be read"),
        (header(rate=900), None, "^900 samples a second, expected 1000 to 768000"),
        (b"", 900_000, "900000 samples a second, expected 1000 to 768000"),
        (header() + bytes(2000), 16_000, "the stream is a WAV file, which states its rate"),
        (
            header(form=3, bits=32) + b"\0\0\xc0\x7f" * 9000,
            None,
            "^float64 samples that are not finite, expected -1 to 1$",
        ),
    ],
)
def test_other_streams_are_refused_in_a_sentence(content, rate, message, piped):
    with pytest.raises(RecordingError, match=message) as raised:
        list(stream.pipe(small(), piped(content), rate))
    assert "\n" not in str(raised.value)


def test_a_live_pipe_is_not_waited_on_for_more_than_half_a_second():
    """Each half second is written only after the one before was predicted."""
    samples = as_int16(recognisers.speech(0.5)).tobytes()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        cat.stdin.write(header() + samples)
        cat.stdin.flush()
        moments = stream.pipe(small(), cat.stdout)
        for half in range(1, 4):
            assert next(moments).seconds == half / 2
            cat.stdin.write(samples)
            cat.stdin.flush()
        cat.stdin.close()
        assert [moment.seconds for moment in moments] == [2.0]


def test_a_long_stream_takes_no_more_memory():
    live, samples = LiveWindow(small(), 44_100), recognisers.speech(10, 44_100)
    for _ in range(20):
        live.feed(samples)
        assert live._samples.nbytes == 480_000
    assert live.predict().seconds == 200


def test_text_and_json_of_a_moment():
    moment = fed(recognisers.speech(0.5))[0]
    estimate = moment.window.tasks["arousal"]
    spread = {"low": 0.03, "high": 0.03}
    estimate = estimate._replace(label="low", values={"low": 0.79, "high": 0.21}, spread=spread)
    moment = moment._replace(window=moment.window._replace(tasks={"arousal": estimate}))
    text = "    0.5 s   arousal low      (high: 0.21 ± 0.03)"
    assert stream.as_line(moment) == stream.as_line(moment._replace(behind=0.4)) == text
    assert stream.as_line(moment._replace(behind=1.25)) == f"{text}   1.2 s behind"
    found = json.loads(json.dumps(stream.as_dict(moment)))
    assert found.pop("seconds") == 0.5
    whole = Prediction(0.5, moment.window.tasks, (moment.window,)).as_dict("x")
    jsonschema.validate({**whole, "windows": [found]}, schema())


class PortAudioError(Exception):
    """As sounddevice's."""


class FakeSoundDevice:
    """One microphone, which gives half a second when it starts, and the rest when told to.

    Args:
      samples: [n].
      rate: its default, Hz.
    """

    def __init__(self, samples, rate=16_000):
        self.PortAudioError, self._rate = PortAudioError, rate
        self._samples, self.closed, self._given = samples.astype(np.float32)[:, None], False, 0

    def query_devices(self, device, kind):
        if device not in (None, 0, "Built-in"):
            raise ValueError(f"No input device matching {device!r}")
        return {"default_samplerate": float(self._rate)}

    def InputStream(self, samplerate, blocksize, device, channels, dtype, callback):
        assert (samplerate, channels, dtype) == (self._rate, 1, "float32")
        self.device, self._callback, self._size = device, callback, blocksize
        return self

    def start(self):
        self.give(0.5)

    def close(self):
        self.closed = True

    def give(self, seconds, is_torn=False):
        """Give the next samples; if torn, PortAudio reports with each block that samples were lost."""
        given_, self._samples = np.split(self._samples, [round(seconds * self._rate)])
        for place in range(0, len(given_), self._size):
            block = given_[place : place + self._size].copy()
            time = types.SimpleNamespace(inputBufferAdcTime=1234.5 + self._given / self._rate)
            self._callback(block, len(block), time, is_torn)
            self._given += len(block)
            block[:] = np.nan  # PortAudio uses its memory again

    def lose(self, seconds):
        self._samples = self._samples[round(seconds * self._rate) :]
        self._given += round(seconds * self._rate)


@pytest.fixture
def listen(monkeypatch):
    def listen(system, device=None):
        monkeypatch.setitem(sys.modules, "sounddevice", system)
        monkeypatch.setattr(stream, "TIMEOUT", 0.3)
        return stream.microphone(small(), device)

    return listen


@pytest.mark.parametrize(("rate", "device"), [(16_000, "Built-in"), (44_100, "0")])
def test_a_microphone_is_predicted_as_a_pipe_is(rate, device, listen):
    samples = recognisers.speech(1.5, rate).astype(np.float32)
    system = FakeSoundDevice(samples, rate)
    moments = listen(system, device)
    found = [next(moments)]
    for _ in range(2):
        system.give(0.5)
        found.append(next(moments))
    assert_same(found, fed(samples.astype(float), rate))
    with pytest.raises(RecordingError, match=r"the microphone gave nothing for 0\.3 s, expected sound"):
        next(moments)
    assert system.device == (0 if device == "0" else device)
    assert system.closed


@pytest.mark.parametrize("backlog", [3.0, 39.5])
def test_slow_computing_leaves_out_predictions(backlog, listen):
    """While nobody computes, more sound arrives than is kept, in the second case."""
    samples = recognisers.speech(41.0).astype(np.float32)
    system = FakeSoundDevice(samples)
    moments = listen(system)
    assert next(moments).seconds == 0.5
    system.give(backlog)
    late = next(moments)
    assert late.seconds == 0.5 + backlog
    end = round(late.seconds * 16_000)
    start = max(0, end - 120_000)
    assert_same_window(late.window, small().window(samples[start:end], start / 16_000))


@pytest.mark.parametrize(("lost", "rate"), [(0.02, 16_000), (1.73, 16_000), (0.31, 44_100)])
def test_no_window_spans_lost_samples_and_time_goes_on(lost, rate, listen):
    samples = recognisers.speech(6.0, rate).astype(np.float32)
    system = FakeSoundDevice(samples, rate)
    moments = listen(system)
    assert next(moments).seconds == pytest.approx(0.5)
    system.give(0.1)
    system.lose(lost)
    system.give(0.05, is_torn=True)  # PortAudio reports the loss with the next block
    system.give(1.0)
    after = next(moments)
    first = round(0.6 * rate) + round(lost * rate) + round(0.05 * rate)
    end = round(after.seconds * rate)
    assert after.window.start == pytest.approx(first / rate, abs=2e-3)
    if rate == 16_000:
        assert_same_window(after.window, small().window(samples[first:end], first / rate))


def test_losses_without_end_and_a_clock_that_stands(listen):
    system = FakeSoundDevice(recognisers.speech(2.0))
    moments = listen(system)
    next(moments)
    system.give(1.0, is_torn=True)
    with pytest.raises(
        RecordingError, match=r"^the microphone gave no sound without gaps for 0\.3 s, expected"
    ):
        next(moments)
    inbox, still = stream._Inbox(16_000), types.SimpleNamespace(inputBufferAdcTime=0.0)
    for is_torn in (True, False, False, True, True, False):
        inbox.put(np.zeros((100, 1), np.float32), 100, still, is_torn)
    assert [inbox.take()[0] for _ in range(3)] == [100, 200, 500]


def test_a_microphone_or_library_that_is_missing_is_named(monkeypatch, tmp_path, listen):
    message = r"the microphone 'Headset' cannot be opened \(No input device matching 'Headset'\)"
    with pytest.raises(RecordingError, match=message):
        next(listen(FakeSoundDevice(np.zeros(10)), "Headset"))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(RecordingError, match=r'needs sounddevice: pip install "ser_jax\[microphone\]"$'):
        next(stream.microphone(small()))
    Path(tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RecordingError, match=r"needs PortAudio \(Debian's libportaudio2\): PortAudio"):
        next(stream.microphone(small()))
