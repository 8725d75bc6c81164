"""One labelled turn, as the readers find it on disk."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Utterance:
    """Facts of one turn: where its sound lies, who speaks, and how it was annotated.

    Attributes:
      id: unique within its corpus.
      path: the recording that holds it.
      start, stop: the segment of the recording, s; `stop` is None where the turn ends with the file.
      speaker, session: as the database writes them.
      sex: "female", "male" or "unknown".
      language: a code as in "en", or "unknown".
      arousal, valence: annotations as the database gives them.
      emotion: the category, as the database names it; "" where it names none.
      place: where the label stands, "file:line"; "" where the recording's own name says it.
    """

    id: str
    path: Path
    start: float
    stop: float | None
    speaker: str
    sex: str
    session: str
    language: str
    arousal: float
    valence: float
    emotion: str = ""
    place: str = ""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a reader finds of a database: every labelled turn, whether or not its sound is there.

    Attributes:
      utterances: in the reader's order, ids unique.
      thresholds: per target, the annotation that separates the two classes.
      unlabelled: recordings, or places of turns, that have no label.
    """

    utterances: tuple[Utterance, ...]
    thresholds: Mapping[str, float]
    unlabelled: tuple[str, ...] = ()


def common_folder(utterances: Sequence[Utterance]) -> Path:
    """The deepest folder that holds all recordings; what is kept of a path is kept relative to it."""
    return Path(os.path.commonpath([utterance.path.absolute().parent for utterance in utterances]))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:  # a name too long, a folder that may not be read: said when the recording is
        return None


def source_fingerprint(listing: Listing) -> str:
    """Digest of what a corpus would be prepared from: every fact, and the size of every recording.

    Paths count relative to the folder that all recordings share, so that a moved source is the same source.
    """
    folder = common_folder(listing.utterances)
    rows = []
    for utterance in listing.utterances:
        path = utterance.path.absolute()
        facts = dataclasses.asdict(utterance) | {
            "path": Path(os.path.relpath(path, folder)).as_posix(),
            "size": _size(path),
        }
        del facts["place"]
        rows.append(json.dumps(facts, sort_keys=True))
    text = "\n".join([json.dumps(dict(listing.thresholds), sort_keys=True), *sorted(rows)])
    return hashlib.sha256(text.encode()).hexdigest()
