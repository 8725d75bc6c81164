"""Any labelled speech, described by a CSV file (facts only, no audio is opened)."""

import csv
import io
import logging
import math
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_jax.data import audio, texts
from ser_jax.data.corpus import SEXES, TARGETS
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.data.utterance import Listing, Utterance
from ser_jax.errors import UserError, begun, meant, nearest

if TYPE_CHECKING:
    from _csv import Reader

REQUIRED = ("path", "speaker", "arousal", "valence")
OPTIONAL = ("sex", "language", "session", "emotion", "start", "end")

LONGEST = 1000  # characters of a cell; every one takes as much memory as the longest of its column
SHOWN = 200  # of them in an error

_log = logging.getLogger(__name__)

Row = tuple[int, dict[str, str]]  # line in the file, column to cell


class ManifestError(UserError):
    """A manifest that does not say what it should."""


def read(
    source: Path | str,
    arousal_threshold: float | None = None,
    valence_threshold: float | None = None,
    allow_outside: bool = False,
) -> Listing:
    """Reads a manifest: columns `REQUIRED` and, where they are there, `OPTIONAL`; others are ignored.

    Annotations are words (low/high, negative/positive: 0 and 1, threshold 0.5) or numbers, which need
    a threshold. A row that lacks one has no label, nor has a recording beside others that no row names.

    Args:
      source: the CSV file; paths in it are relative to its folder.
      arousal_threshold, valence_threshold: what separates the classes of a column of numbers.
      allow_outside: whether paths may lead out of the manifest's folder.
    Returns: the utterances in file order; whether their recordings exist is not looked at.
    Raises: ManifestError naming the file and line.
    """
    source = Path(source)
    unlabelled, rows = [], []
    for line, cells in _rows(source):
        if all(cells[target] for target in TARGETS):
            rows.append((line, cells))
        else:
            unlabelled.append((line, cells))
    if not rows:
        raise ManifestError(f"{source}: no row has both arousal and valence, expected some")
    given = {"arousal": arousal_threshold, "valence": valence_threshold}
    columns = {target: _annotations(source, rows, target, given[target]) for target in TARGETS}
    values = zip(*(annotations for annotations, _ in columns.values()), strict=True)
    seen: dict[Any, int] = {}
    utterances = []
    for row, (arousal, valence) in zip(rows, values, strict=True):
        utterance = _utterance(source, row, arousal, valence, allow_outside)
        segment = (os.path.normpath(utterance.path), utterance.start, utterance.stop)
        for key in (segment, utterance.id):
            if seen.setdefault(key, row[0]) != row[0]:
                raise ManifestError(
                    f"{source}:{row[0]}: {utterance.id} stands already in line {seen[key]}, expected it once"
                )
        utterances.append(utterance)
    _check_people(source, rows, utterances)
    named = {os.path.normpath(utterance.path) for utterance in utterances}
    named |= {os.path.normpath(source.parent / cells["path"]) for _, cells in unlabelled}
    return Listing(
        tuple(utterances),
        {target: threshold for target, (_, threshold) in columns.items()},
        (*(f"{source}:{line}" for line, _ in unlabelled), *_beside(named)),
    )


def _check_people(source: Path, rows: Sequence[Row], utterances: Sequence[Utterance]) -> None:
    known: dict[str, tuple[str, int]] = {}
    for (line, _), utterance in zip(rows, utterances, strict=True):
        if utterance.sex == "unknown":
            continue
        sex, before = known.setdefault(utterance.speaker, (utterance.sex, line))
        if sex != utterance.sex:
            raise ManifestError(
                f"{source}:{line}: speaker {utterance.speaker!r} is {utterance.sex}, "
                f"but {sex} in line {before}; expected one of them"
            )


def _beside(named: set[str]) -> list[str]:
    """Recordings in the folders of those named that are not among them."""
    folders = sorted({Path(path).parent for path in named})
    return [
        str(file)
        for folder in folders
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in audio.SUFFIXES and file.name[0] != "." and str(file) not in named
    ]


def _rows(source: Path) -> list[Row]:
    try:
        text = texts.content(source, ManifestError, "a manifest (a CSV file)").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{source}: not UTF-8 text (byte {error.start}), expected UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ManifestError(f"{source}:{line}: holds a null character, expected UTF-8 text")
    text = text.lstrip("\ufeff")  # programs that do not know the mark keep it and set another
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return _table(source, reader)
    except csv.Error as error:
        raise ManifestError(f"{source}:{reader.line_num}: not CSV ({error})") from None


