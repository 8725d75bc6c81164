"""Latency of a recogniser: one utterance, the start of the program, an hour of speech.

python -m experiments.recognition                      # the model of the package; a minute
python -m experiments.recognition --model my-model     # another; the time depends on its tasks and seeds
"""

import dataclasses
import tempfile
from pathlib import Path

import tyro

from ser_jax.benchmark import check_output, recognition
from ser_jax.io import write_json
from ser_jax.shutdown import run_script


@dataclasses.dataclass(frozen=True)
class Flags:
    """Flags.

    Attributes:
      model: a folder that `ser-jax train` wrote.
      json: a file for the numbers.
    """

    model: Path | None = None
    json: Path | None = None


def main(arguments: list[str] | None = None) -> None:
    """Measure with the flags given and print the table."""
    flags = tyro.cli(Flags, prog="python -m experiments.recognition", description=__doc__, args=arguments)

    def work() -> None:
        check_output(flags.json)
        with tempfile.TemporaryDirectory() as folder:
            report = recognition.measure(Path(folder), flags.model)
        print(recognition.markdown(report))
        if flags.json is not None:
            write_json(flags.json, report)

    run_script("recognition", work)


if __name__ == "__main__":
    main()
