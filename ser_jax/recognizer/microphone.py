"""A running estimate of what a microphone hears."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from ser_jax.errors import one_line
from ser_jax.features.logmel import RATE
from ser_jax.recognizer.hearing import as_sound
from ser_jax.recognizer.listening import Live, Moment
from ser_jax.recognizer.pipe import BLOCKS, StreamError
from ser_jax.recognizer.recognizer import Recognizer

KEPT = 10.0  # s that wait at most; more than a window, so that what is dropped is in none
PATIENCE = 5.0  # s without a sample after which a microphone is taken for dead


def moments(recognizer: Recognizer, device: str | None = None) -> Iterator[Moment]:
    """Estimates while somebody speaks, until it is closed.

    Where computing falls behind, estimates are left out, and the next is of the newest sound; no more than
    `KEPT` seconds ever wait. Where PortAudio says that it lost samples (input overflow), hearing begins anew
    behind them: no window spans a gap that it told of, and the next are shorter than 7.5 s until as much has
    come again. How long the gap was is read from PortAudio's clock (`inputBufferAdcTime`), so that times stay
    those of the microphone; without a gap they are counted in samples.

    Args:
      recognizer: whom to ask.
      device: its number, or a part of its name; without one the system's own choice.
    Raises: StreamError where there is no such device, or it gives no sound.
    """
    sounddevice = _sounddevice()
    recognizer.compile()
    try:
        settings = _settings(sounddevice, int(device) if device and device.isdecimal() else device)
        rate = settings["samplerate"]
        inbox = _Inbox(rate, round(KEPT * rate))
        opened = sounddevice.InputStream(**settings, blocksize=rate // BLOCKS, callback=inbox.put)
        opened.start()
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no such device, or several
        asked = "a microphone" if device is None else f"the microphone {device!r}"
        raise StreamError(f"{asked} cannot be opened ({one_line(str(error))}), expected one") from error
    with contextlib.closing(opened):
        live = Live(recognizer, rate)
        while True:
            place, samples = inbox.take()
            if place != live.place:  # what is missing was lost, or is older than any window to come
                live = Live(recognizer, rate, place)
            for moment in live.feed(samples, every=False):
                yield moment._replace(behind=max(0.0, inbox.arrived / rate - moment.seconds))


def _sounddevice() -> ModuleType:
    try:
        import sounddevice

        return sounddevice
    except ImportError:
        raise StreamError('a microphone needs sounddevice: pip install "ser_jax[listen]"') from None
    except OSError as error:
        raise StreamError(f"a microphone needs PortAudio (Debian's libportaudio2): {error}") from error


def _settings(sounddevice: ModuleType, device: str | int | None) -> dict[str, Any]:
    """The first of rates and channels that a device can; 16 kHz needs no conversion."""
    about = sounddevice.query_devices(device, "input")
    own = round(about["default_samplerate"])
    for rate, channels in ((RATE, 1), (own, 1), (own, about["max_input_channels"])):
        settings = {"device": device, "samplerate": rate, "channels": channels, "dtype": "float32"}
        with contextlib.suppress(sounddevice.PortAudioError):
            sounddevice.check_input_settings(**settings)
            break
    return settings  # where none will do, opening it says why


class _Inbox:
    """What a microphone gave and nobody has heard yet, without a gap; of too much of it the newest.

    Attributes:
      arrived: samples until the end of the newest block, those that were lost included.
    """

    def __init__(self, rate: int, most: int):
        self.arrived, self._held, self._rate, self._most = 0, 0, rate, most
        self._blocks: deque[np.ndarray] = deque()
        self._changed = threading.Condition()
        self._is_torn = False  # whether samples were lost just now
        self._known: tuple[int, float] | None = None  # the newest block's place, and its time in s

    def put(self, samples: np.ndarray, count: int, time: Any, status: Any) -> None:
        """Takes samples [count, channels]; PortAudio calls it, from a thread of its own.

        Where `status` says that samples were lost, it does not say where within the block: all of it goes.
        """
        with self._changed:
            if status:
                self._is_torn = True
                self.arrived += count
                self._blocks.clear()
                self._held = 0
                return
            now = time.inputBufferAdcTime
            if self._is_torn and self._known is not None:
                place, then = self._known
                # Not before what was counted: some systems' clocks stand at 0.
                self.arrived = max(self.arrived, place + round((now - then) * self._rate))
            self._is_torn, self._known = False, (self.arrived, now)
            self._blocks.append(samples.copy())
            self.arrived += count
            self._held += count
            while self._held - len(self._blocks[0]) >= self._most:
                self._held -= len(self._blocks.popleft())
            self._changed.notify()

    def take(self) -> tuple[int, np.ndarray]:
        """Waits for sound: (the place of its first sample, all [n] that is there)."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._blocks, PATIENCE):
                gave = "gave no sound without gaps" if self._is_torn else "gave nothing"
                raise StreamError(f"the microphone {gave} for {PATIENCE:g} s, expected sound")
            place = self.arrived - self._held
            blocks, self._blocks, self._held = self._blocks, deque(), 0
        return place, as_sound(np.concatenate(blocks))
