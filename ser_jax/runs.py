"""Runs side by side: what sets one apart, how a stack of them is computed, and what it predicts.

A run is one model: one target, fold and seed. Everything that differs between the runs of a stack is an
array with a leading R; the corpora lie on the device once, and a batch is a gather.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from ser_jax import model
from ser_jax.arrays import Array, Tree
from ser_jax.model import Architecture

STACKINGS = ("auto", "vmap", "map")
PREDICTION_BATCH = 64
Stacks = TypeVar("Stacks")  # a tree


class Data(NamedTuple):
    """The utterances of all corpora in use, shared by all runs.

    Attributes:
      logmel: [N, T, F] float32, as stored, dB; a NumPy array (or a memory map of one) stays on the host and
        is streamed.
      frames: [N] int32, frames that hold sound; what follows them counts as zero.
      group: [N] int32, which of the G standardisations an utterance takes.
    """

    logmel: Array
    frames: Array
    group: Array


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
    train: Array
    count: ArrayLike  # type: ignore[assignment]  # the field hides a method of tuples that nobody calls
    labels: Array
    mean: Array
    scale: Array


class Prediction(NamedTuple):
    """What trained runs say.

    Attributes:
      probability: [R, M] of class 1, that is high arousal or positive valence.
      attention: [R, M, S] weights of the segments.
    """

    probability: Array
    attention: Array


def key(seed: int, target: int, fold: int) -> jax.Array:
    """A typed PRNG key [], from which all follows that is random in a run.

    Args:
      seed, target, fold: what sets the run apart; targets are numbered.
    """
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), target), fold)


def stack(runs: list[Runs], width: int | None = None) -> Runs:
    """Joins single runs into a stack; index lists are padded to `width`, by default that of the longest."""
    width = max(len(run.train) for run in runs) if width is None else width
    padded = [run._replace(train=_pad(run.train, width)) for run in runs]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)


def fill(stack: Runs, size: int) -> Runs:
    """The stack with idle places at its end, which train on nothing: the same program for any number of runs.

    Args:
      stack: of R runs.
      size: the places wanted, R or more.
    """
    idle = np.arange(size) >= len(stack.train)
    every = filled(stack, size)
    return every._replace(count=np.where(idle, 0, every.count))


def filled(stacks: Stacks, size: int) -> Stacks:
    """Arrays with a leading R up to `size` of them, the last as often as it takes."""
    return jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(size), len(leaf) - 1)], stacks)


def lists(rows: list[np.ndarray], width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [size, width] from lists of them [M], and how many [size] each run is asked, idle places none."""
    every = [*rows, *[np.zeros(0, np.int32)] * (size - len(rows))]
    return np.stack([_pad(own, width) for own in every]), np.array([len(own) for own in every])


def _pad(rows: Array, width: int) -> np.ndarray:
    return np.pad(rows, (0, width - len(rows)))


def gather(data: Data, rows: Array) -> Data:
    """The utterances in `rows` [...], as arrays that lead with the shape of `rows`."""
    return Data(*(part[rows] for part in data))


def standardised(batch: Data, run: Runs) -> jax.Array:
    """The features of some utterances as one run hears them.

    Args:
      batch: what `gather` gave for [B] rows.
      run: one run.
    Returns: [B, T, F] float32, exactly zero in the padding.
    """
    mean, scale = run.mean[batch.group], run.scale[batch.group]
    return model.standardise(batch.logmel, batch.frames, mean, scale)


def inputs(data: Data, run: Runs, rows: Array) -> jax.Array:
    """Gathers and standardises the utterances in `rows` [B] for one run: [B, T, F] float32."""
    return standardised(gather(data, rows), run)


def default_stacking() -> str:
    """How this device computes a stack, by measurement: `python -m experiments.throughput`.

    It is the same wherever the kind of device is, since a choice by the clock would change the last bits of
    results. On CPU cores "map" trains five runs faster than "vmap" (how much: docs/speed.md); elsewhere
    "vmap" is taken without a measurement: small kernels one after another leave an accelerator idle.
    """
    return "map" if jax.default_backend() == "cpu" else "vmap"


