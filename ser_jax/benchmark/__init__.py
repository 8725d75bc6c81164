"""Time and memory: throughput beside PyTorch, preparation, recognition, scaling."""

from collections.abc import Sequence
from pathlib import Path

from ser_jax.errors import UserError


class OutputError(UserError):
    """A report that cannot be written to its file."""


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
