"""Training: one run as pure functions, and stacks of runs side by side.

`step` and `one_epoch` train one run; `epoch` carries them over a stack. The host calls one compiled epoch
at a time, so that it can show progress, save and be interrupted in between. A run whose loss or weights are
not finite any more is stopped there; the others of its stack never see it.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from ser_jax import model
from ser_jax.arrays import Array, Tree
from ser_jax.model import Architecture
from ser_jax.runs import Data, Runs, each_run, gather, is_streamed, spread, standardised
from ser_jax.schedule import Batch, TrainConfig, schedule

CHUNK = 8  # steps whose features are brought to the device at a time, where they are streamed


class State(NamedTuple):
    """What training changes; with a leading R for a stack.

    Attributes:
      params: the network's.
      optimiser: Adam's moments.
      stopped: [2] int32, epoch and step, both from 1, in which the loss or the new weights were not finite;
        zeros while they are. Nothing is learnt after that.
    """

    params: Tree
    optimiser: Tree
    stopped: jax.Array


Told = tuple[State, jax.Array]  # the state after, and a loss
Placed = tuple[jax.Array, Batch]  # with the batches' places, from which `Hear` finds what is heard
Hear = Callable[[jax.Array], Data]


class Progress(NamedTuple):
    """How far a stack has come.

    Attributes:
      epoch: epochs done.
      state: after them.
      losses: [epochs, R] float32 on the host, NaN where there is none: of epochs still to come, and of a run
        that was stopped.
    """

    epoch: int
    state: State
    losses: np.ndarray


def loss(
    config: Architecture, params: Tree, x: Array, labels: Array, mask: Array, key: jax.Array
) -> jax.Array:
    """Cross-entropy of a batch: the mean over the utterances that the mask keeps.

    Args:
      config: the network and its sizes.
      params: one run's.
      x: [B, T, F] as `inputs` gives it.
      labels: [B] classes.
      mask: [B] bool, at least one true.
      key: typed PRNG key of the dropout.
    Returns: [] float32.
    """
    logits = model.apply(config, params, x, key=key).logits
    each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.sum(jnp.where(mask, each, 0)) / jnp.sum(mask)


def start(config: Architecture, training: TrainConfig, run: Runs, params: Tree = None) -> State:
    """The state one run starts from: drawn from its key, or `params` where these are given."""
    params = model.init(config, jax.random.fold_in(run.key, 0)) if params is None else params
    optimiser = optax.adam(training.learning_rate).init(params)
    return State(params, optimiser, jnp.zeros(2, jnp.int32))


def step(
    config: Architecture, training: TrainConfig, heard: Data, run: Runs, state: State, batch: Batch
) -> Told:
    """One update of one run by one batch.

    Args:
      config, training: static.
      heard: what `gather` gives for the batch's rows.
      run: the run.
      state: before.
      batch: which utterances these are.
    Returns: (state after, loss []).
    """
    labels = run.labels[batch.rows].astype(jnp.int32)
    x = standardised(heard, run)
    value, gradient = jax.value_and_grad(loss, 1)(config, state.params, x, labels, batch.mask, batch.key)
    updates, optimiser = optax.adam(training.learning_rate).update(gradient, state.optimiser)
    params = optax.apply_updates(state.params, updates)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, params))]).all()
    return State(params, optimiser, jnp.where(finite, state.stopped, batch.number)), value


def advance(
    config: Architecture, training: TrainConfig, hear: Hear, run: Runs, state: State, batches: Placed
) -> Told:
    """Some steps of one run, one after another; those with an empty mask change nothing, nor do those after
    the one in which the run was stopped.

    Args:
      config, training: static.
      hear: a batch's place in `batches` to its `Data`.
      batches: (places, Batch), both with a leading axis of steps.
    Returns: (state after, sum of the losses over the utterances []).
    """

    def body(carry: Told, placed: Placed) -> tuple[Told, None]:
        state, total = carry
        place, batch = placed

        def learn(state: State) -> Told:
            return step(config, training, hear(place), run, state, batch)

        learns = batch.mask.any() & (state.stopped[0] == 0)
        state, value = lax.cond(learns, learn, lambda state: (state, jnp.zeros(())), state)
        return (state, total + value * batch.mask.sum()), None

    return lax.scan(body, (state, jnp.zeros(())), batches)[0]


def one_epoch(
    config: Architecture, training: TrainConfig, data: Data, run: Runs, state: State, number: ArrayLike
) -> Told:
    """One pass of one run over its own training utterances, each exactly once.

    Args:
      config, training: static.
      data, run: the corpora and the run.
      state: before.
      number: [] int32, epochs done before this one.
    Returns: (state after, mean loss over the utterances []). Steps past the run's own count change nothing.
    """
    batches = schedule(run, training.batch, number)
    state, total = advance(
        config, training, lambda rows: gather(data, rows), run, state, (batches.rows, batches)
    )
    return state, _mean_loss(state, total, run.count)


def _mean_loss(state: State, total: ArrayLike, count: ArrayLike) -> jax.Array:
    """Of an epoch's sum over the utterances, for one run or a stack; NaN once a run is stopped."""
    return jnp.where(state.stopped[..., 0] > 0, jnp.nan, total / jnp.maximum(count, 1))


