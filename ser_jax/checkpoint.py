"""Save and restore arrays with Orbax: trained runs, and stacks in training, which resume bit-identically.

A checkpoint is a folder that appears complete or not at all:

    arrays/            what Orbax writes
    checkpoint.json    names, dtypes and shapes of the arrays, and the SHA-256 of every file

The checksums distinguish damage from other read errors; checkpoints that may be intact are never touched.
"""

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ser_jax.errors import Interrupted, UserError
from ser_jax.io import move_aside, sync, write_json
from ser_jax.model import Tree, leaves_by_path

OVERHEAD = 2**20  # bytes, generously, that Orbax's own files take
KEPT = 2  # checkpoints of a stack


class CheckpointError(UserError):
    """A folder that does not hold the arrays expected, or that cannot be read or written."""


class DamagedError(CheckpointError):
    """A checkpoint that differs from what was written."""


def save(folder: Path, tree: Tree) -> None:
    """Write a tree of arrays as a new folder or in place of an old one; CheckpointError if impossible."""
    arrays = {name: np.asarray(leaf) for name, leaf in leaves_by_path(tree).items()}
    stored = {name: leaf for name, leaf in arrays.items() if leaf.size}  # Orbax refuses empty arrays
    partial = folder.absolute().with_name(f".{folder.name}.incomplete")  # perhaps left by a killed process
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        free = shutil.disk_usage(partial).free
        if free < OVERHEAD + sum(leaf.nbytes for leaf in stored.values()):
            raise OSError(f"only {free} bytes are free")  # TensorStore would print tracebacks
        if stored:
            _orbax().save(partial / "arrays", args=ocp.args.StandardSave(stored))
        found = {"arrays": _shapes(arrays), "files": _hashes(partial / "arrays")}
        write_json(partial / "checkpoint.json", found, synced=True)
        for path in [*(partial / "arrays").rglob("*"), partial]:
            sync(path)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        for path in folder.absolute().parents[:2]:  # the parent may be new
            sync(path)
    except (OSError, ValueError) as error:  # ValueError: TensorStore's
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder}: a checkpoint cannot be written ({reason}); earlier checkpoints are intact; "
            "run the same command once it can be written"
        ) from error


def restore(folder: Path, like: Tree) -> Tree:
    """Return the arrays that `save` wrote, on the host.

    `like` is a tree of objects with a shape and a dtype, as `jax.eval_shape` returns.

    Raises: DamagedError if the files are not as they were written; CheckpointError if there are none, they
      hold arrays of other names, shapes or dtypes, or cannot be read for another reason.
    """
    if not folder.exists():
        raise CheckpointError(f"no checkpoint {folder}, expected one written by an experiment")
    wanted = leaves_by_path(like)
    here = _shapes(wanted)
    try:
        there = _intact(folder)
        if there == here:
            arrays = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in wanted.items()}
            stored = {name: leaf for name, leaf in arrays.items() if leaf.size}
            if stored:
                place = folder.absolute() / "arrays"
                arrays |= _orbax().restore(place, args=ocp.args.StandardRestore(stored))
            return jax.tree.unflatten(jax.tree.structure(like), arrays.values())
    except MemoryError:
        raise
    except Exception as error:  # Orbax and TensorStore raise anything
        reason = getattr(error, "strerror", None) or (str(error) or repr(error)).splitlines()[0]
        raise CheckpointError(
            f"the checkpoint {folder} cannot be read ({reason}) but need not be damaged; it was left as "
            "it is; run the same command once it can be read"
        ) from error
    if there is None:
        raise DamagedError(f"the checkpoint {folder} is damaged; delete it to train again")
    differing = "; ".join(
        f"{name} {there.get(name, 'none')}, expected {here.get(name, 'none')}"
        for name in sorted(there | here)
        if there.get(name) != here.get(name)
    )
    raise CheckpointError(f"the checkpoint {folder} belongs to another configuration: {differing}")


