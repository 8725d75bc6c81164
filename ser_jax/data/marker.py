"""How a tree of synthesised speech is told from a database."""

import os
from pathlib import Path

from ser_jax.data.utterance import Listing

MARKER = "SYNTHETIC.txt"
NOTICE = "This is synthesised sound in the layout of {name}; no part of it is {name} or human speech.\n"


def marked(path: Path) -> bool:
    """Whether `path` lies in, or is, a tree that carries the marker of synthesised speech."""
    path = Path(os.path.realpath(path))  # resolve() does not bear a link that leads to itself
    return any((folder / MARKER).is_file() for folder in (path, *path.parents))


def is_synthetic(listing: Listing) -> bool:
    """Whether any recording, or what it is a link to, lies where the marker does."""
    paths = {utterance.path for utterance in listing.utterances}
    folders = {path.parent for path in paths}
    links = (path for path in paths if os.path.islink(path))  # noqa: PTH114  is_symlink minds long names
    folders |= {Path(os.path.realpath(link)).parent for link in links}
    return any(map(marked, folders))
