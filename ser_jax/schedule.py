"""Which utterances a run learns from, and when.

Order and dropout follow from the run's key (seed, target, fold), the epoch and the step alone: not from the
stack that it is part of, the device that computes it, or where training was taken up again.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ser_jax.runs import Runs


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


def order(run: Runs, key):
    """The run's own rows in random order, padding last.

    It depends on the key and the run's own rows alone, not on the length a stack padded them to.
    Returns: [M] int32.
    """
    draw = jax.random.uniform(key, run.train.shape)
    own = jnp.arange(len(run.train)) < run.count
    return run.train[jnp.argsort(jnp.where(own, draw, 2), stable=True)]


def schedule(run: Runs, size: int, number) -> Batch:
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
