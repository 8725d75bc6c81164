"""What all tables in marked places share."""

from collections.abc import Iterable
from typing import Any

TARGETS = ("arousal", "valence")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown, its columns aligned."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def origin(found: dict[str, Any], *names: str) -> str:
    """Of what measurements a table is: the first one's command, where, when."""
    one = found[names[0]]
    days = sorted({found[name]["date"] for name in names})
    versions = "".join(f", {name} {one[name]}" for name in ("jax", "torch") if one.get(name))
    cores = f", {one['cores']} cores" if one.get("cores") else ""
    return (
        f"`{one['commands'][0]}`: {one['device']}{cores}{versions}; {' to '.join(days[:1] + days[1:][-1:])}."
    )
