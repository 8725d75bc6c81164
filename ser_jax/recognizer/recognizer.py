"""The recogniser: a recording cut into overlapping windows, each predicted by all networks."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32

from ser_jax.errors import UserError
from ser_jax.features import pad
from ser_jax.features.logmel import RATE, WINDOW
from ser_jax.recognizer import trained
from ser_jax.recognizer.prediction import Estimate, Prediction, Segment, Window
from ser_jax.recognizer.recording import Recording, read_recording
from ser_jax.recognizer.trained import ModelError, Outputs, TaskModel, Trained

# On a CPU, several windows at once take as long as one after another, and empty places would cost as much;
# one window does not keep an accelerator busy.
BATCH = {"cpu": 1}
BATCH_ELSEWHERE = 64
UNIT = 0.1  # s, of hops if the network has no attention


class HopError(UserError):
    """A distance between windows that is not possible."""


class Recognizer:
    """A trained recogniser.

    Attributes:
      model: its networks and what they need.
      tasks: what it predicts, by name.
      frontend: computes the features of each window.
      batch: windows predicted at once; by default what suits the device.
      segment: s from one segment of the attention to the next, the unit of hops.
      default_hop: s from one window to the next by default, about half a window.
    """

    def __init__(self, model: Trained, batch: int | None = None):
        self.model = model.to_device()
        self.tasks = {name: own.task for name, own in model.tasks.items()}
        self.frontend = model.frontend
        self.batch = BATCH.get(jax.default_backend(), BATCH_ELSEWHERE) if batch is None else batch
        self._segments = {name: self._segment_seconds(own) for name, own in model.tasks.items()}
        self.segment = max(self._segments.values()) or UNIT
        self.default_hop = self.segment * max(1, round(self.frontend.seconds / 2 / self.segment))

    @classmethod
    def load(cls, path: Path | str | None = None) -> "Recognizer":
        """Read a folder that `ser-jax train` wrote.

        Args:
          path: the folder; by default the demonstration, which was trained on synthetic speech only.
        Raises: ModelError naming the file and what is wrong with it.
        """
        return cls(trained.read(trained.demonstration() if path is None else path))

    @property
    def is_demonstration(self) -> bool:
        """Whether it was trained on synthetic speech, so that its predictions for people mean nothing."""
        return bool(self.model.facts.get("synthetic"))

    def compile(self) -> None:
        """Compile the networks now rather than for the first recording; takes a second or so."""
        self.window(np.zeros(WINDOW, np.float32))

    def __call__(
        self, sound: Path | str | np.ndarray, rate: float | None = None, hop: float | None = None
    ) -> Prediction:
        """Predict a recording.

        Args:
          sound, rate: a file, or samples and their rate, as in `read_recording`.
          hop: s from one window to the next, a multiple of `segment`; `default_hop` by default.
        Raises: AudioError naming the file, RecordingError, HopError.
        """
        self.check_hop(hop)
        return next(self.predict([read_recording(sound, rate)], hop))

    def predict(
        self,
        recordings: Iterable[Recording],
        hop: float | None = None,
        check: Callable[[], None] | None = None,
    ) -> Iterator[Prediction]:
        """Predict recordings, `batch` windows at a time, which may be of several recordings.

        Args:
          recordings: read one by one, no further ahead than a batch needs.
          hop: as in a call.
          check: called before each batch; an exception that it raises ends the prediction.
        Yields: the predictions in order.
        Raises: HopError.
        """
        hop = self.check_hop(hop)
        waiting: deque[_Work] = deque()
        batch: list[tuple[_Work, int]] = []
        for recording in recordings:
            work = _Work(recording, _starts(len(recording.samples), self.frontend.seconds, hop), [])
            waiting.append(work)
            for start in work.starts:
                batch.append((work, start))
                if len(batch) == self.batch:
                    self._predict_batch(batch, check)
                    batch = []
            while waiting and len(waiting[0].windows) == len(waiting[0].starts):
                yield self._combine(waiting.popleft())
        if batch:
            self._predict_batch(batch, check)
        yield from map(self._combine, waiting)

    def window(self, samples: Float32[np.ndarray, " n"], start: float = 0.0) -> Window:
        """Predict a single window.

        Args:
          samples: 16 kHz; at least 400, and no more are used than fill the window.
          start: of the window in its recording, s.
        """
        end = start + min(len(samples) / RATE, self.frontend.seconds)
        return self._window(start, end, self._outputs([samples])[0])

    def check_hop(self, hop: float | None) -> float:
        """Return the hop, `default_hop` for None; raise HopError if windows cannot be that far apart."""
        if hop is None:
            return self.default_hop
        count, seconds = hop / self.segment, self.frontend.seconds
        if not (0.5 < count < 1e6 and abs(count - round(count)) < 1e-6) or hop > seconds:
            raise HopError(
                f"a hop of {hop:g} s, expected a multiple of {self.segment:g} s, at most "
                f"{seconds // self.segment * self.segment:g} s"
            )
        return round(count) * self.segment

    def _segment_seconds(self, own: TaskModel) -> float:
        """Return the seconds from one segment of the attention to the next; 0 without attention."""
        network = own.network
        if network.segments == 1:
            return 0.0
        return getattr(network, "segment_frames", network.frames // network.segments) / self.frontend.rate

    def _predict_batch(self, batch: list[tuple["_Work", int]], check: Callable[[], None] | None) -> None:
        if check is not None:
            check()
        outputs = self._outputs([work.recording.samples[start:] for work, start in batch])
        for (work, _), one in zip(batch, outputs, strict=True):
            work.windows.append(one)

    def _outputs(self, windows: Sequence[Float32[np.ndarray, " _"]]) -> list[dict[str, Outputs]]:
        """Return for each window, at most `batch`, the values [R, K] and attention [R, S] of every task.

        Raises: ModelError if the outputs of finite weights are not finite.
        """
        frontend = self.frontend
        features = np.zeros((self.batch, frontend.frames, frontend.dims), np.float32)
        frames = np.zeros(self.batch, np.int32)
        for i, samples in enumerate(windows):
            cut = samples[: round(frontend.seconds * RATE)]
            features[i], frames[i] = pad(frontend.extract(cut), frontend.frames)
        found = {
            name: Outputs(*map(np.asarray, trained.predict(own, self.model.scaler, features, frames)))
            for name, own in self.model.tasks.items()
        }
        if not all(np.isfinite(part[:, : len(windows)]).all() for own in found.values() for part in own):
            raise ModelError("the model's predictions are not finite, expected one that was trained")
        return [
            {name: Outputs(own.values[:, i], own.attention[:, i]) for name, own in found.items()}
            for i in range(len(windows))
        ]

    def _combine(self, work: "_Work") -> Prediction:
        """Average the windows of a recording, weighted by how much sound each holds."""
        recording, length = work.recording, round(self.frontend.seconds * RATE)
        windows = tuple(
            self._window(start / RATE, min(recording.seconds, (start + length) / RATE), one)
            for start, one in zip(work.starts, work.windows, strict=True)
        )
        sound = np.array([min(length, len(recording.samples) - start) for start in work.starts], float)
        shares, tasks = sound / sound.sum(), {}
        for name in self.tasks:
            each = [one[name] for one in work.windows]
            values = sum(share * one.values.astype(float) for share, one in zip(shares, each, strict=True))
            tasks[name] = self._estimate(name, values, self._attention(name, each, work.starts, shares))
        return Prediction(recording.seconds, tasks, windows)

    def _attention(
        self, name: str, each: list[Outputs], starts: list[int], shares: Float[np.ndarray, " W"]
    ) -> tuple[Segment, ...]:
        """Add the weights of the segments of all windows; those of the same sound are one segment."""
        length = self._segments[name]
        if not length:
            return ()
        first = [round(start / RATE / length) for start in starts]
        total = np.zeros(first[-1] + each[0].attention.shape[-1])
        for i, share, one in zip(first, shares, each, strict=True):
            total[i : i + one.attention.shape[-1]] += share * one.attention.mean(axis=0, dtype=float)
        return _segments(total, 0.0, length)

    def _window(self, start: float, end: float, outputs: dict[str, Outputs]) -> Window:
        tasks = {}
        for name, own in outputs.items():
            length = self._segments[name]
            mean = own.attention.mean(axis=0, dtype=float)
            tasks[name] = self._estimate(name, own.values, _segments(mean, start, length) if length else ())
        return Window(start, end, tasks)

    def _estimate(
        self, name: str, values: Float[np.ndarray, "R K"], attention: tuple[Segment, ...]
    ) -> Estimate:
        names = self.model.tasks[name].names
        mean = values.mean(axis=0, dtype=float)
        spread = values.std(axis=0, ddof=1, dtype=float) if len(values) > 1 else np.zeros(len(mean))
        label = names[int(mean.argmax())] if self.tasks[name].class_names else None
        return Estimate(
            dict(zip(names, mean.tolist(), strict=True)),
            dict(zip(names, spread.tolist(), strict=True)),
            label,
            attention,
        )


class _Work(NamedTuple):
    """A recording, the first samples of its windows, and the outputs of those predicted so far."""

    recording: Recording
    starts: list[int]
    windows: list[dict[str, Outputs]]


def _starts(samples: int, seconds: float, hop: float) -> list[int]:
    """Return the first samples of the windows; the last window is the first to reach the end."""
    starts = [0]
    while starts[-1] + round(seconds * RATE) < samples:
        following = round(len(starts) * hop * RATE)
        if samples - following < WINDOW:
            break
        starts.append(following)
    return starts


def _segments(weights: Float[np.ndarray, " S"], start: float, length: float) -> tuple[Segment, ...]:
    return tuple(
        Segment(start + i * length, start + (i + 1) * length, float(weight))
        for i, weight in enumerate(weights)
    )
