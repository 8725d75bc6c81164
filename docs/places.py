"""What stands in the marked places of README.md, docs/ and ser_jax/data/README.md: docs/measured.json alone.

    python docs/places.py            # writes all places anew; `make figures` measures first

The place of a number is the number and the comment behind it, which names a value and its format, if need be
with a factor before that; the place of a table is what stands between two comments:

    takes 2<!-- = demo.seconds /60 .0f --> min

    <!-- figures: acted.table2 -->
    <!-- end -->
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from figures import benchmark_blocks, blocks  # noqa: E402

from ser_jax.errors import UserError  # noqa: E402
from ser_jax.io import atomic_file  # noqa: E402

MEASURED = "measured.json"
NUMBER = re.compile(
    r"(?P<number>[+-]?\d[\d,]*(?:\.\d+)?)"
    r"(?P<comment><!-- = (?P<name>[\w-]+(?:\.[\w-]+)+) "
    r"(?:(?P<factor>[*/]-?[\d.e]+) )?(?P<form>[\d,.+]*[fe]) -->)"
)
BLOCK = re.compile(
    r"^<!-- figures: (?P<name>\S+) -->\n(?P<content>.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL
)
TABLES = blocks.BLOCKS | benchmark_blocks.BLOCKS
BEGIN, NUMBERED, END = "<!-- figures:", "<!-- =", "<!-- end -->"


class PlaceError(UserError):
    """A place that nothing can be written into."""


class Change(NamedTuple):
    """What a place held, and holds now."""

    name: str
    before: str
    after: str


class Values:
    """Measured values by name, that remember which of them were asked for.

    Attributes:
      used: names of those, shared by all that descend from one.
    """

    def __init__(self, tree: dict[str, Any], name: str = "", used: set[str] | None = None):
        self._tree, self._name, self.used = tree, name, set() if used is None else used

    def __contains__(self, key: str) -> bool:
        return key in self._tree

    def __iter__(self) -> Iterator[str]:
        return iter(self._tree)

    def __getitem__(self, key: str) -> Any:
        name = f"{self._name}.{key}".lstrip(".")
        if key not in self._tree:
            raise PlaceError(f"{MEASURED} has no {name}, which a place asks for; `make figures` writes it")
        found = self._tree[key]
        if isinstance(found, dict):
            return Values(found, name, self.used)
        self.used.add(name)
        return found


def measured(root: Path = ROOT) -> dict[str, Any]:
    """What was measured: by name its commands, where and when they ran, and the `values`."""
    return json.loads((root / "docs" / MEASURED).read_text())


def values(found: dict[str, Any]) -> Values:
    """The values alone, by name of the measurement."""
    return Values({name: one["values"] for name, one in found.items()})


def leaves(tree: dict[str, Any], name: str = "") -> Iterator[str]:
    """The names of all single values."""
    for key, one in tree.items():
        own = f"{name}.{key}".lstrip(".")
        if isinstance(one, dict):
            yield from leaves(one, own)
        else:
            yield own


def rewritten(text: str, found: dict[str, Any], known: Values) -> tuple[str, list[Change]]:
    """A page with its places written anew.

    Args:
      found: as `measured` gives it.
      known: its `values`.
    Raises: PlaceError where a place is not one, or asks for what was not measured.
    """
    changes = []

    def number(place: re.Match) -> str:
        value = known
        for key in place["name"].split("."):
            if not isinstance(value, Values):
                raise PlaceError(f"{place['name']} is within a single value, expected the name of one")
            value = value[key]
        if not isinstance(value, int | float):
            raise PlaceError(f"{place['name']} is no number, expected the name of one")
        shown = formatted(value, place["factor"], place["form"])
        changes.append(Change(place["name"], place["number"], shown))
        return shown + place["comment"]

    def table(place: re.Match) -> str:
        if place["name"] not in TABLES:
            raise PlaceError(f"no table is called {place['name']}, expected one of {', '.join(TABLES)}")
        content = TABLES[place["name"]](known, found).rstrip("\n") + "\n"
        changes.append(Change(place["name"], place["content"], content))
        return f"<!-- figures: {place['name']} -->\n{content}<!-- end -->"

    for mark, pattern in ((NUMBERED, NUMBER), (BEGIN, BLOCK), (END, BLOCK)):
        if text.count(mark) != len(pattern.findall(text)):
            lost = next(line for line in pattern.sub("", text).splitlines() if mark in line)
            raise PlaceError(f"{lost.strip()[:200]!r} is no place, see the head of docs/places.py")
    text = BLOCK.sub(table, text)
    return NUMBER.sub(number, text), [change for change in changes if change.before != change.after]


def formatted(value: float, factor: str | None, form: str) -> str:
    """A value, multiplied or divided if a factor says so; never "-0.0"."""
    if factor is not None:
        value = value * float(factor[1:]) if factor[0] == "*" else value / float(factor[1:])
    shown = format(value, form)
    return shown.removeprefix("-") if not re.search(r"[1-9]", shown) else shown


def pages(root: Path = ROOT) -> list[Path]:
    """Those that have places, or might."""
    written = [path for path in sorted((root / "docs").rglob("*.md")) if "modules" not in path.parts]
    return [root / "README.md", *written, root / "ser_jax" / "data" / "README.md"]


def write(root: Path = ROOT) -> list[Change]:
    """Writes all places of all pages; none, where one of them cannot be."""
    found = measured(root)
    known, texts, changes = values(found), {}, []
    for page in pages(root):
        before = page.read_text(encoding="utf-8")
        try:
            texts[page], changed = rewritten(before, found, known)
        except PlaceError as error:
            raise PlaceError(f"{page.relative_to(root)}: {error}") from None
        changes += changed
        if texts[page] == before:
            del texts[page]
    for page, text in texts.items():
        with atomic_file(page) as stream:
            stream.write(text.encode())
    return changes


def told(change: Change) -> str:
    """A change in a line; sentences beside it may have to change as well."""
    if "\n" in change.before + change.after:
        return f"{change.name}: written anew"
    return f"{change.name}: {change.before} -> {change.after}"


if __name__ == "__main__":
    for change in write():
        print(told(change))
