"""RECOLA's release folder, turn by turn; no recording is opened.

An utterance is one speech turn of `RECOLA-Audio_timings`. Its label is the mean over [start, stop) of each
rater, then over raters (Sec. 3), computed exactly, so that a mean of 0 is 0. The paper is silent on the rest:
a turn that holds no annotated instant takes the step that contains its start, one that reaches past the
annotated 300 s is cut, and one that starts there has no label.
"""

import csv
import decimal
import functools
import io
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from ser_jax.data.utterance import Catalog, Utterance, ratings
from ser_jax.errors import UserError, begun, no_folder
from ser_jax.io import read_bytes

THRESHOLDS = {"arousal": 0.0, "valence": 0.0}  # Table 1
SCALES = {"arousal": (-1.0, 1.0), "valence": (-1.0, 1.0)}
RATERS = ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
STEP = Decimal("0.04")  # s
END = 300  # s, the last annotated instant
ROWS = 7501
LONGEST_DELAY = 10  # s; nobody reacts later
SMALLEST = -300  # decimal exponent; smaller numbers could not be summed exactly
LONGEST = 400  # characters of a number; likewise
SEXES = {"female": "female", "f": "female", "male": "male", "m": "male"}

_EXACT = decimal.Context(prec=2000, traps=[decimal.Inexact, decimal.InvalidOperation])  # any sum of doubles
_log = logging.getLogger(__name__)

Trace = Sequence[Sequence[Decimal]]  # [ROWS][raters], one dimension of one participant


class RecolaError(UserError):
    """A RECOLA tree that is not as released."""


def read(source: Path | str, annotation_delay: float = 0.0) -> Catalog:
    """Return the turns of all who are annotated on both dimensions, by participant, then in file order.

    Args:
      source: the folder that holds RECOLA-Annotation and its siblings, or the folder that holds that one.
      annotation_delay: how long the raters' reactions trail the speech, s; the paper does not shift.
    Raises: RecolaError naming the file, and the line if there is one.
    """
    if not 0 <= annotation_delay <= LONGEST_DELAY:
        raise RecolaError(f"--annotation-delay is {annotation_delay}, expected 0 to {LONGEST_DELAY} s")
    root, delay = _root(Path(source)), Decimal(str(annotation_delay))
    folder = _child(root, "RECOLA-Audio-recordings") or root / "RECOLA-Audio-recordings"  # may be absent
    recordings = _files(folder, "wav") if folder.is_dir() else {}
    timings = _files(_folder(root, "RECOLA-Audio_timings"), "csv")
    behaviour = _folder(_folder(root, "RECOLA-Annotation"), "emotional_behaviour")
    annotated = {dimension: _files(_folder(behaviour, dimension), "csv") for dimension in SCALES}
    participants = _participants(annotated, behaviour)
    people = _people(root, participants)
    utterances: list[Utterance] = []
    unlabelled = [str(path) for name, path in recordings.items() if name not in participants]
    for participant in participants:
        if participant not in timings:
            raise RecolaError(f"{root}: participant {participant} is annotated, expected also audio timings")
        file = timings[participant]
        traces = {dimension: read_trace(files[participant]) for dimension, files in annotated.items()}
        sex, dyad = people.get(participant, ("unknown", ""))
        for number, (line, start, stop) in enumerate(read_turns(file)):
            if start >= END:
                unlabelled.append(f"{file}:{line} (from {start} s, annotated are {END} s)")
                continue
            stop = min(stop, Decimal(END))
            means = {dimension: turn_means(trace, start, stop, delay) for dimension, trace in traces.items()}
            of_raters = {
                rater: {dimension: each[i] for dimension, (_, each) in means.items()}
                for i, rater in enumerate(RATERS)
            }
            utterances.append(
                Utterance(
                    id=f"{participant}_{number:03d}",
                    path=recordings.get(participant, folder / f"{participant}.wav"),
                    start=float(start),
                    stop=float(stop),
                    speaker=participant,
                    sex=sex,
                    session=f"dyad{dyad}" if dyad else participant,
                    language="fr",
                    arousal=means["arousal"][0],
                    valence=means["valence"][0],
                    raters=ratings(of_raters),
                    place=f"{file}:{line}",
                )
            )
    if not utterances:
        raise RecolaError(f"{root}: no turn begins within the {END} s that are annotated, expected some")
    return Catalog(tuple(utterances), THRESHOLDS, SCALES, tuple(unlabelled))


