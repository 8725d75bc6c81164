"""How scripts end; Ctrl-C, SIGTERM, a terminal that closes: the first ends training after the epoch."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from ser_jax import ending
from ser_jax.errors import Interrupted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
HANDLED = 0x80  # marks what a handler says, beside what the system does


class Stop:
    """Whether somebody wants the program to end.

    Attributes:
      asked: the signal that said so; None while none has.
      nothing_to_lose: whether all that this process trained is saved.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.nothing_to_lose = True


def end(script: str, work: Callable[[], int | None]) -> NoReturn:
    """Does the work of a script that trains nothing, and ends the program as `ending.guarded` says."""
    ending.at_work()
    sys.exit(ending.guarded(f"experiments.{script}", work, "interrupted"))


@contextlib.contextmanager
def stopping(say: Callable[[str], None], hosts: int) -> Iterator[Stop]:
    """Until the block ends the first signal is only noted, for whoever looks; the second ends the process.

    While XLA computes, Python runs no handler, which is the main thread's: a thread reads what the system
    writes of signals into a pipe. While a library runs an event loop, which may put a pipe of its own in that
    place, it is the handler that tells the thread. A signal that is ignored (by `nohup`, say) stays so.

    Args:
      say: told what a signal leads to, from that thread.
      hosts: that work together; of several one with nothing to lose ends at once: it may wait for others.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield stop
        return
    listening, told = os.pipe()
    os.set_blocking(told, False)

    def handle(number: int, _: object) -> None:
        os.write(told, bytes([number | HANDLED]))

    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, handle) for number in heard}
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(listening, stop, say, hosts), daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(told)
        watcher.join()
        os.close(listening)


def end_on_sigterm() -> None:
    """Makes SIGTERM end the program as Ctrl-C does, its own status aside."""

    def end(number: int, _: object) -> None:
        raise Interrupted("terminated; the same command goes on from what is stored", number)

    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, end)


def _watch(listening: int, stop: Stop, say: Callable[[str], None], hosts: int) -> None:
    """Counts signals: each is told by the system, by the handler, or by both, one after the other."""
    by_system = by_handler = 0
    while told := os.read(listening, 1):
        number = told[0] & ~HANDLED
        if number not in SIGNALS:
            continue
        by_handler += bool(told[0] & HANDLED)
        by_system += not told[0] & HANDLED
        if max(by_system, by_handler) > 1 or (hosts > 1 and stop.nothing_to_lose):
            with contextlib.suppress(OSError):  # the terminal may be gone
                say("stopped at once; the same command goes on from what was saved last")
            os._exit(128 + number)
        if stop.asked is None:
            stop.asked = number
            with contextlib.suppress(OSError):
                say("ending after this epoch, which is saved; once more ends at once, losing what was not")
