"""A running estimate of speech that is still arriving, through a pipe or from a microphone.

After every half second of sound the last 7.5 s are predicted. Nothing is smoothed beyond that: two neighbours
share 7 of their 7.5 s already.

A pipe holds a WAV file, whose writer may not know how long it becomes: integers of 8 bits (unsigned, as WAV
has them), 16, 24 or 32, or float32 or float64, in WAV's plain or extensible form.
"""

import contextlib
import io
import struct
import threading
from collections import deque
from collections.abc import Iterator
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile

from ser_jax.data.audio import RATES, is_endless
from ser_jax.errors import UserError, one_line
from ser_jax.features.logmel import BANDS, FRAMES, HOP, RATE, SECONDS, WINDOW, Filters
from ser_jax.recognizer.hearing import Ear, Heard, as_sound, from_blocks
from ser_jax.recognizer.recognition import Window, in_words
from ser_jax.recognizer.recognizer import Recognizer

EVERY = 2  # estimates per second of sound
BLOCKS = 20  # per second of sound, at which it is read
SKIPPED = 1 << 24  # bytes of a header's other chunks; pictures stand there
CODINGS = {  # by WAV's format and bits, as soundfile calls them
    (1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32", (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
}  # fmt: skip
ENDLESS_SIZE = 1 << 62  # bytes
KEPT = 10.0  # s that wait at most; more than a window, so that what is dropped is in none
PATIENCE = 5.0  # s without a sample after which a microphone is taken for dead


class StreamError(UserError):
    """A stream or a microphone that cannot be listened to."""


class Moment(NamedTuple):
    """An estimate while sound is still arriving.

    Attributes:
      seconds: of the stream when it was made.
      window: the prediction of the last 7.5 s, or of all so far.
      behind: s of sound that had arrived by then and are not in it; 0 of pipes, whose writers wait.
    """

    seconds: float
    window: Window
    behind: float = 0.0


class Live:
    """Predict samples that arrive in pieces of any size, after every half second of them.

    Into which pieces they fall does not change a bit: features are computed of whole half seconds. Held are
    half a second of samples and 7.5 s of features, however long it listens.

    Args:
      recognizer: the model.
      rate: of the samples, Hz; a converter from another rate than 16 kHz holds back some hundredths of a
        second, at 8 kHz a tenth, which are heard with the next half second.
      place: of the first sample in the stream; as an attribute of the next one.
    """

    def __init__(self, recognizer: Recognizer, rate: int, place: int = 0):
        self.place = place
        self._recognizer, self._rate, self._first = recognizer, rate, place
        self._ear = Ear(rate, recognizer.filters)
        self._half: list[np.ndarray] = []
        self._window = np.empty((0, BANDS), np.float32)
        self._frames, self._has_spoken = 0, False

    def feed(self, samples: np.ndarray, every: bool = True) -> list[Moment]:
        """Take what comes next, and return estimates, in order.

        Args:
          samples: [n] float64.
          every: whether to estimate after every half second that they complete, or after the last alone.
        """
        moments = []
        while len(samples):
            border = self._border()
            piece = samples[: border - self.place]
            samples = samples[len(piece) :]
            self._half.append(piece)
            self.place += len(piece)
            if self.place < border:
                break
            self._hear()
            if self._frames and (every or len(samples) < self._border() - border):
                moments.append(self._moment())
        return moments

    def end(self) -> list[Moment]:
        """Return an estimate of all there was if it was too short for any; else none.

        Raises: StreamError if it was less than one frame.
        """
        if self._has_spoken:
            return []
        self._hear(last=True)
        if not self._frames:
            raise StreamError(f"{self.place / self._rate:.4f} s of sound, expected at least {WINDOW / RATE}")
        return [self._moment()]

    def _border(self) -> int:
        """Return the first sample behind the current half second."""
        return -(-(self.place * EVERY // self._rate + 1) * self._rate // EVERY)

    def _hear(self, last: bool = False) -> None:
        features, _ = self._ear.feed(np.concatenate([np.empty(0), *self._half]), last)
        self._half = []
        self._frames += len(features)
        self._window = np.concatenate([self._window, features])[-FRAMES:]

    def _moment(self) -> Moment:
        self._has_spoken = True
        seconds = self.place / self._rate
        start = self._first / self._rate + (self._frames - len(self._window)) * HOP / RATE
        window = self._recognizer.window(self._window, start)
        return Moment(seconds, window._replace(end=min(seconds, start + SECONDS)))


def piped(recognizer: Recognizer, stream: BinaryIO, rate: int | None = None) -> Iterator[Moment]:
    """Yield estimates after every half second of a stream, in order, however fast or slowly it comes.

    Args:
      recognizer: the model.
      stream: a WAV file as programs write it into pipes (see above), its size stated or not; never waited
        on for more than it has to give.
      rate: Hz, of samples without a header: signed, 16 bits, little-endian, one channel.
    Yields: a moment for every half second; one of all there was if it ends before the first.
    Raises: StreamError, SoundError.
    """
    coding = read_header(stream) if rate is None else headerless(rate)
    begun = b"" if rate is None else alone(stream)
    recognizer.compile()  # before sound waits
    live = Live(recognizer, coding.rate)
    for some in samples(stream, coding, begun):
        yield from live.feed(some)
    yield from live.end()


def line(moment: Moment) -> str:
    """Return a moment as people read it, as in "12.5 s   arousal low (high: 0.21 ± 0.03)"."""
    said = [in_words(target, estimate, 8) for target, estimate in moment.window.targets.items()]
    late = f"   {moment.behind:.1f} s behind" if moment.behind > 1 / EVERY else ""
    return "   ".join([f"{moment.seconds:7.1f} s", *said]) + late


def as_dict(moment: Moment) -> dict[str, Any]:
    """Return a moment as JSON: a window in the form of `recognition.schema`, and the stream's seconds."""
    return {"seconds": round(moment.seconds, 6), **moment.window.as_dict()}


def hear(stream: BinaryIO, filters: Filters) -> Heard:
    """Read a stream to its end.

    Args:
      stream: see `read_header`.
      filters: of `logmel.filterbank()`.
    Raises: StreamError, also where it ends before the size that its header states; SoundError.
    """
    coding = read_header(stream)
    heard = from_blocks(coding.rate, samples(stream, coding), filters)
    found, stated = round(heard.seconds * coding.rate), coding.size // coding.width
    if coding.size < ENDLESS_SIZE and found < stated:
        raise StreamError(
            f"the stream ends after {found} of the {stated} frames its header promises, expected them all"
        )
    if not len(heard.logmel):
        raise StreamError(
            f"the stream holds {heard.seconds:.4f} s of sound, expected at least {WINDOW / RATE} s"
        )
    return heard


class Coding(NamedTuple):
    """How samples stand in a stream.

    Attributes:
      rate: Hz.
      channels: how many.
      kind: of each, one of `CODINGS`.
      width: bytes of a sample of all channels.
      size: bytes of sound that follow at most; `ENDLESS_SIZE` where the header states none.
    """

    rate: int
    channels: int
    kind: str
    width: int
    size: int = ENDLESS_SIZE


def read_header(stream: BinaryIO) -> Coding:
    """Reads a WAV file up to its first sample.

    Raises: StreamError.
    """
    head, coding, left = _exactly(stream, 12), None, SKIPPED
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise StreamError(f"the stream begins with {head!r}, expected WAV, or samples whose rate is given")
    while True:
        name, size = struct.unpack("<4sI", _exactly(stream, 8))
        if name == b"data" and coding is not None:
            return coding if size == 0 or is_endless(size) else coding._replace(size=size)
        left -= 8 + size
        if name == b"data" or left < 0:
            raise StreamError(f"the stream's chunk {name!r} of {size} bytes, expected its format, then sound")
        content = _exactly(stream, size + size % 2)
        if name == b"fmt ":
            coding = _usable(*struct.unpack_from("<HHIIHH8xH", content + bytes(26)))


def headerless(rate: int) -> Coding:
    """Return the coding of samples without a header: signed, 16 bits, little-endian, one channel.

    Raises: StreamError where the rate is none that speech is left at.
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise StreamError(f"{rate} samples a second, expected {RATES[0]} to {RATES[1]}")
    return Coding(rate, 1, "PCM_16", 2)


def _usable(form: int, channels: int, rate: int, _: int, width: int, bits: int, extended: int) -> Coding:
    kind = CODINGS.get((extended if form == 0xFFFE else form, bits))
    if kind is None or not 1 <= channels <= 64 or width != channels * bits // 8:
        raise StreamError(
            f"the stream holds {channels} channels of {bits} bits in {width} bytes, WAV's format {form:#x}, "
            "expected 1 to 64 of 8, 16, 24 or 32 bits (PCM) or of float32 or float64"
        )
    return headerless(rate)._replace(channels=channels, kind=kind, width=width)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    content = b""
    while len(content) < count:
        if not (part := stream.read(count - len(content))):
            raise StreamError("the stream ends before the first sample, expected WAV with sound")
        content += part
    return content


def alone(stream: BinaryIO) -> bytes:
    """Return the first bytes of samples without a header.

    Raises: StreamError where there is one: it would be heard, at a rate that is not its own.
    """
    if (begun := stream.read(4)) == b"RIFF":
        raise StreamError(
            "the stream is a WAV file, which says its own rate, expected samples alone, or no --rate"
        )
    return begun


def samples(stream: BinaryIO, coding: Coding, begun: bytes = b"") -> Iterator[np.ndarray]:
    """Yield samples [n] float64 as they arrive, at most a twentieth of a second at a time.

    What is left of a sample at the end is dropped.

    Args:
      stream: behind its header.
      coding: of its samples.
      begun: what was read of them already.
    Raises: SoundError where they are not finite.
    """
    read = getattr(stream, "read1", stream.read)  # what is there, not all that was asked for
    left, most, rest = coding.size, coding.rate // BLOCKS * coding.width, begun
    while block := read(min(most, left)):
        left -= len(block)
        whole = (rest + block)[: (len(rest) + len(block)) // coding.width * coding.width]
        rest = (rest + block)[len(whole) :]
        form: dict[str, Any] = {"format": "RAW", "subtype": coding.kind, "endian": "LITTLE"}
        found, _ = soundfile.read(io.BytesIO(whole), channels=coding.channels, samplerate=coding.rate, **form)
        yield as_sound(found)


def moments(recognizer: Recognizer, device: str | None = None) -> Iterator[Moment]:
    """Yield estimates of what a microphone records, until closed.

    Where computing falls behind, estimates are left out, and the next is of the newest sound; no more than
    `KEPT` seconds ever wait. Where PortAudio says that it lost samples (input overflow), hearing begins anew
    behind them: no window spans a gap that it told of, and the next are shorter than 7.5 s until as much has
    come again. How long the gap was is read from PortAudio's clock (`inputBufferAdcTime`), so that times stay
    those of the microphone; without a gap they are counted in samples.

    Args:
      recognizer: the model.
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
        raise StreamError('a microphone needs sounddevice: pip install "ser_jax[microphone]"') from None
    except OSError as error:
        raise StreamError(f"a microphone needs PortAudio (Debian's libportaudio2): {error}") from error


def _settings(sounddevice: ModuleType, device: str | int | None) -> dict[str, Any]:
    """Return the first of rates and channels that a device can; 16 kHz needs no conversion."""
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
        """Take samples [count, channels]; PortAudio calls it, from a thread of its own.

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
        """Wait for sound; return (the place of its first sample, all [n] that is there)."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._blocks, PATIENCE):
                gave = "gave no sound without gaps" if self._is_torn else "gave nothing"
                raise StreamError(f"the microphone {gave} for {PATIENCE:g} s, expected sound")
            place = self.arrived - self._held
            blocks, self._blocks, self._held = self._blocks, deque(), 0
        return place, as_sound(np.concatenate(blocks))
