"""Any speech, described by a CSV file; no recording is opened."""

import collections
import logging
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_jax.data.corpus import DIALOGUES, DIMENSIONS, SEXES
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.data.reading import NUMBER, SHOWN, read_table, unique
from ser_jax.data.utterance import SUFFIXES, Catalog, Utterance, ratings
from ser_jax.errors import UserError, begun, meant

REQUIRED = ("path", "speaker")
LABELS = (*DIMENSIONS, "emotion")  # one of them at least
OPTIONAL = ("sex", "language", "session", "dialogue", "start", "end")
RATER = re.compile(rf"(?P<rater>rater\w+)_(?P<label>{'|'.join(LABELS)})")
LONGEST = 1000  # characters of a cell; every one takes as much memory as the longest of its column
_NUMBER = re.compile(NUMBER)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # would garble a table or a terminal
_log = logging.getLogger(__name__)


class ManifestError(UserError):
    """A manifest with something missing or malformed."""


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
    known = (*REQUIRED, *LABELS, *OPTIONAL)
    header, rows = read_table(source, ManifestError, "a manifest", REQUIRED, known[len(REQUIRED) :])
    if not set(LABELS) & set(header):
        shown = begun(", ".join(header), SHOWN)
        raise ManifestError(
            f"{source}: no column of labels, found {shown}, expected any of {', '.join(LABELS)}"
        )
    rater_columns = [match for name in header if (match := RATER.fullmatch(name))]
    for name in set(header) - {*known, *(match[0] for match in rater_columns)}:
        if hint := meant(name, set(known) - set(header)):
            _log.warning("%s: column %r is not read%s", source, name, hint)

    utterances: list[Utterance] = []
    first: dict[str, tuple[bool, str, str]] = {}  # dimension to its first label: a word?, text, place
    values: dict[str, list[float]] = collections.defaultdict(list)  # of dimensions, raters' included
    segments: dict[tuple, str] = {}  # to their places
    sexes: dict[str, tuple[str, str]] = {}  # speaker to sex and place
    for place, cells in rows:
        facts: dict[str, Any] = {"emotion": cells.get("emotion", "")}
        for name in DIMENSIONS:
            if text := cells.get(name, ""):
                facts[name] = _rating(place, name, text, name)
                values[name].append(facts[name])
                is_word = text.lower() in CLASS_NAMES.get(name, ())
                word, other, before = first.setdefault(name, (is_word, text, place))
                if word != is_word:
                    raise ManifestError(
                        f"{place}: {name} is {text!r}, but {other!r} in {before}; "
                        "expected all words or all numbers"
                    )
        of_raters: dict[str, dict[str, Any]] = {}
        for match in rater_columns:
            if text := cells[match[0]]:
                rating: Any = [text]
                if (label := match["label"]) != "emotion":
                    rating = _rating(place, match[0], text, label)
                    values[label].append(rating)
                of_raters.setdefault(match["rater"], {})[label] = rating
        facts["raters"] = ratings(of_raters)
        utterance = _utterance(source, place, cells, facts, allow_outside)
        segment = (os.path.normpath(utterance.path), utterance.start, utterance.stop)
        if (before := segments.setdefault(segment, place)) != place:
            raise ManifestError(f"{place}: {utterance.id} is already in {before}, expected it once")
        if utterance.sex != "unknown":
            sex, before = sexes.setdefault(utterance.speaker, (utterance.sex, place))
            if sex != utterance.sex:
                raise ManifestError(
                    f"{place}: speaker {utterance.speaker!r} is {utterance.sex}, but {sex} in {before}; "
                    "expected one of them"
                )
        utterances.append(utterance)
    if not utterances:
        raise ManifestError(f"{source}: no utterances, expected a row for each")
    if not first and not any(utterance.emotion for utterance in utterances):
        raise ManifestError(f"{source}: no row has a label ({', '.join(LABELS)}), expected some")
    thresholds, scales = {}, {}
    given = {"arousal": arousal_threshold, "valence": valence_threshold}
    for name in filter(first.__contains__, DIMENSIONS):
        if first[name][0]:
            if given[name] is not None:
                raise ManifestError(f"{source}: {name} is given in words, expected no --{name}-threshold")
            thresholds[name] = 0.5
            continue
        if name in given:
            threshold = given[name]
            if threshold is None or not math.isfinite(threshold):
                expected = f"expected --{name}-threshold, a finite number"
                raise ManifestError(f"{source}: {name} is given in numbers, {expected}")
            thresholds[name] = float(threshold)
        if min(values[name]) < max(values[name]):
            scales[name] = (min(values[name]), max(values[name]))
    named = {os.path.normpath(utterance.path) for utterance in utterances}
    return Catalog(unique(utterances, ManifestError), thresholds, scales, _beside(named))