def _table(source: Path, reader: "Reader") -> list[Row]:
    header = next((names for names in map(_stripped, reader) if any(names)), [])
    for name in REQUIRED:
        if name not in header:
            raise ManifestError(
                f"{source}: no column {name!r}, found {begun(', '.join(header), SHOWN) or 'an empty file'}, "
                f"expected {', '.join(REQUIRED)}, separated by commas{_respelt(name, header)}"
            )
    for name in (*REQUIRED, *OPTIONAL):
        if header.count(name) > 1:
            raise ManifestError(f"{source}: column {name!r} stands {header.count(name)} times, expected once")
    for name in header:
        if name not in (*REQUIRED, *OPTIONAL) and (hint := meant(name, set(OPTIONAL) - set(header))):
            _log.warning("%s: column %r is not read%s", source, name, hint)
    rows = []
    columns = [(name, header.index(name)) for name in (*REQUIRED, *OPTIONAL) if name in header]
    for cells in map(_stripped, reader):
        if not any(cells):
            continue
        place = f"{source}:{reader.line_num}"
        if len(cells) != len(header):
            raise ManifestError(f"{place}: {len(cells)} cells, expected {len(header)}")
        row = {name: cells[column] for name, column in columns}
        for name, text in row.items():
            if not text.isprintable() or len(text) > LONGEST:
                _check_cell(place, name, text)
        for name in ("path", "speaker"):
            if not row[name]:
                raise ManifestError(f"{place}: {name} is empty, expected a {name}")
        rows.append((reader.line_num, row))
    if not rows:
        raise ManifestError(f"{source}: no utterances, expected a row for each")
    return rows


def _respelt(name: str, header: Sequence[str]) -> str:
    """Which column of a header was probably meant to be one that is missing, for the end of a sentence."""
    other = nearest(name, set(header) - {*REQUIRED, *OPTIONAL})
    return "" if other is None else f"; did you mean {name!r} by {other!r}?"


def _stripped(cells: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _check_cell(place: str, name: str, text: str) -> None:
    """Refuses what would garble a table or a terminal, and what no name is as long as."""
    odd = next((letter for letter in text if unicodedata.category(letter) in ("Cc", "Zl", "Zp")), None)
    if odd is not None:
        shown = begun(text, SHOWN)
        raise ManifestError(f"{place}: {name} {shown!r} holds {odd!r}, expected a {name} on one line")
    if len(text) > LONGEST:
        raise ManifestError(f"{place}: {name} has {len(text):,} characters, expected {LONGEST:,} at most")


def _annotations(
    source: Path, rows: Sequence[Row], target: str, threshold: float | None
) -> tuple[list[float], float]:
    """One column of annotations as numbers, and its threshold."""
    words = CLASS_NAMES[target]
    numeric = [_as_number(cells[target]) is not None for _, cells in rows]
    if any(numeric) and not all(numeric):
        odd = next(i for i, flag in enumerate(numeric) if flag != numeric[0])
        (first, before), (line, cells) = rows[0], rows[odd]
        raise ManifestError(
            f"{source}:{line}: {target} is {cells[target]!r}, but {before[target]!r} in line {first}; "
            "expected all words or all numbers"
        )
    if not any(numeric):
        for line, cells in rows:
            if cells[target].lower() not in words:
                raise ManifestError(
                    f"{source}:{line}: {target} is {cells[target]!r}, expected {words[0]} or {words[1]}"
                    + meant(cells[target], words)
                )
        if threshold is not None:
            raise ManifestError(f"{source}: {target} is given in words, expected no --{target}-threshold")
        return [float(words.index(cells[target].lower())) for _, cells in rows], 0.5
    if threshold is None:
        raise ManifestError(f"{source}: {target} is given in numbers, expected --{target}-threshold")
    if not math.isfinite(threshold):
        raise ManifestError(f"--{target}-threshold is {threshold}, expected a finite number")
    return [_finite(source, line, target, cells[target]) for line, cells in rows], float(threshold)


def _as_number(text: str) -> float | None:
    if not text.isascii() or "_" in text:  # float() takes other digits, and 1_000
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _finite(source: Path, line: int, name: str, text: str) -> float:
    value = _as_number(text)
    if value is None or not math.isfinite(value):
        raise ManifestError(f"{source}:{line}: {name} is {text!r}, expected a finite number")
    return value


def _utterance(source: Path, row: Row, arousal: float, valence: float, allow_outside: bool) -> Utterance:
    line, cells = row
    path = _path(source, line, cells["path"], allow_outside)
    sex = cells.get("sex", "").lower() or "unknown"
    if sex not in SEXES:
        raise ManifestError(
            f"{source}:{line}: sex is {cells['sex']!r}, expected {', '.join(SEXES)}{meant(sex, SEXES)}"
        )
    begin, end = cells.get("start", ""), cells.get("end", "")
    start = _finite(source, line, "start", begin) if begin else 0.0
    stop = _finite(source, line, "end", end) if end else None
    if start < 0 or (stop is not None and stop <= start):
        raise ManifestError(
            f"{source}:{line}: segment from {begin or 0} s to {end} s, expected 0 <= start < end"
        )
    return Utterance(
        id=cells["path"] + (f"#{begin}-{end}" if begin or end else ""),
        path=path,
        start=start,
        stop=stop,
        speaker=cells["speaker"],
        sex=sex,
        session=cells.get("session") or cells["speaker"],
        language=cells.get("language") or "unknown",
        arousal=arousal,
        valence=valence,
        emotion=cells.get("emotion", ""),
        place=f"{source}:{line}",
    )


def _path(source: Path, line: int, text: str, allow_outside: bool) -> Path:
    """Judged as written: a link inside the folder may point anywhere."""
    inside = Path(os.path.normpath(text))
    if not allow_outside and (inside.is_absolute() or inside.parts[:1] == (os.pardir,)):
        raise ManifestError(
            f"{source}:{line}: path {text!r} leads out of the manifest's folder, "
            "expected one inside it or --allow-outside"
        )
    return source.parent / text
