"""Kill, starve and disturb experiments, which must end as if nothing had happened.

    python tests/faults/killing.py 200    # of the kills at random moments

Raises an error if one ended otherwise than the undisturbed experiment.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from laboratory import FIRST, Laboratory

from ser_jax import checkpoint, report
from ser_jax.experiment import run


def die() -> None:
    """Die at once, without a word."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def replaced(owner: Any, names: str, make: Callable[[Any], Any]) -> None:
    """Replace functions by what is made of them."""
    for name in names.split():
        setattr(owner, name, make(getattr(owner, name)))


def at_renaming(of: str, after: bool) -> Callable[[], None]:
    """Die when a file or folder whose new path holds `of` is put in its place: before, or after it is."""

    def make(own: Any) -> Any:
        def renamed(source: Any, target: Any, *rest: Any, **named: Any) -> None:
            wanted = of in str(target)
            if wanted and not after:
                die()
            own(source, target, *rest, **named)
            if wanted:
                die()

        return renamed

    return lambda: replaced(os, "rename replace", make)


def while_saving(of: str, nth: int) -> Callable[[], None]:
    """Die while the nth checkpoint whose path holds `of` is half written."""
    begun: list[Path] = []

    def make(own: Any) -> Any:
        def write_json(out: Path, *rest: Any, **options: Any) -> None:
            begun.extend([out] if of in str(out) else [])
            if of in str(out) and len(begun) == nth:
                die()
            own(out, *rest, **options)

        return write_json

    return lambda: replaced(checkpoint, "write_json", make)


def at_removing(of: str) -> Callable[[], None]:
    """Die when a folder whose path holds `of` is about to be removed."""

    def make(own: Any) -> Any:
        def rmtree(path: Any, *rest: Any, **named: Any) -> None:
            if of in str(path):
                die()
            own(path, *rest, **named)

        return rmtree

    return lambda: replaced(shutil, "rmtree", make)


CHOSEN: dict[str, Callable[[], None]] = {  # in the order in which an experiment comes to them
    "the configuration is about to appear": at_renaming("config.json", False),
    "the configuration just appeared": at_renaming("config.json", True),
    "a stack's first checkpoint is half written": while_saving("stack-0", 1),
    "a stack was just trained": at_renaming("stack-0/3", True),
    "a model is half written": while_saving("models", 1),
    "a training log is about to be stored": at_renaming("training/", False),
    "predictions were just stored": at_renaming(f"predictions/{FIRST}", True),
    "unfinished work is about to be discarded": at_removing("unfinished"),
    "another stack's second checkpoint is half written": while_saving("stack-1", 2),
    "a checkpoint is about to be put in its place": at_renaming("stack-1", False),
    "a checkpoint was put in its place": at_renaming("stack-1", True),
    "predictions are about to be stored": at_renaming("predictions/finetuned", False),
    "the table is about to appear": at_renaming("finetuning.csv", False),
    "a figure was just drawn": at_renaming("finetuning.png", True),
    "the page is about to appear": at_renaming("report.html", False),
}


def kill_at_chosen_moments(lab: Laboratory) -> None:
    """Kill an experiment at every chosen moment, one after the other."""
    for moment, disturbed in CHOSEN.items():
        ended = lab.wait(lab.start("chosen", disturbed), "chosen")
        assert ended.status == -signal.SIGKILL, f"not killed when {moment}: {ended}"
        half = list((lab.folder / "chosen").rglob(".*.incomplete/arrays"))
        assert half or "half written" not in moment, f"nothing was half written: {moment}"
    lab.ends_well("chosen")


def kill_at_random(lab: Laboratory, count: int) -> None:
    """Kill experiments so many times, each until it ends after all, uniformly over an undisturbed one."""
    draw, done, number = random.Random(0), 0, 0
    while done < count:
        name, status = f"killed-{number}", -signal.SIGKILL
        while done < count and status == -signal.SIGKILL:
            child = lab.start(name)
            time.sleep(draw.uniform(0, lab.seconds))
            os.kill(child, signal.SIGKILL)
            status = lab.wait(child, name).status
            assert status in (0, -signal.SIGKILL), lab.said(name)
            done += status == -signal.SIGKILL
        lab.ends_well(name)
        shutil.rmtree(lab.folder / name)
        number += 1
        print(f"{done} random kills, all to the same bits")


def full_disk(lab: Laboratory) -> None:
    """The disk is full, so that no file can grow, from the start, the first checkpoint or the page on."""
    for owner, name in ((run, "run"), (checkpoint, "save"), (report, "write_page")):
        listening, told = os.pipe()  # the child's own log is a file as well: it goes through a pipe

        def make(own: Any) -> Any:
            def full(*given: Any, **options: Any) -> Any:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
                return own(*given, **options)

            return full

        def starved(owner: Any = owner, name: str = name, told: int = told) -> None:
            os.dup2(told, 2)
            sys.stdout = sys.stderr = os.fdopen(told, "w", buffering=1)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            replaced(owner, name, make)

        child = lab.start("full", starved)
        os.close(told)
        with os.fdopen(listening) as log:
            said = log.read()
        assert lab.wait(child, "full").status == 2, said
        last = said.replace("\r", "\n").strip().splitlines()[-1]
        assert last.startswith("experiments."), said
        assert "File too large" in last
        assert "Traceback" not in said, said
    lab.ends_well("full")


def request_to_end(lab: Laboratory) -> None:
    """SIGTERM and Ctrl-C end it after the epoch, which is saved."""
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        child = lab.start("asked")
        deadline = time.monotonic() + 60
        while "crosslingual" not in lab.said("asked"):
            assert time.monotonic() < deadline, lab.said("asked")
            time.sleep(0.005)
        os.kill(child, number)
        ended = lab.wait(child, "asked")
        assert ended.status == status, ended
        assert "stopping after this epoch, which is saved; a second signal stops at once" in ended.said, ended
        assert "which is saved; run the same command to resume" in ended.said, ended
        assert "Traceback" not in ended.said
        assert not (lab.folder / "asked" / "running.txt").exists()
    session = json.loads((lab.folder / "asked" / "config.json").read_text())["sessions"][-1]
    assert session["finished"] is False
    assert session["seconds"] > 0
    lab.ends_well("asked")


def main() -> None:
    """Kill and disturb."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(Path(folder))
        full_disk(lab)
        request_to_end(lab)
        kill_at_chosen_moments(lab)
        kill_at_random(lab, int(sys.argv[1]))


if __name__ == "__main__":
    main()
