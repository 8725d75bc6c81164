"""Where the numbers of a table come from."""

from typing import Any


def origin(found: dict[str, Any], *names: str) -> str:
    """Of what measurements a table is: the first one's command, where, when."""
    one = found[names[0]]
    days = sorted({found[name]["date"] for name in names})
    versions = "".join(f", {name} {one[name]}" for name in ("jax", "torch") if one.get(name))
    cores = f", {one['cores']} cores" if one.get("cores") else ""
    return (
        f"`{one['commands'][0]}`: {one['device']}{cores}{versions}; {' to '.join(days[:1] + days[1:][-1:])}."
    )
