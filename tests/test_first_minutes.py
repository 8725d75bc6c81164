"""What a newcomer meets first: help, names that are nearly right, completion, Ctrl-C."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from argparse import PARSER
from pathlib import Path

import parsers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.stopping import end, end_on_sigterm
from ser_jax import cli, completion, ending, errors
from ser_jax.errors import Interrupted
from ser_jax.flags import Parser

ROOT = Path(__file__).parents[1]
PIPES = {
    "env": os.environ | {"PYTHONPATH": str(ROOT)},
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
    "text": True,
}
SHELL = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p ser-jax | sed 's/.*-F \\([^ ]*\\) .*/\\1/') ser-jax
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module", params=[*parsers.COMMANDS, *parsers.SCRIPTS])
def parser(request):
    known = parsers.COMMANDS.get(request.param)
    return parsers.of_script(request.param) if known is None else known


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
        program = max(
            (p for p in [*parsers.COMMANDS, parser.prog] if p == " ".join(words)[: len(p)]), key=len
        )
        reader = parsers.COMMANDS["ser-jax"] if program in parsers.COMMANDS else parser
        rest = words[1:] if program in parsers.COMMANDS else words[len(program.split()) :]
        if rest[-1:] == ["--help"]:
            assert program in parsers.COMMANDS
        else:
            reader.parse_args(rest)


def test_every_help_fits_a_terminal(parser, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in parser.format_help().splitlines() if len(line) > 80] == []


def test_every_argument_says_what_it_is(parser):
    assert [action.dest for action in parser._actions if not action.help and action.nargs != PARSER] == []


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_an_example_is_the_same_command_on_any_width(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    command = "ser-jax train --corpora emodb ravdess --out my-model --seeds 3"
    parser = Parser(prog="x", description=f"What.\n\n    {command}   # why\n    ser-jax serve")
    assert examples(parser.format_help()) == [shlex.split(command), ["ser-jax", "serve"]]


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
    for shell in completion.SHELLS:
        text = completion.script(parsers.within(parsers.cli._parser())["ser-jax"], shell)
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


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_flag_can_be_completed(scripts, shell):
    text = (scripts / shell).read_text()
    for parser in parsers.COMMANDS.values():
        for flag in parser._flags():
            assert re.search(rf"-l {flag}\b" if shell == "fish" else f"--{flag}", text), flag


@pytest.mark.parametrize("wait", [0, 0.2, 0.5, 0.8])
def test_ctrl_c_while_it_starts_ends_it_in_a_sentence(wait):
    """At whatever moment: an import may swallow a KeyboardInterrupt, or crash."""
    code = "from ser_jax import ending; ending.end_at_once('ser-jax'); print(flush=True); import time\n"
    shell = [sys.executable, "-c", f"{code}import ser_jax.recognizer; time.sleep(60)"]
    with subprocess.Popen(shell, **PIPES) as started:
        started.stdout.readline()
        time.sleep(wait)
        started.send_signal(signal.SIGINT)
        assert started.communicate(timeout=60) == ("", "ser-jax: interrupted\n")
    assert started.returncode == 130


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), Interrupted("terminated", signal.SIGTERM)])
def test_an_interrupt_that_a_callback_swallows_is_sent_anew(raised):
    class Dying:
        def __del__(self):
            raise raised

    def lose():
        Dying()
        time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    end_on_sigterm()
    try:
        with pytest.raises(type(raised)) as heard, ending.heard():
            lose()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert getattr(heard.value, "status", 130) == getattr(raised, "status", 130)


@pytest.fixture
def starting():
    """As if a program of ours were still being imported."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ending.end_at_once("x")
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(*_, **__):
    """Work that Ctrl-C ends, where it may tidy up."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("prepare emodb --source x", "data.prepare"),
        ("audit emodb --source x", "data.audit.audit"),
        ("describe emodb", "data.facts"),
        ("synthesize x", "data.synthetic.synthesize"),
        ("train --corpora emodb --out x", "recognizer.making.make"),
    ],
)
def test_a_command_at_work_tidies_up_after_ctrl_c(starting, monkeypatch, capsys, command, work):
    monkeypatch.setattr(f"ser_jax.{work}", interrupted)
    assert cli.main(command.split()) == 130
    assert capsys.readouterr().err == "ser-jax: interrupted\n"


def test_a_script_at_work_tidies_up_after_ctrl_c(starting, capsys):
    with pytest.raises(SystemExit) as ended:
        end("report", interrupted)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "experiments.report: interrupted\n"


@pytest.mark.parametrize("name", parsers.SCRIPTS)
def test_every_script_ends_in_one_of_two_ways(name):
    text = (parsers.EXPERIMENTS / f"{name}.py").read_text()
    assert ("from experiments.main import main" in text) != ("from experiments.stopping import end" in text)


def test_another_handler_of_ctrl_c_stays(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ending.end_at_once("x")
        ending.at_work()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ending.end_at_once("x")
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ending.at_work()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_what_cannot_be_printed_is_said_so(unbuffered):
    code = "from ser_jax import ending; import sys; sys.exit(ending.guarded('x', lambda: print('y'), ''))"
    with Path("/dev/full").open("w") as full:
        options = PIPES | {"stdout": full, "env": PIPES["env"] | {"PYTHONUNBUFFERED": unbuffered}}
        done = subprocess.run([sys.executable, "-c", code], **options, timeout=60)
    assert (done.returncode, done.stderr) == (2, "x: standard output: No space left on device\n")
