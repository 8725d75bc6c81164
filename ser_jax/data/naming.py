"""Corpora whose recordings say in their names who speaks and how: a rule for each, one reader for all."""

import dataclasses
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from ser_jax.data import audio, labels
from ser_jax.data.utterance import Listing, Utterance
from ser_jax.errors import UserError, no_folder

THRESHOLDS = {"arousal": 0.5, "valence": 0.5}  # between the classes 0 and 1 of `labels.EMOTIONS`

_log = logging.getLogger(__name__)


class NamingError(UserError):
    """A folder that does not hold a corpus as it was published."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Naming:
    """How a corpus names its recordings.

    Attributes:
      corpus: what its publishers call it.
      language: a code as in "en".
      name: regular expression of a recording's name without suffix, with the groups `speaker` and
        `emotion`; what precedes a "/" in it is the folder's name.
      example: a recording as published.
      recordings: how many there are, a number for each release.
      women, men: everybody, as group `speaker` has them.
      emotions: what group `emotion` has, to a key of `labels.EMOTIONS`.
      prefix: of a speaker's name, before what the group has.
      passed_over: regular expression like `name`, of recordings that are the corpus's, but not to be read.
    """

    corpus: str
    language: str
    name: str
    example: str
    recordings: tuple[int, ...]
    women: tuple[str, ...] = ()
    men: tuple[str, ...] = ()
    emotions: Mapping[str, str]
    prefix: str = ""
    passed_over: str | None = None

    def read(self, source: Path | str) -> Listing:
        """All recordings in a folder and the folders below it, in the order of their paths.

        An utterance's id is its recording's name, so that the same recording has the same id however the
        folders were arranged. Nobody is known to have met anybody: the session is the speaker.

        Args:
          source: the release, the folder that holds it, or a folder of all recordings.
        Raises: NamingError naming the folder, or the two recordings of one name.
        """
        source = Path(source)
        utterances: dict[str, Utterance] = {}
        unlabelled, passed_over = [], []
        for path in self._files(source):
            place = path.relative_to(source).with_suffix("").as_posix()
            if self.passed_over and _matches(self.passed_over, place):
                passed_over.append(path)
            elif utterance := self._utterance(path, place):
                if utterance.id in utterances:
                    raise NamingError(
                        f"{path}: {self.corpus}'s {utterance.id} stands already in "
                        f"{utterances[utterance.id].path}, expected one release, and each recording once"
                    )
                utterances[utterance.id] = utterance
            else:
                unlabelled.append(path)
        if passed_over:
            _log.info(
                "%s: %d recordings are passed over, %s the first", source, len(passed_over), passed_over[0]
            )
        if not utterances:
            raise NamingError(
                f"{source}: no recording of {self.corpus}, found {_found(unlabelled or passed_over)}, "
                f"expected names like {self.example}"
            )
        if len(unlabelled) > len(utterances):
            raise NamingError(
                f"{source}: {len(utterances)} recordings of {self.corpus} among {len(unlabelled)} others, "
                f"{unlabelled[0]} the first, expected a folder of {self.corpus} alone"
            )
        if len(utterances) not in self.recordings:
            _log.warning(
                "%s: %d recordings, %s as published has %s",
                source,
                len(utterances),
                self.corpus,
                " or ".join(map(str, self.recordings)),
            )
        return Listing(tuple(utterances.values()), THRESHOLDS, tuple(map(str, unlabelled)))

    def _files(self, source: Path) -> list[Path]:
        if not source.is_dir():
            raise NamingError(
                f"{source}: {no_folder(source)}, expected {self.corpus}'s, which holds {self.example}"
            )
        return sorted(
            path
            for path in source.rglob("*")
            if path.suffix.lower() in audio.SUFFIXES
            and not any(part.startswith(".") for part in path.relative_to(source).parts)
            and not path.is_dir()  # a link into nowhere is a recording, one that is missing
        )

    def _utterance(self, path: Path, place: str) -> Utterance | None:
        """The facts in a recording's name; None where it is not one of the corpus's names."""
        match = _matches(self.name, place)
        if not match or match["emotion"] not in self.emotions:
            return None
        if match["speaker"] not in (*self.women, *self.men):
            return None
        speaker = self.prefix + match["speaker"]
        emotion = self.emotions[match["emotion"]]
        arousal, valence = labels.annotations(emotion)
        return Utterance(
            id=match["id"].replace("/", "_"),
            path=path,
            start=0.0,
            stop=None,
            speaker=speaker,
            sex="female" if match["speaker"] in self.women else "male",
            session=speaker,
            language=self.language,
            arousal=arousal,
            valence=valence,
            emotion=emotion,
        )


def _matches(name: str, place: str) -> re.Match | None:
    return re.fullmatch(rf"(?s:.*/)?(?P<id>{name})", place)


def _found(paths: list[Path]) -> str:
    return f"{len(paths)} other audio files ({paths[0]} the first)" if paths else "no audio files"
