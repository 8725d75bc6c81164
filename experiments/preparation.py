"""Time and memory of preparing and loading a corpus of IEMOCAP's size.

python -m experiments.preparation                      # by one worker and by two
python -m experiments.preparation --utterances 500     # in a minute
"""

import dataclasses
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
      utterances: of white noise; 10,000 take 3 GB of disk.
      workers: numbers of processes; the datasets are compared.
      keep: a new folder to work in; everything stays there.
      json: a file for the numbers.
    """

    utterances: int = 10_000
    workers: tuple[int, ...] = (1, 2)
    keep: Path | None = None
    json: Path | None = None


def main(arguments: list[str] | None = None) -> None:
    """Measure with the flags given and print the table."""
    flags = tyro.cli(Flags, prog="python -m experiments.preparation", description=__doc__, args=arguments)

    def work() -> None:
        check_output(flags.json)
        with tempfile.TemporaryDirectory() as folder:
            report = preparation.measure(flags.keep or Path(folder), flags.utterances, flags.workers)
        print(preparation.markdown(report))
        if flags.json is not None:
            write_json(flags.json, report)

    run_script("preparation", work)


if __name__ == "__main__":
    main()
