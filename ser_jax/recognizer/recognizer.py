"""The recogniser: a recording cut into overlapping windows, each predicted by all networks."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import jax
import numpy as np

from ser_jax.errors import UserError
from ser_jax.features import RATE, WINDOW, Frontend, pad
from ser_jax.recognizer import trained
from ser_jax.recognizer.prediction import Estimate, Prediction, Segment, Window
from ser_jax.recognizer.recording import Recording, read_recording
from ser_jax.recognizer.trained import ModelError, TaskModel, Trained
from ser_jax.shapes import Float, Float32

BATCH = 64  # of an accelerator; on a CPU several windows at once take as long as one after another
UNIT = 0.1  # s, of hops if the network has no attention


# For a window: values [R, K] of all seeds, and weights of the segments [S], their mean.
_Output: TypeAlias = tuple[Float[np.ndarray, "R K"], Float[np.ndarray, " S"]]


class HopError(UserError):
    """A distance between windows that is not possible."""


class Recognizer:
    """A trained recogniser.

    Attributes:
      model: its networks and what they need.
      batch: windows predicted at once; by default what suits the device.
      segment: s from one segment of the attention to the next, the unit of hops.
      default_hop: s from one window to the next by default, about half a window.
    """

    def __init__(self, model: Trained, batch: int | None = None):
        self.model = jax.device_put(model)
        self.frontend = model.frontend
        self.batch = batch or (1 if jax.default_backend() == "cpu" else BATCH)
        self._length = round(self.frontend.seconds * RATE)  # of a window, in samples
        self._units = {name: _segment_seconds(own, model.frontend) for name, own in model.tasks.items()}
        self.segment = max(self._units.values())
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
        """Return whether it was trained on synthetic speech: then its predictions for people mean nothing."""
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
        check: Callable[[], None] = lambda: None,
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
        windows = (
            (recording, start, start == starts[-1])
            for recording in recordings
            for starts in [self._starts(len(recording.samples), hop)]
            for start in starts
        )
        done: list[tuple[int, dict[str, _Output]]] = []  # of the recording
        while batch := list(itertools.islice(windows, self.batch)):
            check()
            outputs = self._predict([recording.samples[start:] for recording, start, _ in batch])
            for (recording, start, is_last), own in zip(batch, outputs, strict=True):
                done.append((start, own))
                if is_last:
                    yield self._combine(recording, done)
                    done = []

    def window(self, samples: Float32[np.ndarray, " n"], start: float = 0.0) -> Window:
        """Predict a single window.

        Args:
          samples: 16 kHz; at least 400, and no more are used than fill the window.
          start: of the window in its recording, s.
        """
        end = start + min(len(samples), self._length) / RATE
        return Window(start, end, self._estimates(self._predict([samples])[0], start))

    def check_hop(self, hop: float | None) -> float:
        """Return the hop, `default_hop` for None; raise HopError if windows cannot be that far apart."""
        hop = self.default_hop if hop is None else hop
        count, most = hop / self.segment, self.frontend.seconds // self.segment
        if not (0.5 < count < most + 0.5 and abs(count - round(count)) < 1e-6):
            unit = f"{self.segment:g} s, at most {most * self.segment:g} s"
            raise HopError(f"a hop of {hop:g} s, expected a multiple of {unit}")
        return hop

    def _starts(self, samples: int, hop: float) -> list[int]:
        """Return the first samples of the windows; the last window is the first to reach the end."""
        starts = [0]
        while starts[-1] + self._length < samples - WINDOW:  # less than a frame has no features
            starts.append(round(len(starts) * hop * RATE))
        return starts

    def _predict(self, windows: Sequence[Float32[np.ndarray, " _"]]) -> list[dict[str, _Output]]:
        """Predict at most `batch` windows, each by all tasks.

        Raises: ModelError if the outputs of finite weights are not finite.
        """
        frontend = self.frontend
        features = np.zeros((self.batch, frontend.frames, frontend.dims), np.float32)
        frames = np.zeros(self.batch, np.int32)
        for i, samples in enumerate(windows):
            features[i], frames[i] = pad(frontend.extract(samples[: self._length]), frontend.frames)
        found: list[dict[str, _Output]] = [{} for _ in windows]
        for name, own in self.model.tasks.items():
            values, attention = trained.predict(own, self.model.scaler, features, frames)
            values, weights = np.asarray(values, float), np.asarray(attention, float).mean(axis=0)
            for i, outputs in enumerate(found):
                outputs[name] = values[:, i], weights[i]
                if not all(np.isfinite(part).all() for part in outputs[name]):
                    raise ModelError("the model's predictions are not finite, expected one that was trained")
        return found

    def _combine(self, recording: Recording, done: list[tuple[int, dict[str, _Output]]]) -> Prediction:
        """Average the windows of a recording, weighted by how much sound each holds."""
        sound = [min(self._length, len(recording.samples) - start) for start, _ in done]
        tasks, windows = {}, []
        for name, own in self.model.tasks.items():
            first = [round(start / RATE / self._units[name]) for start, _ in done]
            weights = np.zeros(
                (len(done), first[-1] + own.network.segments)
            )  # segments of the same sound: one
            for row, i, (_, outputs) in zip(weights, first, done, strict=True):
                row[i : i + own.network.segments] = outputs[name][1]
            values = np.average([outputs[name][0] for _, outputs in done], axis=0, weights=sound)
            tasks[name] = values, np.average(weights, axis=0, weights=sound)
        for start, outputs in done:
            end = min(recording.seconds, (start + self._length) / RATE)
            windows.append(Window(start / RATE, end, self._estimates(outputs, start / RATE)))
        return Prediction(recording.seconds, self._estimates(tasks, 0.0), tuple(windows))

    def _estimates(self, outputs: dict[str, _Output], start: float) -> dict[str, Estimate]:
        found = {}
        for name, (values, weights) in outputs.items():
            own, unit = self.model.tasks[name], self._units[name]
            mean, spread = values.mean(axis=0), values.std(axis=0, ddof=min(1, len(values) - 1))
            label = own.names[int(mean.argmax())] if own.task.class_names else None
            attention = tuple(
                Segment(start + i * unit, start + (i + 1) * unit, weight)
                for i, weight in enumerate(weights.tolist() if own.network.segments > 1 else [])
            )
            means, spreads = (dict(zip(own.names, each.tolist(), strict=True)) for each in (mean, spread))
            found[name] = Estimate(means, spreads, label, attention)
        return found


def _segment_seconds(own: TaskModel, frontend: Frontend) -> float:
    """Return the seconds from one segment of the attention to the next; `UNIT` for a single segment."""
    network = own.network
    frames = getattr(network, "segment_frames", network.frames // network.segments)
    return frames / frontend.rate if network.segments > 1 else UNIT
