"""Arrays on disk and back: trained runs, and the state that training resumes from.

A checkpoint is a safetensors file, written atomically, that holds the SHA-256 of its arrays as well. Names,
shapes and dtypes are compared with those expected. What cannot be read is never deleted.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ser_jax.errors import UserError
from ser_jax.io import atomic_file, move_aside, remove_partial_files, sync
from ser_jax.model import Tree, leaves_by_path

SUFFIX = ".safetensors"
SHA256 = "sha256"  # the array that holds the digest of the others


class CheckpointError(UserError):
    """A file that does not hold the arrays expected, or that cannot be read or written."""


class DamagedError(CheckpointError):
    """A checkpoint that is not as it was written."""

    def __init__(self, file: Path):
        super().__init__(f"the checkpoint {file} is damaged; delete it to train again")


def save(file: Path, tree: Tree) -> None:
    """Write a tree of arrays atomically, in place of what the file held before.

    Raises: CheckpointError if it cannot be written.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in leaves_by_path(tree).items()}
    arrays[SHA256] = np.frombuffer(bytes.fromhex(digest(arrays)), np.uint8)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file, synced=True) as stream:
            stream.write(safetensors.numpy.save(arrays))
        for folder in file.parents[1:3]:  # the folder of the file may be new
            sync(folder)
    except OSError as error:
        raise CheckpointError(
            f"{file}: a checkpoint cannot be written ({error.strerror or error}); what was saved before it "
            "is intact, and once it can be the same command goes on"
        ) from error


def restore(file: Path, like: Tree) -> Tree:
    """Return the arrays that `save` wrote, on the host.

    Args:
      file: as given to `save`.
      like: a tree of objects with a shape and a dtype, as `jax.eval_shape` returns.
    Raises: DamagedError if the file is not as it was written; CheckpointError if it does not exist, has
      arrays of other names, shapes or dtypes, or cannot be read for another reason.
    """
    try:
        arrays = safetensors.numpy.load(file.read_bytes())
        intact = arrays.pop(SHA256).tobytes().hex() == digest(arrays)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint {file}, expected one written by an experiment") from error
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {file} cannot be read ({error.strerror or error}) but need not be damaged; it "
            "was left as it is, and the same command goes on from it once it can be"
        ) from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise DamagedError(file) from error
    if not intact:
        raise DamagedError(file)
    found = {name: f"{leaf.dtype} {list(leaf.shape)}" for name, leaf in arrays.items()}
    wanted = {
        name: f"{np.dtype(leaf.dtype)} {list(leaf.shape)}" for name, leaf in leaves_by_path(like).items()
    }
    if found != wanted:
        differing = "; ".join(
            f"{name} {found.get(name, 'none')}, expected {wanted.get(name, 'none')}"
            for name in sorted(found | wanted)
            if found.get(name) != wanted.get(name)
        )
        raise CheckpointError(f"the checkpoint {file} is of another configuration: {differing}")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


class Series:
    """Checkpoints of one tree of arrays as it changes, of which the last ones are kept.

    Args:
      folder: created when something is saved; nobody else writes to it.
      keep: how many checkpoints are kept.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self._folder, self._keep = folder, keep

    def file(self, number: int) -> Path:
        """Return the path of a checkpoint."""
        return self._folder / f"{number}{SUFFIX}"

    def numbers(self) -> list[int]:
        """Return the numbers of the checkpoints, the latest first."""
        stems = (file.stem for file in self._folder.glob(f"*{SUFFIX}"))
        return sorted((int(stem) for stem in stems if stem.isdecimal()), reverse=True)

    def save(self, number: int, tree: Tree) -> None:
        """Write a tree of host arrays under `number`, and delete all but the last checkpoints.

        Raises: CheckpointError if it cannot be written.
        """
        remove_partial_files(self._folder)
        save(self.file(number), tree)
        for old in self.numbers()[self._keep :]:
            self.file(old).unlink(missing_ok=True)

    def latest(self, like: Tree, say: Callable[[str], None]) -> tuple[int, Tree] | None:
        """Return the number and the arrays of the last intact checkpoint; move damaged ones aside.

        Args:
          like: see `restore`.
          say: receives a sentence for every checkpoint that is moved aside.
        Raises: CheckpointError if one holds other arrays, or cannot be read though it may be intact.
        """
        for number in self.numbers():
            file = self.file(number)
            try:
                return number, restore(file, like)
            except DamagedError:
                say(f"{file} is damaged and was moved to {move_aside(file).name}")
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
