"""The same work on many things at once, in order, by as many processes as wanted."""

import collections
import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from ser_jax import host
from ser_jax.errors import UserError

CHUNK = 32  # things a worker takes at a time
MOST = 1024  # workers; no machine gains by more, and each takes 200 MB
SMALL = 128  # things; below, starting processes costs more than it saves

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerError(UserError):
    """A number of workers that cannot be, or a worker process that did not start, or died."""


def how_many(asked: int | None) -> int:
    """As many workers as are asked for, or as there are cores for this process.

    Raises: WorkerError where there would be none, or more than any machine has use for.
    """
    if asked is None:
        return host.cores()
    if asked < 1:
        raise WorkerError(f"{asked} workers, expected at least 1")
    if asked > MOST:
        raise WorkerError(f"{asked} workers, expected {MOST:,} at most")
    return asked


def in_order(
    do: Callable[[Item], Result], items: Sequence[Item], workers: int, label: str
) -> Generator[Result, None, None]:
    """Does every item and yields the results in their order, the same for any number of workers.

    Args:
      do: picklable; runs in processes that import nothing but what it needs.
      workers: processes; few items are done by this one alone.
      label: what the progress bar on standard error is called.
    Raises: what `do` raises; WorkerError.
    """
    with tqdm(total=len(items), desc=label, unit=" utt", file=sys.stderr, mininterval=0.5) as bar:
        done = map(do, items) if workers == 1 or len(items) < SMALL else _pooled(do, items, workers)
        for result in done:
            yield result
            bar.update()


def _pooled(do: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    chunks = (items[i : i + CHUNK] for i in range(0, len(items), CHUNK))
    ahead: collections.deque[Future[list[Result]]] = collections.deque()
    with _one_thread_each():
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))

        def submit(count: int) -> None:
            with _deaf_to_interrupts():
                ahead.extend(pool.submit(_chunk, do, chunk) for chunk in itertools.islice(chunks, count))

        try:
            submit(2 * workers)
            while ahead:
                yield from ahead.popleft().result()
                submit(1)
        except BrokenProcessPool as error:
            raise WorkerError(
                "a worker process died, for lack of memory or because a script does not guard its calls by "
                "`if __name__ == '__main__':`; expected it to live, or workers=1"
            ) from error
        finally:
            with _deaf_to_interrupts():  # a second Ctrl-C would leave workers that nobody waits for
                pool.shutdown(wait=True, cancel_futures=True)


def _chunk(do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [do(item) for item in items]


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A process started in here never hears Ctrl-C; this one hears it on leaving, and answers for all.

    What a process inherits is the mask. It does not keep this process from hearing: Python calls the handler
    also when another thread, like that of a progress bar, received the signal.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    heard: list[bool] = []
    answers = threading.current_thread() is threading.main_thread()  # no other may set handlers
    if answers:
        handler = signal.signal(signal.SIGINT, lambda *_: heard.append(True))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if answers:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
        if heard:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """BLAS reads these once, when a worker starts; without them the workers fight for the cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
