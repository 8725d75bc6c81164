"""A function applied to many items by several processes, in order."""

import collections
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from tqdm import tqdm

from ser_jax import devices
from ser_jax.errors import UserError

CHUNK = 32  # items a worker takes at a time
MOST = 1024  # workers; no machine gains by more, and each takes 200 MB
SMALL = 128  # items; below, starting processes costs more than it saves
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # else workers fight for the cores

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerError(UserError):
    """An impossible number of workers, or a worker process that did not start or died."""


def how_many(requested: int | None) -> int:
    """Return the number of workers requested, or of this process's cores if that is None.

    Raises: WorkerError if it is below 1 or above `MOST`.
    """
    count = devices.cores() if requested is None else requested
    if not 1 <= count <= MOST:
        raise WorkerError(f"{count} workers, expected {'at least 1' if count < 1 else f'{MOST:,} at most'}")
    return count


def in_order(
    do: Callable[[Item], Result], items: Sequence[Item], workers: int, label: str
) -> Generator[Result, None, None]:
    """Yield `do(item)` for every item in order, the same for any number of workers.

    Args:
      do: picklable, sent to each process once.
      workers: number of processes; few items are done in this one.
      label: of the progress bar on standard error.
    Raises: what `do` raises; WorkerError.
    """
    with tqdm(total=len(items), desc=label, unit=" utt", file=sys.stderr, mininterval=0.5) as bar:
        done = map(do, items) if workers == 1 or len(items) < SMALL else _pooled(do, items, workers)
        for result in done:
            yield result
            bar.update()


def _pooled(do: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    ahead: collections.deque[Future[list[Result]]] = collections.deque()
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_initialize, initargs=(do,))
    try:
        for first in range(0, len(items), CHUNK):
            with _starting():
                ahead.append(pool.submit(_chunk, items[first : first + CHUNK]))
            if len(ahead) > 2 * workers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process died, for lack of memory or because a script does not guard its calls by "
            "`if __name__ == '__main__':`; expected it to live, or workers=1"
        ) from error
    finally:
        with _starting():  # a second Ctrl-C would leave workers running
            pool.shutdown(wait=True, cancel_futures=True)


_do: Callable[[Any], Any]  # of this worker process


def _initialize(do: Callable[[Any], Any]) -> None:
    global _do
    _do = do


def _chunk(items: Sequence[Any]) -> list[Any]:
    return [_do(item) for item in items]


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Defer Ctrl-C, which processes started here ignore; they use one thread each.

    They inherit the mask. The handler must be replaced as well, since Python calls it also when another
    thread, like that of a progress bar, received the signal.
    """
    received: list[bool] = []
    main = threading.current_thread() is threading.main_thread()  # no other thread may set handlers
    handler = signal.signal(signal.SIGINT, lambda *_: received.append(True)) if main else None
    masked = hasattr(signal, "pthread_sigmask")  # not on Windows
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masked else set()
    before = {name: os.environ[name] for name in ONE_THREAD if name in os.environ}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name in ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if main:
            signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
        if received:
            signal.raise_signal(signal.SIGINT)