def turn_means(
    trace: Trace, start: Decimal, stop: Decimal, delay: Decimal = Decimal(0)
) -> tuple[float, list[float]]:
    """Return an annotation's mean over [start, stop), delayed: over all raters, and for each of them.

    All raters share the instants, so the mean of their means is the mean of all values; it is exact before
    the one rounding. Without an instant, the values are those of the step that contains `start`. What is
    delayed past the end takes the last annotated instants.
    """
    start, stop = (min(time + delay, Decimal(END)) for time in (start, stop))
    first, last = math.ceil(start / STEP), math.ceil(stop / STEP)
    if first >= last:
        first = math.floor(start / STEP)
        last = first + 1
    sums = [_sum(values) for values in zip(*trace[first:last], strict=True)]
    each = [float(Fraction(value) / (last - first)) for value in sums]
    return float(Fraction(_sum(sums)) / ((last - first) * len(sums))), each


def _sum(values: Iterable[Decimal]) -> Decimal:
    """Return the sum without any rounding."""
    return functools.reduce(_EXACT.add, values, Decimal(0))


def read_trace(file: Path) -> Trace:
    """Read `time;FM1 ;FM2 ;...`: 7,501 rows, 0.00 to 300.00 s, six raters."""
    trace: list[Sequence[Decimal]] = []
    for line, cells in _table(file, ("time", *RATERS), others=re.compile("(?!f[fm][0-9])")):
        time, *values = (_number(f"{file}:{line}", name, text) for name, text in cells.items())
        expected = len(trace) * STEP
        if (highest := max(values, key=abs)) and abs(highest) > 1:
            raise RecolaError(f"{file}:{line}: annotation {highest}, expected a number from -1 to 1")
        if abs(time - expected) > STEP / 100:
            raise RecolaError(f"{file}:{line}: time {time} s, expected {expected} s (steps of {STEP} s)")
        trace.append(values)
    if len(trace) != ROWS:
        raise RecolaError(f"{file}: {len(trace)} rows of annotation, expected {ROWS}")
    return trace


def read_turns(file: Path) -> list[tuple[int, Decimal, Decimal]]:
    """Read `start;stop` in s: (line, start, stop) of every speech turn, in file order."""
    found = []
    for line, cells in _table(file, ("start", "stop")):
        start, stop = (_number(f"{file}:{line}", name, text) for name, text in cells.items())
        if not 0 <= start < stop:
            raise RecolaError(f"{file}:{line}: turn from {start} s to {stop} s, expected 0 <= start < stop")
        found.append((line, start, stop))
    if not found:
        raise RecolaError(f"{file}: no turns, expected rows of start and stop")
    return found


def read_people(file: Path) -> dict[str, tuple[str, str]]:
    """Read the user table: participant ("P16") to (sex, dyad), dyad "" if the table has none."""
    found: dict[str, tuple[str, str]] = {}
    lines: dict[str, int] = {}
    for line, cells in _table(file, ("user",), ("sex", "group_id"), exact=False):
        if not cells["user"]:
            raise RecolaError(f"{file}:{line}: no user, expected one like P16 or 16")
        sex = SEXES.get(cells.get("sex", "").lower(), "unknown")
        if sex == "unknown":
            _log.warning("%s:%d: sex %r is taken as unknown", file, line, cells.get("sex", ""))
        name, facts = f"P{cells['user'].upper().removeprefix('P')}", (sex, cells.get("group_id", ""))
        if found.setdefault(name, facts) != facts:
            raise RecolaError(
                f"{file}:{line}: {name} is already in line {lines[name]} with another sex or group, "
                "expected it once"
            )
        lines.setdefault(name, line)
    return found


def _plain(name: str) -> str:
    """Fold the spellings of different releases: dashes, underscores or blanks, either case."""
    return re.sub("[-_ ]", "", name.lower()).replace("behavior", "behaviour")


def _child(folder: Path, name: str) -> Path | None:
    found = [
        child for child in sorted(folder.iterdir()) if child.is_dir() and _plain(child.name) == _plain(name)
    ]
    if len(found) > 1:
        names = " and ".join(child.name for child in found)
        raise RecolaError(f"{folder}: holds {names}, expected one of them")
    return found[0] if found else None


def _folder(folder: Path, name: str) -> Path:
    found = _child(folder, name)
    if found is None:
        names = ", ".join(sorted(child.name for child in folder.iterdir() if child.is_dir())) or "no folders"
        raise RecolaError(
            f"{folder}: found {names}, expected a folder {name} (dashes, underscores, any case)"
        )
    return found


