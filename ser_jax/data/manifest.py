"""Any speech, described by a CSV file; no recording is opened."""

import csv
import io
import itertools
import logging
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ser_jax.data import audio
from ser_jax.data.corpus import DIALOGUES, DIMENSIONS, SEXES
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.data.utterance import Catalog, Utterance, ratings
from ser_jax.errors import UserError, begun, meant, nearest
from ser_jax.io import read_bytes

REQUIRED = ("path", "speaker")
LABELS = (*DIMENSIONS, "emotion")  # one of them at least
OPTIONAL = ("sex", "language", "session", "dialogue", "start", "end")
RATER = re.compile(rf"(?P<rater>rater\w+)_(?P<label>{'|'.join(LABELS)})")
LONGEST = 1000  # characters of a cell; every one takes as much memory as the longest of its column
SHOWN = 200  # of them in an error
_log = logging.getLogger(__name__)

Row = tuple[int, dict[str, str]]  # line in the file, column to cell


class ManifestError(UserError):
    """A manifest with something missing or malformed."""


class _Column(NamedTuple):
    """One dimension of all rows: values [rows] (NaN if empty), and threshold and scale if it has them."""

    values: list[float]
    threshold: float | None = None
    scale: tuple[float, float] | None = None


def read(
    source: Path | str,
    arousal_threshold: float | None = None,
    valence_threshold: float | None = None,
    allow_outside: bool = False,
) -> Catalog:
    """Return the utterances of a manifest in file order; whether their recordings exist is not checked.

    Columns are `REQUIRED`, at least one of `LABELS`, and any of `OPTIONAL` and `RATER`; others are ignored.
    Arousal and valence are words (low/high, negative/positive: 0 and 1, threshold 0.5) or numbers, which need
    a threshold. Cells of labels may be empty. The scale of numbers is their range in the file. Recordings
    beside those named, in the same folders, are listed as unlabelled.

    Args:
      source: the CSV file; paths in it are relative to its folder.
      arousal_threshold, valence_threshold: what separates the classes of a column of numbers.
      allow_outside: whether paths may lead out of the manifest's folder.
    Raises: ManifestError naming the file and line.
    """
    source = Path(source)
    rows = _rows(source)
    if not any(cells.get(label) for _, cells in rows for label in LABELS):
        raise ManifestError(f"{source}: no row has a label ({', '.join(LABELS)}), expected some")
    given = {"arousal": arousal_threshold, "valence": valence_threshold}
    of_raters = [match for column in rows[0][1] if (match := RATER.fullmatch(column))]
    columns = {name: _dimension(source, rows, name, of_raters, given.get(name)) for name in DIMENSIONS}
    seen: dict[Any, int] = {}
    sexes: dict[str, tuple[str, int]] = {}
    utterances = []
    for index, (line, cells) in enumerate(rows):
        place = f"{source}:{line}"
        values: dict[str, Any] = {name: column.values[index] for name, column in columns.items()}
        values["raters"] = _raters(place, cells, of_raters)
        utterance = _utterance(source, place, cells, values, allow_outside)
        segment = (os.path.normpath(utterance.path), utterance.start, utterance.stop)
        for key in (segment, utterance.id):
            if seen.setdefault(key, line) != line:
                raise ManifestError(
                    f"{place}: {utterance.id} is already in line {seen[key]}, expected it once"
                )
        if utterance.sex != "unknown":
            sex, before = sexes.setdefault(utterance.speaker, (utterance.sex, line))
            if sex != utterance.sex:
                raise ManifestError(
                    f"{place}: speaker {utterance.speaker!r} is {utterance.sex}, but {sex} in line {before}; "
                    "expected one of them"
                )
        utterances.append(utterance)
    return Catalog(
        tuple(utterances),
        {name: column.threshold for name, column in columns.items() if column.threshold is not None},
        {name: column.scale for name, column in columns.items() if column.scale is not None},
        _beside({os.path.normpath(utterance.path) for utterance in utterances}),
    )


def _beside(named: set[str]) -> tuple[str, ...]:
    """Return recordings in the folders of those named that are not among them."""
    folders = sorted({Path(path).parent for path in named})
    return tuple(
        str(file)
        for folder in folders
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in audio.SUFFIXES and file.name[0] != "." and str(file) not in named
    )


