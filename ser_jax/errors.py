"""What a user's input can get wrong, as one sentence each.

Every room raises its own subclass; the command line prints the sentence and exits with status 2.
"""

from pathlib import Path


class UserError(Exception):
    """Names the thing, what was found and what was expected, in one sentence."""


def no_folder(path: Path) -> str:
    """What a path that is no folder is, in the words of an error."""
    return "is a file" if path.exists() else "no such folder"
