"""The recogniser: a recording in windows of 7.5 s, each predicted by all networks."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from scipy.sparse import csr_array

from ser_jax.data import audio
from ser_jax.errors import UserError
from ser_jax.features import logmel
from ser_jax.model import Array
from ser_jax.recognizer import hearing, trained
from ser_jax.recognizer.hearing import Heard, SoundError
from ser_jax.recognizer.recognition import Estimate, Recognition, Segment, Window
from ser_jax.recognizer.trained import TARGETS, ModelError, Probabilities, Trained

# Windows predicted at once. On a CPU several take as long as one after another, 3.5 ms each, and empty places
# would cost as much; an accelerator is left idle by one.
BATCH = {"cpu": 1}
ELSEWHERE = 64


class HopError(UserError):
    """A distance between windows that is not possible."""


class Recognizer:
    """A trained recogniser.

    Attributes:
      model: the trained networks and all they need.
      targets: their names.
      batch: windows predicted at once; by default what suits the device.
      segment: s from one segment of the attention to the next, 0.9.
      default_hop: s from one window to the next by default, four segments.
      filters: of its features, as `logmel.logmel` takes them.
    """

    def __init__(self, model: Trained, batch: int | None = None):
        self.model = model
        self.batch = BATCH.get(jax.default_backend(), ELSEWHERE) if batch is None else batch
        self.targets = tuple(model.targets)
        self.segment = _seconds(model.sizes.segment_frames)
        self.default_hop = 4 * self.segment
        self.filters = csr_array(model.filters)
        self._weights = trained.weights(model)

    @classmethod
    def load(cls, path: Path | str | None = None) -> "Recognizer":
        """Read a folder that `ser-jax train` wrote.

        Args:
          path: the folder; by default that of the demonstration, which was trained on synthetic speech only.
        Raises: ModelError naming the file and what is wrong with it.
        """
        return cls(trained.read(trained.demonstration() if path is None else path))

    @property
    def is_demonstration(self) -> bool:
        """Whether it was trained on synthetic speech, so that its predictions for people mean nothing."""
        return bool(self.model.facts.get("synthetic"))

    def compile(self) -> None:
        """Compile now what the first recording would wait for, a second or so."""
        self.predict([np.zeros((1, self.model.sizes.bands), np.float32)])

    def __call__(
        self, sound: Path | str | np.ndarray, rate: int | None = None, hop: float | None = None
    ) -> Recognition:
        """Predict a recording.

        Args:
          sound: a file (WAV, AIFF, FLAC, OGG, MP3), or samples [n] or [n, channels]: floating-point from -1
            to 1, or signed integers.
          rate: of the samples, Hz; None for a file.
          hop: s from one window to the next, a multiple of `segment`; `default_hop`, 3.6 s, by default.
        Raises: AudioError naming the file, SoundError, HopError.
        """
        return next(self.recognise([self.hear(sound, rate)], hop))

    def hear(self, sound: Path | str | np.ndarray, rate: int | None = None) -> Heard:
        """Compute the features of a file, or of samples [n] or [n, channels]; errors as in a call."""
        if isinstance(sound, (str, Path)):
            if rate is not None:
                raise SoundError(f"rate {rate} for the file {sound}, expected none: the file says its own")
            with audio.opened(sound) as opened:
                return hearing.from_sound(opened, self.filters)
        if isinstance(sound, (bytes, bytearray, memoryview)) or hasattr(sound, "read"):
            kind = "an open file" if hasattr(sound, "read") else "bytes"
            raise SoundError(f"{kind}, expected a path, or samples and their rate: soundfile.read gives both")
        if rate is None:
            raise SoundError("samples without their rate, expected it in Hz")
        return hearing.from_samples(sound, rate, self.filters)

    def recognise(
        self, sounds: Iterable[Heard], hop: float | None = None, check: Callable[[], None] | None = None
    ) -> Iterator[Recognition]:
        """Predict many recordings, `batch` windows at a time, also of several recordings.

        Args:
          sounds: results of `hear`; no more of them are held than fill a batch.
          hop: as in a call.
          check: called before every batch; what it raises ends the prediction.
        Yields: a Recognition for each, in order.
        """
        step = self._step(hop)
        waiting: deque[_Recording] = deque()
        batch: list[tuple[_Recording, int]] = []
        for heard in sounds:
            recording = _Recording(heard, _starts(len(heard.logmel), self.model.sizes.frames, step), [])
            waiting.append(recording)
            for start in recording.starts:
                batch.append((recording, start))
                if len(batch) == self.batch:
                    self._predict(batch, check)
                    batch = []
            while waiting and waiting[0].is_done:
                yield self._recognition(waiting.popleft())
        if batch:
            self._predict(batch, check)
        yield from (self._recognition(recording) for recording in waiting)

    def predict(self, features: list[np.ndarray]) -> Probabilities:
        """Predict some windows, at most `batch`, by every network.

        Args:
          features: of each [t, F] float32, dB, 1 <= t; what is beyond 7.5 s is not used.
        Returns: Probabilities(probability [A, R, B], attention [A, R, B, S]) on the host.
        Raises: ModelError if its weights, although finite, lead to outputs that are not.
        """
        sizes = self.model.sizes
        padded = np.zeros((self.batch, sizes.frames, sizes.bands), np.float32)
        frames = np.zeros(self.batch, np.int32)
        for place, one in enumerate(features):
            frames[place] = min(len(one), sizes.frames)
            padded[place, : frames[place]] = one[: sizes.frames]
        every = trained.predict(sizes, self._weights, padded, frames)
        found = Probabilities(*(np.asarray(part)[:, :, : len(features)] for part in every))
        if not all(np.isfinite(part).all() for part in found):
            raise ModelError("the model's answers are not finite numbers, expected one that was trained")
        return found

    def window(self, features: np.ndarray, start: float = 0.0) -> Window:
        """Predict a single window.

        Args:
          features: [t, F] float32, dB, as in `predict`.
          start: of the window in its recording, s.
        """
        frames = min(len(features), self.model.sizes.frames)
        end = start + _seconds(frames)
        return self._window(start, end, Probabilities(*(part[:, :, 0] for part in self.predict([features]))))

    def check(self, hop: float | None) -> None:
        """Raise HopError if windows cannot be this far apart."""
        self._step(hop)

    def _step(self, hop: float | None) -> int:
        """Return the frames from one window to the next."""
        hop = self.default_hop if hop is None else hop
        count = hop / self.segment
        if not 0.5 < count < 1e6 or abs(count - round(count)) > 1e-6 or hop > logmel.SECONDS:
            raise HopError(
                f"a hop of {hop:g} s, expected a multiple of {self.segment:g} s, the length of a "
                f"segment of the attention, {self.segment * (logmel.SECONDS // self.segment):g} s at most"
            )
        return round(count) * self.model.sizes.segment_frames

    def _predict(self, batch: list[tuple["_Recording", int]], check: Callable[[], None] | None) -> None:
        if check is not None:
            check()
        length = self.model.sizes.frames
        predicted = self.predict(
            [recording.heard.logmel[start : start + length] for recording, start in batch]
        )
        for place, (recording, _) in enumerate(batch):
            recording.windows.append(Probabilities(*(part[:, :, place] for part in predicted)))

    def _recognition(self, recording: "_Recording") -> Recognition:
        heard, length = recording.heard, self.model.sizes.frames
        windows = tuple(
            self._window(_seconds(start), min(heard.seconds, _seconds(start + length)), one)
            for start, one in zip(recording.starts, recording.windows, strict=True)
        )
        sound = np.array([min(length, len(heard.logmel) - start) for start in recording.starts], float)
        share = sound / sound.sum()
        return Recognition(heard.seconds, self._together(recording, share), windows)

    def _window(self, start: float, end: float, one: Probabilities) -> Window:
        attention = one.attention.mean(axis=1, dtype=np.float64)
        return Window(start, end, self._estimates(one.probability, attention, start))

    def _together(self, recording: "_Recording", share: np.ndarray) -> dict[str, Estimate]:
        """Average the windows; weights of the same sound in several windows are added."""
        segment, segments = self.model.sizes.segment_frames, self.model.sizes.segments
        probability = sum(
            weight * one.probability.astype(np.float64)
            for weight, one in zip(share, recording.windows, strict=True)
        )
        attention = np.zeros((len(self.targets), recording.starts[-1] // segment + segments))
        for start, weight, one in zip(recording.starts, share, recording.windows, strict=True):
            first = start // segment
            attention[:, first : first + segments] += weight * one.attention.mean(axis=1, dtype=np.float64)
        return self._estimates(probability, attention, 0.0)

    def _estimates(self, probability: Array, attention: Array, start: float) -> dict[str, Estimate]:
        """Return the estimates from the seeds' probabilities [A, R] and weights of segments [A, S]."""
        found = {}
        for target, own, weight in zip(self.targets, probability, attention, strict=True):
            mean = float(np.mean(own, dtype=np.float64))
            spread = float(np.std(own, ddof=1, dtype=np.float64)) if len(own) > 1 else 0.0
            segments = tuple(
                Segment(start + i * self.segment, start + (i + 1) * self.segment, float(part))
                for i, part in enumerate(weight)
            )
            found[target] = Estimate(TARGETS[target].class_names[int(mean > 0.5)], mean, spread, segments)
        return found


class _Recording(NamedTuple):
    """A recording, the first frames of its windows, and their predictions: [A, R] and [A, R, S]."""

    heard: Heard
    starts: list[int]
    windows: list[Probabilities]

    @property
    def is_done(self) -> bool:
        return len(self.windows) == len(self.starts)


def _starts(frames: int, length: int, step: int) -> list[int]:
    """Return the first frames of the windows; the last one is the first to reach the end."""
    return [i * step for i in range(1 + max(0, -(-(frames - length) // step)))]


def _seconds(frames: int) -> float:
    return frames * logmel.HOP / logmel.RATE
