"""Recomputes every table from the stored predictions and says whether they match.

    python -m experiments.verify RESULTS

Ends with status 1 where a table, or the protocol's hash, says something else than the predictions.
"""

import argparse
import sys
from pathlib import Path

from experiments import protocol, report
from experiments.predictions import ResultsError
from ser_jax.cli import guarded

WRITTEN = (".md", ".csv", ".tex")


def differing(out: Path) -> list[str]:
    """The files of a results folder that the predictions in it do not yield; what is checked is printed.

    Raises: ResultsError where there is no table, or something is damaged.
    """
    chosen = protocol.read(out)
    names = protocol.document(out)["tables"]
    if not names:
        raise ResultsError(f"{out} holds no table, expected one that an experiment has written")
    wrong = []
    for name, settings in names.items():
        for file, content in report.contents(out, name, settings, chosen).items():
            path = out / file
            same = path.exists() and path.read_text() == content
            print(f"{file}: {'as the predictions say' if same else 'DIFFERS'}")
            wrong += [] if same else [file]
    return wrong


def main(arguments: list[str] | None = None) -> None:
    """Checks the folder given."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder that an experiment has written")
    options = parser.parse_args(arguments)
    wrong: list[str] = []
    status = guarded("experiments.verify", lambda: wrong.extend(differing(options.results)), "interrupted")
    sys.exit(status or (1 if wrong else 0))


if __name__ == "__main__":
    main()
