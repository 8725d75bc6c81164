"""The blocks of a page, run or parsed as the comments above them say (see test_documentation.py)."""

import argparse
import contextlib
import functools
import io
import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import tyro

from ser_jax import cli
from ser_jax.cli import main as ser_jax
from ser_jax.experiment import command

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "experiments").glob("[a-z]*.py"))
FENCED = re.compile(
    r"(?P<markers>(?:^<!-- test: .* -->\n)*)^```(?P<language>.*)\n(?P<text>(?:.*\n)*?)^```$", re.MULTILINE
)
FOREIGN = {"arecord", "cat", "cd", "curl", "export", "gcloud", "git", "mkdir", "sbatch", "source", "srun"}
BETWEEN = {"|", "&&", ";"}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    markers: list[str]
    text: str

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def marker(self, name):
        """What stands behind a marker; None without it."""
        found = [one.removeprefix(name).strip() for one in self.markers if one.split(" ")[0] == name]
        return found[0] if found else None


def blocks(page):
    text = page.read_text()
    found = []
    for match in FENCED.finditer(text):
        markers = re.findall(r"<!-- test: (.*) -->", match["markers"])
        line = text[: match.start("language")].count("\n") + 1
        found.append(Block(page, line, match["language"], markers, match["text"]))
    assert text.count("\n```") == 2 * len(found), f"{page}: a block that is not read"
    return [block for block in found if not block.language.startswith("{")]


def commands(text):
    """Lines; those that end with a backslash are joined with the next."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.split("#")[0].strip()]


def words(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    return list(lexer)


def simple(line):
    """The commands that a pipe or && joins, each as words."""
    parts = [[]]
    for word in words(line):
        parts.append([]) if word in BETWEEN else parts[-1].append(word)
    return [part for part in parts if part]


class Parsed(BaseException):
    """A parser accepted its flags; nothing more is to be done."""


def parse(line):
    """Let `ser-jax` or a script parse its flags and do nothing more; SystemExit if it refuses them."""
    if line[0] == "ser-jax":
        cli.parse(line[1:])
        return
    parse_args, tyro_cli = argparse.ArgumentParser.parse_args, tyro.cli

    def stop(*_, **__):
        raise Parsed

    def stop_after(parser, arguments=None):
        parse_args(parser, arguments)
        stop()

    def stop_unless_configuration(kind, **named):  # whose values are checked further
        found = tyro_cli(kind if isinstance(kind, type) else functools.wraps(kind)(stop), **named)
        return found if kind.__name__ == "Experiment" else stop()

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop_after),
        mock.patch.object(tyro, "cli", stop_unless_configuration),
        mock.patch.object(command, "_start", stop),
    ):
        try:
            status = start(line)
        except Parsed:
            return
    raise SystemExit(status)


def start(line):
    """Run a command in this process; returns its exit status."""
    program, *rest = line
    if program == "ser-jax":
        return ser_jax(rest)
    assert program == "python", f"{program}: expected a command of this project"
    argv, path = sys.argv, sys.path.copy()
    try:
        if rest[0] == "-m":
            sys.argv = rest[1:]
            sys.modules.pop(rest[1], None)
            runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = rest
            sys.path.insert(0, str(Path(rest[0]).parent))
            runpy.run_path(rest[0], run_name="__main__")
    except SystemExit as ended:
        return ended.code or 0
    finally:
        sys.argv, sys.path[:] = argv, path
    return 0


def check(line):
    """Parse all commands of a line. Returns: how many of them are this project's."""
    count = 0
    for part in simple(re.sub(r"\$\w+", "0", line)):
        count += sum(check(word.removeprefix("--command=")) for word in part[1:] if " " in word)
        while part and re.match(r"[A-Z_]+=", part[0]):
            part = part[1:]
        part = part[: part.index(">")] if ">" in part else part
        program, *rest = [Path(part[0]).name, *part[1:]]
        if program == "srun":
            while rest[0].startswith("-"):
                rest = rest[1:]
            program, *rest = rest
        if program == "ser-jax" or (program == "python" and (rest[0] == "-m" or "own_" in rest[0])):
            parse([program, *rest])
        elif program == "python":
            assert Path(rest[0]).exists(), rest[0]
        elif program == "make":
            assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), rest[0]
        elif program == "pip":
            check_install(rest)
        elif program == "python3":
            assert rest == ["-m", "venv", ".venv"]
        else:
            assert program in FOREIGN, f"{program}: unknown program"
            continue
        count += 1
    return count


