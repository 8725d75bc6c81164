"""A process monitor: how long programs take, and how much memory."""

import contextlib
import dataclasses
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from ser_jax.errors import UserError

INTERVAL = 0.02  # s between two measurements of the memory


class MonitorError(UserError):
    """A program that failed while it was measured."""


@dataclasses.dataclass(frozen=True)
class Process:
    """A new process, from its start to its end.

    Attributes:
      seconds: s.
      peak: MB (10^6 bytes), the largest sum of the resident memory of it and its descendants, with shared
        pages counted for each; None if it ended before the first measurement.
      anonymous: MB, the same without pages of mapped files (on Linux), which the system may take back.
    """

    seconds: float
    peak: float | None
    anonymous: float | None = None


def monitor_code(code: str, *arguments: Path | int | str) -> tuple[Process, str]:
    """Run Python code in a new process, as `monitor` runs a program."""
    return monitor([sys.executable, "-c", code, *map(str, arguments)])


def monitor(command: list[str]) -> tuple[Process, str]:
    """Run a program and measure its memory and that of its descendants.

    Returns: (measurement, the last line on standard output); standard error is shown.
    Raises: MonitorError if the program fails.
    """
    measured, done = [(0, 0)], threading.Event()

    def measure() -> None:
        while not done.wait(INTERVAL):
            measured.append(_memory(process.pid))

    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        thread = threading.Thread(target=measure)
        thread.start()
        try:
            output = process.communicate()[0]
            seconds = time.perf_counter() - start
        finally:
            done.set()
            thread.join()
    if process.returncode:
        raise MonitorError(f"a process ended with status {process.returncode}, expected 0 (see above)")
    peak, anonymous = (max(each) / 1e6 or None for each in zip(*measured, strict=True))
    return Process(seconds, peak, anonymous), (output.splitlines() or [""])[-1]


def _memory(pid: int) -> tuple[int, int]:
    """Return (resident, anonymous) bytes of a process and its descendants."""
    resident = anonymous = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):  # it has ended
                memory = one.memory_info()
                resident += memory.rss
                anonymous += memory.rss - getattr(memory, "shared", 0)
    return resident, anonymous
