"""The databases there are readers for: what each is read from, and with which options."""

import dataclasses
import importlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_jax.data.utterance import Listing
from ser_jax.errors import UserError, meant


class DatabaseError(UserError):
    """A database that does not exist, or an option it does not take."""


@dataclasses.dataclass(frozen=True)
class Database:
    """How a user names one source.

    Attributes:
      what: the corpus, in a few words.
      source: what it is read from.
      example: as typed.
      options: keywords of its `read` beside the source.
    """

    what: str
    source: str
    example: str
    options: tuple[str, ...] = ()


DATABASES = {
    "iemocap": Database(
        "English, 10,039 turns of ten actors in dialog",
        "IEMOCAP_full_release, or the folder that holds it",
        "IEMOCAP_full_release",
    ),
    "recola": Database(
        "French, speech turns of 23 people in video calls",
        "the folder that holds RECOLA-Annotation",
        "RECOLA",
        ("annotation_delay",),
    ),
    "manifest": Database(
        "any labelled speech, by a CSV file",
        "a CSV file with the columns path, speaker, arousal, valence",
        "my/manifest.csv",
        ("arousal_threshold", "valence_threshold", "allow_outside"),
    ),
    "emodb": Database(
        "German, 535 acted recordings", "EmoDB's folder, with names like wav/03a01Fa.wav", "emodb"
    ),
    "ravdess": Database(
        "English, 1,440 acted recordings",
        "RAVDESS's folder, with names like Actor_01/03-01-05-01-02-01-01.wav",
        "ravdess",
    ),
    "cafe": Database(
        "Canadian French, 936 acted recordings",
        "CaFE's folder, with names like Colère/Faible/01-C-1-1.wav",
        "CaFE_48k",
    ),
    "oreau": Database(
        "French, 502 or 434 recordings of 32 people",
        "one version of Oréau, with names like f/sessc/10a01Ca.wav",
        "OréauFR_02",
    ),
    "crema_d": Database(
        "English, 7,442 acted recordings",
        "CREMA-D's folder, with names like AudioWAV/1001_DFA_ANG_XX.wav",
        "CREMA-D",
    ),
    "emovo": Database(
        "Italian, 588 acted recordings", "EMOVO's folder, with names like f1/dis-f1-b1.wav", "EMOVO"
    ),
    "savee": Database(
        "English, 480 acted recordings of four men",
        "SAVEE's folder, with names like AudioData/DC/a01.wav",
        "AudioData",
    ),
    "urdu": Database(
        "Urdu, 400 utterances of talk shows",
        "URDU's folder, with names like Angry/SM1_F1_A01.wav",
        "URDU-Dataset",
    ),
}


def read(database: str, source: Path | str, **options: Any) -> Listing:
    """The facts of a database, as its own package reads them: no audio is opened, none need be there.

    Args:
      database: one of `DATABASES`.
      source: what that one is read from.
      options: those it takes.
    Raises: DatabaseError; the reader's own UserError naming the file, and the line where there is one.
    """
    check(database, options)
    return importlib.import_module(f"ser_jax.data.{database}").read(Path(source), **options)


def check(database: str, options: dict[str, Any]) -> None:
    """Refuses a database that there is no reader for, and options that its reader does not take.

    Raises: DatabaseError.
    """
    if database not in DATABASES:
        raise DatabaseError(
            f"no database {database!r}, expected one of {', '.join(DATABASES)}{meant(database, DATABASES)}"
        )
    for option in options:
        if option not in DATABASES[database].options:
            takes = ", ".join(flag(known) for known in DATABASES[database].options) or "none"
            raise DatabaseError(f"{database} does not take {flag(option)}, expected of such options {takes}")


def flag(option: str) -> str:
    """An option as the command line spells it."""
    return f"--{option.replace('_', '-')}"


def command(verb: str, database: str, source: Path | str, options: Mapping[str, Any]) -> str:
    """What to type for a database that was read with these options."""
    words = ["ser-jax", verb, database, "--source", str(source)]
    for option, value in options.items():
        words += [flag(option)] if value is True else [flag(option), str(value)] if value is not False else []
    return shlex.join(words)
