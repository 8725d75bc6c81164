"""All parsers of ours, by what is typed to reach them."""

import argparse
import contextlib
import runpy
import sys
from pathlib import Path
from unittest import mock

from ser_jax import cli

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SCRIPTS = sorted(
    path.stem for path in EXPERIMENTS.glob("[a-z]*.py") if '__name__ == "__main__"' in path.read_text()
)


def within(parser):
    """A parser and those of its subcommands."""
    found = {parser.prog: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= within(inner)
    return found


def run(name):
    """Runs `python -m experiments.NAME` in this process, whether or not it was imported before."""
    imported = sys.modules.pop(f"experiments.{name}", None)
    try:
        runpy.run_module(f"experiments.{name}", run_name="__main__")
    finally:
        if imported is not None:
            sys.modules[f"experiments.{name}"] = imported


def of_script(name):
    """The parser that `python -m experiments.NAME` makes."""
    made = []

    def keep(parser, *_, **__):
        made.append(parser)
        raise SystemExit

    argv = mock.patch.object(sys, "argv", [name])
    asked = mock.patch.object(argparse.ArgumentParser, "parse_args", keep)
    with argv, asked, contextlib.suppress(SystemExit):
        run(name)
    [parser] = made
    return parser


COMMANDS = within(cli._parser())


def asked(typed):
    """The program whose parser reads what is typed after "ser-jax"."""
    return max((prog for prog in COMMANDS if f"ser-jax {typed} ".startswith(f"{prog} ")), key=len)
