"""`ser-jax completion`: scripts with which shells complete command lines."""

import argparse
from collections.abc import Callable, Iterator

from ser_jax import flags

SHELLS = ("bash", "zsh", "fish")


def add(
    command: Callable[..., argparse.ArgumentParser], program: Callable[[], argparse.ArgumentParser]
) -> None:
    """Add the command.

    Args:
      command: (name, example, help=...) to a parser.
      program: returns the program's parser.
    """
    example = "ser-jax completion bash > ~/.ser-jax-completion"
    parser = command("completion", example, help="print what a shell needs to complete commands")
    parser.set_defaults(run=lambda arguments: print(script(program(), arguments.shell)))
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return a script that completes commands, flags, choices and paths without starting Python.

    Args:
      parser: the program's; paths are offered for arguments of the types of paths in `flags`, and for those
        with a `metavar` of FILE or PATH.
      shell: one of `SHELLS`.
    """
    import shtab

    for action in _actions(parser):
        if action.type is flags.folder:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.type in (flags.path, flags.new_file) or action.metavar in ("FILE", "PATH"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if action.nargs == argparse.PARSER and isinstance(action.choices, dict):
            for inner in action.choices.values():
                yield from _actions(inner)
