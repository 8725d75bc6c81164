"""Types of flags: each says of what it does not take what was expected instead."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from ser_jax.errors import begun


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number from `least` to `most`.

    >>> whole(1)("3")
    3
    >>> whole(1, 5)("7")
    Traceback (most recent call last):
    argparse.ArgumentTypeError: '7', expected a whole number from 1 to 5
    """
    bounds = f"of at least {least}" if most is None else f"from {least} to {most:,}"

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise _unexpected(text, f"a whole number {bounds}")
        return value

    return number


def finite(text: str) -> float:
    """A number that is neither infinite nor none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _unexpected(text, "a finite number")
    return value


def path(text: str) -> Path:
    """A path; not nothing at all, which a shell makes of a variable that is not set."""
    if not text:
        raise _unexpected(text, "a path")
    return Path(text)


def folder(text: str) -> Path:
    """A path in which `~` stands for somebody's home."""
    try:
        return path(text).expanduser()
    except RuntimeError:
        raise _unexpected(text, "a path, and behind ~ a user who has a home") from None


def new_file(text: str) -> Path:
    """A file that can be written: no folder, in a folder that is there."""
    file = path(text)
    if file.is_dir():
        raise _unexpected(text, "a file, found a folder")
    if not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{file.parent} is no folder, expected one for {file.name}")
    return file


def _unexpected(text: str, expected: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{begun(text, 60)!r}, expected {expected}")
