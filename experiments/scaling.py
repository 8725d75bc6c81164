"""Time and memory of every stage with a corpus of 100,000 utterances, and whether that is too much.

    python -m experiments.scaling                       # two cores: 9 min, 9 GB of disk
    python -m experiments.scaling --utterances 5000     # in a minute

Prepares and loads white noise, trains one epoch of `experiments.crosslingual`, makes the report and verifies
it. The status is 1 if a stage takes more time or memory than it may (`ser_jax.benchmark.preparation`).
"""

import dataclasses
from pathlib import Path
from typing import Any

from ser_jax.benchmark import preparation, run_benchmark


@dataclasses.dataclass(frozen=True)
class Flags:
    """Flags.

    Attributes:
      utterances: of white noise.
      keep: a new folder to work in; everything stays there.
      json: a file for the numbers.
    """

    utterances: int = 100_000
    keep: Path | None = None
    json: Path | None = None


def measure(flags: Flags, folder: Path) -> dict[str, Any]:
    """Return a report."""
    return preparation.measure_scaling(flags.keep or folder, flags.utterances)


if __name__ == "__main__":
    run_benchmark("scaling", __doc__, Flags, measure, preparation.markdown)
