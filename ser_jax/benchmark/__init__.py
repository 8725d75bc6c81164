"""Time and memory: throughput beside PyTorch, preparation, recognition, scaling."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ser_jax.errors import UserError
from ser_jax.io import write_json


class OutputError(UserError):
    """A report that cannot be written to its file."""


def publish(
    measure: Callable[[Path], dict[str, Any]],
    markdown: Callable[[dict[str, Any]], str],
    json: Path | None,
    keep: Path | None = None,
) -> int:
    """Measure, print the table, and write the report if asked to; return the exit status.

    Args:
      measure: called with a folder, temporary unless `keep` is given; returns a report as JSON. With any
        sentence under "exceeded" the status is 1.
      markdown: makes the table of it.
      json: file of the report.
      keep: a new folder.
    Raises: OutputError.
    """
    check_output(json)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(keep or Path(folder))
    print(markdown(report))
    if json is not None:
        write_json(json, report)
    for sentence in (exceeded := report.get("exceeded", [])):
        print(sentence, file=sys.stderr)
    return 1 if exceeded else 0


def check_output(file: Path | None) -> None:
    """Check before anything is measured that a report can be written.

    Raises: OutputError naming the flag.
    """
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        found = "a folder" if file.is_dir() else "no folder to hold it"
        raise OutputError(f"--json {file}: found {found}, expected a file in a folder that exists")
