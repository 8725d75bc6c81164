"""Which utterances a run learns from, and when.

Order and dropout follow from the run's key (seed, target, fold), the epoch and the step alone: not from the
stack that it is part of, the device that computes it, or where training was taken up again.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ser_jax.runs import STACKINGS, Runs


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a run is trained (Sec. 4).

    Attributes:
      learning_rate: Adam's; paper silent, its usual default.
      batch: B, utterances a step; the last step of an epoch takes what is left, weighted by its mask.
      epochs: passes over the training utterances; the weights after the last one are the result.
      stacking: how the runs of a stack are computed: "vmap" at once, "map" one after another within one
        program, "auto" as `runs.default_stacking` says. The results are the same but for rounding.
    """

    learning_rate: float = 1e-3
    batch: int = 32
    epochs: int = 50
    stacking: str = "auto"

    def __post_init__(self) -> None:
        if self.stacking not in STACKINGS:
            raise ValueError(f"stacking {self.stacking!r}, expected one of {', '.join(STACKINGS)}")


class Batch(NamedTuple):
    """What one step of one run learns from.

    Attributes:
      rows: [B] int32 rows of `Data`.
      mask: [B] bool, which of them count.
      key: typed PRNG key of the dropout.
      number: [2] int32, the epoch and the step within it, from 1.
    """

    rows: jax.Array
    mask: jax.Array
    key: jax.Array
    number: jax.Array


def order(run: Runs, key: jax.Array) -> jax.Array:
    """The run's own rows in random order, padding last.

    It depends on the key and the run's own rows alone, not on the length a stack padded them to.
    Returns: [M] int32.
    """
    draw = jax.random.uniform(key, run.train.shape)
    own = jnp.arange(len(run.train)) < run.count
    return run.train[jnp.argsort(jnp.where(own, draw, 2), stable=True)]


def schedule(run: Runs, size: int, number: ArrayLike) -> Batch:
    """The batches of one epoch of one run, in order: each of its own utterances exactly once.

    Args:
      run: one run.
      size: B, utterances a step; the last step takes what is left.
      number: [] int32, epochs done before this one.
    Returns: a Batch with a leading axis of steps; those past the run's own count have an empty mask.
    """
    key = jax.random.fold_in(jax.random.fold_in(run.key, 1), number)
    steps = -(-len(run.train) // size)
    spare = steps * size - len(run.train)
    rows = jnp.pad(order(run, jax.random.fold_in(key, 0)), (0, spare)).reshape(steps, size)
    mask = (jnp.arange(rows.size) < run.count).reshape(rows.shape)
    rows = jnp.where(mask, rows, rows[0, 0])  # of others' utterances not even a NaN is to be seen
    dropout = jax.random.fold_in(key, 1)
    place = jnp.arange(steps)
    epoch_and_step = jnp.stack([jnp.full(steps, number), place], axis=1).astype(jnp.int32) + 1
    return Batch(rows, mask, jax.vmap(partial(jax.random.fold_in, dropout))(place), epoch_and_step)
