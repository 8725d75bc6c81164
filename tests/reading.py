"""Blocks of the pages, and commands run in this process, which spares starting Python and JAX for each."""

import contextlib
import functools
import io
import re
import runpy
import shlex
import signal
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

from ser_jax.cli import main as ser_jax
from ser_jax.experiment.command import SHORT

ROOT = Path(__file__).parents[1]
FENCED = re.compile(
    r"(?P<markers>(?:^<!-- test: .* -->\n)*)^```(?P<language>.*)\n(?P<text>(?:.*\n)*?)^```$", re.MULTILINE
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    markers: list[str]
    text: str

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def marker(self, name):
        """Return what follows a marker's name; None without the marker."""
        found = [marker.removeprefix(name).strip() for marker in self.markers if marker.split()[0] == name]
        return found[0] if found else None


def blocks(page):
    text = page.read_text()
    return [
        Block(
            page,
            text[: match.start("language")].count("\n") + 1,
            match["language"],
            re.findall(r"<!-- test: (.*) -->", match["markers"]),
            match["text"],
        )
        for match in FENCED.finditer(text)
        if not match["language"].startswith("{")
    ]


def lines(text):
    """Return the commands of a block, each with the lines that continue it."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.split("#")[0].strip()]


def split(line):
    """Return the commands that pipes and && join, each as words, without environment and redirection."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    parts = [[]]
    for word in lexer:
        parts.append([]) if word in ("|", "&&", ";", ">") else parts[-1].append(word)
    return [[word for word in part if not re.match(r"[A-Z_]+=", word)] for part in parts]


def start(words):
    """Run a command of this project in this process; return its exit status."""
    program, *rest = words
    if program == "ser-jax":
        return ser_jax(rest)
    assert program == "python", f"{program}: expected a command of this project"
    argv, path = sys.argv, sys.path.copy()
    handlers, hook = [(each, signal.getsignal(each)) for each in SIGNALS], sys.excepthook
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
        sys.argv, sys.path[:], sys.excepthook = argv, path, hook
        for each, handler in handlers:
            signal.signal(each, handler)
    return 0


def run(words):
    """Run a command; return (exit status, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = start(list(map(str, words)))
        except SystemExit as ended:
            status = ended.code or 0
    return status, out.getvalue(), err.getvalue()


def ran(words, status=0):
    """Run a command that ends with this status; return (standard output, standard error)."""
    found, out, err = run(words)
    assert found == status, f"{words} ended with {found}, expected {status}\n{out}{err}"
    return out, err


@functools.cache
def flags(words):
    """Return the flags of the command that begins with these words."""
    found = set(re.findall(r"--[a-z][\w.-]*", ran([*words, "--help"])[0]))
    return found | {short for short, full in SHORT.items() if full in found}


def command(words):
    """Return the words that choose a command and its flags: before the first flag, and choices of classes."""
    count = 3 if words[0] == "python" and words[1] == "-m" else 2
    if words[:2] in (["ser-jax", "prepare"], ["ser-jax", "audit"]) and len(words) > 2:
        count = 3
    chosen = [
        word
        for flag in ("--model", "--features", "--train.augment", "--train.objective")
        if flag in words and (words[0] == "python" or ":" not in words[words.index(flag) + 1])
        for word in words[words.index(flag) : words.index(flag) + 2]
    ]
    return (*words[:count], *chosen)


def check(line):
    """Check that all commands of a line exist and have the flags that it gives them."""
    for part in split(re.sub(r"\$\w+", "0", line)):
        for nested in (word.removeprefix("--command=") for word in part[1:] if " " in word):
            check(nested)
        words = part[part.index("srun") + 1 :] if "srun" in part else part
        words = [Path(words[0]).name, *words[1:]] if words else [""]
        if words[0] == "ser-jax" or (words[0] == "python" and (words[1] == "-m" or "own_" in words[1])):
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert given <= flags(command(words)), f"{line}: {given - flags(command(words))}"
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        elif words[0] == "pip" and "[" in line:
            assert set(re.search(r"\[(.*)\]", line)[1].split(",")) <= set(EXTRAS), line
