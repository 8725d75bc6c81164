"""Predict recordings: cut them into overlapping windows, and predict each with all networks.

Predictions are Python objects, text and JSON.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from ser_jax.devices import backend
from ser_jax.errors import UserError
from ser_jax.features import RATE, WINDOW, pad, remove_offset
from ser_jax.recognizer import trained
from ser_jax.recognizer.recording import Check, Recording, has_speech, read_recording
from ser_jax.recognizer.trained import ModelError, Trained
from ser_jax.shapes import Float, Float32

BATCH = 64  # of an accelerator; on a CPU several windows at once take as long as one after another
UNIT = 0.1  # s, of hops if the network has no attention
NO_FACTS: dict[str, Any] = {"name": None, "license": None, "unseen": {}}
NO_SPEECH = "no speech"
UNKNOWN = "not known across languages"

# For a window: values [R, K] of all seeds, and weights of the segments [S], their mean.
_Output: TypeAlias = tuple[Float[np.ndarray, "R K"], Float[np.ndarray, " S"]]


class HopError(UserError):
    """A distance between windows that is not possible."""


class Segment(NamedTuple):
    """A stretch of sound with an attention weight.

    Attributes:
      start, end: s from the beginning of the recording.
      weight: attention weight; the weights of a window, and of a recording, sum to 1.
    """

    start: float
    end: float
    weight: float


class Estimate(NamedTuple):
    """The prediction of one task.

    Attributes:
      values: calibrated probabilities of the classes, which sum to 1, or predicted numbers by dimension,
        averaged over the seeds; for a recording, also over its windows with speech.
      spread: sample standard deviation (ddof = 1) over the seeds, with the same keys; 0 for one seed.
      label: the most probable class; None if the task predicts numbers, or if `withheld`.
      attention: weights of the segments, averaged over the seeds; empty if the network has no attention. The
        segments of a window always span its full length: segments after the end of the recording are padding.
      withheld: why no class is stated: `NO_SPEECH` if the level hardly varies, as in silence and steady
        noise; `UNKNOWN` if on corpora that the model was not trained on the task's score may be chance;
        otherwise None.
    """

    values: dict[str, float]
    spread: dict[str, float]
    label: str | None
    attention: tuple[Segment, ...]
    withheld: str | None = None

    def __repr__(self) -> str:
        return f"Estimate({describe('', self).strip()})"


class Window(NamedTuple):
    """The predictions for one window of a recording.

    Attributes:
      start, end: s; the end is no later than the recording's.
      tasks: estimates by the task's name.
    """

    start: float
    end: float
    tasks: dict[str, Estimate]

    def __repr__(self) -> str:
        return f"Window({self.start:g} to {self.end:g} s: {describe_all(self)})"

    def as_dict(self) -> dict[str, Any]:
        """Return the window as JSON, as `schema` describes it."""
        return _as_json(self)


class Prediction(NamedTuple):
    """The predictions for a recording.

    Attributes:
      seconds: its duration.
      tasks: estimates by the task's name: means over the windows, weighted by the sound that each holds.
      windows: at least one, in order.
      model: JSON: `name`, `license` and `unseen` of the model's facts.
    """

    seconds: float
    tasks: dict[str, Estimate]
    windows: tuple[Window, ...]
    model: dict[str, Any] = NO_FACTS

    def __repr__(self) -> str:
        windows = f"{len(self.windows)} window{'s' * (len(self.windows) > 1)}"
        return f"Prediction({self.seconds:g} s in {windows}: {describe_all(self)})"

    def as_dict(self, file: str) -> dict[str, Any]:
        """Return the prediction for the recording named `file` as JSON, as `schema` describes it."""
        return {"file": file, **_as_json(self)}


def _as_json(value: Any) -> Any:
    if isinstance(value, Estimate):
        values, spread, label, attention, withheld = map(_as_json, value)
        own = {"values": values} if label is withheld is None else {"class": label, "probabilities": values}
        return {**own, "withheld": withheld, "spread": spread, "attention": attention}
    if isinstance(value, (Segment, Window, Prediction)):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_as_json(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value  # training anew would differ by more


def describe(task: str, estimate: Estimate, width: int = 0) -> str:
    """Return an estimate as one line of text, as in "arousal low (high: 0.17 ± 0.04)".

    It shows the probability of the second of two classes, or of the most probable of several. The class is
    padded to `width`, to align several lines. If it is withheld, the line states why.
    """
    if estimate.withheld is not None:
        return f"{task} {estimate.withheld}"
    numbers = {
        name: f"{value:.2f}" + (f" ± {estimate.spread[name]:.2f}" if estimate.spread[name] else "")
        for name, value in estimate.values.items()
    }
    if estimate.label is None:
        return f"{task} " + ", ".join(f"{name} {number}" for name, number in numbers.items())
    second = list(numbers)[1]
    shown = f"{second}: {numbers[second]}" if len(numbers) == 2 else numbers[estimate.label]
    return f"{task} {estimate.label:<{width}} ({shown})"


def describe_all(part: Prediction | Window) -> str:
    """Return the estimates of all tasks as one line of text."""
    return "   ".join(describe(task, estimate) for task, estimate in part.tasks.items())


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `Prediction.as_dict`."""

    def closed(**properties: Any) -> dict[str, Any]:
        kind = {"type": "object", "properties": properties}
        return {**kind, "required": list(properties), "additionalProperties": False}

    def mapping(of: dict[str, Any], description: str) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": of, "minProperties": 1, "description": description}

    time = {"type": "number", "minimum": 0}
    share = {**time, "maximum": 1}
    optional = {"type": ["string", "null"]}
    label = {"class": {**optional, "description": "the most probable one; null if it is withheld"}}
    probabilities = mapping(share, "calibrated, the mean over the seeds")
    values = mapping({"type": "number"}, "predicted numbers, the mean over the seeds")
    common = {
        "withheld": {**optional, "description": f"why no class is stated: {NO_SPEECH}, {UNKNOWN}"},
        "spread": mapping(time, "sample standard deviation over the seeds"),
        "attention": {
            "type": "array",
            "items": closed(start=time, end=time, weight=share),
            "description": "weights, which sum to 1; after the end they weigh padding",
        },
    }
    estimates = {"oneOf": [{"$ref": "#/$defs/classes"}, {"$ref": "#/$defs/numbers"}]}
    tasks = mapping(estimates, "by the task's name")
    windows = {"type": "array", "minItems": 1, "items": closed(start=time, end=time, tasks=tasks)}
    unseen = {"type": "object", "description": "scores on corpora that it was not trained on, by task"}
    about = closed(name=optional, license=optional, unseen=unseen)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prediction",
        "description": "Predictions for one recording; times are in seconds.",
        **closed(file={"type": "string"}, seconds=time, tasks=tasks, windows=windows, model=about),
        "$defs": {
            "classes": closed(**label, probabilities=probabilities, **common),
            "numbers": closed(values=values, **common),
        },
    }


