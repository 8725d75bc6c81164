"""Runs side by side: what sets one apart, how a stack of them is computed, and what it predicts.

A run is one model: one target, fold and seed. Everything that differs between the runs of a stack is an
array with a leading R; the corpora lie on the device once, and a batch is a gather.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ser_jax import model
from ser_jax.model import ModelConfig

STACKINGS = ("auto", "vmap", "map")
PREDICTION_BATCH = 64


class Data(NamedTuple):
    """The utterances of all corpora in use, shared by all runs.

    Attributes:
      logmel: [N, T, F] float32, as stored, dB.
      frames: [N] int32, frames that hold sound; what follows them counts as zero.
      group: [N] int32, which of the G standardisations an utterance takes.
    """

    logmel: jax.Array
    frames: jax.Array
    group: jax.Array


class Runs(NamedTuple):
    """What sets runs apart: with a leading R a stack, without it one run.

    Attributes:
      key: [R] typed PRNG keys; initialisation, order and dropout follow from them.
      train: [R, M] int32 rows of `Data`; the first `count` are the run's own, the rest is padding.
      count: [R] int32, utterances a run trains on.
      labels: [R, N] int8, the class of every utterance.
      mean: [R, G, F] subtracted per band, dB.
      scale: [R, G, F] multiplied per band, 1 / dB.
    """

    key: jax.Array
    train: jax.Array
    count: jax.Array
    labels: jax.Array
    mean: jax.Array
    scale: jax.Array


class Prediction(NamedTuple):
    """What trained runs say.

    Attributes:
      probability: [R, M] of class 1, that is high arousal or positive valence.
      attention: [R, M, S] weights of the segments.
    """

    probability: np.ndarray
    attention: np.ndarray


def stack(runs: list[Runs]) -> Runs:
    """Joins single runs into a stack; shorter index lists are padded to the longest."""
    longest = max(len(run.train) for run in runs)
    padded = [run._replace(train=np.pad(run.train, (0, longest - len(run.train)))) for run in runs]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)


def inputs(data: Data, run: Runs, rows):
    """Gathers and standardises utterances for one run.

    Args:
      data: the corpora.
      run: one run.
      rows: [B] int32.
    Returns: [B, T, F] float32, exactly zero in the padding.
    """
    x = data.logmel[rows]
    group = data.group[rows]
    standardised = (x - run.mean[group][:, None, :]) * run.scale[group][:, None, :]
    sound = jnp.arange(x.shape[1])[None, :] < data.frames[rows][:, None]
    return jnp.where(sound[:, :, None], standardised, 0)


def each_run(function: Callable, *stacks, stacking: str = "auto"):
    """function(*one) for every run of the stacks, along their leading axis."""
    if stacking == "auto":
        stacking = "map" if jax.default_backend() == "cpu" else "vmap"
    if stacking == "vmap":
        return jax.vmap(function)(*stacks)
    return lax.map(lambda one: function(*one), stacks)


@partial(jax.jit, static_argnums=0)
def _predict(config: ModelConfig, data: Data, runs: Runs, params, rows, count):
    def one(run, params, rows, count):
        def say(rows):
            output = model.apply(config, params, inputs(data, run, rows))
            return Prediction(jax.nn.softmax(output.logits)[:, 1], output.attention)

        def say_nothing(rows):
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(say, rows))

        first = jnp.arange(len(rows)) * PREDICTION_BATCH
        return lax.map(lambda batch: lax.cond(batch[0] < count, say, say_nothing, batch[1]), (first, rows))

    return each_run(one, runs, params, rows, count)


def predict(
    config: ModelConfig,
    data: Data,
    runs: Runs,
    params,
    rows: np.ndarray,
    count: np.ndarray,
) -> Prediction:
    """What every run of a stack says of its own utterances, without dropout.

    Args:
      config: sizes.
      data, runs: as in training.
      params: stacked parameters.
      rows: [R, M] int32 rows of `data`; the first `count` are the run's own, the rest is padding.
      count: [R] how many utterances each run is asked about; what it says of the padding has no meaning.
    Returns: Prediction(probability [R, M], attention [R, M, S]) on the host.
    """
    width = rows.shape[1]
    batches = -(-width // PREDICTION_BATCH)
    padded = np.pad(rows, ((0, 0), (0, batches * PREDICTION_BATCH - width)))
    padded = padded.reshape(len(rows), batches, PREDICTION_BATCH)
    said = _predict(config, data, runs, params, padded, np.asarray(count))
    return Prediction(
        np.asarray(said.probability).reshape(len(rows), -1)[:, :width],
        np.asarray(said.attention).reshape(len(rows), -1, config.segments)[:, :width],
    )
