"""What else can happen to an experiment, one function each: it is refused or mended, and ends as ever."""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from laboratory import Ended, Laboratory, refused, until

from ser_jax.report import rewrite
from ser_jax.shutdown import run_cli


def full_disk(lab: Laboratory) -> None:
    """No file may grow beyond so many bytes: at first nothing fits, then no checkpoint, then no page."""
    for limit in (0, 200, 20_000, 70_000):
        listening, told = os.pipe()  # the child's own log is a file as well: it goes through a pipe

        def starved(limit: int = limit, told: int = told) -> None:
            os.dup2(told, 2)
            sys.stdout = sys.stderr = os.fdopen(told, "w", buffering=1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        child = lab.start("full", disturbed=starved)
        os.close(told)
        with os.fdopen(listening) as log:
            said = log.read()
        refused(Ended(lab.wait(child, lab.log("full")).status, said), "File too large")
    lab.ends_well("full")


def two_processes(lab: Laboratory) -> None:
    """The second is refused with the first's number, and so is a report of the same folder."""
    out = lab.folder / "shared"
    first = lab.start("shared")
    until(lambda: (out / "config.json").exists())
    os.kill(first, signal.SIGSTOP)
    second = lab.ended("shared/../shared")
    log = lab.folder / "report.log"
    table = lab.wait(lab.fork(lambda: run_cli("experiments.report", lambda: rewrite(out) and 0), log), log)
    os.kill(first, signal.SIGCONT)
    remedy = "wait for it, end it, or choose another --out"
    refused(second, f"is in use by process {first} on ", remedy)
    assert table.status == 2, table
    assert f"is in use by process {first}" in table.said, table
    assert lab.wait(first, lab.folder / "shared.log").status == 0
    assert not (out / "running.txt").exists()
    lab.same("shared")


def request_to_end(lab: Laboratory) -> None:
    """SIGTERM and Ctrl-C end it after the epoch, saved; a second one at once."""
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        child = lab.start("asked")
        until(lambda: "crosslingual" in lab.said("asked"))
        os.kill(child, number)
        ended = lab.wait(child, lab.log("asked"))
        assert ended.status == status, ended
        assert "ending after this epoch, which is saved; once more ends at once" in ended.said, ended
        assert "which is saved; the same command goes on from there" in ended.said, ended
        assert "Traceback" not in ended.said
        assert not (lab.folder / "asked" / "running.txt").exists()
    session = json.loads((lab.folder / "asked" / "config.json").read_text())["sessions"][-1]
    assert session["finished"] is False
    assert session["seconds"] > 0
    slow = lab.folder / "slow"
    child = lab.start("asked", disturbed=lambda: _slow(slow))
    until(slow.exists)
    os.kill(child, signal.SIGINT)
    until(lambda: "ending after" in lab.said("asked"))
    before = time.monotonic()
    os.kill(child, signal.SIGINT)
    ended = lab.wait(child, lab.log("asked"))
    assert ended.status == 130, ended
    assert time.monotonic() - before < 5
    assert "stopped at once; the same command continues" in ended.said, ended
    lab.ends_well("asked")


def _slow(begun: Path) -> None:
    """Make epochs take a minute in which Python's main thread handles no signal."""
    from ser_jax import train

    own = train.epoch

    def epoch(*rest: Any) -> Any:
        begun.touch()
        ctypes.CDLL(None).sleep(60)
        return own(*rest)

    train.epoch = epoch


FAULTS: dict[str, Callable[[Laboratory], None]] = {
    fault.__name__: fault for fault in (full_disk, two_processes, request_to_end)
}
