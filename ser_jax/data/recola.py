"""RECOLA's release folder, turn by turn; no recording is opened.

An utterance is one speech turn of `RECOLA-Audio_timings`. Its label is the mean over [start, stop) of each
rater, then over raters (Sec. 3), computed exactly, so that a mean of 0 is 0. The paper does not describe the
remaining cases: a turn without an annotated instant takes the step that contains its start, a turn that
extends past the annotated 300 s is cut, and one that starts later has no label.
"""

import decimal
import logging
import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from ser_jax.data.catalog import (
    NUMBER,
    Catalog,
    DatabaseError,
    Utterance,
    find_release,
    one_of_many,
    plain,
    ratings,
    read_table,
)
from ser_jax.data.corpus import SEX_WORDS
from ser_jax.data.files import children
from ser_jax.errors import begun

THRESHOLDS = {"arousal": 0.0, "valence": 0.0}  # Table 1
SCALES = {"arousal": (-1.0, 1.0), "valence": (-1.0, 1.0)}
RATERS = ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
STEP = Decimal("0.04")  # s
END = 300  # s, the last annotated instant
ROWS = 7501
LONGEST_DELAY = 10  # s; nobody reacts later
DIGITS = 2000  # enough for the exact sum of any annotations
UNPAIRED = (
    "%s: partners of %s unknown: each counts as a session, so that two who talked with each other may be in "
    "training and test of one fold"
)
_log = logging.getLogger(__name__)

Trace = Sequence[Sequence[Decimal]]  # [ROWS][raters], one dimension of one participant


def read(source: Path | str, annotation_delay: float = 0.0) -> Catalog:
    """Return the turns of all participants annotated on both dimensions, by participant, then in file order.

    Args:
      source: the folder that holds RECOLA-Annotation and its siblings, or the folder that holds that one.
      annotation_delay: how long the raters' reactions trail the speech, s; the paper does not shift.
    Raises: DatabaseError naming the file, and the line if there is one.
    """
    if not 0 <= annotation_delay <= LONGEST_DELAY:
        raise DatabaseError(f"--annotation-delay is {annotation_delay}, expected 0 to {LONGEST_DELAY} s")
    delay, what = Decimal(str(annotation_delay)), "RECOLA-Annotation"
    root = find_release(Path(source), lambda folder: _child(folder, what), what, f"the one that holds {what}")
    folder = _child(root, "RECOLA-Audio-recordings") or root / "RECOLA-Audio-recordings"  # may be absent
    recordings = _files(folder, "wav") if folder.is_dir() else {}
    timings = _files(_folder(root, "RECOLA-Audio_timings"), "csv")
    behaviour = _folder(_folder(root, what), "emotional_behaviour")
    annotated = {dimension: _files(_folder(behaviour, dimension), "csv") for dimension in SCALES}
    arousal, valence = annotated.values()
    participants = sorted(arousal.keys() & valence.keys(), key=lambda name: int(name[1:]))
    if not participants:
        raise DatabaseError(
            f"{behaviour}: no participant has both an arousal and a valence file like P16.csv, expected some"
        )
    for name in sorted(arousal.keys() ^ valence.keys()):
        _log.warning("%s: %s is annotated on one dimension only and left out", behaviour, name)
    people: dict[str, tuple[str, str]] = {}
    if tables := _child(root, "RECOLA-Metadata"):
        for file in children(tables):
            if plain(file.name) == "recolauserinfo.csv":
                people = read_people(file)
    if unpaired := [name for name in participants if not people.get(name, ("", ""))[1]]:
        _log.warning(UNPAIRED, root, ", ".join(unpaired))
    utterances: list[Utterance] = []
    unlabelled = [str(path) for name, path in recordings.items() if name not in participants]
    for name in participants:
        with one_of_many():
            if name not in timings:
                raise DatabaseError(f"{root}: participant {name} is annotated, expected audio timings too")
            traces = {dimension: read_trace(files[name]) for dimension, files in annotated.items()}
            sex, dyad = people.get(name, ("unknown", ""))
            for number, (place, (start, stop)) in enumerate(read_turns(timings[name])):
                if start >= END:
                    unlabelled.append(f"{place} (from {start} s, annotated are {END} s)")
                    continue
                means = {
                    dimension: turn_means(t, start + delay, stop + delay) for dimension, t in traces.items()
                }
                by_rater = {
                    rater: {dimension: each[i] for dimension, (_, each) in means.items()}
                    for i, rater in enumerate(RATERS)
                }
                utterances.append(
                    Utterance(
                        id=f"{name}_{number:03d}",
                        path=recordings.get(name, folder / f"{name}.wav"),
                        start=float(start),
                        stop=float(min(stop, Decimal(END))),
                        speaker=name,
                        sex=sex,
                        session=f"dyad{dyad}" if dyad else name,
                        language="fr",
                        arousal=means["arousal"][0],
                        valence=means["valence"][0],
                        raters=ratings(by_rater),
                        place=place,
                    )
                )
    if not utterances:
        raise DatabaseError(f"{root}: no turn begins within the {END} s that are annotated, expected some")
    return Catalog(tuple(utterances), THRESHOLDS, SCALES, tuple(unlabelled))


