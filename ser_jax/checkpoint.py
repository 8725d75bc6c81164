"""A stack of trained runs on disk and back, through Orbax."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from ser_jax import model
from ser_jax.errors import UserError
from ser_jax.model import ModelConfig


class CheckpointError(UserError):
    """A folder that does not hold the stack asked for."""


def save(folder: Path, params: Any) -> None:
    """Writes stacked parameters; they appear whole or not at all, and replace what `folder` held before.

    Args:
      folder: where stacks of this kind are kept; made if need be.
      params: a tree of arrays with a leading R.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = _alone(max_to_keep=1, cleanup_tmp_directories=True)
    with ocp.CheckpointManager(folder.absolute(), options=options) as manager:
        number = (manager.latest_step() or 0) + 1
        manager.save(number, args=ocp.args.StandardSave(params))


def exists(folder: Path) -> bool:
    """Whether `folder` holds a finished checkpoint."""
    if not folder.is_dir():
        return False
    with ocp.CheckpointManager(folder.absolute(), options=_alone()) as manager:
        return manager.latest_step() is not None


def restore(folder: Path, config: ModelConfig, runs: int) -> Any:
    """Reads the stacked parameters of `runs` runs that `save` wrote last.

    Args:
      folder: as given to `save`.
      config: sizes of the model.
      runs: R.
    Returns: A tree of arrays with a leading R.
    Raises: CheckpointError where there is none, or it is of another number of runs or another configuration.
    """
    one = jax.eval_shape(lambda key: model.init(config, key), jax.random.key(0))
    wanted = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((runs, *leaf.shape), leaf.dtype), one)
    if not exists(folder):
        raise CheckpointError(f"no finished checkpoint in {folder}, expected one written by an experiment")
    try:
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=_alone().multiprocessing_options)
        with ocp.CheckpointManager(folder.absolute(), options=_alone(), item_handlers=handler) as manager:
            latest = manager.latest_step()
            found = _shapes(manager.item_metadata(latest))
            params = (
                manager.restore(latest, args=ocp.args.StandardRestore(wanted))
                if found == _shapes(wanted)
                else None
            )
    except MemoryError:
        raise
    except Exception as error:  # Orbax and TensorStore raise whatever the damaged file led to
        raise _damaged(folder, type(error).__name__) from error
    if not found:
        raise _damaged(folder, "no arrays")
    if params is None:
        raise CheckpointError(
            f"the checkpoint in {folder} holds arrays {found}, "
            f"expected those of {runs} runs: {_shapes(wanted)}"
        )
    return params


def _alone(**options: Any) -> ocp.CheckpointManagerOptions:
    """Of several hosts that work together each reads and writes by itself, waiting for none."""
    me = jax.process_index()
    by_myself = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"host{me}"
    )
    return ocp.CheckpointManagerOptions(create=False, multiprocessing_options=by_myself, **options)


def _damaged(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint in {folder} cannot be read ({reason}); delete it to train again")


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves
    }
