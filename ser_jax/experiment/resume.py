"""Checkpointing of stacks in training, so that an interrupted experiment resumes to the same bits."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ser_jax.checkpoint import Series
from ser_jax.errors import Interrupted
from ser_jax.experiment.config import differences
from ser_jax.io import move_aside, write_json
from ser_jax.model import Tree
from ser_jax.shutdown import Shutdown

UNFINISHED = "unfinished"  # folder of checkpoints in a results folder
NOTE = "stacks.json"


class Checkpointing:
    """Checkpoints of stacks that are trained together, kept until their results are stored.

    Args:
      folder: of these stacks on this host; its name changes with everything that results depend on.
      environment: what computes them, as JSON; if it differs, results are the same but for rounding.
      epochs: of training.
      interval: seconds and epochs after which a stack is saved, whichever comes first.
      label: of the stacks, in messages.
      shutdown: checked after every epoch for a request to end.
      say: prints a sentence for the user.
      enabled: False on all hosts but the first.
    """

    def __init__(
        self, folder: Path, environment: dict[str, Any], epochs: int, interval: tuple[float, int | None],
        label: str, shutdown: Shutdown, say: Callable[[str], None], enabled: bool,
    ):  # fmt: skip
        self._folder, self._environment = folder, environment
        self._epochs, self._interval, self._label = epochs, interval, label
        self._shutdown, self._say, self._enabled = shutdown, say, enabled
        self._series = Series(folder)
        self._saved_at, self._saved_epoch = time.monotonic(), 0

    def runs_per_stack(self, proposed: int) -> int:
        """Return the number of the stacks that are resumed; else the proposed one, which is noted."""
        note = self._folder / NOTE
        try:
            found = json.loads(note.read_text())
            size, environment = int(found["runs_per_stack"]), found["environment"]
        except (OSError, ValueError, TypeError, KeyError):
            if self._folder.exists():
                aside = move_aside(self._folder)
                self._say(
                    f"{note} is lost or damaged: its stacks are trained again, and moved to {aside.name}"
                )
            self._folder.mkdir(parents=True)
            write_json(note, {"runs_per_stack": proposed, "environment": self._environment}, synced=True)
            return proposed
        if elsewhere := ", ".join(differences(environment, self._environment)):
            self._say(
                f"the unfinished work was begun otherwise ({elsewhere}): results may differ by rounding"
            )
        return size

    def latest(self, stack: int, like: Tree) -> tuple[int, Tree] | None:
        """Return the number of epochs done and the snapshot after them; None if nothing was saved.

        Raises: CheckpointError if the snapshot cannot be read.
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
