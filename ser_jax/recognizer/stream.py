"""Predict live speech from a pipe or a microphone.

After every half second of sound, the last 7.5 s are predicted. There is no other smoothing: successive
windows share 7 s.
"""

import contextlib
import queue
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile

from ser_jax.data.audio import RATES
from ser_jax.errors import one_line
from ser_jax.features import RATE, WINDOW
from ser_jax.recognizer.recognizer import Recognizer, Window, describe
from ser_jax.recognizer.recording import RecordingError, converter, scaled
from ser_jax.shapes import Float

EVERY = 2  # predictions a second
BLOCKS = 20  # a second, of a microphone
KEPT = 10 * BLOCKS  # blocks that wait at most; more than a window, so that what is dropped is in none
TIMEOUT = 5.0  # s without samples after which a microphone counts as dead


class Moment(NamedTuple):
    """A prediction during a stream.

    Attributes:
      seconds: position in the stream.
      window: the prediction of the last 7.5 s, or of all sound so far.
      behind: s of sound that had arrived but are not in the window; always 0 for a pipe, whose writer waits.
    """

    seconds: float
    window: Window
    behind: float = 0.0


def as_dict(moment: Moment) -> dict[str, Any]:
    """Return a moment as JSON: a window as in `schema`, and the seconds of the stream."""
    return {"seconds": round(moment.seconds, 6), **moment.window.as_dict()}


def as_line(moment: Moment) -> str:
    """Return a moment as text, as in "12.5 s   arousal low (high: 0.21 ± 0.03)"."""
    tasks = [describe(task, estimate, 8) for task, estimate in moment.window.tasks.items()]
    late = [f"{moment.behind:.1f} s behind"] if moment.behind > 1 / EVERY else []
    return "   ".join([f"{moment.seconds:7.1f} s", *tasks, *late])