def _rows(source: Path) -> list[Row]:
    try:
        text = read_bytes(source, ManifestError, "a manifest (a CSV file)").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{source}: not UTF-8 text (byte {error.start}), expected UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ManifestError(f"{source}:{line}: holds a null character, expected UTF-8 text")
    text = text.lstrip("\ufeff")  # programs that do not know the mark keep it and add another
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        table = ((reader.line_num, [cell.strip() for cell in cells]) for cells in reader)
        return _table(source, (row for row in table if any(row[1])))
    except csv.Error as error:
        raise ManifestError(f"{source}:{reader.line_num}: not CSV ({error})") from None


def _table(source: Path, table: Iterable[tuple[int, list[str]]]) -> list[Row]:
    table = iter(table)
    _, header = next(table, (1, []))
    _check_header(source, header)
    columns = [
        (index, name)
        for index, name in enumerate(header)
        if name in (*REQUIRED, *LABELS, *OPTIONAL) or RATER.fullmatch(name)
    ]
    rows = []
    for line, cells in table:
        place = f"{source}:{line}"
        if len(cells) != len(header):
            raise ManifestError(f"{place}: {len(cells)} cells, expected {len(header)}")
        row = {name: cells[index] for index, name in columns}
        for name, text in row.items():
            if not text.isprintable() or len(text) > LONGEST:
                _check_cell(place, name, text)
        for name in REQUIRED:
            if not row[name]:
                raise ManifestError(f"{place}: {name} is empty, expected a {name}")
        rows.append((line, row))
    if not rows:
        raise ManifestError(f"{source}: no utterances, expected a row for each")
    return rows


def _check_header(source: Path, header: Sequence[str]) -> None:
    known = (*REQUIRED, *LABELS, *OPTIONAL)
    missing = [name for name in REQUIRED if name not in header]
    if not set(LABELS) & set(header):
        missing += LABELS[:1]
    if missing:
        other = nearest(missing[0], set(header) - set(known))
        hint = "" if other is None else f"; did you mean {missing[0]!r} by {other!r}?"
        lacking = f"column {missing[0]!r}" if missing[0] in REQUIRED else "column of labels"
        raise ManifestError(
            f"{source}: no {lacking}, found {begun(', '.join(header), SHOWN) or 'an empty file'}, expected "
            f"{', '.join(REQUIRED)} and any of {', '.join(LABELS)}, separated by commas{hint}"
        )
    for name in header:
        count, is_read = header.count(name), name in known or RATER.fullmatch(name)
        if is_read and count > 1:
            raise ManifestError(f"{source}: column {name!r} appears {count} times, expected once")
        if not is_read and (hint := meant(name, set(known) - set(header))):
            _log.warning("%s: column %r is not read%s", source, name, hint)


def _check_cell(place: str, name: str, text: str) -> None:
    """Refuse what would garble a table or a terminal, and what no name is as long as."""
    odd = next((letter for letter in text if unicodedata.category(letter) in ("Cc", "Zl", "Zp")), None)
    if odd is not None:
        shown = begun(text, SHOWN)
        raise ManifestError(f"{place}: {name} {shown!r} holds {odd!r}, expected a {name} on one line")
    if len(text) > LONGEST:
        raise ManifestError(f"{place}: {name} has {len(text):,} characters, expected {LONGEST:,} at most")


