"""How many runs a stack holds."""

import dataclasses
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from ser_jax import train
from ser_jax.machine import Machine
from ser_jax.model import Architecture
from ser_jax.runs import Data, Runs, is_streamed
from ser_jax.schedule import Batch
from ser_jax.train import TrainConfig

CPU_STACK = 5  # runs a device; one after another they need no memory, and progress is shown between stacks
MEASURED = 8  # runs of the step that the compiler is asked about


def run_bytes(config: Architecture, training: TrainConfig, utterances: int) -> int:
    """Bytes that one more run of a stack takes while all of the stack compute one step together.

    The compiler says so of a step of `MEASURED` runs: parameters with Adam's moments and their successors,
    and of a batch the features and what the network makes and keeps of them. Labels and rows are added.
    """
    return _step_bytes(config, dataclasses.replace(training, epochs=1)) + 5 * utterances


@cache
def _step_bytes(config: Architecture, training: TrainConfig) -> int:
    def one(_: jax.Array) -> tuple[Data, Runs, train.State, Batch]:
        key, rows = jax.random.key(0), jnp.zeros(training.batch, jnp.int32)
        levels = jnp.zeros((1, config.bands))
        run = Runs(key, rows, jnp.int32(0), rows.astype(jnp.int8), levels, levels)
        heard = Data(jnp.zeros((training.batch, config.frames, config.bands)), rows, rows)
        batch = Batch(rows, rows == 0, key, jnp.zeros(2, jnp.int32))
        return heard, run, train.start(config, training, run), batch

    arguments = jax.eval_shape(jax.vmap(one), jnp.zeros(MEASURED))
    step = jax.jit(jax.vmap(partial(train.step, config, training)))
    needed: Any = step.lower(*arguments).compile().memory_analysis()  # of the backend's own type
    total = needed.argument_size_in_bytes + needed.output_size_in_bytes + needed.temp_size_in_bytes
    return total // MEASURED


def size(machine: Machine, config: Architecture, training: TrainConfig, data: Data, count: int) -> int:
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
