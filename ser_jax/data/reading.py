"""What readers of databases share: find a release, read a table, refuse an id that appears twice."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ser_jax.data.utterance import Utterance
from ser_jax.errors import UserError, begun, nearest, no_folder
from ser_jax.io import read_bytes

# Finite, and few enough digits to be summed exactly; unlike float(), no other alphabet's digits and no 1_000.
NUMBER = r"[-+]?(?=\.?[0-9])[0-9]{0,30}\.?[0-9]{0,300}(?:[eE][-+]?[0-9]{1,2})?"
SHOWN = 200  # characters of a header in an error

Row = tuple[str, dict[str, str]]  # "file:line", column to cell


def find_release(
    source: Path, error: type[UserError], holds: Callable[[Path], object], what: str, release: str
) -> Path:
    """Return the release folder, which is `source` or lies directly in it.

    Args:
      error: raised if there is none, or several.
      holds: whether a folder holds the release.
      what, release: what it holds, and the release itself, for the error's sentence.
    """
    if not source.is_dir():
        raise error(f"{source}: {no_folder(source)}, expected {release}")
    if holds(source):
        return source
    found = [child for child in sorted(source.iterdir()) if child.is_dir() and holds(child)]
    if not found:
        raise error(f"{source}: no {what} in it or in a folder of it, expected {release}")
    if len(found) > 1:
        names = ", ".join(child.name for child in found)
        raise error(f"{source}: several folders hold {what} ({names}), expected one; name it as source")
    return found[0]


def read_table(
    file: Path,
    error: type[UserError],
    what: str,
    required: Sequence[str],
    optional: Sequence[str] = (),
    errors: str = "strict",
) -> tuple[list[str], Iterator[Row]]:
    """Read a table whose cells are separated by commas, semicolons or tabs; blank rows are skipped.

    Args:
      error: raised, naming file and line, if the table or a row of it is malformed.
      what: what the file should be, for the error's sentence.
      required, optional: columns, recognised in upper and lower case.
      errors: how bytes that are not UTF-8 are decoded, see `bytes.decode`.
    Returns: (header, rows), both with `required` and `optional` columns as spelt there.
    """
    try:
        text = read_bytes(file, error, f"{what} (a CSV file)").decode("utf-8", errors)
    except UnicodeDecodeError as reason:
        raise error(f"{file}: not UTF-8 text (byte {reason.start}), expected UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise error(f"{file}:{line}: holds a null character, expected text")
    text = text.lstrip("\ufeff")  # one or several byte order marks
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)

    def filled() -> Iterator[tuple[str, list[str]]]:
        try:
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if any(cells):
                    yield f"{file}:{reader.line_num}", cells
        except csv.Error as reason:
            raise error(f"{file}:{reader.line_num}: not CSV ({reason})") from None

    rows = filled()
    spelt = {name.lower(): name for name in (*required, *optional)}
    header = [spelt.get(name.lower(), name) for name in next(rows, ("", []))[1]]
    for name in required:
        if name not in header:
            other = nearest(name, set(header) - set(spelt.values()))
            hint = "" if other is None else f"; did you mean {name!r} by {other!r}?"
            found = begun(", ".join(header), SHOWN) or "an empty file"
            raise error(f"{file}: no column {name!r}, found {found}, expected {', '.join(required)}{hint}")
    for name in spelt.values():
        if (count := header.count(name)) > 1:
            raise error(f"{file}: column {name!r} appears {count} times, expected once")

    def named() -> Iterator[Row]:
        for place, cells in rows:
            if len(cells) < len(header) or any(cells[len(header) :]):
                raise error(f"{place}: {len(cells)} cells, expected {len(header)}")
            yield place, dict(zip(header, cells, strict=False))

    return header, named()


def unique(utterances: Iterable[Utterance], error: type[UserError]) -> tuple[Utterance, ...]:
    """Return the utterances; raise `error`, naming both places, if an id appears twice."""
    found: dict[str, Utterance] = {}
    for utterance in utterances:
        other = found.setdefault(utterance.id, utterance)
        if other is not utterance:
            raise error(
                f"{utterance.place or utterance.path}: {utterance.id} is already in "
                f"{other.place or other.path}, expected it once"
            )
    return tuple(found.values())
