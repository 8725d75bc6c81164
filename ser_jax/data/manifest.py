"""Any speech, described by a CSV file; no recording is opened."""

import collections
import logging
import math
import os
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ser_jax.data.catalog import NUMBER, Catalog, DatabaseError, Utterance, one_of_many, ratings, read_table
from ser_jax.data.corpus import DIALOGUES, DIMENSIONS, SEX_WORDS, SEXES
from ser_jax.data.files import children, finder, slashed
from ser_jax.data.formats import SUFFIXES
from ser_jax.data.labels import CLASS_NAMES, EMOTIONS, noun
from ser_jax.errors import begun, meant, nearest

REQUIRED = ("path", "speaker")
LABELS = (*DIMENSIONS, "emotion")  # at least one of them
OPTIONAL = ("sex", "language", "session", "dialogue", "start", "end", "embedding")
KNOWN = {*REQUIRED, *LABELS, *OPTIONAL}
RATER = re.compile(rf"(?P<rater>rater\w+)_(?P<label>{'|'.join(LABELS)})", re.IGNORECASE)
ALIASES = {  # of columns, see `read_table`: those of audformat, Hugging Face, Common Voice, MSP-Podcast, ...
    "path": ("file", "filename", "filepath", "audio", "audiopath", "audiofile", "wav", "wavpath"),
    "speaker": ("speakerid", "spk", "spkid", "spkrid", "clientid", "actor"),
    "sex": ("gender",),
    "language": ("lang", "locale"),
    "emotion": ("emotions", "emoclass"),
    "arousal": ("activation", "emoact"),
    "valence": ("emoval",),
    "dominance": ("emodom",),
    "start": ("starttime",),
    "end": ("stop", "endtime"),
}
BY_EMOTION = {  # the words that emotions stand for
    emotion: {
        name: words[int(number)] for (name, words), number in zip(CLASS_NAMES.items(), each, strict=True)
    }
    for emotion, each in EMOTIONS.items()
}
# As pandas reads them.
EMPTY = ("NA", "N/A", "#N/A", "<NA>", "n/a", "nan", "NaN", "NaT", "None", "null", "NULL")
TIME = re.compile(r"(?:(\d+) days?)?,? ?(?:(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?))?")
SHOWN = 200  # characters of a header or a cell in an error
LONGEST = 1000  # characters of a cell; a column stores every cell at the length of its longest
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # would garble a table or a terminal
_log = logging.getLogger(__name__)

Cells = dict[str, str]


