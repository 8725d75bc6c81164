"""Utterances as the readers of databases return them, and what these readers share."""

import codecs
import contextlib
import contextvars
import csv
import dataclasses
import hashlib
import io
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_jax.data.files import children
from ser_jax.errors import UserError, begun, nearest, no_folder
from ser_jax.io import read_bytes

MARKER = "SYNTHETIC.txt"  # marks a folder of synthesised speech
# A finite number with few enough digits for exact sums; float() also takes 1_000 and digits of all scripts.
NUMBER = re.compile(r"[-+]?(?=\.?[0-9])[0-9]{0,30}\.?[0-9]{0,300}(?:[eE][-+]?[0-9]{1,2})?")
_log = logging.getLogger(__name__)


_refused: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("refused", default=None)


class DatabaseError(UserError):
    """A database that cannot be read: its name, its options, its folders or its files of labels."""


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """Collect what readers refuse of single labels or recordings, for as long as the block lasts."""
    found: list[str] = []
    token = _refused.set(found)
    try:
        yield found
    finally:
        _refused.reset(token)


@contextlib.contextmanager
def one_of_many() -> Iterator[None]:
    """End at what a block refuses, or go on after it while it is `collected`."""
    try:
        yield
    except DatabaseError as error:
        if (found := _refused.get()) is None:
            raise
        found.append(str(error))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
    """One utterance: its facts, as `Facts` has them, and its recording."""

    id: str
    path: Path  # of the recording that contains it
    start: float = 0.0  # of the segment, s
    stop: float | None = None  # of the segment, s; None stands for the end of the file
    speaker: str
    sex: str
    session: str
    language: str  # a code as in "en", or "unknown"
    arousal: float = math.nan
    valence: float = math.nan
    dominance: float = math.nan
    emotion: str = ""
    dialogue: str = ""
    raters: str = ""
    embedding: str = ""  # what `Embeddings` are found by; "" for the id
    place: str = ""  # where its label was read, "file:line"; "" if the recording's name is the label


@dataclasses.dataclass(frozen=True)
class Catalog:
    """The utterances of a database, whether or not their recordings exist, in the reader's order.

    Raises: DatabaseError if two utterances have the same id.
    """

    utterances: tuple[Utterance, ...]
    thresholds: Mapping[str, float]  # and scales: see `Facts`
    scales: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()  # recordings, or places of turns, that are left out for lack of a label

    def __post_init__(self) -> None:
        places: dict[str, Path | str] = {}
        for utterance in self.utterances:
            place = utterance.place or utterance.path
            with one_of_many():
                if (other := places.setdefault(utterance.id, place)) != place:
                    raise DatabaseError(f"{place}: {utterance.id} is already in {other}, expected it once")

    @property
    def synthetic(self) -> bool:
        """Return whether any recording, or the file it links to, lies in a marked folder."""
        named = {place for utterance in self.utterances for place in (utterance.path, utterance.path.parent)}
        real = {Path(os.path.realpath(place)) for place in named}  # Path.resolve() raises on a loop
        folders = {folder for place in real for folder in (place, *place.parents)}
        return any((folder / MARKER).is_file() for folder in folders)

    @property
    def folder(self) -> Path:
        """The deepest folder that contains all recordings; stored paths are relative to it."""
        return Path(os.path.commonpath([utterance.path.absolute().parent for utterance in self.utterances]))

    def fingerprint(self) -> str:
        """Return a digest of every fact and of every recording's size; it survives moving the source."""
        folder, rows = self.folder, []
        for utterance in self.utterances:
            path = utterance.path.absolute()
            facts = vars(utterance) | {"path": Path(os.path.relpath(path, folder)).as_posix(), "size": None}
            del facts["place"], facts["embedding"]
            with contextlib.suppress(OSError):  # raised again when the recording is opened
                facts["size"] = path.stat().st_size if path.is_file() else None
            rows.append(json.dumps(facts, sort_keys=True))
        shared = json.dumps([dict(self.thresholds), dict(self.scales)], sort_keys=True)
        return hashlib.sha256("\n".join([shared, *sorted(rows)]).encode()).hexdigest()


