"""Time and memory: throughput beside PyTorch, preparation, recognition, scaling."""

from collections.abc import Sequence


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Return rows of fields, the head first, as a Markdown table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)) + " |"
        for line in [table[0], rule, *table[1:]]
    )
