"""IEMOCAP's release folder, turn by turn; no recording is opened.

Every turn of every emotion is kept, `xxx` (the raters disagree) included. A turn's vector is [valence,
activation, dominance], the consensus of the raters: arousal is the second number. The speaker is the session
and the letter after the last underscore of the turn's name: `Ses01F_impro01_M003` is spoken by `01M`.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ser_jax.data.catalog import NUMBER, Catalog, DatabaseError, Utterance, find_release, one_of_many, ratings
from ser_jax.data.files import children, finder, folded, walk
from ser_jax.errors import begun
from ser_jax.io import read_bytes

THRESHOLDS = {"arousal": 2.5, "valence": 2.5}  # Table 1; the label rule decides about 2.5 itself
SCALES = {"arousal": (1.0, 5.0), "valence": (1.0, 5.0), "dominance": (1.0, 5.0)}
RANGE = (0, 6)  # of a consensus; raters had 1 to 5, but the release contains 0.5 and 5.5
_SESSION = re.compile("Session[1-5]", re.IGNORECASE)
_CELL = rf"\s*({NUMBER.pattern})\s*"
_TURN = re.compile(rf"\[{_CELL}-{_CELL}\]\s+(\S+)\s+(\S+)\s+\[{_CELL},{_CELL},{_CELL}\]\s*")
_NAME = re.compile(r"(?P<dialog>Ses0(?P<session>[1-5])[FM]_(?P<kind>\w+))_(?P<sex>[FM])\w*")
_RATER = re.compile(r"(?P<kind>[AC])-(?P<rater>\w+):(?P<text>[^()]*)")  # comments follow in parentheses
_ATTRIBUTE = re.compile(r"\b(val|act|dom)\s+(\d+(?:\.\d+)?)")
_DIMENSIONS = {"val": "valence", "act": "arousal", "dom": "dominance"}
_DIALOGUES = {"impro": "improvised", "scrip": "scripted"}
_log = logging.getLogger(__name__)


def read(source: Path | str) -> Catalog:
    """Return all turns of `IEMOCAP_full_release`, or of the folder that holds it, by session, file and line.

    Raises: DatabaseError naming the file, and the line if there is one.
    """
    what = "Session1 to Session5"
    sessions = _sessions(find_release(Path(source), _sessions, what, "IEMOCAP_full_release"))
    present = {session.name.capitalize() for session in sessions}
    if absent := sorted({f"Session{i}" for i in range(1, 6)} - present):
        _log.warning("%s: no %s; IEMOCAP has %s", source, ", ".join(absent), what)
    utterances = tuple(turn for session in sessions for turn in _turns(session))
    known = {folded(utterance.id) for utterance in utterances}
    files = (file for session in sessions for file in walk(finder(session)("sentences/wav")))
    recordings = (file for file in files if file.suffix.lower() == ".wav")
    unlabelled = tuple(str(file) for file in recordings if folded(file.stem) not in known)
    return Catalog(utterances, THRESHOLDS, SCALES, unlabelled)


def _sessions(folder: Path) -> list[Path]:
    """Return the sessions in a folder, or the folder itself if it is one."""
    return [place for place in (folder, *children(folder)) if _SESSION.fullmatch(place.name)]


def _turns(session: Path) -> Iterator[Utterance]:
    """Yield the turns of one session's label files."""
    find = finder(session)
    labels = find("dialog/EmoEvaluation")
    files = [file for file in children(labels) if file.suffix.lower() == ".txt"]
    with one_of_many():
        if not files:
            example = f"Ses0{session.name[-1]}F_impro01.txt"
            raise DatabaseError(f"{labels}: no label files, expected some like {example}")
    for file in files:
        with one_of_many():
            lines = read_bytes(file, DatabaseError, "a label file").decode("latin-1").splitlines()
            # Headers, blank lines and the raters' lines are not turns; a damaged turn is one.
            starts = [i for i, line in enumerate(lines) if line.startswith("[") or _NAME.search(line)]
            if not starts:
                example = "[6.29 - 8.23] NAME neu [2.5, 2.5, 2.5]"
                raise DatabaseError(f"{file}: no turns, expected lines like '{example}'")
            for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
                with one_of_many():
                    raters, place = _raters(lines[start + 1 : stop]), f"{file}:{start + 1}"
                    yield _turn(lines[start], raters, place, session.name, find)


def _raters(lines: Sequence[str]) -> str:
    """Return the annotations in one turn's `C-` and `A-` lines; damaged or empty ones are left out."""
    by_rater: dict[str, dict[str, Any]] = {}
    for match in filter(None, map(_RATER.match, lines)):
        labels: dict[str, Any] = {}
        if match["kind"] == "A":
            labels = {_DIMENSIONS[key]: float(value) for key, value in _ATTRIBUTE.findall(match["text"])}
        elif names := [name.strip() for name in match["text"].split(";") if name.strip()]:
            labels = {"emotion": names}
        if labels:
            by_rater.setdefault(match["rater"], {}).update(labels)
    return ratings(by_rater)


def _turn(line: str, raters: str, place: str, session: str, find: Callable[[str], Path]) -> Utterance:
    match = _TURN.fullmatch(line)
    vector = [float(match[i]) for i in (5, 6, 7)] if match else []
    if not match or not all(RANGE[0] <= value <= RANGE[1] for value in vector):
        raise DatabaseError(
            f"{place}: found {begun(line.strip(), 120)!r}, expected '[start - end] NAME emotion "
            f"[valence, activation, dominance]', annotations from {RANGE[0]} to {RANGE[1]}"
        )
    name = _NAME.fullmatch(match[3])
    if not name:
        raise DatabaseError(f"{place}: turn named {match[3]!r}, expected a name like Ses01F_impro01_M003")
    if name["session"] != session[-1]:
        expected = f"expected Session{name['session']}"
        raise DatabaseError(f"{place}: turn {match[3]} lies in {session}, {expected}")
    return Utterance(
        id=match[3],
        path=find(f"sentences/wav/{name['dialog']}/{match[3]}.wav"),
        speaker=f"0{name['session']}{name['sex']}",
        sex={"F": "female", "M": "male"}[name["sex"]],
        session=name["session"],
        language="en",
        valence=vector[0],
        arousal=vector[1],
        dominance=vector[2],
        emotion=match[4],
        dialogue=_DIALOGUES.get(name["kind"][:5], ""),
        raters=raters,
        place=place,
    )