def _dimension(
    source: Path, rows: Sequence[Row], name: str, of_raters: Sequence[re.Match], threshold: float | None
) -> _Column:
    """Return one column of annotations as numbers."""
    words: tuple[str, ...] = CLASS_NAMES.get(name, ())
    filled = [(line, cells[name]) for line, cells in rows if cells.get(name)]
    if not filled:
        return _Column([math.nan] * len(rows))
    numeric = [not words or _as_number(text) is not None for _, text in filled]
    if any(numeric) != all(numeric):
        (first, before), (line, text) = filled[0], filled[numeric.index(not numeric[0])]
        raise ManifestError(
            f"{source}:{line}: {name} is {text!r}, but {before!r} in line {first}; "
            "expected all words or all numbers"
        )
    if not numeric[0]:
        for line, text in filled:
            if text.lower() not in words:
                raise ManifestError(
                    f"{source}:{line}: {name} is {text!r}, expected {words[0]} or {words[1]}"
                    + meant(text, words)
                )
        if threshold is not None:
            raise ManifestError(f"{source}: {name} is given in words, expected no --{name}-threshold")
        ranks = {"": math.nan, **{word: float(index) for index, word in enumerate(words)}}
        return _Column([ranks[cells[name].lower()] for _, cells in rows], 0.5)
    if words and threshold is None:
        raise ManifestError(f"{source}: {name} is given in numbers, expected --{name}-threshold")
    if threshold is not None and not math.isfinite(threshold):
        raise ManifestError(f"--{name}-threshold is {threshold}, expected a finite number")
    values = [_finite(f"{source}:{line}", name, cells[name]) for line, cells in rows]
    each = [match[0] for match in of_raters if match["label"] == name]
    others = [_finite(f"{source}:{line}", column, cells[column]) for line, cells in rows for column in each]
    known = [value for value in itertools.chain(values, others) if not math.isnan(value)]
    scale = (min(known), max(known)) if min(known) < max(known) else None
    return _Column(values, None if threshold is None else float(threshold), scale)


def _as_number(text: str) -> float | None:
    if not text.isascii() or "_" in text:  # float() takes other digits, and 1_000
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _finite(place: str, name: str, text: str, empty: float = math.nan) -> float:
    """Return a cell's finite number; `empty` if there is nothing in it."""
    if not text:
        return empty
    value = _as_number(text)
    if value is None or not math.isfinite(value):
        raise ManifestError(f"{place}: {name} is {text!r}, expected a finite number")
    return value


def _utterance(
    source: Path, place: str, cells: dict[str, str], values: dict[str, Any], allow_outside: bool
) -> Utterance:
    begin, end = cells.get("start", ""), cells.get("end", "")
    start, stop = _finite(place, "start", begin, 0.0), _finite(place, "end", end)
    if start < 0 or stop <= start:
        raise ManifestError(f"{place}: segment from {begin or 0} s to {end} s, expected 0 <= start < end")
    return Utterance(
        id=cells["path"] + (f"#{begin}-{end}" if begin or end else ""),
        path=_path(source, place, cells["path"], allow_outside),
        start=start,
        stop=None if math.isnan(stop) else stop,
        speaker=cells["speaker"],
        sex=_choice(place, cells, "sex", SEXES) or "unknown",
        session=cells.get("session") or cells["speaker"],
        language=cells.get("language") or "unknown",
        emotion=cells.get("emotion", ""),
        dialogue=_choice(place, cells, "dialogue", DIALOGUES[:2]),
        place=place,
        **values,
    )


def _choice(place: str, cells: dict[str, str], name: str, choices: Sequence[str]) -> str:
    found = cells.get(name, "").lower()
    if found and found not in choices:
        raise ManifestError(
            f"{place}: {name} is {cells[name]!r}, expected {', '.join(choices)}{meant(found, choices)}"
        )
    return found


def _raters(place: str, cells: dict[str, str], of_raters: Sequence[re.Match]) -> str:
    """Return what the columns of raters hold: numbers, words of a dimension's classes, categories."""
    found: dict[str, dict[str, Any]] = {}
    for match in of_raters:
        text, label, words = cells[match[0]], match["label"], CLASS_NAMES.get(match["label"], ())
        if label == "emotion" and text:
            found.setdefault(match["rater"], {})[label] = [text]
        elif text:
            word = words.index(text.lower()) if text.lower() in words else None
            value = _finite(place, match[0], text) if word is None else float(word)
            found.setdefault(match["rater"], {})[label] = value
    return ratings(found)


def _path(source: Path, place: str, text: str, allow_outside: bool) -> Path:
    """Return the recording's path; judged as written: a link inside the folder may point anywhere."""
    inside = Path(os.path.normpath(text))
    if not allow_outside and (inside.is_absolute() or inside.parts[:1] == (os.pardir,)):
        raise ManifestError(
            f"{place}: path {text!r} leads out of the manifest's folder, "
            "expected one inside it or --allow-outside"
        )
    return source.parent / text
