"""How many runs a stack holds, and what fills its places."""

import jax
import numpy as np

from ser_jax.machine import Machine
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, Runs, is_streamed
from ser_jax.train import TrainConfig

CPU_STACK = 5  # runs a device; one after another they need no memory, and progress is shown between stacks


def run_bytes(config: ModelConfig, training: TrainConfig, utterances: int) -> int:
    """Bytes that one more run of a stack takes while all of the stack compute one step together.

    Its parameters with Adam's moments and their successors, labels and rows; and of a batch the features as
    gathered and as standardised, the windows, the responses and their gradient. The compiler may reuse some.
    """
    positions = training.batch * config.segments * config.pool
    width = config.kernel * config.bands
    parameters = (width + 2) * config.channels + (config.segments + 1) * config.channels * config.classes
    step = 2 * training.batch * config.frames * config.bands + positions * (width + 2 * config.channels)
    return 4 * (8 * parameters + step) + 5 * utterances


def size(machine: Machine, config: ModelConfig, training: TrainConfig, data: Data, count: int) -> int:
    """Runs of a stack, a multiple of the devices: as few stacks as fit beside the features, of one size.

    Args:
      data: as `place` left it.
      count: runs there are to compute.
    """
    devices = machine.mesh.size
    if machine.runs_at_once is not None:
        each = machine.runs_at_once
    elif machine.on_cpu:
        each = CPU_STACK
    else:
        room = machine.budget - (0 if is_streamed(data) else data.logmel.nbytes)
        each = max(1, room // run_bytes(config, training, len(data.frames)))
    stacks = -(-count // (devices * each))
    return devices * -(-count // (devices * stacks))


def fill(stack: Runs, size: int) -> Runs:
    """The stack with idle places at its end, which train on nothing: the same program for any number of runs.

    Args:
      stack: of R runs.
      size: the places wanted, R or more.
    """
    idle = np.arange(size) >= len(stack.count)
    every = filled(stack, size)
    return every._replace(count=np.where(idle, 0, every.count))


def filled(stack, size: int):
    """Arrays with a leading R up to `size` of them, the last as often as it takes."""
    return jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(size), len(leaf) - 1)], stack)


def rows(lists: list[np.ndarray], width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [size, width] and how many of them each run is asked about, idle places none."""
    every = [*lists, *[np.zeros(0, np.int32)] * (size - len(lists))]
    return np.stack([pad(own, width) for own in every]), np.array([len(own) for own in every])


def pad(rows: np.ndarray, width: int) -> np.ndarray:
    """A list of rows with zeros up to `width`."""
    return np.pad(rows, (0, width - len(rows)))
