"""Tables as Markdown."""

from collections.abc import Sequence


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Fields, the head first, as a Markdown table whose columns are as wide as what is in them."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)) + " |"
        for line in [table[0], rule, *table[1:]]
    )
