"""Checkpointing of stacks in training, so that an interrupted experiment resumes to the same bits."""

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ser_jax.arrays import Tree
from ser_jax.checkpoint import CheckpointError, Series
from ser_jax.errors import Interrupted
from ser_jax.experiment.config import differences
from ser_jax.io import move_aside, write_json
from ser_jax.shutdown import Shutdown

UNFINISHED = "unfinished"  # folder of checkpoints in a results folder


class Interval(NamedTuple):
    """How often a stack is saved: after so many seconds or epochs, whichever comes first."""

    seconds: float
    epochs: int | None


@dataclasses.dataclass
class Checkpointing:
    """Checkpoints of stacks that are trained together, kept until their results are stored.

    Attributes:
      folder: of these stacks on this host.
      work: what they compute, as JSON: "runs" [[name, count], ...], "training" with "epochs", and whatever
        else must be the same for a stack to be resumed.
      environment: what computes them, as JSON; if it differs, results are the same but for rounding.
      interval: how often they are saved.
      label: names them in messages.
      shutdown: a request to end is followed after every epoch.
      say: receives sentences for the user.
      enabled: False on all hosts but the first: Orbax leaves out the arrays of others.
    Raises: CheckpointError if the folder holds other work.
    """

    folder: Path
    work: dict[str, Any]
    environment: dict[str, Any]
    interval: Interval
    label: str
    shutdown: Shutdown
    say: Callable[[str], None]
    enabled: bool
    _series: Series | None = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        self.work, self.environment = json.loads(json.dumps([self.work, self.environment]))
        self._epochs: int = self.work["training"]["epochs"]
        self._saved_at, self._saved_epoch = time.monotonic(), 0
        found = _read(self.folder)
        if found is None:
            return
        if found["work"] != self.work:
            raise CheckpointError(
                f"{self.folder} holds unfinished work of another configuration "
                f"({', '.join(differences(found['work'], self.work))}); compute with the same, or delete it"
            )
        if found["environment"] != self.environment:
            other = ", ".join(differences(found["environment"], self.environment))
            self.say(f"the unfinished work was begun otherwise ({other}): results may differ by rounding")

    def runs_per_stack(self, proposed: int) -> int:
        """Return the number of the stacks that are resumed; else the proposed one, which is noted."""
        found = _read(self.folder)
        if found is not None:
            return found["runs_per_stack"]
        if self.folder.exists():
            aside = move_aside(self.folder)
            self.say(
                f"{_note(self.folder)} is lost or damaged: the stacks beside it are trained again, and were "
                f"moved to {aside.name}"
            )
        self.folder.mkdir(parents=True)
        content = {"work": self.work, "environment": self.environment, "runs_per_stack": proposed}
        write_json(_note(self.folder), content, synced=True)
        return proposed

    def latest(self, stack: int, like: Tree) -> tuple[int, Tree] | None:
        """Return the number of epochs done and the snapshot after them; None if nothing was saved.

        Raises: CheckpointError if the snapshot is of another configuration, or cannot be read.
        """
        if not self.enabled:
            return None
        if self._series is not None:
            self._series.close()
        self._series = Series(self.folder / f"stack-{stack}")
        damaged: list[str] = []
        found = self._series.latest(like, damaged.append)
        epoch = found[0] if found else 0
        for sentence in damaged:
            self.say(sentence)
        if damaged or 0 < epoch < self._epochs:
            how = f"goes on after epoch {epoch} of {self._epochs}" if epoch else "is trained again"
            self.say(f"{self.label}: stack {stack + 1} {how}")
        self._saved_at, self._saved_epoch = time.monotonic(), epoch
        return found

    def save(self, stack: int, epoch: int, last: bool, snapshot: Callable[[], Tree]) -> None:
        """Save the stack if the interval has passed; called after every epoch.

        Raises: Interrupted after saving, if the program should end; CheckpointError.
        """
        number = self.shutdown.requested
        if not self.enabled:
            if number is not None:
                raise Interrupted("ended; of several hosts the first one's training alone is saved", number)
            return
        assert self._series is not None  # `latest` comes first
        seconds, epochs = self.interval
        due = epochs is not None and epoch - self._saved_epoch >= epochs
        due = due or time.monotonic() - self._saved_at >= seconds
        if last or due or number is not None:
            self._series.save(epoch, snapshot())
            self._saved_at, self._saved_epoch = time.monotonic(), epoch
        self.shutdown.saved = False
        if last or number is not None:
            self._series.close()
            self.shutdown.saved = True
        if number is not None:
            raise Interrupted(
                f"ended after epoch {epoch} of {self._epochs} of stack {stack + 1} of {self.label}, which "
                "is saved; the same command goes on from there",
                number,
            )


def discard(out: Path, stored: set[str]) -> None:
    """Delete the stacks whose results are stored; killed meanwhile, this leaves none that look intact.

    Args:
      out: the results folder.
      stored: names of runs, as in `Checkpointing`'s work.
    """
    for folder in sorted((out / UNFINISHED).glob("*")):
        hosts = [host for host in folder.glob("host-*") if ".damaged" not in host.name]
        notes = {host: _read(host) for host in hosts if _note(host).exists()}
        if None not in notes.values() and stored >= {
            name for note in notes.values() if note for name, _ in note["work"]["runs"]
        }:
            for host in notes:
                _note(host).unlink()
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # missing, or not empty
        (out / UNFINISHED).rmdir()


def _note(folder: Path) -> Path:
    return folder / "stacks.json"


def _read(folder: Path) -> dict[str, Any] | None:
    """Return a folder's note; None if it is missing or damaged."""
    try:
        found = json.loads(_note(folder).read_text())
        names = [name for name, _ in found["work"]["runs"]]
        intact = all(isinstance(name, str) for name in names) and isinstance(found["runs_per_stack"], int)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if intact and "environment" in found and found["runs_per_stack"] > 0 else None
