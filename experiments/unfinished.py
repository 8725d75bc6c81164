"""Stacks in training on disk, so that an experiment that was interrupted goes on to the same bits."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from experiments.predictions import whole
from experiments.protocol import differences
from ser_jax.checkpoint import CheckpointError, DamagedError, Series
from ser_jax.engine import Snapshot
from ser_jax.errors import Interrupted
from ser_jax.shutdown import Shutdown


class Often(NamedTuple):
    """How often a stack is saved: after so many seconds or epochs, whichever comes first."""

    seconds: float
    epochs: int | None


class Unfinished:
    """Stacks that are trained together, kept until their results are stored (`engine.Keep`).

    Args:
      folder: of these stacks on this host.
      what: what they compute; work of something else is not taken up.
      by: what computes them; where that differs, results are the same but for rounding.
      often: how often they are saved.
      label: what they are, for people to read.
      stop: looked at after every epoch.
      say: told what is found.
      keeps: whether stacks are saved at all; Orbax leaves out the arrays of hosts other than the first.
    Raises: CheckpointError where the folder holds something else.
    """

    def __init__(
        self,
        folder: Path,
        what: dict[str, Any],
        by: dict[str, Any],
        often: Often,
        label: str,
        stop: Shutdown,
        say: Callable[[str], None],
        keeps: bool,
    ):
        self._keeps = keeps
        self._folder, self._what, self._by, self._often = folder, what, by, often
        self._label, self._stop, self._say = label, stop, say
        self._series: Series | None = None
        self._saved_at, self._saved_epoch = time.monotonic(), 0
        self._check()

    def runs_a_stack(self, proposed: int) -> int:
        """Those of the work that is taken up, or else what is proposed."""
        known = _read(self._folder)
        if known is not None:
            return known["runs_a_stack"]
        if self._folder.exists():
            self._say(f"{_note(self._folder)} is lost or damaged: the stacks beside it are trained again")
            shutil.rmtree(self._folder, ignore_errors=True)
        with whole(_note(self._folder)) as file:
            content = {"what": self._what, "by": self._by, "runs_a_stack": proposed}
            file.write_text(json.dumps(content, indent=1) + "\n")
        return proposed

    def latest(self, stack: int, like: Snapshot) -> tuple[int, Snapshot] | None:
        """Epochs done and what was kept of a stack after them.

        Raises: CheckpointError where it is of another configuration.
        """
        if not self._keeps:
            return None
        if self._series is not None:
            self._series.close()
        self._series = Series(self._folder / f"stack-{stack}")
        lost: list[DamagedError] = []
        found = self._series.latest(like, lost.append)
        epoch = found[0] if found else 0
        for error in lost:
            self._say(f"{error.place} is damaged ({error.reason}) and removed")
        if lost or 0 < epoch < self._epochs:
            where = f"goes on after epoch {epoch} of {self._epochs}" if epoch else "is trained again"
            self._say(f"{self._label}: stack {stack + 1} {where}")
        self._saved_at, self._saved_epoch = time.monotonic(), epoch
        return found

    def offer(self, stack: int, epoch: int, last: bool, snapshot: Callable[[], Snapshot]) -> None:
        """Saves the stack where it is time to, and ends the training where somebody wants that."""
        asked = self._stop.requested
        if not self._keeps:
            if asked is not None:
                raise Interrupted("ended; of several hosts the first one's training alone is saved", asked)
            return
        assert self._series is not None  # who asks for the latest opens it
        waited = time.monotonic() - self._saved_at >= self._often.seconds
        trained = self._often.epochs is not None and epoch - self._saved_epoch >= self._often.epochs
        if last or waited or trained or asked is not None:
            self._series.save(epoch, snapshot())
            self._saved_at, self._saved_epoch = time.monotonic(), epoch
        self._stop.saved = False
        if last or asked is not None:
            self._series.close()
            self._stop.saved = True
        if asked is not None:
            raise Interrupted(
                f"ended after epoch {epoch} of {self._epochs} of stack {stack + 1} of {self._label}, which "
                "is saved; the same command goes on from there",
                asked,
            )

    @property
    def _epochs(self) -> int:
        return self._what["training"]["epochs"]

    def _check(self) -> None:
        known = _read(self._folder)
        if known is None:
            return
        found, asked = (json.loads(json.dumps(what)) for what in (known["what"], self._what))
        if found != asked:
            raise CheckpointError(
                f"{self._folder} holds unfinished work of another configuration "
                f"({', '.join(differences(found, asked))}); compute with the same, or delete it"
            )
        if known["by"] != self._by:
            other = ", ".join(differences(known["by"], json.loads(json.dumps(self._by))))
            self._say(f"the unfinished work was begun otherwise ({other}): results may differ by rounding")


def discard(out: Path, stored: set[str]) -> None:
    """Forgets the stacks of works whose results are stored; killed meanwhile, it leaves none that look whole.

    Args:
      out: the results folder.
      stored: the works, by `Work.name`.
    """
    for folder in sorted((out / "unfinished").glob("*")):
        hosts = sorted(folder.glob("host-*"))
        notes = [found for found in map(_read, hosts) if found is not None]
        if {work for found in notes for work, _ in found["what"]["runs"]} <= stored:
            for host in hosts:
                _note(host).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are in there, or none ever was
        (out / "unfinished").rmdir()


def _note(folder: Path) -> Path:
    return folder / "stacks.json"


def _read(folder: Path) -> dict[str, Any] | None:
    """What a folder's note says; None where it is not there, or damaged: its stacks are trained again."""
    try:
        found = json.loads(_note(folder).read_text())
        named = all(isinstance(work, str) for work, _ in found["what"]["runs"])
        whole = named and "by" in found and isinstance(found["runs_a_stack"], int)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if whole and found["runs_a_stack"] > 0 else None
