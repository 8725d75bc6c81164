"""The parser of every command line, and types of flags: each says what it expected instead."""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ser_jax.errors import begun, meant, nearest


class Parser(argparse.ArgumentParser):
    """Says of a name that it does not know which one was probably meant, the same on every Python.

    A flag is known by its whole name only, so that a new one never changes what an old command means. What is
    wrong with a subcommand's flags is said by its own parser, below its own usage.

    Args:
      description: for the help.
      example: a command, shown below all else.
      options: as of `argparse.ArgumentParser`.
    """

    def __init__(self, description: str = "", example: str = "", **options: Any):
        super().__init__(
            description=description,
            epilog=f"example:\n  {example}" if example else None,
            formatter_class=_Help,
            allow_abbrev=False,
            **options,
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's, but ends the program where an argument is not known."""
        words = sys.argv[1:] if args is None else list(args)
        flags = self._unknown(words)
        close = [nearest(flag.lstrip("-"), self._flags()) for flag in flags]
        if any(close):
            hint = " ".join(f"--{name}" for name in close if name)
            self.error(f"unrecognized arguments: {' '.join(flags)}; did you mean {hint}?")
        if self._subparsers is not None and flags and words[-1] not in flags:
            [action] = (one for one in self._actions if one.nargs == argparse.PARSER)
            self.error(f"unrecognized arguments: {' '.join(flags)}, expected {action.metavar} before them")
        found, rest = super().parse_known_args(words, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def _flags(self) -> list[str]:
        """The long ones, without their dashes: those are alike in all."""
        return [name[2:] for one in self._actions for name in one.option_strings if name.startswith("--")]

    def _unknown(self, words: Sequence[str]) -> list[str]:
        """What looks like a flag and is none of this parser's; where it has subcommands, before the first."""
        found: list[str] = []
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break
            name = word.partition("=")[0]
            if re.fullmatch(r"--?[^\W\d][\w-]*", name) and name not in self._option_string_actions:
                found.append(name)
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(one) for one in action.choices]
            sentence = f"invalid choice: {value!r} (choose from {', '.join(known)}){meant(str(value), known)}"
            raise argparse.ArgumentError(action, sentence)


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._action_max_length = 14  # argparse does not see how far subcommands are indented


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
