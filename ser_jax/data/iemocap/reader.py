"""IEMOCAP's release folder, turn by turn (facts only, no audio is opened)."""

import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path

from ser_jax.data import texts
from ser_jax.data.utterance import Listing, Utterance
from ser_jax.errors import UserError, begun, no_folder

THRESHOLDS = {"arousal": 2.5, "valence": 2.5}  # Table 1; who owns 2.5 itself is the label rule's business

SCALE = (0, 6)  # holds every annotation; raters had 1 to 5, the release has 0.5 and 5.5 as well
_NUMBER = r"\s*([-+.\deE]+)\s*"
_TURN = re.compile(rf"\[{_NUMBER}-{_NUMBER}\]\s+(\S+)\s+(\S+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*")
_NAME = re.compile(r"(?P<dialog>Ses0(?P<session>[1-5])[FM]_\w+)_(?P<sex>[FM])\w*")
_SESSION = re.compile(r"Session([1-5])")
_log = logging.getLogger(__name__)
_SEX = {"F": "female", "M": "male"}


class IemocapError(UserError):
    """An IEMOCAP tree that is not as released."""


def read(source: Path | str) -> Listing:
    """All turns of all sessions, every emotion included, in the order of sessions, files and lines.

    The vector of a turn is [valence, activation, dominance]; arousal is the second. The speaker is the
    session and the letter after the last underscore of the turn's name, not the dialog's letter.

    Args:
      source: `IEMOCAP_full_release`, or the folder that holds it.
    Raises: IemocapError naming the file, and the line where there is one.
    """
    utterances, unlabelled = [], []
    seen: dict[str, str] = {}
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
            for place, utterance in _turns(file, session):
                if utterance.id in seen:
                    raise IemocapError(
                        f"{place}: turn {utterance.id} stands already in {seen[utterance.id]}, "
                        "expected it once"
                    )
                seen[utterance.id] = place
                utterances.append(utterance)
        recordings = (session / "sentences" / "wav").glob("*/[!.]*.wav")
        unlabelled += sorted(str(file) for file in recordings if file.stem not in seen)
    return Listing(tuple(utterances), THRESHOLDS, tuple(unlabelled))


def _sessions(source: Path) -> list[Path]:
    """The session folders below the release folder, which is `source` or lies directly in it."""
    if not source.is_dir():
        raise IemocapError(
            f"{source}: {no_folder(source)}, expected IEMOCAP_full_release or the folder that holds it"
        )
    releases = []
    for folder in [source, *sorted(child for child in source.iterdir() if child.is_dir())]:
        sessions = sorted(child for child in folder.iterdir() if _SESSION.fullmatch(child.name))
        if sessions and folder == source:
            return sessions
        if sessions:
            releases.append((folder, sessions))
    if len(releases) > 1:
        names = ", ".join(folder.name for folder, _ in releases)
        raise IemocapError(
            f"{source}: several folders hold sessions ({names}), expected one; name it as source"
        )
    if not releases:
        raise IemocapError(
            f"{source}: no Session1 to Session5 in it or in a folder of it, expected IEMOCAP_full_release"
        )
    return releases[0][1]


def _turns(file: Path, session: Path) -> Iterator[tuple[str, Utterance]]:
    """The turns of one label file, each with its place, "file:line"."""
    found = False
    text = texts.content(file, IemocapError, "a label file").decode("latin-1")
    for number, line in enumerate(text.splitlines(), start=1):
        # Headers, blank lines and the raters' C- and A- lines are passed over; a damaged turn is not.
        if not line.startswith("[") and not _NAME.search(line):
            continue
        found = True
        yield f"{file}:{number}", _turn(line, f"{file}:{number}", session)
    if not found:
        raise IemocapError(f"{file}: no turns, expected lines like '[6.29 - 8.23] NAME neu [2.5, 2.5, 2.5]'")


def _on_scale(value: float) -> bool:
    return SCALE[0] <= value <= SCALE[1]


def _turn(line: str, place: str, session: Path) -> Utterance:
    match = _TURN.fullmatch(line)
    try:
        if not match:
            raise ValueError
        begin, end, *vector = (float(match[i]) for i in (1, 2, 5, 6, 7))
        if not all(map(math.isfinite, (begin, end))) or not all(map(_on_scale, vector)):
            raise ValueError
    except ValueError:
        raise IemocapError(
            f"{place}: found {begun(line.strip(), 120)!r}, expected '[start - end] NAME emotion "
            f"[valence, activation, dominance]', annotations from {SCALE[0]} to {SCALE[1]}"
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
        start=0.0,
        stop=None,
        speaker=f"0{name['session']}{name['sex']}",
        sex=_SEX[name["sex"]],
        session=name["session"],
        language="en",
        arousal=vector[1],
        valence=vector[0],
        emotion=match[4],
        place=place,
    )
