"""RECOLA's release folder, turn by turn (facts only, no audio is opened)."""

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ser_jax.data.recola import tables
from ser_jax.data.recola.tables import RecolaError
from ser_jax.data.utterance import Listing, Utterance
from ser_jax.errors import no_folder

THRESHOLDS = {"arousal": 0.0, "valence": 0.0}  # Table 1

RECORDINGS = "RECOLA-Audio-recordings"
LONGEST_DELAY = 10  # s; nobody reacts later, so more is a slip of the pen
_log = logging.getLogger(__name__)


def read(source: Path | str, annotation_delay: float = 0.0) -> Listing:
    """The speech turns of all who are annotated on both dimensions, by participant, then in file order.

    A turn's label is the mean over [start, stop) of each rater, then over raters (Sec. 3), computed
    exactly, so that a mean of 0 is 0. The paper is silent on the rest: a turn that holds no annotated
    instant takes the step that contains its start, one that reaches past the annotated 300 s is cut, and
    one that starts there has no label.

    Args:
      source: the folder that holds RECOLA-Annotation and its siblings, or the folder that holds that one.
      annotation_delay: how long the raters' reactions trail the speech, s; the paper does not shift.
    Raises: RecolaError naming the file, and the line where there is one.
    """
    if not 0 <= annotation_delay <= LONGEST_DELAY:
        raise RecolaError(f"--annotation-delay is {annotation_delay}, expected 0 to {LONGEST_DELAY} s")
    root, delay = _root(Path(source)), Decimal(str(annotation_delay))
    folder = _child(root, RECORDINGS) or root / RECORDINGS  # labels can be read without
    recordings = _files(folder, "wav") if folder.is_dir() else {}
    timings = _files(_folder(root, "RECOLA-Audio_timings"), "csv")
    behaviour = _folder(_folder(root, "RECOLA-Annotation"), "emotional_behaviour")
    annotated = {target: _files(_folder(behaviour, target), "csv") for target in ("arousal", "valence")}
    participants = _participants(annotated, behaviour)
    people = _people(root, participants)
    utterances: list[Utterance] = []
    unlabelled = [str(path) for name, path in recordings.items() if name not in participants]
    for participant in participants:
        if participant not in timings:
            raise RecolaError(f"{root}: participant {participant} is annotated, expected also audio timings")
        traces = {target: tables.annotation(files[participant]) for target, files in annotated.items()}
        sex, dyad = people.get(participant, ("unknown", ""))
        labelled, beyond = _turns(
            timings[participant],
            traces,
            delay,
            path=recordings.get(participant, folder / f"{participant}.wav"),
            speaker=participant,
            sex=sex,
            session=f"dyad{dyad}" if dyad else participant,
            language="fr",
        )
        utterances += labelled
        unlabelled += beyond
    if not utterances:
        raise RecolaError(
            f"{root}: no turn begins within the {tables.END} s that are annotated, expected some"
        )
    return Listing(tuple(utterances), THRESHOLDS, tuple(unlabelled))


def _turns(
    file: Path, traces: Mapping[str, tables.Trace], delay: Decimal, **person: Any
) -> tuple[list[Utterance], list[str]]:
    """One participant's turns, and where those stand that begin after the annotation."""
    labelled, beyond = [], []
    for number, (line, start, stop) in enumerate(tables.turns(file)):
        place = f"{file}:{line}"
        if start >= tables.END:
            beyond.append(f"{place} (from {start} s, annotated are {tables.END} s)")
            continue
        stop = min(stop, Decimal(tables.END))
        facts: dict[str, Any] = {t: _label(trace, start, stop, delay) for t, trace in traces.items()} | person
        facts |= {"start": float(start), "stop": float(stop), "place": place}
        labelled.append(Utterance(id=f"{person['speaker']}_{number:03d}", **facts))
    return labelled, beyond


def _label(trace: tables.Trace, start: Decimal, stop: Decimal, delay: Decimal) -> float:
    """Mean of an annotation over a turn; a delayed one ends with the annotation at the latest."""
    return trace.mean(min(start + delay, Decimal(tables.END)), min(stop + delay, Decimal(tables.END)))


def _plain(name: str) -> str:
    """Releases spell the folders with dashes, underscores or blanks, and in either case."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "").replace("behavior", "behaviour")


def _child(folder: Path, name: str) -> Path | None:
    found = sorted(
        child for child in folder.iterdir() if child.is_dir() and _plain(child.name) == _plain(name)
    )
    if len(found) > 1:
        raise RecolaError(
            f"{folder}: holds {' and '.join(child.name for child in found)}, expected one of them"
        )
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
    roots = [
        child for child in sorted(source.iterdir()) if child.is_dir() and _child(child, "RECOLA-Annotation")
    ]
    if len(roots) != 1:
        found = " and ".join(child.name for child in roots) or "none"
        raise RecolaError(
            f"{source}: no RECOLA-Annotation, and among its folders {found} with one; expected exactly one"
        )
    return roots[0]


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """Participant ("P16") to file."""
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
    arousal, valence = (set(annotated[target]) for target in ("arousal", "valence"))
    if not arousal & valence:
        raise RecolaError(
            f"{behaviour}: no participant has both an arousal and a valence file like P16.csv, expected some"
        )
    for participant in sorted(arousal ^ valence):
        _log.warning("%s: %s is annotated on one dimension only and left out", behaviour, participant)
    return sorted(arousal & valence, key=lambda name: (len(name), name))


def _people(root: Path, participants: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Participant to (sex, dyad), as far as the metadata tell; a release may come without them."""
    folder = _child(root, "RECOLA-Metadata")
    if folder is None:
        return {}
    files = [file for file in sorted(folder.glob("[!.]*.csv")) if _plain(file.stem) == "recolauserinfo"]
    if not files:
        names = ", ".join(sorted(file.name for file in folder.glob("[!.]*"))) or "nothing"
        _log.warning(
            "%s: found %s, expected recola_user_info.csv (a spreadsheet: save it as CSV); "
            "sexes and dyads are unknown",
            folder,
            names,
        )
        return {}
    people = tables.people(files[0])
    unknown = [participant for participant in participants if participant not in people]
    if unknown:
        _log.warning("%s: no %s, sex and dyad are unknown", files[0], ", ".join(unknown))
    return people
