"""The databases that can be read: what each is read from, with which options, and where it comes from."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ser_jax.data import iemocap, manifest, recola
from ser_jax.data.named import NAMED
from ser_jax.data.utterance import Catalog
from ser_jax.errors import UserError, meant


class DatabaseError(UserError):
    """A database that does not exist, or an option it does not take."""


class Database(NamedTuple):
    """One database as users name it."""

    what: str  # in a few words
    source: str  # what it is read from
    example: str  # the same, as typed
    read: Callable[..., Catalog]  # from the source and `options`
    citation: str
    instructions: str  # how to obtain it
    options: tuple[str, ...] = ()  # keywords of `read` beside the source


DATABASES = {
    "iemocap": Database(
        "English, 10,039 turns of ten actors in dialog",
        "IEMOCAP_full_release, or the folder that holds it",
        "IEMOCAP_full_release",
        iemocap.read,
        "C. Busso et al., Language Resources and Evaluation 42(4), 2008, doi:10.1007/s10579-008-9076-6",
        "Request IEMOCAP from https://sail.usc.edu/iemocap/ and unpack IEMOCAP_full_release.",
    ),
    "recola": Database(
        "French, speech turns of 23 people in video calls",
        "the folder that holds RECOLA-Annotation",
        "RECOLA",
        recola.read,
        "F. Ringeval, A. Sonderegger, J. Sauer, D. Lalanne, IEEE FG 2013, doi:10.1109/FG.2013.6553805",
        "Request RECOLA from https://diuf.unifr.ch/main/diva/recola/ and unpack its folders into one.",
        ("annotation_delay",),
    ),
    "manifest": Database(
        "any labelled speech, by a CSV file",
        "a CSV file with the columns path, speaker and labels (arousal, valence, emotion, ...)",
        "my/manifest.csv",
        manifest.read,
        "M. Neumann, N. T. Vu, ICASSP 2018, arXiv:1803.00357",
        "Write a CSV file with the columns path, speaker and labels beside the recordings.",
        ("arousal_threshold", "valence_threshold", "allow_outside"),
    ),
} | {
    name: Database(
        naming.about,
        f"{naming.title}'s folder, with names like {naming.example}",
        naming.folder,
        naming.read,
        naming.citation,
        f"Download {naming.title} from {naming.url} ({naming.licence}) and unpack it.",
    )
    for name, naming in NAMED.items()
}


def read(database: str, source: Path | str, **options: Any) -> Catalog:
    """Return the facts of a database; no recording is opened, none need exist.

    Args:
      database: one of `DATABASES`.
      source: what that one is read from.
      options: those it takes.
    Raises: DatabaseError; the reader's own UserError naming the file, and the line if there is one.
    """
    check(database, options)
    return DATABASES[database].read(Path(source), **options)


def check(database: str, options: Mapping[str, Any]) -> None:
    """Raise DatabaseError if there is no such database, or its reader does not take these options."""
    if database not in DATABASES:
        raise DatabaseError(
            f"no database {database!r}, expected one of {', '.join(DATABASES)}{meant(database, DATABASES)}"
        )
    known = DATABASES[database].options
    for option in options:
        if option not in known:
            takes = ", ".join(map(flag, known)) or "none"
            raise DatabaseError(f"{database} does not take {flag(option)}, expected of such options {takes}")


def flag(option: str) -> str:
    """Return an option as the command line spells it."""
    return f"--{option.replace('_', '-')}"


def command(verb: str, database: str, source: Path | str, options: Mapping[str, Any]) -> str:
    """Return the command line that reads a database with these options."""
    words = ["ser-jax", verb, database, "--source", str(source)]
    for option, value in options.items():
        words += [flag(option)] if value is True else [flag(option), str(value)] if value is not False else []
    return shlex.join(words)
