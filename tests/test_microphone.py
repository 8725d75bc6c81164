"""A microphone: heard as a pipe is, whatever it loses, and named where it cannot be opened."""

import sys
import threading
import types

import numpy as np
import pytest
import recognisers
from streams import close, quick, same

from ser_jax.recognizer import streaming
from ser_jax.recognizer.streaming import Live, StreamError


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
    monkeypatch.setattr(streaming, "PATIENCE", 0.3)
    return streaming.moments(recognizer, device)


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
    monkeypatch.setattr(streaming, "PATIENCE", 30)
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
    inbox, still = streaming._Inbox(16_000, 1000), types.SimpleNamespace(inputBufferAdcTime=0.0)
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
    inbox = streaming._Inbox(16_000, 1000)
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
        next(streaming.moments(quick()))


def test_portaudio_that_is_not_there_is_named_in_a_sentence(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    message = r"^a microphone needs PortAudio \(Debian's libportaudio2\): PortAudio library not found$"
    with pytest.raises(StreamError, match=message):
        next(streaming.moments(quick()))
