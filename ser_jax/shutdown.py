"""How programs end: user errors as one sentence, Ctrl-C while starting, at work and in training."""

import collections
import contextlib
import dataclasses
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from ser_jax.errors import Interrupted, UserError, one_line

TRACEBACK = "SER_JAX_TRACEBACK"  # set to 1, tracebacks are printed above the sentence
RESENT = 0.02  # s after which a lost interrupt is sent again
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
HANDLED = 0x80  # marks the bytes that a Python handler writes, beside those of the system


def run_cli(program: str, work: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Do the work of a program; report what its user can mend as one sentence on standard error.

    Args:
      program: named before the sentence.
      work: returns the exit status, or None for 0.
      interrupted: the sentence after Ctrl-C.
    Returns: the exit status: the work's own; 2 for a UserError or OSError; 130 after Ctrl-C, 143 after
      SIGTERM if that raises `Interrupted`; 141 if the reader of standard output has left.
    """
    for stream in (sys.stdout, sys.stderr):  # file names need not be text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _resending_interrupts():
            status = work()
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return 141
    except (UserError, OSError) as error:
        if os.environ.get(TRACEBACK) == "1":
            traceback.print_exception(error)
        if isinstance(error, UserError):
            return _say(program, str(error), 2)
        place = "standard output" if _discard_output() else error.filename
        reason = error.strerror or str(error)
        return _say(program, f"{place}: {reason}" if place else f"{reason} ({TRACEBACK}=1 shows where)", 2)
    except Interrupted as signalled:
        return _say(program, str(signalled), signalled.status)
    except KeyboardInterrupt:
        return _say(program, interrupted, 130)
    return status or 0


def run_script(name: str, work: Callable[[], int | None]) -> NoReturn:
    """Do the work of `experiments.<name>`, which trains nothing, and exit as `run_cli` does."""
    raise_on_interrupt()
    sys.exit(run_cli(f"experiments.{name}", work))


def _discard_output() -> bool:
    """Drop what cannot be printed, so that Python does not try again at exit; return whether there is any."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(AttributeError, OSError):  # a stream without a descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _say(program: str, sentence: str, status: int) -> int:
    print(f"{program}: {one_line(sentence)}", file=sys.stderr)
    return status


def _exit(program: str, number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{program}: interrupted\n".encode())
    os._exit(130)


def exit_on_interrupt(program: str) -> None:
    """Make Ctrl-C exit at once with a sentence, until `raise_on_interrupt`; an ignored signal stays ignored.

    For the time of imports: they may swallow a KeyboardInterrupt, or crash after one.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, partial(_exit, program))


def raise_on_interrupt() -> None:
    """Make Ctrl-C raise KeyboardInterrupt again: from here on there is something to clean up."""
    if isinstance(signal.getsignal(signal.SIGINT), partial):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def raise_on_sigterm() -> None:
    """Make SIGTERM raise `Interrupted`, unless it is ignored."""

    def handle(number: int, _: FrameType | None) -> None:
        raise Interrupted("terminated; the same command goes on from what is stored", number)

    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, handle)


@contextlib.contextmanager
def _resending_interrupts() -> Iterator[None]:
    """Send interrupts again that Python lost in a callback, such as JAX's in the garbage collector."""
    before = sys.unraisablehook

    def hook(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            number = lost.exc_value.status - 128 if isinstance(lost.exc_value, Interrupted) else signal.SIGINT
            threading.Timer(RESENT, os.kill, (os.getpid(), number)).start()
        else:
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@dataclasses.dataclass
class Shutdown:
    """Whether the program should end.

    Attributes:
      requested: the signal that asked for it; None if there was none.
      saved: whether everything that this process trained is saved.
    """

    requested: int | None = None
    saved: bool = True


@contextlib.contextmanager
def graceful_shutdown(say: Callable[[str], None], hosts: int) -> Iterator[Shutdown]:
    """Only note the first signal, for training to end after its epoch; exit at once on the second.

    Python runs signal handlers in the main thread alone, and none while XLA computes. So a thread reads the
    bytes that the system writes to the wakeup descriptor; since event loops of libraries may replace that
    descriptor, Python's handler writes as well. Ignored signals (by `nohup`, say) stay ignored.

    Args:
      say: receives sentences for the user, called from the thread.
      hosts: number of hosts; of several, one that has saved everything exits at the first signal, since it
        may be waiting for another.
    """
    shutdown = Shutdown()
    if threading.current_thread() is not threading.main_thread():  # others cannot set handlers
        yield shutdown
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def handle(number: int, _: object) -> None:
        os.write(writer, bytes([number | HANDLED]))

    numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, handle) for number in numbers}
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, shutdown, say, hosts), daemon=True)
    watcher.start()
    try:
        yield shutdown
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, shutdown: Shutdown, say: Callable[[str], None], hosts: int) -> None:
    """Count the signals; each is written by the system, by the handler, or by both."""
    counts: collections.Counter[int] = collections.Counter()
    while byte := os.read(reader, 1):
        number = byte[0] & ~HANDLED
        if number not in SIGNALS:
            continue
        counts[byte[0] & HANDLED] += 1
        if max(counts.values()) > 1 or (hosts > 1 and shutdown.saved):
            with contextlib.suppress(OSError):  # the terminal may be gone
                say("stopped at once; the same command goes on from what was saved last")
            os._exit(128 + number)
        if shutdown.requested is None:
            shutdown.requested = number
            with contextlib.suppress(OSError):
                say("ending after this epoch, which is saved; once more ends at once, losing what was not")
