"""IEMOCAP's release folder, turn by turn; no recording is opened.

Every turn of every emotion is kept, `xxx` included (the raters disagree). A turn's vector is [valence,
activation, dominance], the consensus of the outside raters: arousal is the second number. The speaker is the
session and the letter after the last underscore of the turn's name: `Ses01F_impro01_M003` is spoken by `01M`.
"""

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser_jax.data.utterance import Catalog, Utterance, ratings
from ser_jax.errors import UserError, begun, no_folder
from ser_jax.io import read_bytes

THRESHOLDS = {"arousal": 2.5, "valence": 2.5}  # Table 1; the label rule decides about 2.5 itself
SCALES = {"arousal": (1.0, 5.0), "valence": (1.0, 5.0), "dominance": (1.0, 5.0)}
RANGE = (0, 6)  # holds every annotation; raters had 1 to 5, the release has 0.5 and 5.5 as well
_NUMBER = r"\s*([-+.\deE]+)\s*"
_TURN = re.compile(rf"\[{_NUMBER}-{_NUMBER}\]\s+(\S+)\s+(\S+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*")
_NAME = re.compile(r"(?P<dialog>Ses0(?P<session>[1-5])[FM]_(?P<kind>\w+))_(?P<sex>[FM])\w*")
_RATER = re.compile(r"(?P<kind>[AC])-(?P<rater>\w+):(?P<text>[^()]*)")  # comments follow in parentheses
_ATTRIBUTE = re.compile(r"\b(val|act|dom)\s+(\d+(?:\.\d+)?)")
_DIMENSIONS = {"val": "valence", "act": "arousal", "dom": "dominance"}
_DIALOGUES = {"impro": "improvised", "scrip": "scripted"}
_SEXES = {"F": "female", "M": "male"}
_log = logging.getLogger(__name__)


class IemocapError(UserError):
    """An IEMOCAP tree that is not as released."""


def read(source: Path | str) -> Catalog:
    """Return all turns in the order of sessions, files and lines.

    Args:
      source: `IEMOCAP_full_release`, or the folder that holds it.
    Raises: IemocapError naming the file, and the line if there is one.
    """
    utterances: dict[str, Utterance] = {}
    unlabelled = []
    sessions = _sessions(Path(source))
    absent = sorted({f"Session{i}" for i in range(1, 6)} - {session.name for session in sessions})
    if absent:
        _log.warning("%s: no %s; IEMOCAP has Session1 to Session5", source, ", ".join(absent))
    for session in sessions:
        labels = session / "dialog" / "EmoEvaluation"
        files = sorted(file for file in labels.glob("*.txt") if not file.name.startswith("."))
        if not files:
            raise IemocapError(
                f"{labels}: no label files, expected some like Ses0{session.name[-1]}F_impro01.txt"
            )
        for file in files:
            for turn in _turns(file, session):
                if turn.id in utterances:
                    raise IemocapError(
                        f"{turn.place}: turn {turn.id} is already in {utterances[turn.id].place}, "
                        "expected it once"
                    )
                utterances[turn.id] = turn
        recordings = (session / "sentences" / "wav").glob("*/[!.]*.wav")
        unlabelled += sorted(str(file) for file in recordings if file.stem not in utterances)
    return Catalog(tuple(utterances.values()), THRESHOLDS, SCALES, tuple(unlabelled))


def _sessions(source: Path) -> list[Path]:
    """Return the session folders in the release folder, which is `source` or lies directly in it."""
    if not source.is_dir():
        raise IemocapError(
            f"{source}: {no_folder(source)}, expected IEMOCAP_full_release or the folder that holds it"
        )
    releases = {}
    for folder in [source, *sorted(child for child in source.iterdir() if child.is_dir())]:
        sessions = sorted(child for child in folder.iterdir() if re.fullmatch("Session[1-5]", child.name))
        if sessions and folder == source:
            return sessions
        if sessions:
            releases[folder.name] = sessions
    if len(releases) > 1:
        names = ", ".join(releases)
        raise IemocapError(
            f"{source}: several folders hold sessions ({names}), expected one; name it as source"
        )
    if not releases:
        raise IemocapError(
            f"{source}: no Session1 to Session5 in it or in a folder of it, expected IEMOCAP_full_release"
        )
    return next(iter(releases.values()))


def _turns(file: Path, session: Path) -> list[Utterance]:
    """Return the turns of one label file."""
    lines = read_bytes(file, IemocapError, "a label file").decode("latin-1").splitlines()
    # Headers, blank lines and the raters' lines are no turns; a damaged turn is one.
    starts = [i for i, line in enumerate(lines) if line.startswith("[") or _NAME.search(line)]
    if not starts:
        raise IemocapError(f"{file}: no turns, expected lines like '[6.29 - 8.23] NAME neu [2.5, 2.5, 2.5]'")
    return [
        _turn(lines[start], _raters(lines[start + 1 : stop]), f"{file}:{start + 1}", session)
        for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True)
    ]


def _raters(lines: Sequence[str]) -> str:
    """Return the annotations in one turn's `C-` and `A-` lines; what is damaged or empty is left out."""
    found: dict[str, dict[str, Any]] = {}
    for match in filter(None, map(_RATER.match, lines)):
        own: dict[str, Any] = {}
        if match["kind"] == "A":
            own = {_DIMENSIONS[key]: float(value) for key, value in _ATTRIBUTE.findall(match["text"])}
        elif names := [name.strip() for name in match["text"].split(";") if name.strip()]:
            own = {"emotion": names}
        if own:
            found.setdefault(match["rater"], {}).update(own)
    return ratings(found)


def _turn(line: str, raters: str, place: str, session: Path) -> Utterance:
    match = _TURN.fullmatch(line)
    try:
        if not match:
            raise ValueError
        times, vector = [float(match[i]) for i in (1, 2)], [float(match[i]) for i in (5, 6, 7)]
        if not all(map(math.isfinite, times)) or not all(RANGE[0] <= value <= RANGE[1] for value in vector):
            raise ValueError
    except ValueError:
        raise IemocapError(
            f"{place}: found {begun(line.strip(), 120)!r}, expected '[start - end] NAME emotion "
            f"[valence, activation, dominance]', annotations from {RANGE[0]} to {RANGE[1]}"
        ) from None
    name = _NAME.fullmatch(match[3])
    if not name:
        raise IemocapError(f"{place}: turn named {match[3]!r}, expected a name like Ses01F_impro01_M003")
    if name["session"] != session.name[-1]:
        raise IemocapError(
            f"{place}: turn {match[3]} lies in {session.name}, expected Session{name['session']}"
        )
    return Utterance(
        id=match[3],
        path=session / "sentences" / "wav" / name["dialog"] / f"{match[3]}.wav",
        speaker=f"0{name['session']}{name['sex']}",
        sex=_SEXES[name["sex"]],
        session=name["session"],
        language="en",
        arousal=vector[1],
        valence=vector[0],
        dominance=vector[2],
        emotion=match[4],
        dialogue=_DIALOGUES.get(name["kind"][:5], ""),
        raters=raters,
        place=place,
    )
