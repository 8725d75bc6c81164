"""One labelled turn as a reader finds it on disk, and all turns of a database."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")  # of recordings in folders, in either case
MARKER = "SYNTHETIC.txt"  # marks a folder of synthesised speech


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
    """One turn: its facts, as `Facts` has them, and where its recording lies.

    Attributes:
      path: the recording that holds it.
      start, stop: the segment of the recording, s; `stop` is None if the turn ends with the file.
      language: a code as in "en", or "unknown".
      place: of the label, "file:line"; "" if the recording's own name tells it.
    """

    id: str
    path: Path
    start: float = 0.0
    stop: float | None = None
    speaker: str
    sex: str
    session: str
    language: str
    arousal: float = math.nan
    valence: float = math.nan
    dominance: float = math.nan
    emotion: str = ""
    dialogue: str = ""
    raters: str = ""
    place: str = ""


@dataclasses.dataclass(frozen=True)
class Catalog:
    """What a reader finds of a database: every turn, whether or not its recording exists.

    Attributes:
      utterances: in the reader's order, ids unique.
      thresholds: dimension to the annotation that separates the two classes.
      scales: dimension to the lowest and the highest possible rating, if people rated it.
      unlabelled: recordings, or places of turns, that are left out because they have no label.
    """

    utterances: tuple[Utterance, ...]
    thresholds: Mapping[str, float]
    scales: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether any recording, or what it is a link to, lies in a marked folder."""
        paths = {utterance.path for utterance in self.utterances}
        folders = {path.parent for path in paths}
        return any(map(is_marked, folders | {Path(os.path.realpath(path)).parent for path in paths}))


def ratings(of_raters: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the annotations of some raters as compact JSON; "" if there are none.

    Args:
      of_raters: rater to a dict with any of "arousal", "valence", "dominance" (numbers on the database's
        scale) and "emotion" (a list of the categories chosen, as the database names them).

    >>> ratings({"E2": {"emotion": ["Neutral"]}, "E3": {"arousal": 2.0}})
    '{"E2":{"emotion":["Neutral"]},"E3":{"arousal":2.0}}'
    """
    return json.dumps(of_raters, ensure_ascii=False, separators=(",", ":")) if of_raters else ""


def is_marked(path: Path) -> bool:
    """Return whether `path` lies in, or is, a folder that is marked as synthesised speech."""
    path = Path(os.path.realpath(path))  # resolve() raises on a link that leads to itself
    return any((folder / MARKER).is_file() for folder in (path, *path.parents))


def common_folder(utterances: Sequence[Utterance]) -> Path:
    """Return the deepest folder that holds all recordings; stored paths are relative to it."""
    return Path(os.path.commonpath([utterance.path.absolute().parent for utterance in utterances]))


def source_fingerprint(catalog: Catalog) -> str:
    """Return a digest of what a corpus would be prepared from: every fact, and every recording's size.

    Paths count relative to the folder that all recordings share, so that a moved source is the same source.
    """
    folder = common_folder(catalog.utterances)
    rows = []
    for utterance in catalog.utterances:
        path = utterance.path.absolute()
        facts = vars(utterance) | {"path": Path(os.path.relpath(path, folder)).as_posix()}
        del facts["place"]
        try:
            facts["size"] = path.stat().st_size if path.is_file() else None
        except OSError:  # reported when the recording is opened
            facts["size"] = None
        rows.append(json.dumps(facts, sort_keys=True))
    shared = json.dumps([dict(catalog.thresholds), dict(catalog.scales)], sort_keys=True)
    return hashlib.sha256("\n".join([shared, *sorted(rows)]).encode()).hexdigest()
