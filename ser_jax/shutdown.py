"""Start and end programs: closed streams, errors as one sentence, interrupts at any time."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from ser_jax.errors import Interrupted, UserError, one_line

TRACEBACK = "SER_JAX_TRACEBACK"  # if 1, tracebacks are printed above the sentence
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_cli(program: str, work: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Do the work of a program; print errors that its user can correct as "PROGRAM: SENTENCE".

    Args:
      interrupted: the sentence after Ctrl-C.
    Returns: the work's exit status, 0 for None; 2 after a UserError or OSError; 130 after Ctrl-C; that of
      `Interrupted`; 141 if the reader of standard output has left.
    """
    for stream in (sys.stdout, sys.stderr):  # file names need not be text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = work()
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:
        _discard_output()
        return 141
    except (UserError, OSError) as error:
        if os.environ.get(TRACEBACK) == "1":
            traceback.print_exception(error)
        sentence, status = str(error), 2
        if isinstance(error, OSError):
            place = "standard output" if _discard_output() else error.filename
            reason = error.strerror or str(error)
            sentence = f"{place}: {reason}" if place else f"{reason} ({TRACEBACK}=1 shows where)"
    except Interrupted as error:
        sentence, status = str(error), error.status
    except KeyboardInterrupt:
        sentence, status = interrupted, 130
    print(f"{program}: {one_line(sentence)}", file=sys.stderr)
    return status


def _discard_output() -> bool:
    """Discard unwritable output, so that Python does not try again at exit; return whether there was any."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def start_program() -> None:
    """Prepare the process of a program, before it imports anything that takes long.

    Ctrl-C ends it at once until `raise_on_interrupt`, since imports may swallow a KeyboardInterrupt. Standard
    streams that are closed, as by `>&-`, are replaced by the null device: for Python they are None.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  stays open


def raise_on_interrupt() -> None:
    """Make Ctrl-C raise KeyboardInterrupt again, since from here on there is something to clean up."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def graceful_shutdown(say: Callable[[str], None]) -> Iterator[list[int]]:
    """Note the first signal, so that training ends after its epoch; exit at once on the second.

    Python runs no signal handler while XLA computes, so a thread reads the signals from the wakeup
    descriptor and calls `say` with sentences for the user. Ignored signals (by `nohup`, say) stay ignored.

    Yields: the signals received so far.
    """
    received: list[int] = []
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        while number := int.from_bytes(os.read(reader, 1)):
            if number not in SIGNALS:
                continue
            ending = "stopping after this epoch, which is saved; a second signal stops at once without saving"
            with contextlib.suppress(OSError):  # the terminal may be gone
                say("stopped at once; the same command continues" if received else ending)
            if received:
                os._exit(128 + number)
            received.append(number)

    numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
    before = signal.set_wakeup_fd(writer)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield received
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)