def check_install(rest):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert rest[:-1] == ["install", "-c", "constraints.txt", "-e"]
    assert (ROOT / "constraints.txt").exists()
    extras = re.fullmatch(r"\.(?:\[(.*)\])?", rest[-1])[1]
    assert set(extras.split(",") if extras else ()) <= set(project["optional-dependencies"])


class Reader:
    """Does what a page says in a folder, block by block."""

    def __init__(self, folder, patch):
        self.folder, self.patch, self.names, self.printed = folder, patch, {}, ""

    def do(self, block):
        if block.language == "python":
            self.printed = self.python(block)
        elif (path := block.marker("file")) is not None:
            (self.folder / path).write_text(block.text)
        elif (line := block.marker("keys")) is not None:
            assert same_keys(example(block.text), json.loads(self.run(words(line))[1])), block
        elif block.marker("output") is not None:
            shown, printed = skeleton(block.text), skeleton(self.printed)
            assert all(line in printed for line in shown), f"{block}: {shown}\n{printed}"
        else:
            assert block.language == "", f"{block}: {block.language} without a marker"
            self.printed = self.shell(block)
        if (expression := block.marker("prints")) is not None:
            assert re.search(expression, self.printed), f"{block}: {self.printed}"

    def python(self, block):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * block.line + block.text, str(block.page), "exec"), self.names)
        return out.getvalue()

    def shell(self, block):
        chosen = block.marker("parse")
        only = [line for line in commands(block.text) if chosen is not None and is_chosen(line, chosen)]
        count = sum(check(line) for line in only)
        assert chosen is None or count, f"{block}: nothing of this project to parse"
        flags = [marker.split() for marker in block.markers if marker.startswith("--")]
        printed, added = "", []
        todo = [line for line in commands(block.text) if line not in only]
        for line in todo:
            status, out = 0, ""
            if (assigned := re.fullmatch(r"export (\w+)=(\S+)", line)) is not None:
                self.patch.setenv(*assigned.groups())
            elif {">", *BETWEEN} & set(words(line)):
                out = self.bash(line)
            else:
                known = [some for some in flags if accepts([*words(line), *some])]
                added += known
                status, out = self.run([*words(line), *chain.from_iterable(known)])
            expected = int(block.marker("status") or 0) if line == todo[-1] else 0
            assert status == expected, f"{block}: {line} ended with {status}\n{out}"
            printed += out
        assert all(some in added for some in flags), f"{block}: no command has some of {flags}"
        return printed

    def run(self, line):
        """Returns: (exit status, what it printed, with its errors if it failed)."""
        out, err = io.StringIO(), io.StringIO()
        handlers, hook = [(one, signal.getsignal(one)) for one in SIGNALS], sys.excepthook
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = start(line)
        finally:
            sys.excepthook = hook
            for one, handler in handlers:
                signal.signal(one, handler)
        return status, out.getvalue() + (err.getvalue() if status else "")

    def bash(self, line):
        programs = self.folder / ".programs"
        programs.mkdir(exist_ok=True)
        (programs / "ser-jax").write_text(f'#!/bin/sh\nexec {sys.executable} -m ser_jax "$@"\n')
        (programs / "ser-jax").chmod(0o755)
        known = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        shell = ["bash", "-eo", "pipefail", "-c", line]
        done = subprocess.run(shell, capture_output=True, text=True, env=known)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout


def is_chosen(line, chosen):
    return not chosen or any(word in words(line) or f" {word}" in f" {line}" for word in chosen.split())


def accepts(line):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return check(shlex.join(line)) > 0
        except SystemExit:
            return False


def skeleton(text):
    """Lines without what depends on how much was trained: numbers, and how wide they make a column."""
    return [re.sub(r"[\d.,]+%?|-{2,}", "0", line).replace(" ", "") for line in text.splitlines()]


def example(text):
    return json.loads(text.replace(", ...", "").replace("{...}", "{}"))


def same_keys(shown, found):
    """Whether everything that is shown is there."""
    if isinstance(found, list) and not isinstance(shown, list):
        found = found[0]
    if isinstance(shown, dict):
        return all(key in found and same_keys(value, found[key]) for key, value in shown.items())
    if isinstance(shown, list):
        return all(same_keys(value, found[0]) for value in shown)
    return type(shown) is type(found)


def do_all(page, folder, patch):
    reader = Reader(folder, patch)
    for block in blocks(page):
        reader.do(block)
