"""Checkpointing of stacks in training, so that an interrupted experiment resumes to the same bits."""

import dataclasses
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


@dataclasses.dataclass
class Checkpointing:
    """Checkpoints of stacks that are trained together, kept until their results are stored."""

    folder: Path  # of these stacks on this host; its name changes with everything that results depend on
    environment: dict[str, Any]  # what computes them; if it differs, results are the same but for rounding
    epochs: int
    interval: tuple[float, int | None]  # seconds and epochs after which a stack is saved, whichever is first
    label: str  # of the stacks, in messages
    shutdown: Shutdown  # checked after every epoch for a request to end
    say: Callable[[str], None]  # prints a sentence for the user
    enabled: bool  # False on all hosts but the first

    def __post_init__(self) -> None:
        self._saved_at, self._saved_epoch = time.monotonic(), 0

    def runs_per_stack(self, proposed: int) -> int:
        """Return how many runs each of the stacks to resume holds; for new stacks, note what is proposed."""
        note = self.folder / NOTE
        try:
            found = json.loads(note.read_text())
            size, environment = int(found["runs_per_stack"]), found["environment"]
        except (OSError, ValueError, TypeError, KeyError):
            if self.folder.exists():
                aside = move_aside(self.folder)
                self.say(
                    f"{note} is lost or damaged: its stacks are trained again, and moved to {aside.name}"
                )
            self.folder.mkdir(parents=True)
            write_json(note, {"runs_per_stack": proposed, "environment": self.environment}, synced=True)
            return proposed
        if elsewhere := ", ".join(differences(environment, self.environment)):
            self.say(f"the unfinished work was begun otherwise ({elsewhere}): results may differ by rounding")
        return size

    def latest(self, stack: int, like: Tree) -> tuple[int, Tree] | None:
        """Return the number of epochs done and the snapshot after them; None if nothing was saved.

        Raises: CheckpointError if the snapshot cannot be read.
        """
        if not self.enabled:
            return None
        damaged: list[str] = []
        found = self._series(stack).latest(like, damaged.append)
        epoch = found[0] if found else 0
        for sentence in damaged:
            self.say(sentence)
        if damaged or 0 < epoch < self.epochs:
            how = f"goes on after epoch {epoch} of {self.epochs}" if epoch else "is trained again"
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
        seconds, epochs = self.interval
        due = epochs is not None and epoch - self._saved_epoch >= epochs
        due = due or time.monotonic() - self._saved_at >= seconds
        if last or due or number is not None:
            self._series(stack).save(epoch, snapshot())
            self._saved_at, self._saved_epoch = time.monotonic(), epoch
        if number is not None:
            raise Interrupted(
                f"ended after epoch {epoch} of {self.epochs} of stack {stack + 1} of {self.label}, which "
                "is saved; the same command goes on from there",
                number,
            )

    def _series(self, stack: int) -> Series:
        return Series(self.folder / f"stack-{stack}")
