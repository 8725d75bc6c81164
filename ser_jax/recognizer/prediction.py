"""Predictions for a recording, as Python objects, as text and as JSON."""

from typing import Any, NamedTuple


class Segment(NamedTuple):
    """A stretch of sound that the attention weighs.

    Attributes:
      start, end: s from the beginning of the recording.
      weight: its weight; those of a window, and those of a recording, sum to 1.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON, as `schema` describes it."""
        values = _rounded(self.values)
        classes = {"class": self.label, "probabilities": values}
        return {
            **({"values": values} if self.label is None else classes),
            "spread": _rounded(self.spread),
            "attention": [_rounded(segment._asdict()) for segment in self.attention],
        }


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
        times = _rounded({"start": self.start, "end": self.end})
        return {**times, "tasks": {name: estimate.as_dict() for name, estimate in self.tasks.items()}}


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
        return {
            "file": file,
            **_rounded({"seconds": self.seconds}),
            "tasks": {name: estimate.as_dict() for name, estimate in self.tasks.items()},
            "windows": [window.as_dict() for window in self.windows],
        }


def describe(task: str, estimate: Estimate, width: int = 0) -> str:
    """Return an estimate as one line of text, as in "arousal low (high: 0.17 ± 0.04)".

    For two classes the probability is that of the second, for more that of the most probable one.

    Args:
      task: its name.
      estimate: the prediction.
      width: to which the class is padded, so that several lines can be compared.
    """

    def number(name: str) -> str:
        spread = f" ± {estimate.spread[name]:.2f}" if estimate.spread[name] else ""
        return f"{estimate.values[name]:.2f}{spread}"

    if estimate.label is None:
        return f"{task} " + ", ".join(f"{name} {number(name)}" for name in estimate.values)
    shown = number(estimate.label)
    if len(estimate.values) == 2:
        second = list(estimate.values)[1]
        shown = f"{second}: {number(second)}"
    return f"{task} {estimate.label:<{width}} ({shown})"


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    """Round to six digits, more than training the same model again would reproduce."""
    return {name: round(float(value), 6) for name, value in numbers.items()}


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `Prediction.as_dict`."""
    time, end = {"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": 0}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    tasks = {
        "type": "object",
        "description": "by the task's name",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/classes"}, {"$ref": "#/$defs/numbers"}]},
    }
    spread = {
        "type": "object",
        "description": "sample standard deviation over the seeds; 0 for a single seed",
        "additionalProperties": {"type": "number", "minimum": 0},
    }
    probabilities = {
        "type": "object",
        "description": "calibrated, the mean over the seeds; they sum to 1",
        "minProperties": 2,
        "additionalProperties": share,
    }
    values = {
        "type": "object",
        "description": "predicted numbers by dimension, the mean over the seeds",
        "minProperties": 1,
        "additionalProperties": {"type": "number"},
    }
    attention = {
        "type": "array",
        "description": "weights of the segments, which sum to 1; those after the recording's end weigh "
        "padding; empty if the network has no attention",
        "items": _closed({"start": time, "end": end, "weight": share}),
    }
    window = _closed({"start": time, "end": end, "tasks": tasks})
    common = {"spread": spread, "attention": attention}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Prediction",
        "description": "Predictions of a ser_jax recogniser for one recording; times are in seconds.",
        **_closed(
            {
                "file": {"type": "string", "description": "the recording, as it was named"},
                "seconds": {**end, "description": "its duration"},
                "tasks": {**tasks, "description": "means over the windows, weighted by the sound they hold"},
                "windows": {"type": "array", "minItems": 1, "items": window},
            }
        ),
        "$defs": {
            "classes": _closed({"class": {"type": "string"}, "probabilities": probabilities, **common}),
            "numbers": _closed({"values": values, **common}),
        },
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
