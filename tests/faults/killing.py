"""Experiments that are killed, starved and disturbed must end as if nothing had happened.

    python tests/faults/killing.py --kills 200

Ends with status 1 if one ended otherwise than the undisturbed experiment.
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import disturbances
from laboratory import FIRST, Laboratory

from ser_jax import checkpoint


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


WRITING = {
    "a stack's first checkpoint is half written": while_saving("stack-0", 1),
    "another stack's second checkpoint is half written": while_saving("stack-1", 2),
    "a model is half written": while_saving("models", 1),
}
CHOSEN: dict[str, Callable[[], None]] = {
    "the configuration is about to appear": at_renaming("config.json", False),
    "the configuration just appeared": at_renaming("config.json", True),
    **WRITING,
    "a checkpoint is about to be put in its place": at_renaming("stack-1", False),
    "a checkpoint was put in its place": at_renaming("stack-1", True),
    "a stack was just trained": at_renaming("stack-0/5", True),
    "a training log is about to be stored": at_renaming("training/", False),
    "predictions are about to be stored": at_renaming("predictions/finetuned", False),
    "predictions were just stored": at_renaming(f"predictions/{FIRST}", True),
    "unfinished work is about to be discarded": at_removing("unfinished"),
    "the table is about to appear": at_renaming("finetuning.csv", False),
    "a figure was just drawn": at_renaming("finetuning.png", True),
    "the page is about to appear": at_renaming("report.html", False),
}


def kills(lab: Laboratory, count: int, seed: int) -> list[str]:
    """Kill experiments so many times, each until it ends after all; return at which moments.

    Every chosen moment once, and between them random ones, uniformly over an undisturbed experiment.
    """
    draw, done = random.Random(seed), []
    chosen = list(CHOSEN.items())[:count]
    for number in range(10 * count):
        name, one = f"killed-{number}", []
        while len(done) + len(one) < count:
            left = count - len(done) - len(one)
            if chosen and (not one or left <= len(chosen) or draw.random() < 0.5):
                moment, disturbed = chosen.pop(0)
                ended = lab.ended(name, disturbed=disturbed)
            else:
                moment, delay = "at random", draw.uniform(0, lab.seconds)
                child = lab.start(name)
                time.sleep(delay)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                ended = lab.wait(child, lab.log(name))
            if ended.status == -signal.SIGKILL:
                half = list((lab.folder / name).rglob(".*.incomplete/arrays"))
                assert moment not in WRITING or half, f"nothing was half written: {moment}"
                one.append(moment)
            elif ended.status == 0 and (one or moment not in CHOSEN):
                if moment in CHOSEN:
                    chosen.append((moment, disturbed))  # another experiment will come to it
                break
            else:
                raise AssertionError(f"after {one}, killed at the moment when {moment}: {ended}")
        else:
            lab.run(name)
        if one:
            lab.same(name)
        done += one
        shutil.rmtree(lab.folder / name, ignore_errors=True)
        print(f"{len(done)} kills, all to the same bits", file=sys.stderr)
        if len(done) == count:
            break
    return done


def tried(fault: Callable[[Laboratory], None], lab: Laboratory) -> str:
    """Return what is wrong; empty if all is as it should be."""
    try:
        fault(lab)
    except (AssertionError, TimeoutError) as error:
        return str(error) or repr(error)
    return ""


def main() -> int:
    """Kill, and print what was done."""
    form = functools.partial(argparse.RawDescriptionHelpFormatter)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="(default: 200)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the random moments (default: 0)")
    parser.add_argument("--faults", nargs="*", metavar="NAME", help="other faults, too; all by default")
    options = parser.parse_args()
    names = options.faults or disturbances.FAULTS if options.faults is not None else ()
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(Path(folder))
        found = {name: tried(disturbances.FAULTS[name], lab) for name in names}
        done = kills(lab, options.kills, options.seed) if options.kills else []
    print(json.dumps({"seconds": lab.seconds, "kills": done, "faults": found}))
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
