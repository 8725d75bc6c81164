"""Utterances as the readers of databases return them, and what these readers share."""

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_jax.errors import UserError, begun, no_folder
from ser_jax.io import read_bytes

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")  # of recordings in folders, in either case
MARKER = "SYNTHETIC.txt"  # marks a folder of synthesised speech
# A finite number with few enough digits for exact sums; float() also takes 1_000 and digits of all scripts.
NUMBER = r"[-+]?(?=\.?[0-9])[0-9]{0,30}\.?[0-9]{0,300}(?:[eE][-+]?[0-9]{1,2})?"
SHOWN = 200  # characters of a header in an error


class DatabaseError(UserError):
    """A database that cannot be read: its name, its options, its folders or its files of labels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
    """One utterance: its facts, as `Facts` has them, and its recording.

    Attributes:
      path: the recording that contains it.
      start, stop: the segment of the recording, s; None stands for the end of the file.
      language: a code as in "en", or "unknown".
      place: where its label was read, "file:line"; "" if the recording's name is the label.
    """

    id: str
    path: Path
    start: float = 0.0
    stop: float | None = None
    speaker: str
    sex: str
    session: str
    language: str
    arousal: float = math.nan
    valence: float = math.nan
    dominance: float = math.nan
    emotion: str = ""
    dialogue: str = ""
    raters: str = ""
    place: str = ""


@dataclasses.dataclass(frozen=True)
class Catalog:
    """The utterances of a database, whether or not their recordings exist.

    Attributes:
      utterances: in the reader's order.
      thresholds: dimension to the annotation that separates the two classes.
      scales: dimension to the lowest and the highest possible rating, if people rated it.
      unlabelled: recordings, or places of turns, that are left out because they have no label.

    Raises: DatabaseError if two utterances have the same id.
    """

    utterances: tuple[Utterance, ...]
    thresholds: Mapping[str, float]
    scales: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        places: dict[str, Path | str] = {}
        for utterance in self.utterances:
            place = utterance.place or utterance.path
            if (other := places.setdefault(utterance.id, place)) != place:
                raise DatabaseError(f"{place}: {utterance.id} is already in {other}, expected it once")

    @property
    def synthetic(self) -> bool:
        """Whether any recording, or the file it links to, lies in a marked folder."""
        paths = {utterance.path for utterance in self.utterances}
        folders = {path.parent for path in paths} | {Path(os.path.realpath(path)).parent for path in paths}
        return any(map(is_marked, folders))

    @property
    def folder(self) -> Path:
        """The deepest folder that contains all recordings; stored paths are relative to it."""
        return Path(os.path.commonpath([utterance.path.absolute().parent for utterance in self.utterances]))

    def fingerprint(self) -> str:
        """Return a digest of every fact and of every recording's size; it survives moving the source."""
        folder, rows = self.folder, []
        for utterance in self.utterances:
            path = utterance.path.absolute()
            facts = vars(utterance) | {"path": Path(os.path.relpath(path, folder)).as_posix()}
            del facts["place"]
            try:
                facts["size"] = path.stat().st_size if path.is_file() else None
            except OSError:  # raised again when the recording is opened
                facts["size"] = None
            rows.append(json.dumps(facts, sort_keys=True))
        shared = json.dumps([dict(self.thresholds), dict(self.scales)], sort_keys=True)
        return hashlib.sha256("\n".join([shared, *sorted(rows)]).encode()).hexdigest()


def ratings(by_rater: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the annotations of each rater as compact JSON; "" if there are none.

    Args:
      by_rater: rater to a dict with any of "arousal", "valence", "dominance" (numbers on the database's
        scale) and "emotion" (a list of categories, as the database names them).

    >>> ratings({"E2": {"emotion": ["Neutral"]}, "E3": {"arousal": 2.0}})
    '{"E2":{"emotion":["Neutral"]},"E3":{"arousal":2.0}}'
    """
    return json.dumps(by_rater, ensure_ascii=False, separators=(",", ":")) if by_rater else ""


def is_marked(path: Path) -> bool:
    """Return whether a path is, or lies in, a folder marked as synthesised speech."""
    path = Path(os.path.realpath(path))  # Path.resolve() raises on a link to itself
    return any((folder / MARKER).is_file() for folder in (path, *path.parents))


def find_release(source: Path, holds: Callable[[Path], object], what: str, release: str) -> Path:
    """Return the release folder: `source`, or a folder directly in it.

    Args:
      source: a folder.
      holds: tells whether a folder is the release.
      what, release: what the release contains, and its name, for the message of an error.
    Raises: DatabaseError if there is no release, or more than one.
    """
    if not source.is_dir():
        raise DatabaseError(f"{source}: {no_folder(source)}, expected {release}")
    if holds(source):
        return source
    found = [child for child in sorted(source.iterdir()) if child.is_dir() and holds(child)]
    if not found:
        raise DatabaseError(f"{source}: no {what} in it or in a folder of it, expected {release}")
    if len(found) > 1:
        names = ", ".join(child.name for child in found)
        raise DatabaseError(f"{source}: several folders hold {what} ({names}), expected one")
    return found[0]


def read_table(
    file: Path, what: str, required: Sequence[str], optional: Sequence[str] = (), errors: str = "strict"
) -> tuple[list[str], Iterator[tuple[str, dict[str, str]]]]:
    """Read a table whose cells are separated by commas, semicolons or tabs; blank rows are skipped.

    Args:
      file: the table.
      what: what the file should be, for the message of an error.
      required, optional: names of columns, matched in upper or lower case.
      errors: how to decode bytes that are not UTF-8, see `bytes.decode`.
    Returns: the header, and an iterator over ("file:line", column to cell).
    Raises: DatabaseError naming the file and the line, also while iterating.
    """
    try:
        text = read_bytes(file, DatabaseError, f"{what} (a CSV file)").decode("utf-8", errors)
    except UnicodeDecodeError as reason:
        raise DatabaseError(f"{file}: not UTF-8 text (byte {reason.start}), expected UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DatabaseError(f"{file}:{line}: holds a null character, expected text")
    text = text.lstrip("\ufeff")  # byte order marks
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)

    def rows() -> Iterator[tuple[str, list[str]]]:
        try:
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if any(cells):
                    yield f"{file}:{reader.line_num}", cells
        except csv.Error as reason:
            raise DatabaseError(f"{file}:{reader.line_num}: not CSV ({reason})") from None

    table = rows()
    spelling = {name.lower(): name for name in (*required, *optional)}
    header = [spelling.get(name.lower(), name) for name in next(table, ("", []))[1]]
    for name in required:
        if name not in header:
            found = begun(", ".join(header), SHOWN) or "an empty file"
            raise DatabaseError(f"{file}: no column {name!r}, found {found}, expected {', '.join(required)}")
    for name in spelling.values():
        if (count := header.count(name)) > 1:
            raise DatabaseError(f"{file}: column {name!r} appears {count} times, expected once")

    def cells_by_name() -> Iterator[tuple[str, dict[str, str]]]:
        for place, cells in table:
            if len(cells) < len(header) or any(cells[len(header) :]):
                raise DatabaseError(f"{place}: {len(cells)} cells, expected {len(header)}")
            yield place, dict(zip(header, cells, strict=False))

    return header, cells_by_name()