class Recognizer:
    """A trained recogniser.

    Args:
      model: its networks, with scaler and temperatures; also an attribute.
      force: whether to state classes of tasks that are `UNKNOWN`.
    Attributes:
      batch: windows predicted at once; by default what suits the device.
      segment: s from one segment of the attention to the next, the unit of hops.
      default_hop: s from one window to the next by default, about half a window.
    """

    def __init__(self, model: Trained, batch: int | None = None, force: bool = False):
        self.batch = batch or (1 if backend() == "cpu" else BATCH)
        self.model = jax.device_put(model)
        self.frontend = frontend = model.frontend
        self._length = round(frontend.seconds * RATE)  # of a window, in samples
        self._units = {}  # s from one segment to the next
        for name, own in model.tasks.items():
            frames = getattr(own.network, "segment_frames", own.network.frames // own.network.segments)
            self._units[name] = frames / frontend.rate if own.network.segments > 1 else UNIT
        self.about = {key: model.facts.get(key) for key in ("name", "license")}
        self.about["unseen"] = model.facts.get("unseen") or {}
        self._withheld = set() if force else trained.unknown_tasks(model)
        self.segment = max(self._units.values())
        self.default_hop = self.segment * max(1, round(frontend.seconds / 2 / self.segment))

    @classmethod
    def load(cls, path: Path | str = "default", force: bool = False) -> "Recognizer":
        """Read a folder that `ser-jax train` wrote.

        Args:
          path: the folder ("./small" if it has a name of `PACKAGED`), or "default" or "small", which come
            with the package: of Whisper's features, and of log-mels in less than 200 kB. Both are licensed
            under CC BY-NC-SA 4.0.
          force: see the class.
        Raises: ModelError naming the file and the problem; MachineError as `devices.backend`.
        """
        place = trained.packaged(path) if isinstance(path, str) and path in trained.PACKAGED else path
        return cls(trained.read(place), force=force)

    @property
    def is_synthetic(self) -> bool:
        """Return whether it was trained on synthetic speech: its predictions for people are meaningless."""
        return bool(self.model.facts.get("synthetic"))

    def compile(self) -> None:
        """Compile the networks now instead of at the first recording; takes seconds."""
        for length in range(self._length, 0, -RATE):  # some features are compiled for several lengths
            self.window(np.zeros(max(length, WINDOW), np.float32))

    def __call__(self, sound: Any, rate: float | None = None, hop: float | None = None) -> Prediction:
        """Predict a recording.

        Args:
          sound, rate: a file, or samples and their rate, in any form that `read_recording` takes.
          hop: s from one window to the next, a multiple of `segment`; `default_hop` by default.
        Raises: AudioError naming the file, RecordingError, HopError.
        """
        self.check_hop(hop)
        return next(self.predict([read_recording(sound, rate)], hop))

    def predict(
        self, recordings: Iterable[Recording], hop: float | None = None, check: Check = lambda: None
    ) -> Iterator[Prediction]:
        """Predict recordings in batches of `batch` windows, across recordings.

        Args:
          recordings: read one by one, no further ahead than a batch needs.
          hop: as in a call.
          check: called before each batch.
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
          samples: at 16 kHz; at least 400; samples beyond the window are not used.
          start: of the window in its recording, s.
        """
        end = start + min(len(samples), self._length) / RATE
        is_speech = has_speech(samples[: self._length])
        return Window(start, end, self._estimates(self._predict([samples])[0], start, is_speech))

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

        Raises: ModelError if the outputs of finite weights are not finite; MachineError in a forked process.
        """
        backend()
        frontend = self.frontend
        features = np.zeros((self.batch, frontend.frames, frontend.dims), np.float32)
        frames = np.zeros(self.batch, np.int32)
        for i, samples in enumerate(windows):
            samples = remove_offset(samples[: self._length])
            features[i], frames[i] = pad(frontend.extract(samples), frontend.frames)
        found: list[dict[str, _Output]] = [{} for _ in windows]
        for name, own in self.model.tasks.items():
            values, attention = trained.predict(own, self.model.scaler, features, frames)
            values, weights = np.asarray(values, float), np.asarray(attention, float).mean(axis=0)
            for i, outputs in enumerate(found):
                outputs[name] = values[:, i], weights[i]
                if not all(np.isfinite(part).all() for part in outputs[name]):
                    raise ModelError("the model predicts non-finite numbers, expected a trained one")
        return found

    def _combine(self, recording: Recording, done: list[tuple[int, dict[str, _Output]]]) -> Prediction:
        """Average the windows with speech, weighted by how much sound each holds; without any, all."""
        parts = [recording.samples[start:][: self._length] for start, _ in done]
        speech = list(map(has_speech, parts))
        sound = np.array([len(part) for part in parts]) * (speech if any(speech) else 1)
        tasks, windows = {}, []
        for name, own in self.model.tasks.items():
            first = [round(start / RATE / self._units[name]) for start, _ in done]
            count = own.network.segments
            weights = np.zeros((len(done), first[-1] + count))  # segments of the same sound are one
            for row, i, (_, outputs) in zip(weights, first, done, strict=True):
                row[i : i + count] = outputs[name][1]
            values = np.average([outputs[name][0] for _, outputs in done], axis=0, weights=sound)
            tasks[name] = values, np.average(weights, axis=0, weights=sound)
        for (start, outputs), is_speech in zip(done, speech, strict=True):
            end = min(recording.seconds, (start + self._length) / RATE)
            windows.append(Window(start / RATE, end, self._estimates(outputs, start / RATE, is_speech)))
        estimates = self._estimates(tasks, 0.0, any(speech))
        return Prediction(recording.seconds, estimates, tuple(windows), self.about)

    def _estimates(self, outputs: dict[str, _Output], start: float, is_speech: bool) -> dict[str, Estimate]:
        found = {}
        for name, (values, weights) in outputs.items():
            own, unit = self.model.tasks[name], self._units[name]
            mean, spread = values.mean(axis=0), values.std(axis=0, ddof=min(1, len(values) - 1))
            withheld = None
            if own.task.class_names and (not is_speech or name in self._withheld):
                withheld = UNKNOWN if is_speech else NO_SPEECH
            label = own.names[int(mean.argmax())] if own.task.class_names and not withheld else None
            attention = tuple(
                Segment(start + i * unit, start + (i + 1) * unit, weight)
                for i, weight in enumerate(weights.tolist() if own.network.segments > 1 else [])
            )
            means, spreads = (dict(zip(own.names, each.tolist(), strict=True)) for each in (mean, spread))
            found[name] = Estimate(means, spreads, label, attention, withheld)
        return found