def _beside(named: set[str]) -> tuple[str, ...]:
    """Return recordings in the folders of those named that are not among them."""
    folders = sorted({Path(path).parent for path in named})
    return tuple(
        str(file)
        for folder in folders
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES and file.name[0] != "." and str(file) not in named
    )


def _rating(place: str, column: str, text: str, dimension: str = "") -> float:
    """Return a cell's number, or the class that its word names."""
    words = CLASS_NAMES.get(dimension, ())
    if text.lower() in words:
        return float(words.index(text.lower()))
    if not _NUMBER.fullmatch(text):
        expected = f"{', '.join(words)} or a finite number" if words else "a finite number"
        shown = begun(text, SHOWN)
        raise ManifestError(f"{place}: {column} is {shown!r}, expected {expected}{meant(text, words)}")
    return float(text)


def _utterance(
    source: Path, place: str, cells: dict[str, str], labels: dict[str, Any], allow_outside: bool
) -> Utterance:
    for name in (*REQUIRED, "emotion", *OPTIONAL):
        if odd := _CONTROL.search(text := cells.get(name, "")):
            shown = begun(text, SHOWN)
            raise ManifestError(f"{place}: {name} {shown!r} holds {odd[0]!r}, expected a {name} on one line")
        if len(text) > LONGEST:
            raise ManifestError(f"{place}: {name} has {len(text):,} characters, expected {LONGEST:,} at most")
        if name in REQUIRED and not text:
            raise ManifestError(f"{place}: {name} is empty, expected a {name}")
    inside = Path(os.path.normpath(cells["path"]))  # as written: a link inside the folder may point anywhere
    if not allow_outside and (inside.is_absolute() or inside.parts[:1] == (os.pardir,)):
        raise ManifestError(
            f"{place}: path {cells['path']!r} leads out of the manifest's folder, "
            "expected one inside it or --allow-outside"
        )
    begin, end = cells.get("start", ""), cells.get("end", "")
    start = _rating(place, "start", begin) if begin else 0.0
    stop = _rating(place, "end", end) if end else None
    if start < 0 or (stop is not None and stop <= start):
        raise ManifestError(f"{place}: segment from {begin or 0} s to {end} s, expected 0 <= start < end")
    return Utterance(
        id=cells["path"] + (f"#{begin}-{end}" if begin or end else ""),
        path=source.parent / cells["path"],
        start=start,
        stop=stop,
        speaker=cells["speaker"],
        sex=_choice(place, cells, "sex", SEXES) or "unknown",
        session=cells.get("session") or cells["speaker"],
        language=cells.get("language") or "unknown",
        dialogue=_choice(place, cells, "dialogue", DIALOGUES[:2]),
        place=place,
        **labels,
    )


def _choice(place: str, cells: dict[str, str], name: str, choices: Sequence[str]) -> str:
    found = cells.get(name, "").lower()
    if found and found not in choices:
        raise ManifestError(
            f"{place}: {name} is {cells[name]!r}, expected {', '.join(choices)}{meant(found, choices)}"
        )
    return found