class LiveWindow:
    """The last window of a stream of samples; older samples are discarded.

    The converter from a rate other than 16 kHz holds back some hundredths of a second (at 8 kHz a tenth),
    which become part of the next prediction.

    Args:
      rate: of the samples, Hz.
      place: of the first sample in the stream; as an attribute, of the next sample.
    """

    def __init__(self, recognizer: Recognizer, rate: int, place: int = 0):
        self.place, self._first = place, place / rate
        self._recognizer, self._rate = recognizer, rate
        self._samples, self._count = np.empty(0, np.float32), 0  # at 16 kHz: kept, and in all
        self._convert = converter(rate)

    def feed(self, samples: Float[np.ndarray, " n"], last: bool = False) -> bool:
        """Append samples; `last` flushes the converter. Return whether a prediction is due."""
        before = self.place * EVERY // self._rate
        self.place += len(samples)
        samples = self._convert(samples, last=last)
        self._count += len(samples)
        most = round(self._recognizer.frontend.seconds * RATE)
        self._samples = np.concatenate([self._samples, samples.astype(np.float32)])[-most:]
        return self.place * EVERY // self._rate > before and len(self._samples) >= WINDOW

    @property
    def missing(self) -> int:
        """Samples until the next prediction is due."""
        return -(-(self.place * EVERY // self._rate + 1) * self._rate // EVERY) - self.place

    def predict(self) -> Moment:
        """Predict the window; raise RecordingError if it is shorter than a frame."""
        seconds = self.place / self._rate
        if len(self._samples) < WINDOW:
            raise RecordingError(f"{seconds:.4f} s of sound, expected at least {WINDOW / RATE}")
        start = self._first + (self._count - len(self._samples)) / RATE
        window = self._recognizer.window(self._samples, start)
        return Moment(seconds, window._replace(end=min(seconds, start + self._recognizer.frontend.seconds)))


def pipe(recognizer: Recognizer, stream: BinaryIO, rate: int | None = None) -> Iterator[Moment]:
    """Yield a prediction after every half second of a stream, or one of all of it if it is shorter.

    Args:
      stream: a pipe or file, read by its descriptor: WAV, whose header need not state its length.
      rate: Hz, of headerless samples: 16 bits, signed, little-endian, one channel.
    Raises: RecordingError.
    """
    raw: dict[str, Any] = {"format": "RAW", "subtype": "PCM_16", "endian": "LITTLE", "channels": 1}
    how = {"closefd": False, "samplerate": rate, **(raw if rate else {})}
    try:
        with soundfile.SoundFile(stream.fileno(), **how) as file:
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise RecordingError(f"{file.samplerate} samples a second, expected {RATES[0]} to {RATES[1]}")
            recognizer.compile()  # before sound has to wait
            live, is_short = LiveWindow(recognizer, file.samplerate), True
            while len(block := file.read(live.missing, dtype="float64", always_2d=True)):
                is_raw_start = rate is not None and live.place == 0
                if is_raw_start and (block[:2] * 32768).astype("<i2").tobytes() == b"RIFF":
                    raise RecordingError(
                        "the stream is a WAV file, which states its rate, expected no --rate"
                    )
                if live.feed(scaled(block).mean(axis=1)):
                    is_short = False
                    yield live.predict()
            if is_short:
                live.feed(np.empty(0), last=True)
                yield live.predict()
    except soundfile.LibsndfileError as error:  # it reads pipes, but not Python's file objects of pipes
        reason = one_line(error.error_string.rstrip("."))
        raise RecordingError(
            f"the stream cannot be read ({reason}), expected WAV, or samples whose rate is given"
        ) from error


def microphone(recognizer: Recognizer, device: str | None = None) -> Iterator[Moment]:
    """Yield predictions of the sound of a microphone, until closed.

    If prediction is slower than the sound, some predictions are skipped, and the next uses the newest sound.
    After lost samples (PortAudio reports an input overflow, or more than 10 s are waiting) the window starts
    anew, so that it never spans a gap. The length of a gap is measured by PortAudio's clock.

    Args:
      device: number of the device or a part of its name; the system's default if None.
    Raises: RecordingError if there is no such device, or it gives no sound.
    """
    try:
        import sounddevice
    except ImportError:
        raise RecordingError('a microphone needs sounddevice: pip install "ser_jax[microphone]"') from None
    except OSError as error:
        raise RecordingError(f"a microphone needs PortAudio (Debian's libportaudio2): {error}") from error
    recognizer.compile()
    try:
        chosen = int(device) if device and device.isdecimal() else device
        rate = round(sounddevice.query_devices(chosen, "input")["default_samplerate"])
        inbox, size = _Inbox(rate), rate // BLOCKS
        opened = sounddevice.InputStream(rate, size, chosen, 1, "float32", callback=inbox.put)
        opened.start()
    except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no such device, or several
        name = "a microphone" if device is None else f"the microphone {device!r}"
        raise RecordingError(f"{name} cannot be opened ({one_line(str(error))}), expected one") from error
    with contextlib.closing(opened):
        live = LiveWindow(recognizer, rate)
        while True:
            place, samples = inbox.take()
            if place != live.place:
                live = LiveWindow(recognizer, rate, place)
            is_due = live.feed(scaled(samples).mean(axis=1))
            behind = (inbox.place - live.place) / rate
            if is_due and behind < 1 / EVERY:
                yield live.predict()._replace(behind=behind)


class _Inbox:
    """Blocks of samples from a microphone until they are taken; when full, it drops the oldest.

    Attributes:
      place: of the next sample that will arrive.
    """

    def __init__(self, rate: int):
        self.place, self._rate = 0, rate
        self._blocks: queue.Queue[tuple[int, np.ndarray]] = queue.Queue(KEPT)
        self._start: float | None = None  # of the stream, on PortAudio's clock
        self._is_torn = False  # samples were lost since the last block

    def put(self, samples: np.ndarray, count: int, time: Any, status: Any) -> None:
        """Append samples [count, channels]; PortAudio calls this from its own thread.

        A block of which some samples were lost is dropped: `status` does not say where they were.
        """
        if status:
            self._is_torn = True
            self.place += count
            return
        if self._start is None:
            self._start = time.inputBufferAdcTime - self.place / self._rate
        if self._is_torn:  # some systems' clocks stand at 0
            self.place = max(self.place, round((time.inputBufferAdcTime - self._start) * self._rate))
            self._is_torn = False
        if self._blocks.full():
            with contextlib.suppress(queue.Empty):
                self._blocks.get_nowait()
        self._blocks.put_nowait((self.place, samples.copy()))
        self.place += count

    def take(self) -> tuple[int, np.ndarray]:
        """Wait for the next block, and return its place and samples."""
        try:
            return self._blocks.get(timeout=TIMEOUT)
        except queue.Empty:
            found = "no sound without gaps" if self._is_torn else "nothing"
            raise RecordingError(f"the microphone gave {found} for {TIMEOUT:g} s, expected sound") from None
