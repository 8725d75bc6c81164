"""What a newcomer meets first: help, names that are nearly right, completion."""

import re
import shlex
import subprocess
from argparse import PARSER

import parsers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_jax import cli, errors

SHELL = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p ser-jax | sed 's/.*-F \\([^ ]*\\) .*/\\1/') ser-jax
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(params=parsers.COMMANDS)
def parser(request):
    return parsers.COMMANDS[request.param]


def examples(text):
    """The commands below a help text, as they are pasted into a shell."""
    _, heading, shown = text.rpartition("\nexample")
    assert heading, text
    lines = shown.partition(":\n")[2].replace("\\\n", "").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_every_help_ends_with_examples_that_can_be_typed(parser, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found = examples(parser.format_help())
    assert any(parser.prog in " ".join(words) for words in found)
    for words in found:
        while "|" in words:
            words = words[words.index("|") + 1 :]
        words = words[: words.index(">")] if ">" in words else words
        if words[-1] != "--help":
            parsers.COMMANDS["ser-jax"].parse_args(words[1:])


def test_every_help_fits_a_terminal(parser, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in parser.format_help().splitlines() if len(line) > 80] == []


def test_every_argument_says_what_it_is(parser):
    assert [action.dest for action in parser._actions if not action.help and action.nargs != PARSER] == []


@given(names=st.lists(st.text("abcde_", min_size=1, max_size=8), min_size=1, unique=True), draw=st.data())
def test_a_name_that_is_there_is_nearest_to_itself(names, draw):
    name = draw.draw(st.sampled_from(names))
    assert errors.nearest(name, names) == errors.nearest(name.upper(), names) == name
    assert errors.meant(f"{name}, {name}", names) == f"; did you mean {name} {name}, separated by blanks?"
    assert errors.meant("", names) == errors.meant("123", names) == errors.meant("123,456", names) == ""


def test_a_neighbour_of_what_is_not_there(tmp_path):
    (tmp_path / "emodb").mkdir()
    (tmp_path / "link").symlink_to("gone")
    assert errors.beside(tmp_path / "emobd") == f" (did you mean {tmp_path / 'emodb'}?)"
    for name in ("emodb", "link", "zzz", "emodb/x", "nowhere/emodb", "\0"):
        assert errors.beside(tmp_path / name) == ""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    for shell in cli.SHELLS:
        text = cli.completion(cli._parser(), shell)
        (folder / shell).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("pre", {"prepare", "predict"}),
        ("completion ", {"bash", "zsh", "fish"}),
        ("prepare emo", {"emodb", "emovo"}),
        ("predict --mo", {"--model"}),
        ("predict --model ", {"my-model"}),
        ("predict s", {"speech.wav"}),
        ("predict --json s", {"speech.wav"}),
        ("prepare manifest --source s", {"speech.wav"}),
        ("export --format ", {"onnx", "stablehlo"}),
        ("train --targets arousal v", {"valence"}),
        ("train --corpora s", set()),
    ],
)
def test_bash_completes(scripts, tmp_path, typed, offered):
    (tmp_path / "speech.wav").touch()
    (tmp_path / "my-model").mkdir()
    words = ["ser-jax", *typed.split(" ")]
    code = SHELL.format(script=scripts / "bash", words=" ".join(shlex.quote(word) for word in words))
    shell = ["bash", "--norc", "-c", code]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True)
    assert (set(done.stdout.split()), done.stderr) == (offered, "")


@pytest.mark.parametrize("shell", cli.SHELLS)
def test_every_flag_can_be_completed(scripts, shell):
    text = (scripts / shell).read_text()
    for parser in parsers.COMMANDS.values():
        for flag in parser._flags():
            assert re.search(rf"-l {flag}\b" if shell == "fish" else f"--{flag}", text), flag
