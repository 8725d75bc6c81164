"""Arrays on disk and back, by Orbax: trained runs, and the state that training resumes from.

A checkpoint is a folder that appears complete or not at all:

    arrays/            what Orbax writes
    checkpoint.json    names, dtypes and shapes of the arrays, and the SHA-256 of every file

So damage is told from any other reason why arrays cannot be read, and what may be intact is never touched.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ser_jax.errors import UserError
from ser_jax.io import move_aside, sync, write_json
from ser_jax.model import Tree, leaves_by_path

OVERHEAD = 2**20  # bytes, generously, that Orbax's own files take
KEPT = 2  # checkpoints of a series


class CheckpointError(UserError):
    """A folder that does not hold the arrays expected, or that cannot be read or written."""


class DamagedError(CheckpointError):
    """A checkpoint that is not as it was written."""

    def __init__(self, folder: Path):
        super().__init__(f"the checkpoint {folder} is damaged; delete it to train again")


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
            f"{folder}: a checkpoint cannot be written ({reason}); what was saved before it is intact, and "
            "once it can be the same command goes on"
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
    try:
        found = _read(folder)
        if found["arrays"] == _shapes(wanted):
            arrays = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in wanted.items()}
            stored = {name: leaf for name, leaf in arrays.items() if leaf.size}
            if stored:
                place = folder.absolute() / "arrays"
                arrays |= _orbax().restore(place, args=ocp.args.StandardRestore(stored))
            return jax.tree.unflatten(jax.tree.structure(like), arrays.values())
    except (MemoryError, DamagedError):
        raise
    except Exception as error:  # Orbax and TensorStore raise anything
        reason = getattr(error, "strerror", None) or (str(error) or repr(error)).splitlines()[0]
        raise CheckpointError(
            f"the checkpoint {folder} cannot be read ({reason}) but need not be damaged; it was left as it "
            "is, and the same command goes on from it once it can be"
        ) from error
    there, here = found["arrays"], _shapes(wanted)
    differing = "; ".join(
        f"{name} {there.get(name, 'none')}, expected {here.get(name, 'none')}"
        for name in sorted(there | here)
        if there.get(name) != here.get(name)
    )
    raise CheckpointError(f"the checkpoint {folder} is of another configuration: {differing}")


class Series:
    """Checkpoints of one tree of arrays as it changes, of which the last `KEPT` are kept.

    The folder is created when something is saved; nobody else may write to it.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def path(self, number: int) -> Path:
        """Return the folder of a checkpoint."""
        return self._folder / str(number)

    def numbers(self) -> list[int]:
        """Return the numbers of the checkpoints, the latest first."""
        return sorted(
            (int(path.name) for path in self._folder.glob("*") if path.name.isdecimal()), reverse=True
        )

    def save(self, number: int, tree: Tree) -> None:
        """Write a tree of host arrays under `number` as `save` does; delete all but the last checkpoints."""
        save(self.path(number), tree)
        for old in self.numbers()[KEPT:]:
            shutil.rmtree(self.path(old), ignore_errors=True)

    def latest(self, like: Tree, say: Callable[[str], None]) -> tuple[int, Tree] | None:
        """Restore the last intact checkpoint and return it after its number; move damaged ones aside.

        `say` receives a sentence for each of these.

        Raises: CheckpointError if one holds other arrays, or cannot be read though it may be intact.
        """
        for number in self.numbers():
            try:
                return number, restore(self.path(number), like)
            except DamagedError:
                say(f"{self.path(number)} is damaged and was moved to {move_aside(self.path(number)).name}")
        return None


def digest(tree: Tree) -> str:
    """Return the SHA-256 of the leaves of a tree of host arrays, with their paths, shapes and dtypes."""
    arrays = leaves_by_path(tree)
    total = hashlib.sha256()
    for name in sorted(arrays):
        leaf = np.asarray(arrays[name])
        total.update(f"{name} {leaf.dtype.str} {leaf.shape}\n".encode())
        total.update(np.ascontiguousarray(leaf).data)
    return total.hexdigest()


def _orbax() -> ocp.Checkpointer:
    """Return a checkpointer of this host alone: of several, each reads and writes without the others."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"host{me}"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _read(folder: Path) -> dict[str, Any]:
    """Return checkpoint.json; raise DamagedError if any file is not as it was written."""
    try:
        found = json.loads((folder / "checkpoint.json").read_bytes())
        if found["files"] == _hashes(folder / "arrays") and isinstance(found["arrays"], dict):
            return found
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(folder) from error
    raise DamagedError(folder)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(Path(top) / name for top, _, names in os.walk(folder, onerror=_raise) for name in names)
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _shapes(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: f"{np.dtype(leaf.dtype)} {list(leaf.shape)}" for name, leaf in arrays.items()}
