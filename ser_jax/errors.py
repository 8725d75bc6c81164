"""What a user's input can get wrong, as one sentence each.

Every room raises its own subclass; the command line prints the sentence and exits with status 2.
"""

import difflib
import itertools
import signal
from collections.abc import Iterable
from pathlib import Path

NEIGHBOURS = 1000  # of a missing file that are looked at for a name like its own


class UserError(Exception):
    """Names the thing, what was found and what was expected, in one sentence."""


def one_line(text: str) -> str:
    """Text with line breaks and whatever else a terminal would act upon escaped; names may hold them.

    >>> print(one_line("two\\nlines"))
    two\\nlines
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def begun(text: str, most: int) -> str:
    """The beginning of a text that may be long.

    >>> begun("a long text", 6)
    'a long...'
    """
    return text if len(text) <= most else f"{text[:most]}..."


class Interrupted(KeyboardInterrupt):
    """The program was asked to end; says in one sentence what becomes of its work.

    Attributes:
      status: the exit status, 128 and the signal's number.
    """

    def __init__(self, sentence: str, asked: int = signal.SIGINT):
        super().__init__(sentence)
        self.status = 128 + asked


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of some names that somebody who typed `name` probably meant; None where none is like it."""
    spelt = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), spelt, n=1)
    return spelt[close[0]] if close else None


def meant(name: str, known: Iterable[str]) -> str:
    """The end of an error's sentence: what was probably meant by `name`; nothing where none is like it."""
    known = list(known)
    if "," in name:  # several, as other programs take them
        parts = [nearest(part.strip(), known) for part in name.split(",") if part.strip()]
        found = [part for part in parts if part is not None]
        return f"; did you mean {' '.join(found)}, separated by blanks?" if found == parts != [] else ""
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close is not None else ""


def no_folder(path: Path) -> str:
    """What a path that is no folder is, in the words of an error."""
    return "is a file" if path.exists() else f"no such folder{beside(path)}"


def beside(path: Path) -> str:
    """The one of a missing path's neighbours that was probably meant, as " (did you mean x?)", or nothing."""
    if path.exists() or path.is_symlink():
        return ""
    try:
        others = (other.name for other in itertools.islice(path.parent.iterdir(), NEIGHBOURS))
        close = nearest(path.name, others)
    except (OSError, ValueError):
        close = None
    return "" if close is None else f" (did you mean {path.with_name(close)}?)"
