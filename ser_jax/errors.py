"""Define errors that a user can fix, one sentence each, which end the command line with status 2."""

import difflib
import itertools
import pkgutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

NEIGHBOURS = 1000  # of a missing file that are searched for a similar name
EDITS = 2  # letters added or left out; one replaced letter, or two exchanged ones, are both
ALIKE = 0.7  # share of the letters; "set" and "sex" have less in common


class UserError(Exception):
    """One sentence that names the thing, what was found and what was expected."""


class ResultsError(UserError):
    """A results folder that lacks the requested results, or is in use."""


class Interrupted(KeyboardInterrupt):
    """A request to stop, with a sentence on how to continue; `status` is the exit status."""

    def __init__(self, sentence: str, number: int = signal.SIGINT):
        super().__init__(sentence)
        self.status = 128 + number


def check_choices(config: Any, error: type[UserError]) -> None:
    """Raise `error` if a field annotated as a Literal, or a tuple of one, holds anything else."""
    for name, kind in get_type_hints(type(config)).items():
        several = get_origin(kind) is tuple
        choices, found = get_args(kind)[0] if several else kind, getattr(config, name)
        if get_origin(choices) is Literal:
            for value in found if several else (found,):
                if value not in (known := get_args(choices)):
                    field = name.replace("_", " ")
                    raise error(
                        f"{field} {value!r}, expected {'some' if several else 'one'} of {', '.join(known)}"
                    )


def import_name(name: str, error: type[UserError], what: str) -> Any:
    """Return what "module:Name" names; else raise `error`, whose sentence begins with `what`."""
    try:
        return pkgutil.resolve_name(name)
    except Exception as reason:  # of any module
        raise error(f"{what}: {reason}, expected module:Name that can be imported") from reason


def one_line(text: str) -> str:
    """Escape line breaks and other characters that a terminal would act upon.

    >>> print(one_line("two\\nlines"))
    two\\nlines
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def begun(text: str, most: int) -> str:
    """Return a text, or its first `most` characters and "..." if it is longer."""
    return text if len(text) <= most else f"{text[:most]}..."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like `name`; None if none is within `EDITS` of it.

    >>> nearest("emotoin", ["emotion", "end"]), nearest("gender", ["emotion", "end"])
    ('emotion', None)
    """
    spelt = {one.lower(): one for one in known}
    for close in difflib.get_close_matches(name.lower(), spelt, n=1, cutoff=ALIKE):
        likeness = difflib.SequenceMatcher(None, close, name.lower()).ratio()
        if (1 - likeness) * (len(close) + len(name)) < EDITS + 0.5:
            return spelt[close]
    return None


def meant(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean x?" for the known name nearest to `name`, or nothing."""
    known = list(known)
    if "," in name:  # several names, separated by commas
        parts = [nearest(part.strip(), known) for part in name.split(",") if part.strip()]
        found = [part for part in parts if part is not None]
        return f"; did you mean {' '.join(found)}, separated by spaces?" if found == parts != [] else ""
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close is not None else ""


def no_folder(path: Path) -> str:
    """Describe a path that is not a folder, for an error's sentence."""
    return "is a file" if path.exists() else f"no such folder{beside(path)}"


def beside(path: Path) -> str:
    """Return " (did you mean x?)" if the first missing part of a path is like a neighbour, else nothing."""
    if path.exists() or path.is_symlink():
        return ""
    path = next((place for place in path.parents[-2::-1] if not place.exists()), path)
    try:
        others = (other.name for other in itertools.islice(path.parent.iterdir(), NEIGHBOURS))
        close = nearest(path.name, others)
    except (OSError, ValueError):
        close = None
    return "" if close is None else f" (did you mean {path.with_name(close)}?)"
