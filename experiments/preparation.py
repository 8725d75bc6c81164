"""Time and memory of preparing and loading a corpus of IEMOCAP's size.

    python -m experiments.preparation                      # by one worker and by two
    python -m experiments.preparation --utterances 500     # in a minute

The corpus is white noise; the datasets are compared byte by byte.
"""

import dataclasses
from pathlib import Path
from typing import Any

from ser_jax.benchmark import preparation, run_benchmark


@dataclasses.dataclass(frozen=True)
class Flags:
    """Flags.

    Attributes:
      utterances: of white noise; 10,000 take 3 GB of disk.
      workers: numbers of processes; the datasets are compared.
      keep: a new folder to work in; everything stays there.
      json: a file for the numbers.
    """

    utterances: int = 10_000
    workers: tuple[int, ...] = (1, 2)
    keep: Path | None = None
    json: Path | None = None


def measure(flags: Flags, folder: Path) -> dict[str, Any]:
    """Return a report."""
    return preparation.measure(flags.keep or folder, flags.utterances, flags.workers)


if __name__ == "__main__":
    run_benchmark("preparation", __doc__, Flags, measure, preparation.markdown)