@partial(jax.jit, static_argnums=(0, 1))
def start_runs(config: Architecture, training: TrainConfig, runs: Runs, params: Tree = None) -> State:
    """`start` for every run of a stack."""
    return jax.vmap(partial(start, config, training))(runs, params)


def epoch(
    config: Architecture,
    training: TrainConfig,
    data: Data,
    runs: Runs,
    state: State,
    number: ArrayLike,
    mesh: Mesh | None = None,
) -> Told:
    """`one_epoch` for every run of a stack.

    Args:
      config, training: static.
      data: the corpora. Where their features stay on the host, those of the next steps are gathered there
        while the device computes some; the batches and their order are the same.
      runs, state: the stack, before.
      number: [] int32, epochs done before this one.
      mesh: see `each_run`.
    Returns: (state after, losses [R]).
    """
    one_pass = _streamed_epoch if is_streamed(data) else _resident_epoch
    return one_pass(_How(config, training, mesh), data, runs, state, number)


class _How(NamedTuple):
    """What is compiled for."""

    config: Architecture
    training: TrainConfig
    mesh: Mesh | None


@partial(jax.jit, static_argnums=0)
def _resident_epoch(how: _How, data: Data, runs: Runs, state: State, number: ArrayLike) -> Told:
    def one(shared: tuple[Data, ArrayLike], run: Runs, own: State) -> Told:
        return one_epoch(how.config, how.training, shared[0], run, own, shared[1])

    return each_run(one, (data, number), runs, state, stacking=how.training.stacking, mesh=how.mesh)


@partial(jax.jit, static_argnums=0)
def _schedules(training: TrainConfig, runs: Runs, number: ArrayLike) -> Batch:
    return jax.vmap(lambda run: schedule(run, training.batch, number))(runs)


@partial(jax.jit, static_argnums=0)
def _advance_runs(how: _How, heard: Data, runs: Runs, state: State, batches: Batch) -> Told:
    """`advance` for every run by batches [R, steps] whose features [R, steps, B] were brought along."""

    def one(_: object, heard: Data, run: Runs, own: State, batches: Batch) -> Told:
        places = jnp.arange(len(batches.rows))
        hear = partial(gather, heard)
        return advance(how.config, how.training, hear, run, own, (places, batches))

    return each_run(one, (), heard, runs, state, batches, stacking=how.training.stacking, mesh=how.mesh)


def _streamed_epoch(how: _How, data: Data, runs: Runs, state: State, number: ArrayLike) -> Told:
    batches = _schedules(how.training, runs, number)
    rows = np.asarray(batches.rows)
    total = 0.0
    for first in range(0, rows.shape[1], CHUNK):
        some = jax.tree.map(lambda leaf: leaf[:, first : first + CHUNK], batches)  # noqa: B023
        heard = gather(data, rows[:, first : first + CHUNK])
        state, value = _advance_runs(how, heard, runs, state, some)
        total = total + value
    return state, _mean_loss(state, total, runs.count)


def fit(
    config: Architecture, training: TrainConfig, data: Data, run: Runs, params: Tree = None
) -> tuple[Tree, np.ndarray]:
    """Trains one run by itself.

    Args:
      config, training: network and procedure.
      data: the corpora.
      run: one run, without the leading R.
      params: where to start, for fine-tuning; drawn from the run's key otherwise.
    Returns: (parameters, losses [epochs] float32 on the host).
    """
    state, data = start(config, training, run, params), jax.tree.map(jnp.asarray, data)
    once = jax.jit(one_epoch, static_argnums=(0, 1))
    losses = []
    for number in range(training.epochs):
        state, value = once(config, training, data, run, state, number)
        losses.append(value)
    return state.params, np.asarray(losses, np.float32)


def fit_runs(
    config: Architecture,
    training: TrainConfig,
    data: Data,
    runs: Runs,
    params: Tree = None,
    on_epoch: Callable[[Progress], None] | None = None,
    mesh: Mesh | None = None,
    begun: Progress | None = None,
) -> Progress:
    """Trains a stack of runs side by side.

    Args:
      config, training: network and procedure, the same for all.
      data: the corpora; where their features are a NumPy array, they are streamed.
      runs: the stack.
      params: stacked parameters to start from, for fine-tuning; drawn from the runs' keys otherwise.
      on_epoch: called after every epoch; what it raises ends the training.
      mesh: devices that share out the runs, see `each_run`.
      begun: what `on_epoch` was given once, to go on from there to the same bits.
    Returns: how far it came, all epochs.
    """
    runs = spread(runs, mesh)
    if begun is None:
        losses = np.full((training.epochs, len(runs.train)), np.nan, np.float32)
        begun = Progress(0, start_runs(config, training, runs, params), losses)
    state, losses = spread(begun.state, mesh), begun.losses.copy()
    for number in range(begun.epoch, training.epochs):
        state, value = epoch(config, training, data, runs, state, number, mesh)
        losses[number] = value
        if on_epoch is not None:
            on_epoch(Progress(number + 1, state, losses))
    return Progress(training.epochs, state, losses)
