"""Read corpora whose speakers and emotions are given by the names of recordings or by a table."""

import dataclasses
import filecmp
import logging
import math
import re
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from ser_jax.data import labels
from ser_jax.data.catalog import NUMBER, Catalog, DatabaseError, Utterance, one_of_many, ratings, read_table
from ser_jax.data.corpus import DIMENSIONS
from ser_jax.data.files import folded, walk
from ser_jax.data.formats import SUFFIXES
from ser_jax.errors import begun, no_folder

THRESHOLDS = {"arousal": 0.5, "valence": 0.5}  # between the classes 0 and 1 of `labels.EMOTIONS`
_SEXES = {"f": "female", "m": "male"}
_log = logging.getLogger(__name__)

Groups = Mapping[str, str | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Naming:
    """A corpus in which the names of recordings give speaker and emotion."""

    title: str  # as its publishers call it
    what: str  # language and recordings in a few words
    citation: str
    language: str | Mapping[str, str]  # a code as in "en", or codes by what the group `language` matches
    # Regular expression of a recording's name without suffix, in either case, with the groups `speaker` and
    # `emotion`; what precedes a "/" in it is the folder's name. Optional are `id`, if that is not all of it,
    # `language`, and `sex`, which begins with f or m.
    name: str
    example: str  # a recording as published
    recordings: tuple[int, ...] = ()  # how many there are, a number for each release; none if not known
    women: tuple[str, ...] = ()  # as group `speaker` matches them; if any are listed, others are not read
    men: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # speakers whose sex is not published
    emotions: Mapping[str, str]  # what group `emotion` matches, to a key of `labels.EMOTIONS`
    prefix: str = ""  # what precedes the group `speaker` in a speaker's name
    skipped: str | None = None  # like `name`, of recordings that belong to the corpus but are not read
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=lambda: THRESHOLDS)
    scales: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def read(self, source: Path) -> Catalog:
        """Return all recordings in a folder and the folders below it, in the order of their paths.

        The id is the recording's name, so it does not depend on how the folders are arranged. Copies of a
        recording are read once. Each speaker is a session, since no speakers are known to have met.

        Raises: DatabaseError naming the folder, or two different recordings of one name.
        """
        if not source.is_dir():
            raise DatabaseError(
                f"{source}: {no_folder(source)}, expected {self.title}'s, which holds {self.example}"
            )
        utterances, unlabelled, skipped = self._read(source)
        if not utterances:
            others = unlabelled or skipped
            found = f"{len(others)} other audio files ({others[0]} the first)" if others else "no audio files"
            expected = f"expected names like {self.example}"
            raise DatabaseError(f"{source}: no recording of {self.title}, found {found}, {expected}")
        if len(unlabelled) > len(utterances):
            raise DatabaseError(
                f"{source}: {len(utterances)} recordings of {self.title} among {len(unlabelled)} others, "
                f"{unlabelled[0]} the first, expected a folder of {self.title} alone"
            )
        if self.recordings and len(utterances) not in self.recordings:
            published = " or ".join(map(str, self.recordings))
            message = "%s: %d recordings, %s as published has %s"
            _log.warning(message, source, len(utterances), self.title, published)
        return Catalog(
            tuple(utterances), self.thresholds, self.scales, unlabelled=tuple(map(str, unlabelled))
        )

    def _read(self, source: Path) -> tuple[list[Utterance], list[Path], list[Path]]:
        """Return the utterances, the recordings without a label, and those that are not to be read."""
        named: list[tuple[str, Path]] = []
        facts: dict[Path, dict[str, Any]] = {}
        unlabelled, skipped = [], []
        for path in _recordings(source):
            place = path.relative_to(source)
            if self.skipped and _match(self.skipped, place):
                skipped.append(path)
            elif (match := _match(self.name, place)) and (told := self._facts(match.groupdict())):
                facts[path] = told
                named.append(((match.groupdict().get("id") or match["whole"]).replace("/", "_"), path))
            else:
                unlabelled.append(path)
        utterances = [Utterance(id=id, path=path, **facts[path]) for id, path in _once(source, named).items()]
        return utterances, unlabelled, skipped

    def _facts(self, groups: Groups) -> dict[str, Any]:
        """Return the facts in the groups of a name; nothing if they are not the corpus's."""
        emotions = {folded(name): emotion for name, emotion in self.emotions.items()}
        emotion, speaker = emotions.get(folded(groups["emotion"] or "")), groups["speaker"] or ""
        if listed := {folded(one): one for one in (*self.women, *self.men, *self.unknown)}:
            speaker = listed.get(folded(speaker), "")
        if emotion is None or not speaker:
            return {}
        sex = groups.get("sex") or ("f" if speaker in self.women else "m" if speaker in self.men else "")
        arousal, valence = labels.EMOTIONS[emotion]
        return {
            "speaker": self.prefix + speaker,
            "sex": _SEXES.get(sex[:1].lower(), "unknown"),
            "session": self.prefix + speaker,
            "language": (
                self.language if isinstance(self.language, str) else self.language[groups["language"] or ""]
            ),
            "arousal": arousal,
            "valence": valence,
            "emotion": emotion,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tabled(Naming):
    """A corpus whose recordings are the rows of a table; `name` gives the facts that are not in the table."""

    table: str  # name of the CSV file; both may lie anywhere in the source
    columns: Mapping[str, str]  # "file" and groups of `name` to the table's columns
    people: tuple[str, str, str]  # name of the table of speakers, its columns of speaker and sex
    raters: tuple[str, ...] = ()  # their columns are "RATER_LABEL"; their means replace the emotion's values
    rated: Mapping[str, str] = dataclasses.field(default_factory=dict)  # LABEL to dimension or "emotion"

    def _read(self, source: Path) -> tuple[list[Utterance], list[Path], list[Path]]:
        tables = {folded(path.name): path for path in walk(source) if path.suffix.lower() == ".csv"}
        if self.table not in tables:
            raise DatabaseError(f"{source}: no {self.table}, expected {self.title}'s with {self.example}")
        sexes = {}
        if self.people[0] in tables:
            _, who, sex = self.people
            rows = read_table(tables[self.people[0]], "a table of speakers", (who, sex))[1]
            sexes = {_number(cells[who]): cells[sex] for _, cells in rows}
        else:
            _log.warning("%s: no %s; sexes are unknown", source, self.people[0])
        named = [(folded(path.stem), path) for path in _recordings(source)]
        recordings, utterances = _once(source, named), []
        rated = [f"{rater}_{letter}" for rater in self.raters for letter in self.rated]
        for place, cells in read_table(tables[self.table], "a table", tuple(self.columns.values()), rated)[1]:
            with one_of_many():
                file = PurePath(cells[self.columns["file"]])
                match = re.fullmatch(self.name, file.stem)
                groups = match.groupdict() if match else {}
                groups |= {group: cells[column] for group, column in self.columns.items()}
                groups["sex"] = sexes.get(_number(groups.get("speaker", "")), "")
                if not match or not (facts := self._facts(groups)):
                    raise DatabaseError(
                        f"{place}: recording {begun(file.name, 40)!r}, "
                        f"emotion {begun(groups['emotion'], 40)!r}, expected a name as in "
                        f"{self.title}, and one of {', '.join(self.emotions)}"
                    )
                path = recordings.pop(folded(file.stem), tables[self.table].parent / file.name)
                facts |= self._ratings(place, cells)
                utterances.append(Utterance(id=file.stem, path=path, place=place, **facts))
        return utterances, list(recordings.values()), []

    def _ratings(self, place: str, cells: Mapping[str, str]) -> dict[str, Any]:
        """Return what each rater says, and the means of all."""
        by_rater: dict[str, dict[str, Any]] = {}
        for rater in self.raters:
            for letter, label in self.rated.items():
                if text := cells.get(column := f"{rater}_{letter}"):
                    if label != "emotion" and not NUMBER.fullmatch(text):
                        raise DatabaseError(f"{place}: {column} is {begun(text, 40)!r}, expected a number")
                    rating = [self.emotions.get(text, text)] if label == "emotion" else float(text)
                    by_rater.setdefault(rater, {})[label] = rating
        means = {}
        for dimension in DIMENSIONS if self.raters else ():
            values = [rating[dimension] for rating in by_rater.values() if dimension in rating]
            means[dimension] = statistics.fmean(values) if values else math.nan
        return {"raters": ratings(by_rater)} | means


def _recordings(source: Path) -> Iterator[Path]:
    """Yield the audio files below a folder; a link into nowhere is a recording that is missing."""
    return (path for path in walk(source) if path.suffix.lower() in SUFFIXES)


def _match(name: str, place: Path) -> re.Match | None:
    return re.fullmatch(rf"(?s:.*/)?(?P<whole>{name})", place.with_suffix("").as_posix(), re.IGNORECASE)


def _once(source: Path, named: list[tuple[str, Path]]) -> dict[str, Path]:
    """Return id to recording, the first of several that are the same to the byte.

    Raises: DatabaseError if recordings of one id differ.
    """
    first: dict[str, Path] = {}
    copies = []
    for id, path in named:
        if (other := first.setdefault(id, path)) != path:
            with one_of_many():
                if not (path.is_file() and other.is_file() and filecmp.cmp(other, path, shallow=False)):
                    expected = "expected it once, or the same bytes"
                    raise DatabaseError(f"{path}: {id} is already in {other}, {expected}")
                copies.append((path, other))
    if copies:
        message = "%s: %d recordings are copies, the same to the byte, and read once (%s of %s the first)"
        _log.warning(message, source, len(copies), *copies[0])
    return first


def _number(name: str) -> str:
    """Return a name as a spreadsheet keeps it: 001 becomes 1."""
    return name.lstrip("0")
