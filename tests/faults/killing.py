"""Experiments that are killed, starved and disturbed must end as if nothing had happened.

    python tests/faults/killing.py --kills 200

Ends with status 1 where one ended otherwise than the undisturbed experiment.
"""

import argparse
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import disturbances
from laboratory import Laboratory

from ser_jax.checkpoint import Series


def die() -> None:
    """At once, without a word."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def at_renaming(of: str, after: bool) -> Callable[[], None]:
    """Dies when a file or folder whose new path holds `of` is put in its place: before, or after it is."""

    def disturbed() -> None:
        for name in ("rename", "replace"):

            def renamed(source, target, *rest, own, **named):
                wanted = of in str(target)
                if wanted and not after:
                    die()
                own(source, target, *rest, **named)
                if wanted:
                    die()

            setattr(os, name, functools.partial(renamed, own=getattr(os, name)))

    return disturbed


def while_saving(of: str, nth: int) -> Callable[[], None]:
    """Dies while the nth checkpoint in a folder whose path holds `of` is half written."""

    def disturbed() -> None:
        own, begun = Series.save, []

        def save(self, number, tree):
            if of in str(self._folder):
                begun.append(number)
                if len(begun) == nth:
                    if self._manager is not None:
                        self._manager.wait_until_finished()  # the one before
                    threading.Thread(target=_die_with, args=(self._folder,), daemon=True).start()
            own(self, number, tree)

        Series.save = save

    return disturbed


def _die_with(folder: Path) -> None:
    """As soon as something is half written."""
    while not half_written(folder):
        time.sleep(0)
    die()


def half_written(folder: Path) -> bool:
    """Whether a checkpoint is begun and not finished."""
    try:
        return any(place.is_file() for one in folder.glob("*checkpoint-tmp*") for place in one.rglob("*"))
    except FileNotFoundError:  # it is finished meanwhile
        return False


def after_closing(of: str) -> Callable[[], None]:
    """Dies when the checkpoints in a folder whose path holds `of` have all been finished."""

    def disturbed() -> None:
        own = Series.close

        def close(self):
            own(self)
            if of in str(self._folder):
                die()

        Series.close = close

    return disturbed


def at_removing(of: str) -> Callable[[], None]:
    """Dies when a folder whose path holds `of` is about to be removed."""

    def disturbed() -> None:
        own = shutil.rmtree

        def rmtree(path, *rest, **named):
            if of in str(path):
                die()
            own(path, *rest, **named)

        shutil.rmtree = rmtree

    return disturbed


WRITING = {
    "a stack's first checkpoint is half written": while_saving("stack-0", 1),
    "another stack's second checkpoint is half written": while_saving("stack-1", 2),
    "a model is half written": while_saving("models", 1),
}
CHOSEN: dict[str, Callable[[], None]] = {
    "the protocol is about to appear": at_renaming("protocol.json", False),
    "the folder was just taken": at_renaming("running.json", True),
    **WRITING,
    "a checkpoint's folder is about to be put in its place": at_renaming("stack-1", False),
    "a checkpoint's folder was put in its place": at_renaming("stack-1", True),
    "a stack was just trained": after_closing("stack-0"),
    "training is about to be stored": at_renaming("training/", False),
    "predictions are about to be stored": at_renaming("predictions/finetuned", False),
    "predictions were just stored": at_renaming("predictions/crosslingual", True),
    "unfinished work is about to be forgotten": at_removing("unfinished"),
    "the table is about to appear": at_renaming("finetuning.csv", False),
    "a figure was just drawn": at_renaming("finetuning.png", True),
    "the page is about to appear": at_renaming("report.html", False),
}


def kills(lab: Laboratory, count: int, seed: int) -> list[dict[str, Any]]:
    """Kills experiments so many times, each until it ends after all, and says when.

    Every chosen moment once, and between them random ones, uniformly over an undisturbed experiment.
    """
    draw, done, number = random.Random(seed), [], 0
    chosen = list(CHOSEN.items())[:count]
    while len(done) < count:
        name, one = f"killed-{number}", []
        number += 1
        while len(done) + len(one) < count:
            fresh = not one
            left = count - len(done) - len(one)
            if chosen and (fresh or left <= len(chosen) or draw.random() < 0.5):
                moment, disturbed = chosen.pop(0)
                ended = lab.ended(name, disturbed=disturbed)
            else:
                delay = draw.uniform(0, lab.seconds)
                moment = f"{delay:.3f} s after its start"
                child = lab.start(name)
                time.sleep(delay)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                ended = lab.wait(child, lab.log(name))
            if ended.status == -signal.SIGKILL:
                one.append(moment)
                half = any(map(half_written, {file.parent for file in (lab.folder / name).rglob("*tmp*")}))
                assert moment not in WRITING or half, f"nothing was half written: {moment}"
            elif ended.status == 0 and moment in CHOSEN and not fresh:
                chosen.append((moment, disturbed))  # another experiment will come to it
                break
            elif ended.status == 0 and moment not in CHOSEN:
                break
            else:
                raise AssertionError(f"after {one}, killed when {moment}: {ended}")
        else:
            lab.run(name)
        if one:
            lab.same(name)
        done += [{"experiment": name, "moment": moment} for moment in one]
        shutil.rmtree(lab.folder / name)
        print(f"{len(done)} kills, all the same", file=sys.stderr)
    return done


@contextlib.contextmanager
def laboratory() -> Iterator[Laboratory]:
    """A laboratory in a folder that goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Laboratory(Path(folder))


def main() -> int:
    """Kills, and says what was done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="(default: 200)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the random moments (default: 0)")
    parser.add_argument("--faults", action="store_true", help="all other faults, too")
    options = parser.parse_args()
    with laboratory() as lab:
        said = {name: _tried(fault, lab) for name, fault in disturbances.FAULTS.items() if options.faults}
        done = kills(lab, options.kills, options.seed)
    print(json.dumps({"seconds": lab.seconds, "kills": done, "faults": said}))
    return 1 if any(one and not one.startswith("not tried") for one in said.values()) else 0


def _tried(fault: Callable[[Laboratory], None], lab: Laboratory) -> str:
    """What is wrong; empty where all is as it should be."""
    try:
        fault(lab)
    except unittest.SkipTest as reason:
        return f"not tried: {reason}"
    except (AssertionError, TimeoutError) as error:
        return str(error) or repr(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
