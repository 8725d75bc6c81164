"""Arrays on disk and back, through Orbax: trained runs, and what training is taken up from.

A checkpoint is there whole or not at all, and says the SHA-256 of its arrays: a damaged one is never taken
for whole. Names, shapes and dtypes are compared with those expected before anything is read.
"""

import contextlib
import errno
import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ser_jax import model
from ser_jax.errors import UserError
from ser_jax.model import Architecture
from ser_jax.io import sync


class CheckpointError(UserError):
    """A folder that does not hold the arrays asked for, or cannot be written."""


class DamagedError(CheckpointError):
    """A checkpoint that cannot be read, or says something else than was written.

    Attributes:
      place: its folder.
      reason: what is wrong with it.
    """

    def __init__(self, place: Path, reason: str):
        super().__init__(f"the checkpoint {place} is damaged ({reason}); delete it to train again")
        self.place, self.reason = place, reason


class Series:
    """Checkpoints of one tree of arrays as it changes, the last of them kept.

    Saving goes on while the program does; `close`, or the end of the context, waits for it.

    Args:
      folder: made if need be when something is saved.
      keep: how many are kept.
      saves: whether something will be saved: what was half written in the folder is removed then.
    """

    def __init__(self, folder: Path, keep: int = 2, saves: bool = True):
        self._folder, self._keep, self._saves = folder.absolute(), keep, saves
        self._manager: ocp.CheckpointManager | None = None

    def __enter__(self) -> "Series":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif self._manager is not None:
            with contextlib.suppress(Exception):  # something worse is on its way
                self._manager.close()

    def save(self, number: int, tree: Any) -> None:
        """Begins to write a tree of host arrays under `number`, larger than any before.

        Raises: CheckpointError where this or the one before cannot be written.
        """
        arrays = {name: np.asarray(leaf) for name, leaf in model.named(tree).items() if np.size(leaf)}
        with self._writing():
            manager = self._open()
            if shutil.disk_usage(self._folder).free < sum(leaf.nbytes for leaf in arrays.values()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # TensorStore would print tracebacks
            manager.save(
                number,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(arrays), facts=ocp.args.JsonSave({"sha256": digest(arrays)})
                ),
            )

    def close(self) -> None:
        """Waits until all that was saved is on disk, synced.

        Raises: CheckpointError where it cannot be written.
        """
        if self._manager is not None:
            with self._writing():
                self._manager.close()
                # Orbax leaves it to the system when files, and names in the folders above, reach the disk.
                for place in [*self._folder.rglob("*"), self._folder, *self._folder.parents[:2]]:
                    sync(place)
            self._manager = None

    def numbers(self) -> list[int]:
        """Of the finished checkpoints, the latest first."""
        return sorted(self._open().all_steps(), reverse=True) if self._folder.is_dir() else []

    def latest(self, like: Any, lost: Callable[[DamagedError], None]) -> tuple[int, Any] | None:
        """The last checkpoint that is whole, with its number; later ones, which are damaged, are removed.

        Args:
          like: a tree of what has a shape and a dtype.
          lost: told of every one that is removed.
        Raises: CheckpointError where it holds other arrays.
        """
        for number in self.numbers():
            try:
                return number, self.read(number, like)
            except DamagedError as error:
                lost(error)
                with self._writing():
                    self._open().delete(number)
        return None

    def read(self, number: int, like: Any) -> Any:
        """One checkpoint, as a tree of host arrays.

        Raises: CheckpointError where it holds other arrays than `like`, DamagedError where it is damaged.
        """
        every, place = model.named(like), self._folder / str(number)
        wanted = {
            name: leaf for name, leaf in every.items() if math.prod(leaf.shape)
        }  # Orbax keeps no empty ones
        try:
            found = self._open().item_metadata(number).arrays.tree
        except MemoryError:
            raise
        except Exception as error:  # Orbax and TensorStore raise whatever the damaged file led to
            raise DamagedError(place, "its files are not as they were written") from error
        _compare(place, found, wanted)
        blank = {name: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) for name, leaf in wanted.items()}
        try:
            both = self._open().restore(
                number,
                args=ocp.args.Composite(arrays=ocp.args.StandardRestore(blank), facts=ocp.args.JsonRestore()),
            )
            whole = both.facts["sha256"] == digest(both.arrays)
        except MemoryError:
            raise
        except Exception as error:
            raise DamagedError(place, "its files are not as they were written") from error
        if not whole:
            raise DamagedError(place, "its arrays are not those of its SHA-256")
        leaves = [both.arrays.get(name, np.zeros(leaf.shape, leaf.dtype)) for name, leaf in every.items()]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def _open(self) -> ocp.CheckpointManager:
        """Of several hosts that work together each reads and writes by itself, waiting for none.

        They wait while they save: the signals of Orbax's threads are the same on all hosts.
        """
        if self._manager is None:
            me = jax.process_index()
            alone = ocp.options.MultiprocessingOptions(
                primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"host{me}"
            )
            self._folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                self._folder,
                options=ocp.CheckpointManagerOptions(
                    create=False,
                    max_to_keep=self._keep,
                    cleanup_tmp_directories=self._saves,
                    enable_async_checkpointing=jax.process_count() == 1,
                    multiprocessing_options=alone,
                ),
                item_handlers={
                    "arrays": ocp.StandardCheckpointHandler(multiprocessing_options=alone),
                    "facts": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
                },
            )
        return self._manager

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, UserError):
            raise
        except Exception as error:
            raise CheckpointError(
                f"{self._folder}: a checkpoint cannot be written ({_reason(error)}); what was saved before "
                "it is whole, and once it can be the same command goes on"
            ) from error