def read(
    source: Path | str,
    arousal_threshold: float | None = None,
    valence_threshold: float | None = None,
    allow_outside: bool = False,
) -> Catalog:
    """Return the utterances of a manifest in file order; recordings need not exist.

    Columns are `REQUIRED`, at least one of `LABELS`, and any of `OPTIONAL` and `RATER`; others are ignored.
    Other spellings, such as `ALIASES` of columns, are logged with their interpretation. Arousal and valence
    are words (low/high, negative/positive: 0 and 1, threshold 0.5) or numbers, which need a threshold; if the
    table has neither, both follow from the emotion (`labels.EMOTIONS`). Cells of labels may be empty. The
    scale of numbers is their range in the file. Recordings in the same folders that the manifest does not
    name are listed as unlabelled.

    Args:
      source: the CSV file; paths in it are relative to its folder.
      arousal_threshold, valence_threshold: what separates the classes of a column of numbers.
      allow_outside: whether paths may lead out of the manifest's folder.
    Raises: DatabaseError naming the file and line.
    """
    source = Path(source)
    header, rows = read_table(source, "a manifest", REQUIRED, (*LABELS, *OPTIONAL), ALIASES)
    assumed = {name: written for name, written in header.items() if written.lower() != name and name in KNOWN}
    rows = [(place, _plainly(cells, assumed)) for place, cells in rows]
    if assumed:
        taken = ", ".join(f"{written!r} as {meaning}" for meaning, written in assumed.items())
        _log.warning("%s: read %s", source, taken)
    spellings = {spelling: name for name in KNOWN for spelling in (name, *ALIASES.get(name, ()))}
    for name in header:
        ignored = name not in KNOWN and not RATER.fullmatch(name)
        if ignored and (close := nearest(name, spellings)) and spellings[close] not in header:
            _log.warning("%s: column %r is not read; did you mean %r?", source, name, close)
    if not set(LABELS) & set(header):
        shown = begun(", ".join(header.values()), SHOWN)
        raise DatabaseError(f"{source}: no label column, found {shown}, expected any of {', '.join(LABELS)}")

    if not any(cells.get(name) for _, cells in rows for name in CLASS_NAMES):
        named = {cells["emotion"] for _, cells in rows if cells.get("emotion")}
        unknown = sorted(emotion for emotion in named if noun(emotion) not in EMOTIONS)
        if len(unknown) < len(named):
            but = f", except for {', '.join(unknown)}" if unknown else ""
            _log.warning("%s: arousal and valence follow from the emotion%s", source, but)
        elif named:
            _log.warning("%s: arousal and valence do not follow from %s", source, ", ".join(unknown))
        rows = [(place, cells | BY_EMOTION.get(noun(cells.get("emotion", "")), {})) for place, cells in rows]

    find = finder(source.parent)
    utterances: list[Utterance] = []
    first: dict[str, tuple[bool, str, str]] = {}  # dimension to its first label: a word?, text, place
    values: dict[str, list[float]] = collections.defaultdict(list)  # of dimensions, raters' included
    segments: dict[tuple[str, float, float | None], str] = {}  # however they are spelled, to their places
    sexes: dict[str, tuple[str, str]] = {}  # speaker to sex and place
    for place, cells in rows:
        with one_of_many():
            labels: dict[str, Any] = {"emotion": cells.get("emotion", "")}
            for name in filter(cells.get, DIMENSIONS):
                text, words = cells[name], CLASS_NAMES.get(name, ())
                labels[name] = _number(place, name, text, words)
                values[name].append(labels[name])
                is_word = text.lower() in words
                word, other, before = first.setdefault(name, (is_word, text, place))
                if word != is_word:
                    found = f"{name} is {text!r}, but {other!r} in {before}"
                    raise DatabaseError(f"{place}: {found}; expected all words or all numbers")
            labels["raters"] = _raters(place, cells, values)
            utterance = _utterance(find, place, cells, labels, allow_outside)
            segment = os.path.normpath(utterance.path), utterance.start, utterance.stop
            if (before := segments.setdefault(segment, place)) != place:
                raise DatabaseError(f"{place}: {utterance.id} is already in {before}, expected it once")
            if utterance.sex != "unknown":
                sex, before = sexes.setdefault(utterance.speaker, (utterance.sex, place))
                if sex != utterance.sex:
                    found = f"speaker {utterance.speaker!r} is {utterance.sex}, but {sex} in {before}"
                    raise DatabaseError(f"{place}: {found}; expected one of them")
            utterances.append(utterance)
    if not rows:
        raise DatabaseError(f"{source}: no utterances, expected a row for each")
    if utterances and not first and not any(utterance.emotion for utterance in utterances):
        raise DatabaseError(f"{source}: no row has a label ({', '.join(LABELS)}), expected some")
    thresholds, scales = {}, {}
    given = {"arousal": arousal_threshold, "valence": valence_threshold}
    for name in filter(first.__contains__, DIMENSIONS):
        threshold = given.get(name)
        if first[name][0]:
            if threshold is not None:
                raise DatabaseError(f"{source}: {name} is given in words, expected no --{name}-threshold")
            thresholds[name] = 0.5
            continue
        if name in CLASS_NAMES:
            if threshold is None or not math.isfinite(threshold):
                expected = f"expected --{name}-threshold, a finite number"
                raise DatabaseError(f"{source}: {name} is given in numbers, {expected}")
            thresholds[name] = float(threshold)
        if min(values[name]) < max(values[name]):
            scales[name] = (min(values[name]), max(values[name]))
    return Catalog(tuple(utterances), thresholds, scales, _unlabelled(utterances))


def _plainly(cells: Cells, assumed: Cells) -> Cells:
    """Return a row in the words and numbers of this module; note what was `assumed`, and of which cell."""
    found = {}
    for column, text in cells.items():
        match = RATER.fullmatch(column)
        label = match["label"].lower() if match else column
        meaning, value = "", text
        if label not in KNOWN:
            continue
        if text in EMPTY:
            meaning, value = "empty", ""
        elif label == "sex":
            value = SEX_WORDS.get(text.lower(), text)
            meaning = value if value.lower() != text.lower() else ""
        elif label in ("start", "end") and text and (time := TIME.fullmatch(text)):
            parts = (Decimal((part or "0").replace(",", ".")) for part in time.groups())
            days, hours, minutes, seconds = parts
            total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
            meaning, value = "hours, minutes and seconds", f"{total.normalize():f}"
        elif label in (*DIMENSIONS, "start", "end") and NUMBER.fullmatch(text.replace(",", ".")):
            value = text.replace(",", ".")
            meaning = "a decimal fraction" if value != text else ""
        if meaning:
            assumed.setdefault(meaning, text)
        found[column] = value
    return found


