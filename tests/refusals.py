"""How bad input is answered: one sentence, below argparse's usage or alone, and status 2."""

import re
import shlex
import sys

import parsers
import pytest

from ser_jax import cli

PROGRESS = re.compile(r"\w+: +\d+%\|")
REMEDY = re.compile(
    "expected|delete|choose|did you mean|prepare it with|not CSV|not a table|required|unrec|ambig|names all|"
    "fewer than the|not allowed with"
)


def said(capsys) -> list[str]:
    """Lines on standard error, progress bars left out; nothing is on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.replace("\r", "\n").split("\n") if line and not PROGRESS.match(line)]
    return lines


def check_usage(lines, sentence, program):
    """argparse's usage of that very program, and one line below it."""
    assert lines[0].startswith(f"usage: {program} [")
    assert lines[-1].startswith(f"{program}: error: ")
    assert ": error: " in lines[-1]
    assert sum(": error: " in line for line in lines) == 1
    assert all(line.startswith(" ") for line in lines[1:-1])
    check_sentence(lines[-1], sentence)


def check_sentence(line, sentence):
    assert sentence in line
    assert line.isprintable()
    assert REMEDY.search(line)


def refused(capsys, typed, sentence, program="ser-jax", main=cli.main):
    """Runs a command that is refused by one sentence."""
    assert main(shlex.split(typed)) == 2
    [line] = said(capsys)
    assert line.startswith(f"{program}: ")
    check_sentence(line, sentence)


def script(name, typed, monkeypatch):
    """The exit status of `python -m experiments.NAME TYPED`, run in this process."""
    monkeypatch.setattr(sys, "argv", [name, *shlex.split(typed)])
    with pytest.raises(SystemExit) as end:
        parsers.run(name)
    return end.value.code


def by_text(cases):
    """Cases whose names are short."""
    return [pytest.param(*case, id=re.sub(r"\W+", "_", str(case[-1]), flags=re.ASCII)[:60]) for case in cases]
