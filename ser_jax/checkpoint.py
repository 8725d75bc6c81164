"""Arrays on disk and back, through Orbax: trained runs, and the state that training resumes from.

A checkpoint appears complete or not at all, and holds the SHA-256 of its arrays. Names, shapes and dtypes are
compared with those expected before arrays are read. What cannot be read is never deleted.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ser_jax.arrays import Tree, leaves_by_path
from ser_jax.errors import UserError
from ser_jax.io import move_aside, sync

SHA256 = "sha256"  # the array that holds the digest of the others
OVERHEAD = 2**20  # bytes, generously, that Orbax's own files take


class CheckpointError(UserError):
    """A folder that does not hold the arrays asked for, or that cannot be read or written."""


class DamagedError(CheckpointError):
    """A checkpoint whose files are not as they were written.

    Attributes:
      place: its folder.
      reason: what is wrong with it.
    """

    def __init__(self, place: Path, reason: str):
        super().__init__(f"the checkpoint {place} is damaged ({reason}); delete it to train again")
        self.place, self.reason = place, reason


class Series:
    """Checkpoints of one tree of arrays as it changes; the last ones are kept.

    Saving continues in the background; `close`, or the end of the context, waits for it.

    Args:
      folder: created when something is saved.
      keep: how many checkpoints are kept.
      saves: whether something will be saved: incomplete checkpoints are then removed from the folder.
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
            with contextlib.suppress(Exception):  # a worse one is being raised
                self._manager.close()

    def save(self, number: int, tree: Tree) -> None:
        """Start writing a tree of host arrays under `number`, larger than any before.

        Raises: CheckpointError if this one or the one before cannot be written.
        """
        arrays = {name: np.asarray(leaf) for name, leaf in leaves_by_path(tree).items() if np.size(leaf)}
        size = sum(leaf.nbytes for leaf in arrays.values())
        arrays[SHA256] = np.frombuffer(bytes.fromhex(digest(arrays)), np.uint8)
        with self._writing():
            manager = self._open()
            if shutil.disk_usage(self._folder).free < size + OVERHEAD:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # TensorStore would print tracebacks
            manager.save(number, args=ocp.args.StandardSave(arrays))

    def close(self) -> None:
        """Wait until everything that was saved is on the disk.

        Raises: CheckpointError if it cannot be written.
        """
        if self._manager is not None:
            with self._writing():
                self._manager.close()
                # Orbax leaves it to the system when files, and names in the folders above, reach the disk.
                for place in [*self._folder.rglob("*"), self._folder, *self._folder.parents[:2]]:
                    sync(place)
            self._manager = None

    def numbers(self) -> list[int]:
        """Return the numbers of the complete checkpoints, the latest first."""
        return sorted(self._open().all_steps(), reverse=True) if self._folder.is_dir() else []

    def latest(self, like: Tree, say: Callable[[str], None]) -> tuple[int, Tree] | None:
        """Return the number and the arrays of the last intact checkpoint; move damaged ones aside.

        Args:
          like: a tree of objects with a shape and a dtype.
          say: receives a sentence for every checkpoint that is moved aside.
        Raises: CheckpointError if one holds other arrays, or cannot be read though it may be intact.
        """
        for number in self.numbers():
            try:
                return number, self.read(number, like)
            except DamagedError as error:
                with self._writing():
                    aside = move_aside(error.place)
                    self._open().reload()
                say(f"{error.place} is damaged ({error.reason}) and was moved to {aside.name}")
        return None

    def read(self, number: int, like: Tree) -> Tree:
        """Return one checkpoint as a tree of host arrays.

        Raises: DamagedError if its files are not as they were written; CheckpointError if it holds other
          arrays than `like`, or cannot be read for another reason.
        """
        place, empty = self._folder / str(number), np.zeros(())
        wanted = {
            name: np.broadcast_to(empty.astype(leaf.dtype), leaf.shape)
            for name, leaf in leaves_by_path(like).items()
        }
        stored = {name: leaf for name, leaf in wanted.items() if leaf.size} | {SHA256: np.zeros(32, np.uint8)}
        with _reading(place):
            found = dict(self._open().item_metadata(number).tree)
        _compare(place, found, stored)
        with _reading(place):
            arrays = self._open().restore(number, args=ocp.args.StandardRestore(stored))
        if arrays.pop(SHA256).tobytes().hex() != digest(arrays):
            raise DamagedError(place, "its arrays are not those of its SHA-256")
        return jax.tree.unflatten(jax.tree.structure(like), (wanted | arrays).values())

    def _open(self) -> ocp.CheckpointManager:
        """Open the folder for this host alone: of several, each reads and writes without waiting for others.

        They write synchronously: the signals of Orbax's threads have the same names on all hosts.
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
                item_handlers=ocp.StandardCheckpointHandler(multiprocessing_options=alone),
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
                "it is intact, and once it can be the same command goes on"
            ) from error


def save(folder: Path, params: Tree) -> None:
    """Write arrays atomically, in place of those that `folder` held before.

    Args:
      folder: holds nothing else; created if need be.
      params: a tree of arrays.
    Raises: CheckpointError if they cannot be written.
    """
    with Series(folder, keep=1) as series:
        series.save(max(series.numbers(), default=0) + 1, params)


def exists(folder: Path) -> bool:
    """Return whether `folder` holds a complete checkpoint."""
    with Series(folder, saves=False) as series:
        return bool(series.numbers())


def restore(folder: Path, like: Tree) -> Tree:
    """Return the arrays that `save` wrote last.

    Args:
      folder: as given to `save`.
      like: a tree of objects with a shape and a dtype, as `jax.eval_shape` returns.
    Raises: CheckpointError if there are none, they have other names, shapes or dtypes, or cannot be read.
    """
    with Series(folder, saves=False) as series:
        for number in series.numbers():
            return series.read(number, like)
    raise CheckpointError(f"no finished checkpoint in {folder}, expected one written by an experiment")


def digest(tree: Tree) -> str:
    """Return the SHA-256 of the leaves of a tree of host arrays, with their paths, shapes and dtypes."""
    arrays = leaves_by_path(tree)
    total = hashlib.sha256()
    for name in sorted(arrays):
        leaf = np.asarray(arrays[name])
        total.update(f"{name} {leaf.dtype.str} {leaf.shape}\n".encode())
        total.update(np.ascontiguousarray(leaf).data)
    return total.hexdigest()


@contextlib.contextmanager
def _reading(place: Path) -> Iterator[None]:
    """Raise DamagedError for what damaged files lead to, CheckpointError for any other reason."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # Orbax and TensorStore raise anything
        obstacle = _obstacle(place, error)
        if obstacle is None:
            raise DamagedError(place, "its files are not as they were written") from error
        raise CheckpointError(
            f"the checkpoint {place} cannot be read ({_reason(obstacle)}) but need not be damaged; it was "
            "left as it is, and the same command goes on from it once it can be"
        ) from error


def _obstacle(place: Path, error: Exception) -> Exception | None:
    """Return why an intact checkpoint could not be read; None if its own content must be the reason.

    That is so if the system reads all its files and Orbax reads another checkpoint.
    """
    if _system_error(error) not in (None, errno.ENOENT):
        return error
    try:
        for file in _files(place):
            file.read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            probe = {"probe": np.ones(2)}
            with Series(Path(folder) / "probe") as series:
                series.save(0, probe)
            with series:
                probe[SHA256] = np.zeros(32, np.uint8)
                series._open().restore(0, args=ocp.args.StandardRestore(probe))
    except Exception as other:
        return other
    return None


def _files(place: Path) -> Iterator[Path]:
    for one in place.iterdir():
        if one.is_dir():
            yield from _files(one)
        else:
            yield one


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


def _system_error(error: BaseException) -> int | None:
    """Return the system's error number, which TensorStore gives in its text."""
    if isinstance(error, OSError):
        return errno.ENOENT if isinstance(error, FileNotFoundError) else error.errno or errno.EIO
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return int(number[1]) if number else None


def _reason(error: BaseException) -> str:
    """Return an error in the system's words if it has any, else its first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if number := _system_error(error):
        return os.strerror(number)
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
