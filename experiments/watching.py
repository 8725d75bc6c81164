"""Programs that are looked at while they run: how long they take, and how much memory."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from ser_jax.errors import UserError

INTERVAL = 0.02  # s between two looks at the memory


class WatchError(UserError):
    """A program that failed while it was measured."""


@dataclasses.dataclass(frozen=True)
class Process:
    """A fresh process, from its start to its end.

    Attributes:
      seconds: s.
      peak: MB (10^6 bytes), the largest sum of the resident memory of it and of all it started; pages that
        they share count for each. None where there is no /proc to ask.
      anonymous: MB, the same without pages of mapped files, which the system takes back when it needs them.
    """

    seconds: float
    peak: float | None
    anonymous: float | None = None


def watch(code: str, *arguments: Path | int | str) -> tuple[Process, str]:
    """Runs Python code in a fresh process, as `watch_command` runs a program."""
    return watch_command([sys.executable, "-c", code, *map(str, arguments)])


def watch_command(command: list[str]) -> tuple[Process, str]:
    """Runs a program and looks at the memory of it and its children all the while.

    Returns: (what was measured, the last line it printed); what it writes to standard error is shown.
    Raises: WatchError where it fails.
    """
    seen, done = [(0, 0)], threading.Event()

    def look() -> None:
        while not done.wait(INTERVAL):
            seen.append(memory(process.pid))

    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        looking = threading.Thread(target=look)
        looking.start()
        try:
            output = process.communicate()[0]
            seconds = time.perf_counter() - start
        finally:
            done.set()
            looking.join()
    if process.returncode:
        raise WatchError(f"a process ended with status {process.returncode}, expected 0 (see above)")
    peak, anonymous = (max(each) / 1e6 or None for each in zip(*seen, strict=True))
    return Process(seconds, peak, anonymous), (output.splitlines() or [""])[-1]


def memory(pid: int) -> tuple[int, int]:
    """Memory of a process and of all that descend from it, bytes; 0 where there is no /proc.

    Returns: (resident; of that, what no file backs).
    """
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        # The name of a command may hold blanks and parentheses: what follows the last one is numbers.
        with contextlib.suppress(OSError):  # it has ended
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    resident = anonymous = 0
    for member in family:
        with contextlib.suppress(OSError):
            _, pages, filed, *_ = map(int, Path(f"/proc/{member}/statm").read_text().split())
            resident, anonymous = resident + pages, anonymous + pages - filed
    return resident * os.sysconf("SC_PAGE_SIZE"), anonymous * os.sysconf("SC_PAGE_SIZE")
