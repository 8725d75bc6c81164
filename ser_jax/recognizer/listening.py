"""A running estimate of speech that is still arriving: through a pipe or from a microphone.

Every half second of sound the networks are asked about the last 7.5 s of it. Nothing is smoothed beyond that:
what is said of a window is said of all of it, and two neighbours share 7 of their 7.5 s already.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ser_jax.features.logmel import BANDS, FRAMES, HOP, RATE, SECONDS, WINDOW
from ser_jax.recognizer import pipe
from ser_jax.recognizer.hearing import Ear
from ser_jax.recognizer.pipe import StreamError
from ser_jax.recognizer.recognition import Window, in_words
from ser_jax.recognizer.recognizer import Recognizer

EVERY = 2  # estimates per second of sound


class Moment(NamedTuple):
    """An estimate while sound is still arriving.

    Attributes:
      seconds: of the stream when it was made.
      window: what is said of the last 7.5 s, or of all so far.
      behind: s of sound that had arrived by then and are not in it; 0 of pipes, whose writers wait.
    """

    seconds: float
    window: Window
    behind: float = 0.0


class Live:
    """Hears samples in pieces of any size and estimates after every half second of them.

    Into which pieces they fall does not change a bit: features are computed of whole half seconds. Held are
    half a second of samples and 7.5 s of features, however long it listens.

    Args:
      recognizer: whom to ask.
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
        """Hears what comes next, and returns estimates, in order.

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
        """An estimate of all there was, where it was too short for any; else none.

        Raises: StreamError where it was less than one frame.
        """
        if self._has_spoken:
            return []
        self._hear(last=True)
        if not self._frames:
            raise StreamError(f"{self.place / self._rate:.4f} s of sound, expected at least {WINDOW / RATE}")
        return [self._moment()]

    def _border(self) -> int:
        """The first sample behind the current half second."""
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
    """Estimates after every half second of a stream, in order, however fast or slowly it comes.

    Args:
      recognizer: whom to ask.
      stream: a WAV file as programs write it into pipes (see `pipe`), its size stated or not; never waited
        on for more than it has to give.
      rate: Hz, of samples without a header: signed, 16 bits, little-endian, one channel.
    Yields: a moment for every half second; one of all there was where it ends before the first.
    Raises: StreamError, SoundError.
    """
    coding = pipe.read_header(stream) if rate is None else pipe.headerless(rate)
    begun = b"" if rate is None else pipe.alone(stream)
    recognizer.compile()  # before sound waits
    live = Live(recognizer, coding.rate)
    for samples in pipe.samples(stream, coding, begun):
        yield from live.feed(samples)
    yield from live.end()


def line(moment: Moment) -> str:
    """A moment as people read it, as in "12.5 s   arousal low (high: 0.21 ± 0.03)"."""
    said = [in_words(target, estimate, 8) for target, estimate in moment.window.targets.items()]
    late = f"   {moment.behind:.1f} s behind" if moment.behind > 1 / EVERY else ""
    return "   ".join([f"{moment.seconds:7.1f} s", *said]) + late


def as_dict(moment: Moment) -> dict[str, Any]:
    """A moment as JSON: a window in the form of `recognition.schema`, and the stream's seconds."""
    return {"seconds": round(moment.seconds, 6), **moment.window.as_dict()}
