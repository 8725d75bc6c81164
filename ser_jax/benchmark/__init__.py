"""Time and memory: throughput beside PyTorch, preparation, recognition, scaling."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ser_jax.errors import UserError
from ser_jax.io import write_json
from ser_jax.shutdown import run_script


class OutputError(UserError):
    """A report that cannot be written to its file."""


def run_benchmark(
    name: str,
    description: str | None,
    flags: type,
    measure: Callable[[Any, Path], dict[str, Any]],
    markdown: Callable[[dict[str, Any]], str],
) -> NoReturn:
    """Run `python -m experiments.<name>`: measure, print the table, write the report to a file if asked to.

    Args:
      name, description: of the script.
      flags: a dataclass with `json`, the file; its fields are the flags.
      measure: called with the flags and a temporary folder; returns a report as JSON. With any sentence under
        "exceeded" the status is 1.
      markdown: makes the table of it.
    """
    import tyro

    found: Any = tyro.cli(flags, prog=f"python -m experiments.{name}", description=description)

    def work() -> int:
        check_output(found.json)
        with tempfile.TemporaryDirectory() as folder:
            report = measure(found, Path(folder))
        print(markdown(report))
        if found.json is not None:
            write_json(found.json, report)
        for sentence in (exceeded := report.get("exceeded", [])):
            print(sentence, file=sys.stderr)
        return 1 if exceeded else 0

    run_script(name, work)


def check_output(file: Path | None) -> None:
    """Check before anything is measured that a report can be written.

    Raises: OutputError naming the flag.
    """
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        found = "a folder" if file.is_dir() else "no folder to hold it"
        raise OutputError(f"--json {file}: found {found}, expected a file in a folder that exists")


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Return rows of fields, the head first, as a Markdown table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)) + " |"
        for line in [table[0], rule, *table[1:]]
    )