def _unlabelled(utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """Return the recordings that lie in the folders of the utterances' recordings but are not theirs."""
    named = {os.path.normpath(utterance.path) for utterance in utterances}
    folders = sorted({Path(path).parent for path in named})
    files = (file for folder in folders for file in children(folder))
    return tuple(str(file) for file in files if file.suffix.lower() in SUFFIXES and str(file) not in named)


def _raters(place: str, cells: Cells, values: dict[str, list[float]]) -> str:
    """Return the columns of raters as JSON, and append their numbers to those of each dimension."""
    by_rater: dict[str, dict[str, Any]] = {}
    rating: Any
    for column, text in cells.items():
        if text and (match := RATER.fullmatch(column)):
            label, rating = match["label"].lower(), [text]
            if label != "emotion":
                rating = _number(place, column, text, CLASS_NAMES.get(label, ()))
                values[label].append(rating)
            by_rater.setdefault(match["rater"], {})[label] = rating
    return ratings(by_rater)


def _number(place: str, column: str, text: str, words: Sequence[str] = ()) -> float:
    """Return a cell's number, or the class that its word names."""
    if text.lower() in words:
        return float(words.index(text.lower()))
    if not NUMBER.fullmatch(text):
        expected = f"{', '.join(words)} or a finite number" if words else "a finite number"
        found = f"{column} is {begun(text, SHOWN)!r}"
        raise DatabaseError(f"{place}: {found}, expected {expected}{meant(text, words)}")
    return float(text)


def _utterance(
    find: Callable[[str], Path], place: str, cells: Cells, labels: dict[str, Any], allow_outside: bool
) -> Utterance:
    for name in (*REQUIRED, "emotion", *OPTIONAL):
        text = cells.get(name, "")
        if odd := _CONTROL.search(text):
            found = f"{name} {begun(text, SHOWN)!r} holds {odd[0]!r}"
            raise DatabaseError(f"{place}: {found}, expected a {name} on one line")
        if len(text) > LONGEST:
            found = f"{name} has {len(text):,} characters"
            raise DatabaseError(f"{place}: {found}, expected {LONGEST:,} at most")
        if name in REQUIRED and not text:
            raise DatabaseError(f"{place}: {name} is empty, expected a {name}")
    inside = Path(
        os.path.normpath(slashed(cells["path"]))
    )  # as written: a link inside the folder may point anywhere
    if not allow_outside and (inside.is_absolute() or inside.parts[:1] == (os.pardir,)):
        raise DatabaseError(
            f"{place}: path {cells['path']!r} leads out of the manifest's folder, "
            "expected one inside it or --allow-outside"
        )
    begin, end = cells.get("start", ""), cells.get("end", "")
    start = _number(place, "start", begin) if begin else 0.0
    stop = _number(place, "end", end) if end else None
    if start < 0 or (stop is not None and stop <= start):
        raise DatabaseError(f"{place}: segment from {begin or 0} s to {end} s, expected 0 <= start < end")
    return Utterance(
        id=cells["path"] + (f"#{begin}-{end}" if begin or end else ""),
        path=find(cells["path"]),
        start=start,
        stop=stop,
        speaker=cells["speaker"],
        sex=_choice(place, cells, "sex", SEXES) or "unknown",
        session=cells.get("session") or cells["speaker"],
        language=cells.get("language") or "unknown",
        dialogue=_choice(place, cells, "dialogue", DIALOGUES[:2]),
        place=place,
        embedding=cells.get("embedding", ""),
        **labels,
    )


def _choice(place: str, cells: Cells, name: str, choices: Sequence[str]) -> str:
    found = cells.get(name, "").lower()
    if found and found not in choices:
        hint = meant(found, choices)
        raise DatabaseError(f"{place}: {name} is {cells[name]!r}, expected {', '.join(choices)}{hint}")
    return found
