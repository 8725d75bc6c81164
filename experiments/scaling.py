"""Time and memory of every stage with a corpus of 100,000 utterances, and whether that is too much.

    python -m experiments.scaling                       # two cores: 9 min, 9 GB of disk
    python -m experiments.scaling --utterances 5000     # in a minute

Prepares and loads white noise, trains one epoch of `experiments.crosslingual`, makes the report and verifies
it. The status is 1 if a stage takes more time or memory than it may (`ser_jax.benchmark.preparation`).
"""

import dataclasses
import sys
import tempfile
from pathlib import Path

import tyro

from ser_jax.benchmark import check_output, preparation
from ser_jax.io import write_json
from ser_jax.shutdown import run_script


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


def main(arguments: list[str] | None = None) -> None:
    """Measure with the flags given and print the table."""
    flags = tyro.cli(Flags, prog="python -m experiments.scaling", description=__doc__, args=arguments)

    def work() -> int:
        check_output(flags.json)
        with tempfile.TemporaryDirectory() as folder:
            report = preparation.measure_scaling(flags.keep or Path(folder), flags.utterances)
        print(preparation.markdown(report))
        if flags.json is not None:
            write_json(flags.json, report)
        for sentence in preparation.exceeded(report):
            print(sentence, file=sys.stderr)
        return 1 if preparation.exceeded(report) else 0

    run_script("scaling", work)


if __name__ == "__main__":
    main()
