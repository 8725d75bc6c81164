"""What else can happen to an experiment, one function each: it is refused or mended, and goes on."""

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest
from collections.abc import Callable
from pathlib import Path

from damages import DAMAGES
from laboratory import Ended, Laboratory, begun, ends_well, refused, until

from experiments import harness
from experiments.report import main as report


def a_full_disk(lab: Laboratory) -> None:
    """No file may grow beyond so many bytes: at first nothing fits, then no checkpoint, then no figure."""
    name = "full"
    for limit in (0, 200, 20_000, 400_000):

        def starved(limit=limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        # The child's own log is a file as well: it goes through a pipe.
        listening, told = os.pipe()
        child = lab.start(name, disturbed=lambda: (_speak_through(told), starved()))  # noqa: B023
        os.close(told)
        with os.fdopen(listening) as log:
            said = log.read()
        # Under a quota, which cannot be asked about, TensorStore's threads say that their loop is closed.
        ours = said.replace(
            "Traceback", "", said.count("Event loop is closed") or said.count("_check_closed")
        )
        refused(Ended(lab.wait(child, lab.log(name)).status, ours), "File too large")
    ends_well(lab, name)


def _speak_through(told: int) -> None:
    os.dup2(told, 2)
    sys.stdout = sys.stderr = os.fdopen(told, "w", buffering=1)


def a_small_file_system(lab: Laboratory) -> None:
    """The disk is really full, or may only be read."""
    place = lab.folder / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        raise unittest.SkipTest("nobody may mount one here")
    try:
        refused(lab.ended("small/out"), "No space left on device")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        refused(lab.ended("small/out"), "Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw,size=100m", str(place)], check=True)
        ends_well(lab, "small/out")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def a_place_that_cannot_be_written(lab: Laboratory) -> None:
    """Said before anything is trained."""
    refused(lab.ended("x", "--out", "/proc/nowhere"), "/proc/nowhere")
    barred = lab.folder / "barred"
    barred.mkdir()
    if os.geteuid():
        barred.chmod(0o555)
        refused(lab.ended("barred/out"), "Permission denied")


def two_processes(lab: Laboratory) -> None:
    """The second is refused with the first's number, a table of the same folder as well."""
    out = lab.folder / "shared"
    first = lab.start("shared")
    until(lambda: (out / "protocol.json").exists())
    os.kill(first, signal.SIGSTOP)
    second = lab.wait(lab.start("shared/../shared"), lab.log("shared/../shared"))
    log = lab.folder / "report.log"
    table = lab.wait(lab.fork(lambda: report([str(out)]), log), log)
    os.kill(first, signal.SIGCONT)
    refused(
        second, f"is in use by process {first} on ", "since 2", "wait for it, end it, or choose another --out"
    )
    assert table.status == 2, table
    assert f"is in use by process {first}" in table.said, table
    assert lab.wait(first, lab.folder / "shared.log").status == 0
    assert not (out / "running.json").exists()
    lab.same("shared")


def a_process_that_is_gone(lab: Laboratory) -> None:
    """Its note is recognised as stale, whatever process has its number now."""
    begun(lab, "gone", 2)
    note = lab.folder / "gone" / "running.json"
    number = json.loads(note.read_text())["process"]
    note.write_text(note.read_text().replace(str(number), str(os.getpid())))
    said = ends_well(lab, "gone").said
    assert f"process {os.getpid()} was ended here; going on from what it stored" in said, said


def asked_to_end(lab: Laboratory) -> None:
    """SIGTERM and Ctrl-C end it after the epoch, saved; a second one at once."""
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        child = lab.start("asked")
        until(lambda: "crosslingual" in lab.said("asked"))
        os.kill(child, number)
        ended = lab.wait(child, lab.log("asked"))
        assert ended.status == status, ended
        assert "ending after this epoch, which is saved; once more ends at once" in ended.said, ended.said
        assert "which is saved; the same command goes on from there" in ended.said, ended.said
        assert "Traceback" not in ended.said
        assert not (lab.folder / "asked" / "running.json").exists()
    session = json.loads((lab.folder / "asked" / "protocol.json").read_text())["sessions"][-1]
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
    assert "stopped at once; the same command goes on from what was saved last" in ended.said, ended.said
    ends_well(lab, "asked")


def _slow(begun: Path) -> None:
    """Epochs that take a minute in which Python's main thread hears nothing."""
    from ser_jax import train

    own = train.epoch

    def epoch(*rest):
        begun.touch()
        ctypes.CDLL(None).sleep(60)
        return own(*rest)

    train.epoch = epoch


def numbers_that_are_not_finite(lab: Laboratory) -> None:
    """One run of the two that refine is poisoned: its cell says so, the other is as ever."""

    def poisoned() -> None:
        own = harness.a_run

        def a_run(pool, mode, job, plan):
            run = own(pool, mode, job, plan)
            chosen = plan.fold == 1 and job.train == ("synthetic_en",)
            return run._replace(scale=run.scale * float("nan")) if chosen else run

        harness.a_run = a_run

    ended = lab.ended("poisoned", disturbed=poisoned)
    assert ended.status == 1, ended
    lost = "arousal, fold 2, seed 0 was stopped in epoch 1, step 1, where its numbers were not finite"
    assert f"finetuned synthetic_en>synthetic_fr: {lost}" in ended.said, ended.said
    assert "are left out: finetuned-synthetic_en-synthetic_fr." in ended.said, ended.said
    table = (lab.folder / "poisoned" / "finetuning.md").read_text()
    reason = "no seed is whole (seed 0 in epoch 1, step 1 of fold 2)"
    assert f"Not computed: finetuned, synthetic_fr arousal: {reason}." in table, table
    assert "nan" not in table
    found = lab.outcome("poisoned")
    same = [name for name in found if name.startswith("predictions/") and found[name] == lab.wanted[name]]
    assert len(same) == len([name for name in found if name.startswith("predictions/")]) - 1
    again = lab.ended("poisoned")
    assert again.status == 1, again
    assert "holds these results already" in again.said


FAULTS: dict[str, Callable[[Laboratory], None]] = {
    fault.__name__: fault
    for fault in (
        *DAMAGES, a_full_disk, a_small_file_system, a_place_that_cannot_be_written, two_processes,
        a_process_that_is_gone, asked_to_end, numbers_that_are_not_finite,
    )
}  # fmt: skip
