"""What a recogniser says of a recording, and the one form in which it is written down.

`schema` describes that form (JSON Schema, draft 2020-12): `ser-jax predict --json` prints a list of such
objects, the server answers with one.
"""

import json
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from ser_jax.recognizer.trained import TARGETS


class Segment(NamedTuple):
    """A stretch of sound and how much the attention weighs it.

    Attributes:
      start, end: s from the beginning of the recording.
      weight: positive; the weights of a window, and those of a recording, sum to 1.
    """

    start: float
    end: float
    weight: float


class Estimate(NamedTuple):
    """What is said of one target.

    Attributes:
      label: the class, as in "high"; that of the larger probability.
      probability: of high arousal or of positive valence (not of `label`): the mean of the seeds. That of a
        window is calibrated; of a recording of several it is their mean.
      spread: the seeds' sample deviation (ddof = 1) from it; 0 of a single seed.
      attention: weights of the segments, the mean of the seeds. A window's segments stand for 7.5 s even
        where the recording is shorter: what begins after its end weighs padding.
    """

    label: str
    probability: float
    spread: float
    attention: tuple[Segment, ...]


def in_words(target: str, estimate: Estimate, width: int = 0) -> str:
    """An estimate as people read it, as in "arousal low (high: 0.17 ± 0.04)".

    Args:
      target, estimate: of which.
      width: that the class takes at least, so that lines below one another can be compared.
    """
    spread = f" ± {estimate.spread:.2f}" if estimate.spread else ""
    probability = f"{TARGETS[target].class_names[1]}: {estimate.probability:.2f}{spread}"
    return f"{target} {estimate.label:<{width}} ({probability})"


class Window(NamedTuple):
    """What is said of 7.5 s.

    Attributes:
      start, end: s; the end is cut at that of the recording.
      targets: by name, "arousal" and "valence" or one of them.
    """

    start: float
    end: float
    targets: dict[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """One of the windows that `schema` describes."""
        return {"start": _rounded(self.start), "end": _rounded(self.end), **_targets(self.targets)}


class Recognition(NamedTuple):
    """What is said of a recording.

    Attributes:
      seconds: its duration.
      targets: of all of it: the windows' mean, each weighing as much as it holds sound.
      windows: in order, one at least.
    """

    seconds: float
    targets: dict[str, Estimate]
    windows: tuple[Window, ...]

    def as_dict(self, file: str) -> dict[str, Any]:
        """The object that `schema` describes, of the recording called `file`."""
        return {
            "file": file,
            "seconds": _rounded(self.seconds),
            **_targets(self.targets),
            "windows": [window.as_dict() for window in self.windows],
        }


def _targets(targets: dict[str, Estimate]) -> dict[str, Any]:
    return {
        name: {
            "class": estimate.label,
            "probability": _rounded(estimate.probability),
            "spread": _rounded(estimate.spread),
            "attention": [
                {key: _rounded(value) for key, value in segment._asdict().items()}
                for segment in estimate.attention
            ],
        }
        for name, estimate in targets.items()
    }


def _rounded(value: float) -> float:
    """Six digits: more than training the same model anew would keep."""
    return round(float(value), 6)


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of what `Recognition.as_dict` gives."""
    return json.loads(resources.files(__package__).joinpath("recognition.schema.json").read_text("utf-8"))
