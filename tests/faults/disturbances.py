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

from laboratory import Ended, Laboratory

from experiments import harness
from experiments.report import main as report
from ser_jax.checkpoint import Series

STACK = "unfinished/crosslingual-synthetic_en-synthetic_fr/host-0/stack-0"


def refused(ended: Ended, *sentences: str) -> None:
    """Status 2, and one sentence that says all of this."""
    assert ended.status == 2, ended
    assert "Traceback" not in ended.said, ended.said
    last = ended.said.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("experiments.finetuning: "), ended.said
    for sentence in sentences:
        assert sentence in last, (sentence, last)


def ends_well(lab: Laboratory, name: str) -> Ended:
    """It goes on to the same end."""
    ended = lab.run(name)
    lab.same(name)
    return ended


def until(there: Callable[[], bool]) -> None:
    """Waits for it."""
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def begun(lab: Laboratory, name: str, after: int) -> Path:
    """An experiment that was killed once its first stack had been saved so often; the stack's folder."""

    def disturbed() -> None:
        own = Series.save

        def save(self, number, tree):
            if number > after and "stack-0" in str(self._folder):
                self.close()  # the ones before are finished
                os.kill(os.getpid(), signal.SIGKILL)
            own(self, number, tree)

        Series.save = save

    assert lab.ended(name, disturbed=disturbed).status == -signal.SIGKILL
    place = lab.folder / name / STACK
    assert sorted(one.name for one in place.iterdir()) == [str(after - 1), str(after)]
    return place


def cut(checkpoint: Path) -> None:
    """Halves every file of its arrays."""
    for file in [file for file in (checkpoint / "arrays").rglob("*") if file.is_file()]:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def a_damaged_checkpoint(lab: Laboratory) -> None:
    """The one before is taken, and it is said."""
    place = begun(lab, "damaged", 4)
    cut(place / "4")
    said = ends_well(lab, "damaged").said
    assert f"{STACK}/4 is damaged" in said, said
    assert "stack 1 goes on after epoch 3 of 5" in said, said
    assert "Traceback" not in said, said


def all_checkpoints_damaged(lab: Laboratory) -> None:
    """The stack is trained again."""
    place = begun(lab, "all-damaged", 3)
    cut(place / "2")
    cut(place / "3")
    said = ends_well(lab, "all-damaged").said
    assert f"{STACK}/3 is damaged" in said, said
    assert f"{STACK}/2 is damaged" in said, said
    assert "stack 1 is trained again" in said, said


def a_damaged_note(lab: Laboratory) -> None:
    """Of which stacks it is unknown what they are, these are trained again."""
    place = begun(lab, "no-note", 3)
    (place.parent / "stacks.json").write_text('{"what": {')
    assert "stacks.json is lost or damaged" in ends_well(lab, "no-note").said


def another_configuration(lab: Laboratory) -> None:
    """What was begun otherwise is refused, with what differs, and is not touched."""
    place = begun(lab, "otherwise", 3)
    ended = lab.ended("otherwise", "--stacking", "vmap")
    other = "unfinished work of another configuration (training stacking: auto there, vmap asked for)"
    refused(ended, str(place.parent), other, "compute with the same, or delete it")
    note = place.parent / "stacks.json"
    content = json.loads(note.read_text())
    content["what"]["model"]["channels"] = 100
    note.write_text(json.dumps(content))
    refused(lab.ended("otherwise"), "(model channels: 100 there, 200 asked for)")
    content["what"]["model"]["channels"] = 200
    note.write_text(json.dumps(content))
    ends_well(lab, "otherwise")


def another_computer(lab: Laboratory) -> None:
    """What another version or device began is taken up, and it is said."""
    place = begun(lab, "elsewhere", 3)
    note = place.parent / "stacks.json"
    content = json.loads(note.read_text())
    content["by"]["jax"] = "0.9"
    note.write_text(json.dumps(content))
    said = ends_well(lab, "elsewhere").said
    assert "was begun otherwise (jax: 0.9 there, " in said, said
    assert "results may differ by rounding" in said, said


def arrays_of_another_shape(lab: Laboratory) -> None:
    """A checkpoint that does not fit its note."""
    place = begun(lab, "shapes", 2)

    def forge() -> int:
        shutil.rmtree(place)
        with Series(place) as series:
            series.save(2, {"state": {"params": {"bias": 0.0}}})
        return 0

    lab.do(forge)
    refused(
        lab.ended("shapes"), "stack-0/2 is of another configuration", "losses none, expected float32 [5, 1]"
    )
    shutil.rmtree(place)
    ends_well(lab, "shapes")


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
        a_damaged_checkpoint, all_checkpoints_damaged, a_damaged_note, another_configuration,
        another_computer, arrays_of_another_shape, a_full_disk, a_small_file_system,
        a_place_that_cannot_be_written, two_processes, a_process_that_is_gone, asked_to_end,
        numbers_that_are_not_finite,
    )
}  # fmt: skip