def _orbax() -> ocp.Checkpointer:
    """Return a checkpointer of this host alone: of several, each reads and writes without the others."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"host{me}"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _intact(folder: Path) -> dict[str, str] | None:
    """Return the dtypes and shapes of a checkpoint's arrays; None if any file is not as it was written."""
    try:
        found = json.loads((folder / "checkpoint.json").read_bytes())
        intact = found["files"] == _hashes(folder / "arrays") and isinstance(found["arrays"], dict)
        return found["arrays"] if intact else None
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
        return None


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _shapes(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: f"{np.dtype(leaf.dtype)} {list(leaf.shape)}" for name, leaf in arrays.items()}


@dataclasses.dataclass
class Checkpointing:
    """Checkpoints of stacks that are trained together, kept until their results are stored."""

    folder: Path  # of these stacks on this host; its name changes with everything that results depend on
    environment: dict[str, Any]  # what computes them; if it differs, results are the same but for rounding
    epochs: int
    interval: tuple[float, int | None]  # seconds and epochs after which a stack is saved, whichever is first
    label: str  # of the stacks, in messages
    signals: list[int]  # requests to end, checked after every epoch
    say: Callable[[str], None]  # prints a sentence for the user
    enabled: bool  # False on all hosts but the first

    def __post_init__(self) -> None:
        self._saved_at, self._saved_epoch = time.monotonic(), 0

    def runs_per_stack(self, proposed: int) -> int:
        """Return the number of runs in each stack to resume; for new stacks, record the proposed number."""
        note = self.folder / "stacks.json"
        if not note.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(note, {"runs_per_stack": proposed, "environment": self.environment}, synced=True)
        found = json.loads(note.read_text())
        elsewhere = ", ".join(
            f"{name}: {found['environment'].get(name)} there, {here} expected"
            for name, here in self.environment.items()
            if found["environment"].get(name) != here
        )
        if elsewhere:
            self.say(f"the unfinished work was begun otherwise ({elsewhere}): results may differ by rounding")
        return found["runs_per_stack"]

    def numbers(self, stack: int) -> list[int]:
        """Return the epochs after which a stack's checkpoints were saved, the latest first."""
        names = (path.name for path in self.path(stack).glob("*"))
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def path(self, stack: int, *epoch: int) -> Path:
        """Return the folder of a stack, or of its checkpoint."""
        return self.folder.joinpath(f"stack-{stack}", *map(str, epoch))

    def latest(self, stack: int, like: Tree) -> tuple[int, Tree] | None:
        """Return the number of epochs done and the last intact snapshot; None if nothing was saved.

        Damaged ones are moved aside.

        Raises: CheckpointError if one holds other arrays, or cannot be read though it may be intact.
        """
        found, damaged = None, False
        for epoch in self.numbers(stack) if self.enabled else []:
            place = self.path(stack, epoch)
            try:
                found = epoch, restore(place, like)
                break
            except DamagedError:
                damaged = True
                self.say(f"{place} is damaged and was moved to {move_aside(place).name}")
        epoch = found[0] if found else 0
        if damaged or 0 < epoch < self.epochs:
            how = f"goes on after epoch {epoch} of {self.epochs}" if epoch else "is trained again"
            self.say(f"{self.label}: stack {stack + 1} {how}")
        self._saved_at, self._saved_epoch = time.monotonic(), epoch
        return found

    def save(self, stack: int, epoch: int, last: bool, snapshot: Callable[[], Tree]) -> None:
        """Save the stack if the interval has passed; called after every epoch.

        Raises: Interrupted after saving, if the program should end; CheckpointError.
        """
        seconds, epochs = self.interval
        due = epochs is not None and epoch - self._saved_epoch >= epochs
        due = due or time.monotonic() - self._saved_at >= seconds
        if self.enabled and (last or due or self.signals):
            save(self.path(stack, epoch), snapshot())
            for old in self.numbers(stack)[KEPT:]:
                shutil.rmtree(self.path(stack, old), ignore_errors=True)
            self._saved_at, self._saved_epoch = time.monotonic(), epoch
        if self.signals:
            raise Interrupted(
                f"ended after epoch {epoch} of {self.epochs} of stack {stack + 1} of {self.label}, which "
                "is saved; run the same command to resume"
                if self.enabled
                else "ended; of several hosts the first one's training alone is saved",
                self.signals[0],
            )
