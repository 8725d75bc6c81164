"""How programs end: user errors, output that cannot be written, signals."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ser_jax.errors import Interrupted, UserError
from ser_jax.shutdown import raise_on_interrupt, run_cli, start_program

PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (UserError("a thing\nof two lines"), 2, "a thing\\nof two lines"),
        (OSError(28, "No space left on device", "out/table"), 2, "out/table: No space left on device"),
        (OSError(5, "Input/output error"), 2, "Input/output error (SER_JAX_TRACEBACK=1 shows where)"),
        (Interrupted("terminated", signal.SIGTERM), 143, "terminated"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
@pytest.mark.parametrize("shown", ["1", "0"])
def test_what_stops_the_work_is_one_sentence(capsys, monkeypatch, error, status, sentence, shown):
    monkeypatch.setenv("SER_JAX_TRACEBACK", shown)
    assert run_cli("ser-jax", lambda: fail(error), "stopped") == status
    printed = capsys.readouterr().err
    assert printed.endswith(f"ser-jax: {sentence}\n")
    assert ("in fail\n" in printed) == ("Traceback" in printed) == (shown == "1" and status == 2)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_cli("ser-jax", lambda: fail(ZeroDivisionError()))


def test_output_that_cannot_be_written_is_named():
    code = "from ser_jax.shutdown import run_cli; import sys; sys.exit(run_cli('x', lambda: print('y')))"
    options = PIPES | {"env": os.environ | {"PYTHONUNBUFFERED": ""}, "timeout": 60}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], **options | {"stdout": full})
    assert (done.returncode, done.stderr) == (2, "x: standard output: No space left on device\n")


@pytest.mark.parametrize(("typed", "stream"), [("--help", 1), ("describe a --data-dir b", 1), ("-", 2)])
def test_closed_streams_change_nothing_else(typed, stream):
    command = f"{shlex.quote(sys.executable)} -m ser_jax {typed}"
    usual = subprocess.run(command, shell=True, **PIPES, timeout=60)
    done = subprocess.run(f"{command} {stream}>&-", shell=True, **PIPES, timeout=60)
    assert (done.returncode, done.stdout) == (usual.returncode, "" if stream == 1 else usual.stdout)
    assert done.stderr == ("" if stream == 2 else usual.stderr)


def test_streams_that_are_closed_become_empty_ones(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    start_program()
    with sys.stdin, sys.stdout, sys.stderr:
        assert (sys.stdin.buffer.read(), sys.stdout.write("a"), sys.stderr.write("b")) == (b"", 1, 1)


def test_a_reader_that_leaves_is_no_traceback():
    code = "import sys; from ser_jax.shutdown import *; sys.exit(run_cli('', lambda: print('y' * 9**7)))"
    with subprocess.Popen([sys.executable, "-c", code], **PIPES) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("program", ["ser_jax predict nowhere.wav", "experiments.table2"])
def test_ctrl_c_while_a_program_starts_ends_it_at_once(program):
    with subprocess.Popen([sys.executable, "-m", *program.split()], **PIPES) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while maps.exists() and "jaxlib" not in maps.read_text():
            pass
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == -signal.SIGINT


@pytest.fixture
def handlers():
    """Restore the handlers that a test sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupted(*_, **__):
    """Stand for work that cleans up after Ctrl-C."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    raise KeyboardInterrupt


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("prepare emodb --source x", "data.prepare"),
        ("audit emodb --source x", "data.audit.audit"),
        ("describe emodb", "data.facts"),
        ("synthesize x", "data.synthetic.synthesize"),
        ("train --corpora emodb --out x", "recognizer.train.train"),
    ],
)
def test_a_command_at_work_cleans_up_after_ctrl_c(monkeypatch, capsys, command, work):
    from ser_jax import cli

    start_program()
    monkeypatch.setattr(f"ser_jax.{work}", interrupted)
    assert cli.main(command.split()) == 130
    assert capsys.readouterr().err == "ser-jax: interrupted\n"


@pytest.mark.usefixtures("handlers")
def test_an_ignored_interrupt_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for change in (start_program, raise_on_interrupt):
        change()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_second_signal_ends_a_process_that_computes():
    code = """
import hashlib
from ser_jax.shutdown import graceful_shutdown

with graceful_shutdown(lambda sentence: print(sentence, flush=True)):
    print("started", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # Python runs no handler meanwhile
"""
    with subprocess.Popen([sys.executable, "-c", code], **PIPES) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline().startswith("stopping after this epoch")
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().startswith("stopped at once; the same command continues")
    assert process.returncode == 130