def turn_means(trace: Trace, start: Decimal, stop: Decimal) -> tuple[float, list[float]]:
    """Return an annotation's mean over [start, stop), s: over all raters, and for each of them.

    The means are exact before their one rounding. Without an instant, the values are those of the step that
    contains `start`. Beyond the end, the last annotated instants count.
    """
    start, stop = (min(time, Decimal(END)) for time in (start, stop))
    first, last = math.ceil(start / STEP), math.ceil(stop / STEP)
    if first >= last:
        first = math.floor(start / STEP)
        last = first + 1
    with decimal.localcontext(prec=DIGITS):
        sums = [sum(values, Decimal(0)) for values in zip(*trace[first:last], strict=True)]
        total = sum(sums, Decimal(0))
    each = [float(Fraction(value) / (last - first)) for value in sums]
    return float(Fraction(total) / ((last - first) * len(sums))), each


def read_trace(file: Path) -> Trace:
    """Read `time;FM1 ;FM2 ;...`: 7,501 rows, 0.00 to 300.00 s, six raters."""
    trace: list[Sequence[Decimal]] = []
    for place, (time, *values) in _numbers(file, "time", *RATERS):
        expected = len(trace) * STEP
        if abs(highest := max(values, key=abs)) > 1:
            raise DatabaseError(f"{place}: annotation {highest}, expected a number from -1 to 1")
        if abs(time - expected) > STEP / 100:
            raise DatabaseError(f"{place}: time {time} s, expected {expected} s (steps of {STEP} s)")
        trace.append(values)
    if len(trace) != ROWS:
        raise DatabaseError(f"{file}: {len(trace)} rows of annotation, expected {ROWS}")
    return trace


def read_turns(file: Path) -> list[tuple[str, list[Decimal]]]:
    """Read `start;stop` in s: ("file:line", [start, stop]) of every speech turn, in file order."""
    turns = list(_numbers(file, "start", "stop"))
    for place, (start, stop) in turns:
        if not 0 <= start < stop:
            raise DatabaseError(f"{place}: turn from {start} s to {stop} s, expected 0 <= start < stop")
    if not turns:
        raise DatabaseError(f"{file}: no turns, expected rows of start and stop")
    return turns


def read_people(file: Path) -> dict[str, tuple[str, str]]:
    """Read the user table: participant ("P16") to (sex, dyad), dyad "" if the table has none."""
    people: dict[str, tuple[str, str]] = {}
    _, rows = read_table(file, "a table", ("User",), ("Sex", "Group_id"))
    for place, cells in rows:
        with one_of_many():
            if not cells["User"]:
                raise DatabaseError(f"{place}: no user, expected one like P16 or 16")
            sex = SEX_WORDS.get(cells.get("Sex", "").lower(), "unknown")
            name, facts = f"P{cells['User'].upper().removeprefix('P')}", (sex, cells.get("Group_id", ""))
            if people.setdefault(name, facts) != facts:
                expected = "expected it once"
                raise DatabaseError(f"{place}: {name} with another sex or group than before, {expected}")
    return people


def _child(folder: Path, name: str) -> Path | None:
    folders = ((plain(child.name), child) for child in children(folder) if child.is_dir())
    return next(
        (child for own, child in folders if own.replace("behavior", "behaviour") == plain(name)), None
    )


def _folder(folder: Path, name: str) -> Path:
    found = _child(folder, name)
    if found is None:
        names = ", ".join(child.name for child in children(folder) if child.is_dir()) or "no folders"
        expected = f"expected a folder {name} (dashes, underscores, any case)"
        raise DatabaseError(f"{folder}: found {names}, {expected}")
    return found


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """Return participant ("P16") to file."""
    pattern = re.compile(rf"P\d+\.{suffix}", re.ASCII | re.IGNORECASE)
    return {file.stem.upper(): file for file in children(folder) if pattern.fullmatch(file.name)}


def _numbers(file: Path, *names: str) -> Iterator[tuple[str, list[Decimal]]]:
    """Yield "file:line" and the numbers in the named columns of every row."""
    _, rows = read_table(file, "a table", names)
    for place, cells in rows:
        for name in names:
            if not NUMBER.fullmatch(cells[name]):
                found = begun(cells[name], 40)
                raise DatabaseError(f"{place}: column {name} holds {found!r}, expected a number")
        yield place, [Decimal(cells[name]) for name in names]