def save(folder: Path, params: Any) -> None:
    """Writes stacked parameters; they appear whole or not at all, and replace what `folder` held before.

    Args:
      folder: where stacks of this kind are kept; made if need be.
      params: a tree of arrays with a leading R.
    Raises: CheckpointError where they cannot be written.
    """
    with Series(folder, keep=1) as series:
        series.save(max(series.numbers(), default=0) + 1, params)


def exists(folder: Path) -> bool:
    """Whether `folder` holds a finished checkpoint."""
    if not folder.is_dir():
        return False
    with Series(folder, saves=False) as series:
        return bool(series.numbers())


def restore(folder: Path, config: Architecture, runs: int) -> Any:
    """Reads the stacked parameters of `runs` runs that `save` wrote last.

    Args:
      folder: as given to `save`.
      config: the network and its sizes.
      runs: R.
    Returns: A tree of arrays with a leading R; NaN where a run was stopped.
    Raises: CheckpointError where there is none, or it is of another number of runs or another configuration.
    """
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((runs, *leaf.shape), leaf.dtype), model.shapes(config)
    )
    with Series(folder, saves=False) as series:
        for number in series.numbers():
            return series.read(number, like)
    raise CheckpointError(f"no finished checkpoint in {folder}, expected one written by an experiment")


def digest(tree: Any) -> str:
    """SHA-256 of the leaves of a tree of host arrays, with their names, shapes and dtypes."""
    arrays = model.named(tree)
    total = hashlib.sha256()
    for name in sorted(arrays):
        leaf = np.asarray(arrays[name])
        total.update(f"{name} {leaf.dtype.str} {leaf.shape}\n".encode())
        total.update(np.ascontiguousarray(leaf).data)
    return total.hexdigest()


def _compare(place: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    if not found:
        raise DamagedError(place, "no arrays")
    differing = [
        f"{name} {_shape(found.get(name))}, expected {_shape(wanted.get(name))}"
        for name in sorted(found.keys() | wanted.keys())
        if _shape(found.get(name)) != _shape(wanted.get(name))
    ]
    if differing:
        raise CheckpointError(f"the checkpoint {place} is of another configuration: {'; '.join(differing)}")


def _shape(leaf: Any) -> str:
    return "none" if leaf is None else f"{np.dtype(leaf.dtype)} {list(leaf.shape)}"


def _reason(error: BaseException) -> str:
    """In the system's words, which TensorStore hides behind its own; else the first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    number = re.search(r"os_error_code='(\d+)'", str(error))
    if number:
        return os.strerror(int(number[1]))
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