def _root(source: Path) -> Path:
    if not source.is_dir():
        raise RecolaError(f"{source}: {no_folder(source)}, expected the one that holds RECOLA-Annotation")
    if _child(source, "RECOLA-Annotation"):
        return source
    children = [child for child in sorted(source.iterdir()) if child.is_dir()]
    roots = [child for child in children if _child(child, "RECOLA-Annotation")]
    if len(roots) != 1:
        found = " and ".join(child.name for child in roots) or "none"
        raise RecolaError(
            f"{source}: no RECOLA-Annotation, and among its folders {found} with one; expected exactly one"
        )
    return roots[0]


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """Return participant ("P16") to file."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() != f".{suffix}" or file.name.startswith("."):
            continue
        name = file.stem.upper()
        if not name.isprintable():  # nor text, perhaps
            raise RecolaError(
                f"{file}: holds letters that cannot be shown, expected a name like P16.{suffix}"
            )
        if name in found:
            raise RecolaError(f"{folder}: holds {found[name].name} and {file.name}, expected one of them")
        found[name] = file
    return found


def _participants(annotated: Mapping[str, Mapping[str, Path]], behaviour: Path) -> list[str]:
    arousal, valence = map(set, annotated.values())
    if not arousal & valence:
        raise RecolaError(
            f"{behaviour}: no participant has both an arousal and a valence file like P16.csv, expected some"
        )
    for participant in sorted(arousal ^ valence):
        _log.warning("%s: %s is annotated on one dimension only and left out", behaviour, participant)
    return sorted(arousal & valence, key=lambda name: (len(name), name))


def _people(root: Path, participants: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return participant to (sex, dyad) as far as the metadata tell; a release may come without them."""
    folder = _child(root, "RECOLA-Metadata")
    if folder is None:
        return {}
    names = sorted(file.name for file in folder.glob("[!.]*"))
    tables = [name for name in names if _plain(name) == "recolauserinfo.csv"]
    if not tables:
        _log.warning(
            "%s: found %s, expected recola_user_info.csv (a spreadsheet: save it as CSV); "
            "sexes and dyads are unknown",
            folder,
            ", ".join(names) or "nothing",
        )
        return {}
    people = read_people(folder / tables[0])
    unknown = [participant for participant in participants if participant not in people]
    if unknown:
        _log.warning("%s: no %s, sex and dyad are unknown", folder / tables[0], ", ".join(unknown))
    return people


def _table(
    file: Path,
    names: Sequence[str],
    optional: Sequence[str] = (),
    others: re.Pattern = re.compile(""),
    exact: bool = True,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, column to cell) of the rows of a table, separated by semicolons or commas.

    Args:
      names, optional: the columns, in any case; a cell that is missing is "".
      others: what the names of other columns begin with.
      exact: refuse rows with more cells than the header, as decimal commas make them.
    """
    text = read_bytes(file, RecolaError, "a table (a CSV file)").decode("utf-8-sig", errors="replace")
    if "\0" in text:
        raise RecolaError(f"{file}: holds null characters, expected text in UTF-8 or Latin letters")
    mark = ";" if ";" in text.lstrip().partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        rows = filter(any, ([cell.strip() for cell in cells] for cells in reader))
        header = next(rows, [])
        places = _columns(file, header, names, optional, others)
        for cells in rows:
            if exact and any(cells[len(header) :]):
                raise RecolaError(
                    f"{file}:{reader.line_num}: {len(cells)} cells, expected {len(header)}, "
                    "and decimal points in them"
                )
            row = {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
            yield reader.line_num, row
    except csv.Error as error:
        raise RecolaError(f"{file}:{reader.line_num}: not a table ({error})") from None


def _columns(
    file: Path, header: list[str], names: Sequence[str], optional: Sequence[str], others: re.Pattern
) -> dict[str, int]:
    """Return the places of the columns in a header."""
    found = [name.lower() for name in header]
    places = {name: found.index(name.lower()) for name in (*names, *optional) if name.lower() in found}
    for name, place in places.items():
        if (count := found.count(found[place])) > 1:
            raise RecolaError(f"{file}: column {name} appears {count} times, expected once")
    for name in names:
        if name not in places:
            shown, wanted = ", ".join(header) or "nothing", ", ".join(names)
            raise RecolaError(f"{file}: no column {name}, found {shown}; expected {wanted}")
    for place, name in enumerate(found):
        if place not in places.values() and not others.match(name):
            raise RecolaError(f"{file}: a column {name.upper()} as well, expected {', '.join(names)}")
    return places


def _number(place: str, name: str, text: str) -> Decimal:
    try:
        value = Decimal(text if len(text) <= LONGEST else "nan")
    except decimal.InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or (value and abs(value.adjusted()) > -SMALLEST):
        raise RecolaError(f"{place}: column {name} holds {begun(text, 40)!r}, expected a number")
    return value
