"""Pages read as their readers would: block by block, in a folder, as the comments above the blocks say."""

import argparse
import contextlib
import importlib
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

import parsers

from experiments import main as shared
from experiments import options
from ser_jax.cli import main as ser_jax

ROOT = Path(__file__).parents[1]
FENCED = re.compile(
    r"(?P<markers>(?:^<!-- test: .* -->\n)*)^```(?P<language>.*)\n(?P<text>(?:.*\n)*?)^```$", re.MULTILINE
)
FOREIGN = {"arecord", "cat", "cd", "curl", "export", "gcloud", "git", "sbatch", "source", "srun"}
BETWEEN = {"|", "&&", ";"}


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    markers: list[str]
    text: str

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def said(self, marker):
        """What stands behind a marker; None without it."""
        found = [one.removeprefix(marker).strip() for one in self.markers if one.split(" ")[0] == marker]
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
    """Lines, those that go on joined."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.split("#")[0].strip()]


def words(command):
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    return list(lexer)


def simple(command):
    """What a pipe or && joins, each as words."""
    parts = [[]]
    for word in words(command):
        parts.append([]) if word in BETWEEN else parts[-1].append(word)
    return [part for part in parts if part]


class Accepted(Exception):
    """A parser took its arguments."""


def take(run):
    """Lets a program read its flags and do nothing more."""
    parse = argparse.ArgumentParser.parse_args

    def parse_args(parser, *arguments, **named):
        parse(parser, *arguments, **named)
        raise Accepted

    with mock.patch.object(argparse.ArgumentParser, "parse_args", parse_args):
        try:
            run()
        except Accepted:
            return
    raise AssertionError("no parser was asked")


def script(name):
    """A module of experiments as a function of its flags that reads them alone."""
    module = importlib.import_module(name)
    own = getattr(module, "main", None)
    if own is not None and own.__module__ == name:
        return lambda flags: take(lambda: own(flags))
    with mock.patch.object(shared, "main") as asked:
        parsers.run(name.removeprefix("experiments."))
    called = asked.call_args
    return lambda flags: options.parse(*called.args[:2], flags, called.kwargs.get("fewest", 2))


def read(line):
    """Has the parsers of ours take a line of commands. Returns: how many of them did."""
    taken = 0
    for part in simple(re.sub(r"\$\w+", "0", line)):
        taken += sum(read(word.removeprefix("--command=")) for word in part[1:] if " " in word)
        while part and re.match(r"[A-Z_]+=", part[0]):
            part = part[1:]
        part = part[: part.index(">")] if ">" in part else part
        program, *rest = [Path(part[0]).name, *part[1:]]
        if program == "srun":
            while rest[0].startswith("-"):
                rest = rest[1:]
            program, *rest = rest
        if program == "ser-jax":
            take(lambda rest=rest: ser_jax(rest))
        elif program == "python" and rest[0] == "-m":
            script(rest[1])(rest[2:])
        elif program == "python":
            assert (ROOT / rest[0]).exists(), rest[0]
        elif program == "make":
            assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), rest[0]
        elif program == "pip":
            install(rest)
        elif program == "python3":
            assert rest == ["-m", "venv", ".venv"]
        else:
            assert program in FOREIGN, f"{program}: what is it?"
            continue
        taken += 1
    return taken


def install(rest):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert rest[:-1] == ["install", "-c", "constraints.txt", "-e"]
    assert (ROOT / "constraints.txt").exists()
    extras = re.fullmatch(r"\.(?:\[(.*)\])?", rest[-1])[1]
    assert set(extras.split(",") if extras else ()) <= set(project["optional-dependencies"])


class Room:
    """A folder in which a page is read, command by command."""

    def __init__(self, folder, patch):
        self.folder, self.patch, self.names, self.printed = folder, patch, {}, ""

    def do(self, block):
        if block.language == "python":
            self.printed = self.python(block)
        elif (path := block.said("file")) is not None:
            (self.folder / path).write_text(block.text)
        elif (line := block.said("keys")) is not None:
            assert same_keys(example(block.text), json.loads(self.run(words(line))[1])), block
        elif block.said("output") is not None:
            shown, printed = skeleton(block.text), skeleton(self.printed)
            assert all(line in printed for line in shown), f"{block}: {shown}\n{printed}"
        else:
            assert block.language == "", f"{block}: nobody says what to do with {block.language}"
            self.printed = self.shell(block)
        if (expression := block.said("prints")) is not None:
            assert re.search(expression, self.printed), f"{block}: {self.printed}"

    def python(self, block):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * block.line + block.text, str(block.page), "exec"), self.names)
        return out.getvalue()

    def shell(self, block):
        said = block.said("parse")
        only = [line for line in commands(block.text) if said is not None and told(line, said)]
        taken = sum(read(line) for line in only)
        assert said is None or taken, f"{block}: nothing of ours to parse"
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
                known = [some for some in flags if taken_by([*words(line), *some])]
                added += known
                status, out = self.run([*words(line), *chain.from_iterable(known)])
            expected = int(block.said("status") or 0) if line == todo[-1] else 0
            assert status == expected, f"{block}: {line} ended with {status}\n{out}"
            printed += out
        assert all(some in added for some in flags), f"{block}: no command knows some of {flags}"
        return printed

    def run(self, line):
        """Ends like a program: (status, what it printed)."""
        out, kept = io.StringIO(), [(one, signal.getsignal(one)) for one in stopping()]
        hook, argv = sys.excepthook, sys.argv
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as told_us:
                status = start(line)
        finally:
            sys.excepthook, sys.argv = hook, argv
            for one, handler in kept:
                signal.signal(one, handler)
        return status, out.getvalue() + (told_us.getvalue() if status else "")

    def bash(self, line):
        programs = self.folder / ".programs"
        programs.mkdir(exist_ok=True)
        (programs / "ser-jax").write_text(f'#!/bin/sh\nexec {sys.executable} -m ser_jax "$@"\n')
        (programs / "ser-jax").chmod(0o755)
        known = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        command = ["bash", "-eo", "pipefail", "-c", line]
        done = subprocess.run(command, capture_output=True, text=True, env=known)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout


def told(line, said):
    return not said or any(word in words(line) or f" {word}" in f" {line}" for word in said.split())


def taken_by(line):
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            return read(shlex.join(line)) > 0
        except SystemExit:
            return False


def stopping():
    return [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def start(line):
    program, *rest = line
    if program == "ser-jax":
        return ser_jax(rest)
    assert program == "python", f"{program}: expected a command of ours"
    try:
        if rest[0] == "-m":
            sys.argv = rest[1:]
            with mock.patch.dict(sys.modules):
                sys.modules.pop(rest[1], None)
                runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = rest
            runpy.run_path(rest[0], run_name="__main__")
    except SystemExit as ended:
        return ended.code or 0
    return 0


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
    room = Room(folder, patch)
    for block in blocks(page):
        room.do(block)
