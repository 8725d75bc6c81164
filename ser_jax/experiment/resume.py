"""Checkpointing of stacks in training, so that an interrupted experiment resumes to the same bits."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ser_jax.checkpoint import CheckpointError, Series
from ser_jax.errors import Interrupted
from ser_jax.experiment.config import differences
from ser_jax.io import move_aside, write_json
from ser_jax.model import Tree
from ser_jax.shutdown import Shutdown

UNFINISHED = "unfinished"  # folder of checkpoints in a results folder
NOTE = "stacks.json"


class Interval(NamedTuple):
    """How often a stack is saved: after so many seconds or epochs, whichever comes first."""

    seconds: float
    epochs: int | None


class Checkpointing:
    """Checkpoints of stacks that are trained together, kept until their results are stored.

    Args:
      folder: of these stacks on this host.
      work: what they compute, as JSON: "runs" [[name, count], ...], "training" with "epochs", and whatever
        else must be the same for a stack to be resumed.
      environment: what computes them, as JSON; if it differs, results are the same but for rounding.
      interval: how often they are saved.
      label: names them in messages.
      shutdown: a request to end is followed after every epoch.
      say: receives sentences for the user.
      enabled: False on all hosts but the first.
    Raises: CheckpointError if the folder holds other work.
    """

    def __init__(
        self, folder: Path, work: dict[str, Any], environment: dict[str, Any], interval: Interval, label: str,
        shutdown: Shutdown, say: Callable[[str], None], enabled: bool,
    ):  # fmt: skip
        self._folder, self._interval, self._label = folder, interval, label
        self._note = json.loads(json.dumps({"work": work, "environment": environment}))
        self._shutdown, self._say, self._enabled = shutdown, say, enabled
        self._epochs: int = work["training"]["epochs"]
        self._series: Series | None = None
        self._saved_at, self._saved_epoch = time.monotonic(), 0
        if (found := _read(folder)) is None:
            return
        parts = "work", "environment"
        other, elsewhere = (", ".join(differences(found[part], self._note[part])) for part in parts)
        if other:
            raise CheckpointError(
                f"{folder} holds unfinished work of another configuration ({other}); compute with the same, "
                "or delete it"
            )
        if elsewhere:
            say(f"the unfinished work was begun otherwise ({elsewhere}): results may differ by rounding")

    def runs_per_stack(self, proposed: int) -> int:
        """Return the number of the stacks that are resumed; else the proposed one, which is noted."""
        if (found := _read(self._folder)) is not None:
            return found["runs_per_stack"]
        if self._folder.exists():
            aside = move_aside(self._folder)
            self._say(
                f"{self._folder / NOTE} is lost or damaged: the stacks beside it are trained again, and were "
                f"moved to {aside.name}"
            )
        self._folder.mkdir(parents=True)
        write_json(self._folder / NOTE, self._note | {"runs_per_stack": proposed}, synced=True)
        return proposed

    def latest(self, stack: int, like: Tree) -> tuple[int, Tree] | None:
        """Return the number of epochs done and the snapshot after them; None if nothing was saved.

        Raises: CheckpointError if the snapshot is of another configuration, or cannot be read.
        """
        if not self._enabled:
            return None
        self._series = Series(self._folder / f"stack-{stack}")
        damaged: list[str] = []
        found = self._series.latest(like, damaged.append)
        epoch = found[0] if found else 0
        for sentence in damaged:
            self._say(sentence)
        if damaged or 0 < epoch < self._epochs:
            how = f"goes on after epoch {epoch} of {self._epochs}" if epoch else "is trained again"
            self._say(f"{self._label}: stack {stack + 1} {how}")
        self._saved_at, self._saved_epoch = time.monotonic(), epoch
        return found

    def save(self, stack: int, epoch: int, last: bool, snapshot: Callable[[], Tree]) -> None:
        """Save the stack if the interval has passed; called after every epoch.

        Raises: Interrupted after saving, if the program should end; CheckpointError.
        """
        number = self._shutdown.requested
        if not self._enabled:
            if number is not None:
                raise Interrupted("ended; of several hosts the first one's training alone is saved", number)
            return
        assert self._series is not None  # `latest` comes first
        seconds, epochs = self._interval
        due = epochs is not None and epoch - self._saved_epoch >= epochs
        due = due or time.monotonic() - self._saved_at >= seconds
        if last or due or number is not None:
            self._series.save(epoch, snapshot())
            self._saved_at, self._saved_epoch = time.monotonic(), epoch
        if number is not None:
            raise Interrupted(
                f"ended after epoch {epoch} of {self._epochs} of stack {stack + 1} of {self._label}, which "
                "is saved; the same command goes on from there",
                number,
            )


def discard(out: Path, stored: set[str]) -> None:
    """Delete stacks of which all runs' names are in `stored`; killed meanwhile, none left looks intact."""
    for folder in sorted((out / UNFINISHED).glob("*")):
        hosts = [note.parent for note in folder.glob(f"host-*/{NOTE}") if ".damaged" not in note.parent.name]
        notes = list(map(_read, hosts))
        if all(note and stored >= {name for name, _ in note["work"]["runs"]} for note in notes):
            for host in hosts:
                (host / NOTE).unlink()
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # missing, or not empty
        (out / UNFINISHED).rmdir()


def _read(folder: Path) -> dict[str, Any] | None:
    """Return a folder's note; None if it is missing or damaged."""
    try:
        found = json.loads((folder / NOTE).read_text())
        names = [name for name, _ in found["work"]["runs"]]
        intact = all(isinstance(name, str) for name in names) and isinstance(found["runs_per_stack"], int)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if intact and "environment" in found and found["runs_per_stack"] > 0 else None