def each_run(
    function: Callable[..., Tree],
    shared: Tree,
    *stacks: Tree,
    stacking: str = "auto",
    mesh: Mesh | None = None,
) -> Tree:
    """function(shared, *one) for every run of the stacks, along their leading axis.

    Args:
      function: computes one run.
      shared: what all runs look at.
      stacks: trees of arrays with a leading R; with a mesh, R must be a multiple of its size.
      stacking: see `TrainConfig`.
      mesh: as `engine.Machine` has it, to share out the runs; nothing passes between devices.
    """
    if stacking == "auto":
        stacking = default_stacking()

    def together(shared: Tree, stacks: Tree) -> Tree:
        if stacking == "vmap":
            return jax.vmap(partial(function, shared))(*stacks)
        return lax.map(lambda one: function(shared, *one), stacks)

    if mesh is None:
        return together(shared, stacks)
    spec = PartitionSpec(mesh.axis_names[0])
    apart = jax.shard_map(
        together, mesh=mesh, in_specs=(PartitionSpec(), spec), out_specs=spec, check_vma=False
    )
    return apart(shared, stacks)


def spread(stacks: Stacks, mesh: Mesh | None) -> Stacks:
    """Puts arrays with a leading R where `each_run` wants them, so that nothing is compiled twice."""
    if mesh is None:
        return stacks
    return jax.device_put(stacks, NamedSharding(mesh, PartitionSpec(mesh.axis_names[0])))


def _say(config: Architecture, batch: Data, run: Runs, params: Tree) -> Prediction:
    output = model.apply(config, params, standardised(batch, run))
    return Prediction(jax.nn.softmax(output.logits)[:, 1], output.attention)


@partial(jax.jit, static_argnums=(0, 1))
def _predict(
    config: Architecture,
    mesh: Mesh | None,
    data: Data,
    runs: Runs,
    params: Tree,
    rows: jax.Array,
    count: jax.Array,
) -> Prediction:
    def one(data: Data, run: Runs, params: Tree, rows: jax.Array, count: jax.Array) -> Prediction:
        def say(rows: jax.Array) -> Prediction:
            return _say(config, gather(data, rows), run, params)

        def say_nothing(rows: jax.Array) -> Prediction:
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(say, rows))

        first = jnp.arange(len(rows)) * PREDICTION_BATCH
        return lax.map(lambda batch: lax.cond(batch[0] < count, say, say_nothing, batch[1]), (first, rows))

    return each_run(one, data, runs, params, rows, count, mesh=mesh)


@partial(jax.jit, static_argnums=(0, 1))
def _predict_batch(
    config: Architecture, mesh: Mesh | None, batch: Data, runs: Runs, params: Tree
) -> Prediction:
    return each_run(lambda _, *one: _say(config, *one), (), batch, runs, params, mesh=mesh)


def is_streamed(data: Data) -> bool:
    """Whether the features stay on the host, and come to the device batch by batch."""
    return not isinstance(data.logmel, jax.Array)


def predict(
    config: Architecture,
    data: Data,
    runs: Runs,
    params: Tree,
    rows: np.ndarray,
    count: np.ndarray,
    mesh: Mesh | None = None,
) -> Prediction:
    """What every run of a stack says of its own utterances, without dropout.

    Args:
      config: the network and its sizes.
      data, runs: as in training.
      params: stacked parameters.
      rows: [R, M] int32 rows of `data`; the first `count` are the run's own, the rest is padding.
      count: [R] how many utterances each run is asked about; what it says of the padding has no meaning.
      mesh: see `each_run`.
    Returns: Prediction(probability [R, M], attention [R, M, S]) on the host.
    """
    width = rows.shape[1]
    batches = -(-width // PREDICTION_BATCH)
    padded = np.pad(rows, ((0, 0), (0, batches * PREDICTION_BATCH - width)))
    padded = padded.reshape(len(rows), batches, PREDICTION_BATCH)
    if is_streamed(data):
        each = [
            _predict_batch(config, mesh, gather(data, padded[:, i]), runs, params) for i in range(batches)
        ]
        said = Prediction(*(np.stack(parts, axis=1) for parts in zip(*each, strict=True)))
    else:
        said = _predict(config, mesh, data, runs, params, padded, np.asarray(count))
    return Prediction(
        np.asarray(said.probability).reshape(len(rows), -1)[:, :width],
        np.asarray(said.attention).reshape(len(rows), -1, config.segments)[:, :width],
    )
