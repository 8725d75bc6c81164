"""How programs end: user errors, output that cannot be written, signals."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_jax.errors import Interrupted, UserError
from ser_jax.shutdown import (
    _resending_interrupts,
    exit_on_interrupt,
    graceful_shutdown,
    raise_on_interrupt,
    raise_on_sigterm,
    run_cli,
    run_script,
)

ROOT = Path(__file__).parents[1]
PIPES = {
    "env": os.environ | {"PYTHONPATH": str(ROOT)},
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
    "text": True,
}
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")


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
@pytest.mark.parametrize("shown", ["1", "", "0"])
def test_what_stops_the_work_is_one_sentence(capsys, monkeypatch, error, status, sentence, shown):
    monkeypatch.setenv("SER_JAX_TRACEBACK", shown)
    assert run_cli("ser-jax", lambda: fail(error), "stopped") == status
    said = capsys.readouterr().err
    assert said.endswith(f"ser-jax: {sentence}\n")
    assert ("in fail\n" in said) == ("Traceback" in said) == (shown == "1" and status == 2)


def test_a_fault_of_the_program_is_no_users_error():
    with pytest.raises(ZeroDivisionError):
        run_cli("ser-jax", lambda: fail(ZeroDivisionError()))


@FULL
def test_output_that_cannot_be_written_is_named():
    code = "from ser_jax.shutdown import run_cli; import sys; sys.exit(run_cli('x', lambda: print('y')))"
    with Path("/dev/full").open("w") as full:
        options = PIPES | {"stdout": full, "env": PIPES["env"] | {"PYTHONUNBUFFERED": ""}}
        done = subprocess.run([sys.executable, "-c", code], **options, timeout=60)
    assert (done.returncode, done.stderr) == (2, "x: standard output: No space left on device\n")


def test_a_reader_that_leaves_is_no_traceback():
    code = "import sys; from ser_jax.shutdown import *; sys.exit(run_cli('', lambda: print('y' * 9**7)))"
    shell = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shell.stdout.close()
    assert shell.stderr.read() == b""
    shell.stderr.close()
    assert shell.wait() == 141


@pytest.mark.parametrize("wait", [0, 0.2, 0.5, 0.8])
def test_ctrl_c_while_it_starts_ends_it_in_a_sentence(wait):
    """At whatever moment: an import may swallow a KeyboardInterrupt, or crash."""
    code = "from ser_jax import shutdown; shutdown.exit_on_interrupt('ser-jax'); print(flush=True)\n"
    shell = [sys.executable, "-c", f"{code}import ser_jax.recognizer; import time; time.sleep(60)"]
    with subprocess.Popen(shell, **PIPES) as started:
        started.stdout.readline()
        time.sleep(wait)
        started.send_signal(signal.SIGINT)
        assert started.communicate(timeout=60) == ("", "ser-jax: interrupted\n")
    assert started.returncode == 130


@pytest.fixture
def handlers():
    """Restores the handlers that a test sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("raised", [KeyboardInterrupt(), Interrupted("terminated", signal.SIGTERM)])
def test_an_interrupt_that_a_callback_swallows_is_sent_again(raised):
    class Dying:
        def __del__(self):
            raise raised

    def lose():
        Dying()
        time.sleep(10)

    raise_on_sigterm()
    with pytest.raises(type(raised)) as caught, _resending_interrupts():
        lose()
    assert getattr(caught.value, "status", 130) == getattr(raised, "status", 130)


def interrupted(*_, **__):
    """Work that Ctrl-C ends, when it may clean up."""
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

    exit_on_interrupt("x")
    monkeypatch.setattr(f"ser_jax.{work}", interrupted)
    assert cli.main(command.split()) == 130
    assert capsys.readouterr().err == "ser-jax: interrupted\n"


@pytest.mark.usefixtures("handlers")
def test_a_script_at_work_cleans_up_after_ctrl_c(capsys):
    exit_on_interrupt("x")
    with pytest.raises(SystemExit) as ended:
        run_script("report", interrupted)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "experiments.report: interrupted\n"


@pytest.mark.usefixtures("handlers")
def test_another_handler_of_ctrl_c_stays():
    for handler, stays in ((signal.SIG_IGN, True), (signal.default_int_handler, False)):
        signal.signal(signal.SIGINT, handler)
        exit_on_interrupt("x")
        assert (signal.getsignal(signal.SIGINT) is handler) == stays
        raise_on_interrupt()
        assert signal.getsignal(signal.SIGINT) is handler


def eventually(there):
    deadline = time.monotonic() + 10
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("replaced", [False, True], ids=["as it is", "descriptor replaced"])
def test_the_first_signal_is_noted(replaced):
    before, said = signal.getsignal(signal.SIGTERM), []
    with graceful_shutdown(said.append, hosts=1) as shutdown:
        shutdown.saved = False
        if replaced:
            signal.set_wakeup_fd(-1)
        assert shutdown.requested is None
        os.kill(os.getpid(), signal.SIGTERM)
        eventually(lambda: said)
    assert shutdown.requested == signal.SIGTERM
    assert said == ["ending after this epoch, which is saved; once more ends at once, losing what was not"]
    assert signal.getsignal(signal.SIGTERM) is before


STUCK = """
import hashlib, sys
from ser_jax.shutdown import graceful_shutdown

with graceful_shutdown(lambda sentence: print(sentence, flush=True), hosts=int(sys.argv[1])) as shutdown:
    shutdown.saved = sys.argv[2] == "saved"
    print("started", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # Python runs no handler meanwhile
"""


@pytest.mark.parametrize(("hosts", "saved", "signals"), [(1, "saved", 2), (2, "", 2), (2, "saved", 1)])
def test_the_second_signal_ends_a_process_that_computes(hosts, saved, signals):
    with subprocess.Popen([sys.executable, "-c", STUCK, str(hosts), saved], **PIPES) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        if signals == 2:
            assert process.stdout.readline().startswith("ending after this epoch")
            process.send_signal(signal.SIGINT)
        assert process.stdout.read().startswith("stopped at once")
    assert process.returncode == 130


def test_nested_programs_write_through_whatever_stands_for_standard_output(monkeypatch):
    """A stream that copies to two others, as notebooks and loggers have, stays as it was."""

    class Tee(io.StringIO):
        def __init__(self):
            super().__init__()
            self.other = io.StringIO()

        def write(self, text):
            self.other.write(text)
            return super().write(text)

    tee = Tee()
    monkeypatch.setattr(sys, "stdout", tee)
    inner = lambda: print("inner")  # noqa: E731
    assert run_cli("outer", lambda: print("outer") or run_cli("inner", inner)) == 0
    assert tee.getvalue() == tee.other.getvalue() == "outer\ninner\n"
    assert sys.stdout is tee
    assert not {"write", "flush"} & vars(tee).keys()
