"""Latency of a recogniser: one utterance, the start of the program, an hour of speech.

    python -m experiments.recognition                      # the model of the package; a minute
    python -m experiments.recognition --model my-model     # another; the time depends on its tasks and seeds

Every process may use one core; the start of the program is measured with all cores as well.
"""

import dataclasses
from pathlib import Path
from typing import Any

from ser_jax.benchmark import recognition, run_benchmark


@dataclasses.dataclass(frozen=True)
class Flags:
    """Flags.

    Attributes:
      model: a folder that `ser-jax train` wrote.
      json: a file for the numbers.
    """

    model: Path | None = None
    json: Path | None = None


def measure(flags: Flags, folder: Path) -> dict[str, Any]:
    """Return a report."""
    return recognition.measure(folder, flags.model)


if __name__ == "__main__":
    run_benchmark("recognition", __doc__, Flags, measure, recognition.markdown)