def ratings(by_rater: Mapping[str, Mapping[str, Any]]) -> str:
    """Return each rater's numbers, on the database's scale, and categories as compact JSON; "" if none.

    >>> ratings({"E2": {"emotion": ["Neutral"]}, "E3": {"arousal": 2.0}})
    '{"E2":{"emotion":["Neutral"]},"E3":{"arousal":2.0}}'
    """
    return json.dumps(by_rater, ensure_ascii=False, separators=(",", ":")) if by_rater else ""


def find_release(source: Path, holds: Callable[[Path], object], what: str, release: str) -> Path:
    """Return the folder, `source` or one in it, for which `holds` is true; a `release` contains `what`.

    Raises: DatabaseError if there is no release, or more than one.
    """
    if not source.is_dir():
        raise DatabaseError(f"{source}: {no_folder(source)}, expected {release}")
    if holds(source):
        return source
    found = [child for child in children(source) if child.is_dir() and holds(child)]
    if not found:
        raise DatabaseError(f"{source}: contains no {what}, expected {release}")
    if len(found) > 1:
        names = ", ".join(child.name for child in found)
        raise DatabaseError(f"{source}: several folders hold {what} ({names}), expected one")
    return found[0]


def plain(name: str) -> str:
    """Return the common form of a name's spellings in different tables and releases.

    >>> plain("Group-ID"), plain("group_id")
    ('groupid', 'groupid')
    """
    return re.sub("[-_ ]", "", name.lower())


def read_table(
    file: Path,
    what: str,
    required: Sequence[str],
    optional: Sequence[str] = (),
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, str], list[tuple[str, dict[str, str]]]]:
    """Read a table whose cells are separated by commas, semicolons, tabs or bars; blank rows are skipped.

    Its first line may be `sep=;`, as Excel writes it. Text is in UTF-8, in UTF-16 if it begins with a byte
    order mark, and else taken for Windows' cp1252.

    Args:
      what: what the file should be, for the message of an error.
      required, optional: names of columns, compared as `plain` makes them.
      aliases: the plain names of columns that stand for one that is absent, the preferred one first.
    Returns: the columns' names, with what the file calls them, and ("file:line", column to cell) of every
      row.
    Raises: DatabaseError naming the file and the line.
    """
    content = read_bytes(file, DatabaseError, f"{what} (a CSV file)")
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as reason:
        _log.warning("%s: not %s (byte %d), taken for cp1252", file, encoding.upper(), reason.start)
        text = content.decode("cp1252", "replace")
    text = text.lstrip("\ufeff")  # byte order marks
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=first.count), strict=True)
    rows: list[tuple[str, list[str]]] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells) and cells != ["sep=", ""]:
                rows.append((f"{file}:{reader.line_num}", cells))
    except csv.Error as reason:
        raise DatabaseError(f"{file}:{reader.line_num}: not CSV ({reason})") from None
    written = rows[0][1] if rows else []
    header = list(written)
    for name in (*required, *optional):
        spellings = [plain(name), *(aliases or {}).get(name, ())]
        each = ([i for i, column in enumerate(written) if plain(column) == one] for one in spellings)
        places = next(filter(None, each), [])
        if len(places) > 1:
            raise DatabaseError(f"{file}: column {name!r} appears {len(places)} times, expected once")
        for i in places:
            header[i] = name
    for name in required:
        if name not in header:
            found = begun(", ".join(written), 200) or "an empty file"
            close = nearest(name, set(header).difference(required, optional))
            hint = "" if close is None else f"; did you mean {name!r} by {close!r}?"
            expected = f"expected {', '.join(required)}{hint}"
            raise DatabaseError(f"{file}: no column {name!r}, found {found}, {expected}")
    whole: list[tuple[str, dict[str, str]]] = []
    for place, cells in rows[1:]:
        with one_of_many():
            if len(cells) < len(header) or any(cells[len(header) :]):
                raise DatabaseError(f"{place}: {len(cells)} cells, expected {len(header)}")
            whole.append((place, dict(zip(header, cells, strict=False))))
    return dict(zip(header, written, strict=True)), whole
