"""What a user's input can get wrong, as one sentence each.

Every room raises its own subclass; the command line prints the sentence and exits with status 2.
"""

import signal
from pathlib import Path


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


def no_folder(path: Path) -> str:
    """What a path that is no folder is, in the words of an error."""
    return "is a file" if path.exists() else "no such folder"
