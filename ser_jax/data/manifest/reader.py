"""Any labelled speech, described by a CSV file (facts only, no audio is opened)."""

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

from ser_jax.data import audio
from ser_jax.data.corpus import SEXES, TARGETS
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.data.utterance import Listing, Utterance
from ser_jax.errors import UserError

REQUIRED = ("path", "speaker", "arousal", "valence")
OPTIONAL = ("sex", "language", "session", "emotion", "start", "end")

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
    seen: dict[tuple, int] = {}
    utterances = []
    for row, (arousal, valence) in zip(rows, values, strict=True):
        utterance = _utterance(source, row, arousal, valence, allow_outside)
        key = (os.path.normpath(utterance.path), utterance.start, utterance.stop)
        if key in seen:
            raise ManifestError(
                f"{source}:{row[0]}: {utterance.id} stands already in line {seen[key]}, expected it once"
            )
        seen[key] = row[0]
        utterances.append(utterance)
    named = {os.path.normpath(utterance.path) for utterance in utterances}
    named |= {os.path.normpath(source.parent / cells["path"]) for _, cells in unlabelled}
    return Listing(
        tuple(utterances),
        {target: threshold for target, (_, threshold) in columns.items()},
        (*(f"{source}:{line}" for line, _ in unlabelled), *_beside(named)),
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
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "no such file"
        raise ManifestError(f"{source}: {what}, expected a manifest (a CSV file)")
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{source}: not UTF-8 text (byte {error.start}), expected UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return _table(source, reader)
    except csv.Error as error:
        raise ManifestError(f"{source}:{reader.line_num}: not CSV ({error})") from None


def _table(source: Path, reader) -> list[Row]:
    header = [name.strip() for name in next(reader, [])]
    for name in REQUIRED:
        if name not in header:
            raise ManifestError(
                f"{source}: no column {name!r}, found {', '.join(header) or 'an empty file'}, "
                f"expected {', '.join(REQUIRED)}, separated by commas"
            )
    for name in (*REQUIRED, *OPTIONAL):
        if header.count(name) > 1:
            raise ManifestError(f"{source}: column {name!r} stands {header.count(name)} times, expected once")
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise ManifestError(f"{source}:{reader.line_num}: {len(cells)} cells, expected {len(header)}")
        rows.append((reader.line_num, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}))
        for name in ("path", "speaker"):
            if not rows[-1][1][name]:
                raise ManifestError(f"{source}:{reader.line_num}: {name} is empty, expected a {name}")
    if not rows:
        raise ManifestError(f"{source}: no utterances, expected a row for each")
    return rows


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
        raise ManifestError(f"{source}:{line}: sex is {cells['sex']!r}, expected {', '.join(SEXES)}")
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
    if "\0" in text:
        raise ManifestError(f"{source}:{line}: path {text!r} holds a null character, expected a path")
    inside = Path(os.path.normpath(text))
    if not allow_outside and (inside.is_absolute() or inside.parts[:1] == (os.pardir,)):
        raise ManifestError(
            f"{source}:{line}: path {text!r} leads out of the manifest's folder, "
            "expected one inside it or --allow-outside"
        )
    return source.parent / text
