"""RECOLA's three kinds of table: annotations, turns, people. Numbers are read exactly."""

import csv
import dataclasses
import decimal
import functools
import io
import logging
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from ser_jax.data import texts
from ser_jax.errors import UserError, begun

RATERS = ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
STEP = Decimal("0.04")  # s
END = 300  # s, the last annotated instant
ROWS = 7501
SMALLEST = -300  # decimal exponent; what is smaller could not be summed exactly
LONGEST = 400  # characters of a number; likewise
SEXES = {"female": "female", "f": "female", "male": "male", "m": "male"}

_EXACT = decimal.Context(
    prec=2000, traps=[decimal.Inexact, decimal.InvalidOperation]
)  # holds any sum of doubles
_RATER = re.compile(r"f[fm]\d+")
_log = logging.getLogger(__name__)


class RecolaError(UserError):
    """A RECOLA tree that is not as released."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """One dimension of one participant: the sum over raters, every 0.04 s from 0 to 300 s.

    Attributes:
      sums: [ROWS] exact.
    """

    sums: tuple[Decimal, ...]

    def mean(self, start: Decimal, stop: Decimal) -> float:
        """Mean over the instants in [start, stop), then over raters; exact before the last rounding.

        All raters share the instants, so the two means are one. Without an instant, the value is that of
        the step that contains `start`.
        """
        first, last = math.ceil(start / STEP), math.ceil(stop / STEP)
        if first >= last:
            first = math.floor(start / STEP)
            last = first + 1
        return float(Fraction(exact_sum(self.sums[first:last])) / ((last - first) * len(RATERS)))


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """The sum without any rounding."""
    return functools.reduce(_EXACT.add, values, Decimal(0))


def annotation(file: Path) -> Trace:
    """Reads `time;FM1 ;FM2 ;...`: 7,501 rows, 0.00 to 300.00 s, six raters."""
    rows = _table(file)
    columns = _columns(file, next(rows, (1, []))[1], ("time", *RATERS), known=_RATER)
    sums: list[Decimal] = []
    for line, cells in rows:
        time, *values = (_number(file, line, cells, name, column) for name, column in columns.items())
        odd = next((value for value in values if abs(value) > 1), None)
        if odd is not None:
            raise RecolaError(f"{file}:{line}: annotation {odd}, expected a number from -1 to 1")
        if abs(time - len(sums) * STEP) > STEP / 100:
            raise RecolaError(
                f"{file}:{line}: time {time} s, expected {len(sums) * STEP} s (steps of {STEP} s)"
            )
        sums.append(exact_sum(values))
    if len(sums) != ROWS:
        raise RecolaError(f"{file}: {len(sums)} rows of annotation, expected {ROWS}")
    return Trace(tuple(sums))


def turns(file: Path) -> list[tuple[int, Decimal, Decimal]]:
    """Reads `start;stop` in s: (line, start, stop) of every speech turn, in file order."""
    rows = _table(file)
    columns = _columns(file, next(rows, (1, []))[1], ("start", "stop"))
    found = []
    for line, cells in rows:
        start, stop = (_number(file, line, cells, name, column) for name, column in columns.items())
        if not 0 <= start < stop:
            raise RecolaError(f"{file}:{line}: turn from {start} s to {stop} s, expected 0 <= start < stop")
        found.append((line, start, stop))
    if not found:
        raise RecolaError(f"{file}: no turns, expected rows of start and stop")
    return found


def people(file: Path) -> dict[str, tuple[str, str]]:
    """Reads the user table: participant ("P16") to (sex, dyad), dyad "" where the table has none."""
    rows = _rows(file)
    header = [name.strip().lower() for name in next(rows, (1, []))[1]]
    user = _columns(file, header, ("user",))["user"]
    optional = _columns(file, header, [name for name in ("sex", "group_id") if name in header])
    found: dict[str, tuple[str, str]] = {}
    lines: dict[str, int] = {}
    for line, cells in rows:
        values = {name: cells[column].strip() for name, column in optional.items() if column < len(cells)}
        if user >= len(cells) or not cells[user].strip():
            raise RecolaError(f"{file}:{line}: no user, expected one like P16 or 16")
        sex = SEXES.get(values.get("sex", "").lower(), "unknown")
        if sex == "unknown":
            _log.warning("%s:%d: sex %r is taken as unknown", file, line, values.get("sex", ""))
        name, facts = f"P{cells[user].strip().upper().removeprefix('P')}", (sex, values.get("group_id", ""))
        if found.setdefault(name, facts) != facts:
            raise RecolaError(
                f"{file}:{line}: {name} stands already in line {lines[name]} with another sex or group, "
                "expected it once"
            )
        lines.setdefault(name, line)
    return found


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every line that is not blank, header first; separated by semicolons or commas."""
    text = texts.content(file, RecolaError, "a table (a CSV file)").decode("utf-8-sig", errors="replace")
    if "\0" in text:
        raise RecolaError(f"{file}: holds null characters, expected text in UTF-8 or Latin letters")
    first = text.lstrip().partition("\n")[0]
    mark = ";" if ";" in first else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise RecolaError(f"{file}:{reader.line_num}: not a table ({error})") from None


def _table(file: Path) -> Iterator[tuple[int, list[str]]]:
    """As `_rows`, where no row has more cells than the header, as rows with decimal commas have."""
    width = None
    for line, cells in _rows(file):
        width = len(cells) if width is None else width
        if any(cell.strip() for cell in cells[width:]):
            raise RecolaError(
                f"{file}:{line}: {len(cells)} cells, expected {width}, and decimal points in them"
            )
        yield line, cells


def _columns(
    file: Path, header: Sequence[str], names: Sequence[str], known: re.Pattern | None = None
) -> dict[str, int]:
    """Where the columns of these names are; `known` are columns that only these may be."""
    found = [name.strip().lower() for name in header]
    for name in names:
        if name.lower() not in found:
            raise RecolaError(
                f"{file}: no column {name}, found {', '.join(n.strip() for n in header) or 'nothing'}; "
                f"expected {', '.join(names)}"
            )
        if found.count(name.lower()) > 1:
            raise RecolaError(
                f"{file}: column {name} stands {found.count(name.lower())} times, expected once"
            )
    wanted = {name.lower() for name in names}
    odd = next((name for name in found if known and known.fullmatch(name) and name not in wanted), None)
    if odd is not None:
        raise RecolaError(f"{file}: a column {odd.upper()} as well, expected the raters {', '.join(RATERS)}")
    return {name: found.index(name.lower()) for name in names}


def _number(file: Path, line: int, cells: Sequence[str], name: str, column: int) -> Decimal:
    text = cells[column].strip() if column < len(cells) else ""
    try:
        value = Decimal(text if len(text) <= LONGEST else "nan")
    except decimal.InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or (value and abs(value.adjusted()) > -SMALLEST):
        raise RecolaError(f"{file}:{line}: column {name} holds {begun(text, 40)!r}, expected a number")
    return value
