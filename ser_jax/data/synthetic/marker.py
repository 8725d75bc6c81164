"""How a tree of synthesised speech is told from a database."""

import os
from pathlib import Path

from ser_jax.errors import UserError

MARKER = "SYNTHETIC.txt"
NOTICE = "This is synthesised sound in the layout of {name}; no part of it is {name} or human speech.\n"


class SynthesisError(UserError):
    """A size, seed or place with which the synthetic databases cannot be written."""


def is_synthetic(path: Path) -> bool:
    """Whether `path` lies in, or is, a tree that carries the marker of synthesised speech."""
    path = Path(os.path.realpath(path))  # resolve() does not bear a link that leads to itself
    return any((folder / MARKER).is_file() for folder in (path, *path.parents))
