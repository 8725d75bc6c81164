"""How a program ends: in a sentence where a user can mend it; by Ctrl-C, at once while it starts."""

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TextIO

from ser_jax.errors import Interrupted, UserError, one_line

LATER = 0.02  # s after which an interrupt that was lost is sent anew


def guarded(program: str, work: Callable[[], int | None], interrupted: str) -> int:
    """Does the work; what a user can mend ends as one sentence on standard error.

    Args:
      program: whose sentence it is.
      work: what to do; what it returns is the status where nothing went wrong, None for 0.
      interrupted: what to say after Ctrl-C.
    Returns: the exit status: the work's own, 2 where the input or a file is at fault, 130 after Ctrl-C, 143
      after SIGTERM where that is expected, 141 where whoever read the output has left.
    """
    for stream in (sys.stdout, sys.stderr):  # file names need not be text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with heard(), _named(sys.stdout, "standard output"):
            status = work()
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        return 141
    except UserError as error:
        return _say(program, str(error), 2)
    except OSError as error:  # a folder that may not be read, a disk that is full
        _forget_output()
        return _say(program, f"{error.filename or 'a file'}: {error.strerror or error}", 2)
    except Interrupted as signalled:
        return _say(program, str(signalled), signalled.status)
    except KeyboardInterrupt:
        return _say(program, interrupted, 130)
    return status or 0


@contextlib.contextmanager
def _named(stream: TextIO, name: str) -> Iterator[None]:
    """Errors of a stream say whose they are."""

    def naming(act: Callable[..., Any]) -> Callable[..., Any]:
        def acting(*arguments: Any) -> Any:
            try:
                return act(*arguments)
            except OSError as error:
                error.filename = error.filename or name
                raise

        return acting

    for act in ("write", "flush"):
        setattr(stream, act, naming(getattr(stream, act)))
    try:
        yield
    finally:
        for act in ("write", "flush"):
            delattr(stream, act)


def _forget_output() -> None:
    """Where what was printed cannot be written, prevents that Python tries again in the end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(program: str, sentence: str, status: int) -> int:
    print(f"{program}: {one_line(sentence)}", file=sys.stderr)
    return status


class _End:
    """Ends the program so named in a sentence, whatever it does."""

    def __init__(self, program: str):
        self.program = program

    def __call__(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"{self.program}: interrupted\n".encode())
        os._exit(130)


def end_at_once(program: str) -> None:
    """Makes Ctrl-C end the program in a sentence that names it, until `at_work`.

    An interrupt in the midst of an import may be swallowed there, or leave half a library behind, which then
    crashes; nothing has been begun that would have to be tidied up. One that is ignored stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _End(program))


def at_work() -> None:
    """Makes Ctrl-C a KeyboardInterrupt again: from here on there is something to tidy up."""
    if isinstance(signal.getsignal(signal.SIGINT), _End):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Sends an interrupt anew where Python lost it in a callback: JAX has one in the garbage collector."""
    before = sys.unraisablehook

    def hook(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            asked = lost.exc_value.status - 128 if isinstance(lost.exc_value, Interrupted) else signal.SIGINT
            threading.Timer(LATER, _send, (signal.Signals(asked),)).start()
        else:
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _send(number: signal.Signals) -> None:
    if hasattr(signal, "pthread_kill"):  # wakes what waits, too
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(number)
