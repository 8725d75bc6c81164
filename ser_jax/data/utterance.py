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


def source_fingerprint(utterances: Sequence[Utterance], thresholds: Mapping[str, float]) -> str:
    """Digest of what a corpus would be prepared from: every fact, and the size of every recording.

    Paths count relative to the folder that all recordings share, so that a moved source is the same source.
    """
    folder = os.path.commonpath([utterance.path.absolute().parent for utterance in utterances])
    rows = []
    for utterance in utterances:
        path = utterance.path.absolute()
        facts = dataclasses.asdict(utterance) | {
            "path": Path(os.path.relpath(path, folder)).as_posix(),
            "size": path.stat().st_size if path.is_file() else None,
        }
        rows.append(json.dumps(facts, sort_keys=True))
    text = "\n".join([json.dumps(dict(thresholds), sort_keys=True), *sorted(rows)])
    return hashlib.sha256(text.encode()).hexdigest()
