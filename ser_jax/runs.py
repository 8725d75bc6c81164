"""Runs side by side: what distinguishes them, how a stack of them is computed, and their predictions.

A run is one model: one task, fold and seed. Whatever differs between the runs of a stack is an array with a
leading R; the features lie on the device once, and a batch is a gather.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ser_jax import model
from ser_jax.arrays import Array, Tree
from ser_jax.data.standardize import Scaler
from ser_jax.model import Architecture, Output

PREDICTION_BATCH = 64
Stacked = TypeVar("Stacked")  # a tree with a leading R


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """The utterances of all corpora in use, shared by all runs.

    Attributes:
      features: [N, T F] float32 as stored, on the device; or [N, T, F] on the host (a NumPy array, memory
        map or `Gathered`), to be streamed. (A TPU would pad a last axis of 26 to 128.)
      frames: [N] int32, frames that hold sound; those after them count as zero.
      group: [N] int32, which of the G standardizations an utterance takes.
      speaker, corpus: [N] int32, numbered from 0, for objectives that use them.
      corpora: how many corpora there are.
    """

    features: Array
    frames: Array
    group: Array
    speaker: Array | None = None
    corpus: Array | None = None
    corpora: int = dataclasses.field(default=1, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Runs:
    """What distinguishes runs: with a leading R a stack, without it one run.

    Attributes:
      key: [R] typed PRNG keys; initialisation, order, dropout and augmentation follow from them.
      train: [R, M] int32 rows of `Data`; the first `count` are the run's own, the rest is padding.
      count: [R] int32, utterances a run trains on.
      labels: [R, N] int32 classes, or [R, N, K] float32 numbers.
      scaler: Scaler of [R, G, F]: the statistics that standardize each group of utterances.
      weights: [R, N] float32 weights in the loss; None for 1 each.
      unlabelled: for objectives that use rows without labels, such rows [R, U] int32 and how many of them are
        the run's own [R] int32; None for none.
    """

    key: jax.Array
    train: Array
    count: Array
    labels: Array
    scaler: Scaler
    weights: Array | None = None
    unlabelled: tuple[Array, Array] | None = None


def key(seed: int, stream: int, fold: int) -> jax.Array:
    """Return the typed PRNG key [] from which everything random in a run follows.

    Args:
      seed, fold: of the run.
      stream: a number that distinguishes its task, or its stage.
    """
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), fold)


def stack(runs: list[Runs], width: int | None = None) -> Runs:
    """Stack single runs; lists of rows are padded to `width`, by default to the longest of their kind."""
    width = max(len(run.train) for run in runs) if width is None else width
    most = max(width, *(len(run.unlabelled[0]) for run in runs if run.unlabelled is not None), 0)

    def padded(run: Runs) -> Runs:
        if run.unlabelled is not None:
            rows, count = run.unlabelled
            run = dataclasses.replace(run, unlabelled=(_pad(rows, most), count))
        return dataclasses.replace(run, train=_pad(run.train, width))

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(padded, runs))


def fill(stack: Runs, size: int) -> Runs:
    """Fill a stack up to `size` runs with idle ones, which train on nothing: one program for any number."""
    idle = np.arange(size) >= len(stack.train)
    filled = repeat_last(stack, size)
    return dataclasses.replace(filled, count=np.where(idle, 0, filled.count))


def repeat_last(stack: Stacked, size: int) -> Stacked:
    """Repeat the last entry of arrays with a leading R until there are `size`."""
    return jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(size), len(leaf) - 1)], stack)


def pad(rows: list[np.ndarray], width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pad lists of rows [M] to one array [size, width]; returns it and their lengths [size]."""
    every = [*rows, *[np.zeros(0, np.int32)] * (size - len(rows))]
    return np.stack([_pad(own, width) for own in every]), np.array([len(own) for own in every])


def _pad(rows: Array, width: int) -> np.ndarray:
    return np.pad(np.asarray(rows), (0, width - len(rows)))


def gather(data: Data, rows: Array) -> Data:
    """Gather utterances: arrays that lead with the shape of `rows` [...]; features flatten to [..., T F]."""
    batch = jax.tree.map(lambda part: part[rows], data, is_leaf=lambda part: hasattr(part, "shape"))
    return dataclasses.replace(batch, features=batch.features.reshape(*rows.shape, -1))


def standardized(batch: Data, run: Runs) -> jax.Array:
    """Return the standardized features of gathered utterances for one run: [B, T, F], zero in the padding."""
    mean, scale = run.scaler.mean[batch.group], run.scaler.scale[batch.group]
    features = batch.features.reshape(len(batch.frames), -1, mean.shape[-1])
    return model.standardize(features, batch.frames, mean, scale)


