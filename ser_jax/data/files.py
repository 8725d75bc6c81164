"""Find recordings and labels in folders, through links and despite differences in spelling."""

import functools
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path


def children(folder: Path) -> list[Path]:
    """Return the content of a folder, sorted by name, without hidden files; empty without such a folder.

    Hidden are names that begin with a dot, such as the copies "._NAME" that macOS leaves.
    """
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))


def walk(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield all files in a folder and the folders below it, sorted by path, without hidden ones.

    Links to folders are followed, except to the folders `above`, which would be a cycle.
    """
    real = Path(os.path.realpath(folder))  # Path.resolve() raises on a loop
    if real not in above:
        for child in children(folder):
            if child.is_dir():
                yield from walk(child, above | {real, *real.parents})
            else:
                yield child


def folded(name: str) -> str:
    """Return a name in one Unicode normal form and case, since both differ between systems."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def slashed(name: str) -> str:
    """Return a path as POSIX writes it; on Windows, slashes may lean either way."""
    return name.replace("\\", "/")


def finder(folder: Path) -> Callable[[str], Path]:
    """Return a function from a path relative to a folder to the path of an existing file.

    If no file has exactly this path, the function returns the only one that is equal after `folded`, with
    slashes of either kind; if there is none, or more than one, it returns the path unchanged.
    """

    @functools.cache
    def spelt(folder: Path) -> dict[str, list[Path]]:
        names: dict[str, list[Path]] = {}
        for child in children(folder):
            names.setdefault(folded(child.name), []).append(child)
        return names

    def find(name: str) -> Path:
        if os.path.lexists(folder / name):
            return folder / name
        found = folder
        for part in Path(slashed(name)).parts:
            others = spelt(found).get(folded(part), [])
            if os.path.lexists(found / part):
                found /= part
            elif len(others) == 1:
                found = others[0]
            else:
                return folder / name
        return found

    return find
