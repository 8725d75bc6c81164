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
from experiments.stopping import Stop
from ser_jax.checkpoint import CheckpointError, DamagedError, Series
from ser_jax.engine import Snapshot
from ser_jax.errors import Interrupted


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
      stop: looked at after every epoch.
      say: told what is found.
    Raises: CheckpointError where the folder holds something else.
    """

    def __init__(
        self,
        folder: Path,
        what: dict[str, Any],
        by: dict[str, Any],
        often: Often,
        stop: Stop,
        say: Callable[[str], None],
    ):
        self._folder, self._what, self._by, self._often = folder, what, by, often
        self._stop, self._say = stop, say
        self._series: Series | None = None
        self._saved_at, self._saved_epoch = time.monotonic(), 0
        self._check()

    def runs_a_stack(self, proposed: int) -> int:
        """Those of the work that is taken up, or else what is proposed."""
        known = _read(self._folder)
        if known is not None:
            return known["runs_a_stack"]
        shutil.rmtree(self._folder, ignore_errors=True)  # stacks of which nobody knows what they are
        with whole(_note(self._folder)) as file:
            content = {"what": self._what, "by": self._by, "runs_a_stack": proposed}
            file.write_text(json.dumps(content, indent=1) + "\n")
        return proposed

    def latest(self, stack: int, like: Snapshot) -> tuple[int, Snapshot] | None:
        """Epochs done and what was kept of a stack after them.

        Raises: CheckpointError where it is of another configuration.
        """
        self._series = Series(self._folder / f"stack-{stack}")
        found = self._series.latest(like, self._lost)
        self._saved_at, self._saved_epoch = time.monotonic(), found[0] if found else 0
        return found

    def offer(self, stack: int, epoch: int, last: bool, snapshot: Callable[[], Snapshot]) -> None:
        """Saves the stack where it is time to, and ends the training where somebody wants that."""
        asked = self._stop.asked
        waited = time.monotonic() - self._saved_at >= self._often.seconds
        trained = self._often.epochs is not None and epoch - self._saved_epoch >= self._often.epochs
        if last or waited or trained or asked is not None:
            self._series.save(epoch, snapshot())
            self._saved_at, self._saved_epoch = time.monotonic(), epoch
        if last or asked is not None:
            self._series.close()
        if asked is not None:
            raise Interrupted(
                f"ended after epoch {epoch}, which is saved; the same command goes on from there", asked
            )

    def _lost(self, error: DamagedError) -> None:
        self._say(f"{error.place} is damaged ({error.reason}); going on from what was saved before it")

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


def discard(folder: Path) -> None:
    """Forgets stacks whose results are stored; killed meanwhile, it leaves none that look whole."""
    _note(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are in there, or none ever was
        folder.parent.rmdir()


def _note(folder: Path) -> Path:
    return folder / "stacks.json"


def _read(folder: Path) -> dict[str, Any] | None:
    """What a folder's note says; None where it is not there, or damaged: its stacks are trained again."""
    try:
        found = json.loads(_note(folder).read_text())
        whole = {"what", "by"} <= found.keys() and isinstance(found["runs_a_stack"], int)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, AttributeError):
        return None
    return found if whole and found["runs_a_stack"] > 0 else None