def inputs(data: Data, run: Runs, rows: Array) -> jax.Array:
    """Gather and standardize utterances for one run: rows [B] to [B, T, F] float32."""
    return standardized(gather(data, rows), run)


def default_stacking(platform: str) -> str:
    """Return how the runs of a stack are computed on a platform.

    It depends on nothing but the platform, since a choice by the clock would change the last bits of results.
    On CPU cores "map" trains five runs faster than "vmap" (`python -m experiments.throughput`); elsewhere
    "vmap" is taken without a measurement: small kernels one after another leave an accelerator idle.
    """
    return "map" if platform == "cpu" else "vmap"


def each_run(
    function: Callable[..., Tree],
    shared: Tree,
    *stacks: Tree,
    stacking: str = "map",
    mesh: Mesh | None = None,
) -> Tree:
    """Compute function(shared, *one) for every run of the stacks, along their leading axis.

    Args:
      function: computes one run.
      shared: the same for all runs.
      stacks: trees of arrays with a leading R; with a mesh, R must be a multiple of its size.
      stacking: "vmap" for all at once, "map" for one after another within one program.
      mesh: devices that share the runs (one axis); nothing passes between them.
    """

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


def spread(stacks: Stacked, mesh: Mesh | None) -> Stacked:
    """Put arrays with a leading R on the devices that `each_run` computes them on."""
    if mesh is None:
        return stacks
    return jax.device_put(stacks, NamedSharding(mesh, PartitionSpec(mesh.axis_names[0])))


def _output(config: Architecture, batch: Data, run: Runs, params: Tree) -> Output:
    return model.apply(config, params, standardized(batch, run))._replace(embedding=None)


@partial(jax.jit, static_argnums=(0, 1))
def _predict(
    config: Architecture,
    mesh: Mesh | None,
    data: Data,
    runs: Runs,
    params: Tree,
    rows: jax.Array,
    count: jax.Array,
) -> Output:
    def one(data: Data, run: Runs, params: Tree, rows: jax.Array, count: jax.Array) -> Output:
        def predicted(rows: jax.Array) -> Output:
            return _output(config, gather(data, rows), run, params)

        def nothing(rows: jax.Array) -> Output:
            return jax.tree.map(jnp.zeros_like, jax.eval_shape(predicted, rows))

        first = jnp.arange(len(rows)) * PREDICTION_BATCH
        return lax.map(lambda batch: lax.cond(batch[0] < count, predicted, nothing, batch[1]), (first, rows))

    return each_run(one, data, runs, params, rows, count, mesh=mesh)


@partial(jax.jit, static_argnums=(0, 1))
def _predict_batch(config: Architecture, mesh: Mesh | None, batch: Data, runs: Runs, params: Tree) -> Output:
    return each_run(lambda _, *one: _output(config, *one), (), batch, runs, params, mesh=mesh)


def is_streamed(data: Data) -> bool:
    """Return whether the features stay on the host and go to the device batch by batch."""
    return not isinstance(data.features, jax.Array)


def predict(
    config: Architecture,
    data: Data,
    runs: Runs,
    params: Tree,
    rows: np.ndarray,
    count: np.ndarray,
    mesh: Mesh | None = None,
) -> Output:
    """Predict utterances by every run of a stack, without dropout.

    Args:
      config: the network.
      data, runs: as in training.
      params: stacked parameters.
      rows: [R, M] int32 rows of `data`; the first `count` are the run's own, the rest is padding.
      count: [R] how many utterances each run predicts; predictions of the padding have no meaning.
      mesh: see `each_run`.
    Returns: Output(outputs [R, M, K], attention [R, M, S]) on the host.
    """
    width = rows.shape[1]
    batches = max(1, -(-width // PREDICTION_BATCH))
    padded = np.pad(rows, ((0, 0), (0, batches * PREDICTION_BATCH - width)))
    padded = padded.reshape(len(rows), batches, PREDICTION_BATCH)
    if is_streamed(data):
        each = [
            _predict_batch(config, mesh, gather(data, padded[:, i]), runs, params) for i in range(batches)
        ]
        found: Any = jax.tree.map(lambda *parts: np.stack(parts, axis=1), *each)
    else:
        found = _predict(config, mesh, data, runs, params, padded, np.asarray(count))
    return jax.tree.map(
        lambda part: np.asarray(part).reshape(len(rows), -1, part.shape[-1])[:, :width], found
    )
