"""Predictions for a recording, as Python objects, as text and as JSON."""

from typing import Any, NamedTuple


class Segment(NamedTuple):
    """A stretch of sound that the attention weighs.

    Attributes:
      start, end: s from the beginning of the recording.
      weight: those of a window, and those of a recording, sum to 1.
    """

    start: float
    end: float
    weight: float


class Estimate(NamedTuple):
    """The prediction of one task.

    Attributes:
      values: calibrated probabilities of the classes, which sum to 1, or predicted numbers by dimension; the
        mean over the seeds. Those of a recording are the mean over its windows.
      spread: sample standard deviation (ddof = 1) over the seeds, with the same keys; 0 for one seed.
      label: the most probable class; None if the task predicts numbers.
      attention: weights of the segments, the mean over the seeds; empty if the network has no attention. The
        segments of a window always span its full length: those after the recording's end weigh padding.
    """

    values: dict[str, float]
    spread: dict[str, float]
    label: str | None
    attention: tuple[Segment, ...]


class Window(NamedTuple):
    """The predictions for one window of a recording.

    Attributes:
      start, end: s; the end is no later than the recording's.
      tasks: estimates by the task's name.
    """

    start: float
    end: float
    tasks: dict[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """Return the window as JSON, as `schema` describes it."""
        return _as_json(self)


class Prediction(NamedTuple):
    """The predictions for a recording.

    Attributes:
      seconds: its duration.
      tasks: estimates by the task's name: means over the windows, weighted by the sound that each holds.
      windows: at least one, in order.
    """

    seconds: float
    tasks: dict[str, Estimate]
    windows: tuple[Window, ...]

    def as_dict(self, file: str) -> dict[str, Any]:
        """Return the prediction for the recording named `file` as JSON, as `schema` describes it."""
        return {"file": file, **_as_json(self)}


def describe(task: str, estimate: Estimate, width: int = 0) -> str:
    """Return an estimate as one line of text, as in "arousal low (high: 0.17 ± 0.04)".

    For two classes the probability is that of the second, for more that of the most probable one. The class
    is padded to `width`, so that several lines can be compared.
    """
    numbers = {
        name: f"{value:.2f}" + (f" ± {estimate.spread[name]:.2f}" if estimate.spread[name] else "")
        for name, value in estimate.values.items()
    }
    if estimate.label is None:
        return f"{task} " + ", ".join(f"{name} {number}" for name, number in numbers.items())
    second = list(numbers)[1]
    shown = f"{second}: {numbers[second]}" if len(numbers) == 2 else numbers[estimate.label]
    return f"{task} {estimate.label:<{width}} ({shown})"


def _as_json(value: Any) -> Any:
    if isinstance(value, Estimate):
        values, spread, label, attention = (_as_json(part) for part in value)
        own = {"values": values} if label is None else {"class": label, "probabilities": values}
        return {**own, "spread": spread, "attention": attention}
    if isinstance(value, (Segment, Window, Prediction)):
        return _as_json(value._asdict())
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_as_json(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value  # training anew would differ by more


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `Prediction.as_dict`."""

    def closed(**properties: Any) -> dict[str, Any]:
        kind = {"type": "object", "properties": properties}
        return {**kind, "required": list(properties), "additionalProperties": False}

    def mapping(of: dict[str, Any], description: str) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": of, "minProperties": 1, "description": description}

    time = {"type": "number", "minimum": 0}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    segments = {"type": "array", "items": closed(start=time, end=time, weight=share)}
    common = {
        "spread": mapping(time, "sample standard deviation over the seeds"),
        "attention": {**segments, "description": "weights, which sum to 1; after the end they weigh padding"},
    }
    label = {"class": {"type": "string", "description": "the most probable one"}}
    probabilities = mapping(share, "calibrated, the mean over the seeds")
    values = mapping({"type": "number"}, "predicted numbers, the mean over the seeds")
    estimates = {"oneOf": [{"$ref": "#/$defs/classes"}, {"$ref": "#/$defs/numbers"}]}
    tasks = mapping(estimates, "by the task's name")
    windows = {"type": "array", "minItems": 1, "items": closed(start=time, end=time, tasks=tasks)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prediction",
        "description": "Predictions for one recording; times are in seconds.",
        **closed(file={"type": "string"}, seconds=time, tasks=tasks, windows=windows),
        "$defs": {
            "classes": closed(**label, probabilities=probabilities, **common),
            "numbers": closed(values=values, **common),
        },
    }
