"""Training: one run as pure functions, and stacks of runs side by side.

`step` and `one_epoch` train one run; `epoch` carries them over a stack. The host calls one compiled epoch at
a time, so that it can show progress, save and be interrupted in between. A run whose loss or weights are not
finite any more is stopped there and does not affect the others of its stack.

The order of utterances, dropout and augmentation follow from the run's key, the epoch and the step alone: not
from the stack that it is part of, the device that computes it, or where training was resumed.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from ser_jax import model
from ser_jax.arrays import Tree
from ser_jax.augment import NO_AUGMENTATION, Augmentation
from ser_jax.data.standardize import Scaler
from ser_jax.errors import UserError
from ser_jax.model import Architecture
from ser_jax.objectives import TASK_LOSS, Loss, Objective, Step, cross_entropy
from ser_jax.runs import Data, Runs, each_run, gather, is_streamed, spread, standardized

CHUNK = 8  # steps whose features are brought to the device at a time, if they are streamed
OPTIMIZERS = ("adam", "adamw", "sgd")


class TrainError(UserError):
    """A configuration that nothing can be trained by."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a run is trained (Sec. 4).

    Attributes:
      learning_rate: paper silent; Adam's usual default.
      batch: B, utterances a step; the last step of an epoch takes those that are left.
      epochs: passes over the training utterances; the weights after the last one are the result.
      optimizer: adam, adamw, or sgd with a momentum of 0.9.
      weight_decay: of adamw and sgd, decoupled from the gradient.
      class_weights: none, or balanced: weights in the loss in inverse proportion to a class's training
        utterances, see `weighted`.
      augment: what batches go through first.
      objective: what is minimised.
    """

    learning_rate: float = 1e-3
    batch: int = 32
    epochs: int = 50
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    augment: Augmentation = NO_AUGMENTATION
    objective: Objective = TASK_LOSS

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise TrainError(f"optimizer {self.optimizer!r}, expected one of {', '.join(OPTIMIZERS)}")
        if self.optimizer == "adam" and self.weight_decay:
            raise TrainError(f"a weight decay of {self.weight_decay} with adam, expected adamw or sgd")
        if not self.learning_rate > 0 or self.weight_decay < 0 or self.batch < 1 or self.epochs < 0:
            raise TrainError(
                f"learning rate {self.learning_rate}, weight decay {self.weight_decay}, batch {self.batch}, "
                f"epochs {self.epochs}, expected a rate above 0, a batch of at least 1, and none below 0"
            )

    @property
    def gradient_transformation(self) -> optax.GradientTransformation:
        """The optimizer."""
        if self.optimizer == "adam":
            return optax.adam(self.learning_rate)
        if self.optimizer == "adamw":
            return optax.adamw(self.learning_rate, weight_decay=self.weight_decay)
        decay = optax.add_decayed_weights(self.weight_decay)
        return optax.chain(optax.trace(decay=0.9), decay, optax.scale(-self.learning_rate))


class TrainState(NamedTuple):
    """What training changes; with a leading R for a stack.

    Attributes:
      params: the network's.
      heads: the objective's; {} for most.
      optimizer: state of the optimizer.
      stopped: [2] int32, epoch and step, both from 1, in which the loss or the new weights were not finite;
        zeros as long as they are. Nothing is learnt after that.
    """

    params: Tree
    heads: Tree
    optimizer: Tree
    stopped: jax.Array


class Batch(NamedTuple):
    """The utterances of one step of one run.

    Attributes:
      rows: [B + U] int32 rows of `Data`; U = B utterances without labels follow, if the run has such, or 0.
      mask: [B] bool, which of the first B count.
      key: typed PRNG key of the dropout.
      number: [2] int32, the epoch and the step within it, from 1.
    """

    rows: jax.Array
    mask: jax.Array
    key: jax.Array
    number: jax.Array


OnEpoch = Callable[[int, TrainState, np.ndarray], None]  # epochs done, state after them, losses [epochs, R]
Updated = tuple[TrainState, jax.Array]  # the state after, and a loss


class Procedure(NamedTuple):
    """What an epoch is compiled for.

    Attributes:
      config, training: the network, and how it is trained.
      loss: the task's.
      stacking, mesh: see `each_run`.
    """

    config: Architecture
    training: TrainConfig
    loss: Loss = cross_entropy
    stacking: str = "map"
    mesh: Mesh | None = None


def order(run: Runs, key: jax.Array) -> jax.Array:
    """Return the run's own rows in random order, padding last: [M] int32.

    It depends on the key and the run's own rows alone, not on the length that a stack padded them to.
    """
    draw = jax.random.uniform(key, run.train.shape)
    own = jnp.arange(len(run.train)) < run.count
    return run.train[jnp.argsort(jnp.where(own, draw, 2), stable=True)]


def schedule(run: Runs, size: int, number: ArrayLike) -> Batch:
    """Return the batches of one epoch of one run, in order: each of its own utterances exactly once.

    Args:
      run: one run.
      size: B, utterances a step; the last step takes those that are left.
      number: [] int32, epochs done before this one.
    Returns: a Batch with a leading axis of steps; those past the run's own count have an empty mask.
    """
    key = jax.random.fold_in(jax.random.fold_in(run.key, 1), number)
    steps = -(-len(run.train) // size)
    spare = steps * size - len(run.train)
    rows = jnp.pad(order(run, jax.random.fold_in(key, 0)), (0, spare)).reshape(steps, size)
    mask = (jnp.arange(rows.size) < run.count).reshape(rows.shape)
    rows = jnp.where(mask, rows, rows[0, 0])  # another run's utterance may hold NaN
    if run.unlabelled is not None:
        others, count = run.unlabelled
        drawn = jax.random.randint(jax.random.fold_in(key, 2), (steps, size), 0, jnp.maximum(count, 1))
        rows = jnp.concatenate([rows, jnp.asarray(others)[drawn]], axis=1)
    place = jnp.arange(steps)
    epoch_and_step = jnp.stack([jnp.full(steps, number), place], axis=1).astype(jnp.int32) + 1
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(key, 1)))(place)
    return Batch(rows, mask, keys, epoch_and_step)


def weighted(training: TrainConfig, run: Runs, classes: int) -> Runs:
    """Return a run with the weights that its configuration asks for, unless it has its own.

    Balanced weights are in inverse proportion to a class's training utterances, and 1 on average over them.

    Args:
      training: the configuration.
      run: one run.
      classes: K.
    Raises: TrainError if balanced weights are to be found for labels that are numbers.
    """
    if training.class_weights == "none" or run.weights is not None:
        return run
    labels = jnp.asarray(run.labels)
    if labels.ndim != 1:
        raise TrainError("balanced class weights for a task of numbers, expected a task of classes")
    own = (jnp.arange(len(run.train)) < run.count) & (labels[run.train] >= 0)
    counts = jnp.zeros(classes).at[labels[run.train]].add(own)
    each = counts.sum() / jnp.maximum(jnp.count_nonzero(counts) * counts, 1)
    return dataclasses.replace(run, weights=each[labels])


def start(
    config: Architecture, training: TrainConfig, run: Runs, params: Tree = None, corpora: int = 1
) -> TrainState:
    """Return the state one run starts from: drawn from its key, or from `params` if they are given."""
    params = model.init(config, jax.random.fold_in(run.key, 0)) if params is None else params
    x = jax.ShapeDtypeStruct((1, config.frames, config.bands), jnp.float32)
    output = jax.eval_shape(partial(model.apply, config), params, x)
    heads = training.objective.heads(jax.random.fold_in(run.key, 2), output, corpora)
    optimizer = training.gradient_transformation.init((params, heads))
    return TrainState(params, heads, optimizer, jnp.zeros(2, jnp.int32))


def augmented(training: TrainConfig, gathered: Data, run: Runs, batch: Batch) -> jax.Array:
    """Return the standardized and augmented features of a step: [B + U, T, F], zero in the padding."""
    x = standardized(gathered, run)
    if training.augment == NO_AUGMENTATION:
        return x
    scaler = Scaler(*(part[gathered.group] for part in run.scaler))
    x = training.augment(x, gathered.frames, scaler, jax.random.fold_in(batch.key, 1))
    valid = jnp.arange(x.shape[1])[None, :] < gathered.frames[:, None]
    return jnp.where(valid[:, :, None], x, 0)


def objective(
    procedure: Procedure, variables: tuple[Tree, Tree], gathered: Data, run: Runs, batch: Batch
) -> jax.Array:
    """Return what a step of one run minimises, [] float32.

    Args:
      procedure: network, configuration and the task's loss.
      variables: (params, heads).
      gathered: `gather(data, batch.rows)`.
      run, batch: the run and the step.
    """
    config, training, loss, *_ = procedure
    params, heads = variables
    x = augmented(training, gathered, run, batch)
    output = model.apply(config, params, x, key=batch.key)
    labels, valid = jnp.asarray(run.labels)[batch.rows], batch.mask
    if run.unlabelled is not None:
        first = len(valid)  # of those whose labels, if there are any, must not be used
        labels = labels.at[first:].set(-1 if labels.ndim == 1 else jnp.nan)
        valid = jnp.concatenate([valid, jnp.full(len(labels) - first, run.unlabelled[1] > 0)])
    labelled = labels >= 0 if labels.ndim == 1 else jnp.isfinite(labels).any(axis=1)
    weights = (valid & labelled).astype(jnp.float32)
    if run.weights is not None:
        weights = weights * run.weights[batch.rows]
    seen = Step(
        output=output,
        labels=labels,
        weights=weights,
        valid=valid,
        speaker=gathered.speaker,
        corpus=gathered.corpus,
        progress=(batch.number[0] - 1) / max(training.epochs, 1),
        key=jax.random.fold_in(batch.key, 2),
    )
    return training.objective(loss, seen, heads)


def step(procedure: Procedure, gathered: Data, run: Runs, state: TrainState, batch: Batch) -> Updated:
    """Update one run by one batch; returns the state after and the loss []."""
    variables = state.params, state.heads
    value, gradient = jax.value_and_grad(objective, 1)(procedure, variables, gathered, run, batch)
    rule = procedure.training.gradient_transformation
    updates, optimizer = rule.update(gradient, state.optimizer, variables)
    params, heads = optax.apply_updates(variables, updates)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, params))]).all()
    return TrainState(params, heads, optimizer, jnp.where(finite, state.stopped, batch.number)), value


def _advance(
    procedure: Procedure, fetch: Callable[[jax.Array], Data], run: Runs, state: TrainState, steps: Tree
) -> Updated:
    """Take several steps of one run; those with an empty mask, or after it was stopped, change nothing.

    Args:
      procedure: see `objective`.
      fetch: maps a step's place to its gathered `Data`.
      steps: (places, Batch), both with a leading axis of steps.
    Returns: (state after, sum of the losses over the utterances []).
    """

    def body(carry: Updated, placed: tuple[jax.Array, Batch]) -> tuple[Updated, None]:
        state, total = carry
        place, batch = placed

        def learn(state: TrainState) -> Updated:
            return step(procedure, fetch(place), run, state, batch)

        learns = batch.mask.any() & (state.stopped[0] == 0)
        state, value = lax.cond(learns, learn, lambda state: (state, jnp.zeros(())), state)
        return (state, total + value * batch.mask.sum()), None

    return lax.scan(body, (state, jnp.zeros(())), steps)[0]


def one_epoch(procedure: Procedure, data: Data, run: Runs, state: TrainState, number: ArrayLike) -> Updated:
    """Pass once over one run's own training utterances.

    Args:
      procedure: see `objective`.
      data, run: the corpora and the run.
      state: before.
      number: [] int32, epochs done before this one.
    Returns: (state after, mean loss over the utterances []).
    """
    batches = schedule(run, procedure.training.batch, number)
    state, total = _advance(procedure, partial(gather, data), run, state, (batches.rows, batches))
    return state, _mean_loss(state, total, run.count)


def _mean_loss(state: TrainState, total: ArrayLike, count: ArrayLike) -> jax.Array:
    """Return an epoch's mean over the utterances, of one run or a stack; NaN once a run is stopped."""
    return jnp.where(state.stopped[..., 0] > 0, jnp.nan, total / jnp.maximum(count, 1))


@partial(jax.jit, static_argnums=(0, 1, 4))
def start_runs(
    config: Architecture, training: TrainConfig, runs: Runs, params: Tree = None, corpora: int = 1
) -> TrainState:
    """Compute `start` for every run of a stack."""
    return jax.vmap(lambda run, params: start(config, training, run, params, corpora))(runs, params)


def epoch(procedure: Procedure, data: Data, runs: Runs, state: TrainState, number: ArrayLike) -> Updated:
    """Compute `one_epoch` for every run of a stack.

    Args:
      procedure: see `objective`.
      data: the corpora. Features that stay on the host are gathered there while the device computes; the
        batches and their order are the same.
      runs, state: the stack, before.
      number: [] int32, epochs done before this one.
    Returns: (state after, losses [R]).
    """
    one_pass = _streamed_epoch if is_streamed(data) else _resident_epoch
    return one_pass(procedure, data, runs, state, number)


@partial(jax.jit, static_argnums=0)
def _resident_epoch(
    procedure: Procedure, data: Data, runs: Runs, state: TrainState, number: ArrayLike
) -> Updated:
    def one(shared: tuple[Data, ArrayLike], run: Runs, own: TrainState) -> Updated:
        return one_epoch(procedure, shared[0], run, own, shared[1])

    return each_run(one, (data, number), runs, state, stacking=procedure.stacking, mesh=procedure.mesh)


_schedules = jax.jit(jax.vmap(schedule, (0, None, None)), static_argnums=1)


@partial(jax.jit, static_argnums=0)
def _advance_runs(
    procedure: Procedure, gathered: Data, runs: Runs, state: TrainState, batches: Batch
) -> Updated:
    """Advance every run by batches [R, steps] whose features [R, steps, B, T F] were brought along."""

    def one(_: object, gathered: Data, run: Runs, own: TrainState, batches: Batch) -> Updated:
        places = jnp.arange(len(batches.rows))
        return _advance(
            procedure, lambda i: jax.tree.map(lambda part: part[i], gathered), run, own, (places, batches)
        )

    return each_run(one, (), gathered, runs, state, batches, stacking=procedure.stacking, mesh=procedure.mesh)


def _streamed_epoch(
    procedure: Procedure, data: Data, runs: Runs, state: TrainState, number: ArrayLike
) -> Updated:
    """Compute `_resident_epoch` while the host gathers the features of the next steps."""
    batches = _schedules(runs, procedure.training.batch, number)
    rows = np.asarray(batches.rows)
    total = before = jnp.zeros(len(rows))
    for first in range(0, rows.shape[1], CHUNK):
        some = jax.tree.map(lambda leaf: leaf[:, first : first + CHUNK], batches)  # noqa: B023
        gathered = gather(data, rows[:, first : first + CHUNK])
        jax.block_until_ready(before)  # so that two chunks at most are on the device
        before = total
        state, value = _advance_runs(procedure, gathered, runs, state, some)
        total = total + value
    return state, _mean_loss(state, total, runs.count)


def fit(
    config: Architecture,
    training: TrainConfig,
    data: Data,
    run: Runs,
    params: Tree = None,
    *,
    loss: Loss = cross_entropy,
) -> tuple[Tree, np.ndarray]:
    """Train one run by itself.

    Args:
      config, training: network and procedure.
      data: the corpora.
      run: one run, without the leading R.
      params: where to start, for fine-tuning; drawn from the run's key otherwise.
      loss: the task's.
    Returns: (parameters, losses [epochs] float32 on the host).
    """
    state, data = start(config, training, run, params, data.corpora), jax.tree.map(jnp.asarray, data)
    run = weighted(training, run, config.outputs)
    compiled = jax.jit(one_epoch, static_argnums=0)
    losses = []
    for number in range(training.epochs):
        state, value = compiled(Procedure(config, training, loss), data, run, state, number)
        losses.append(value)
    return state.params, np.asarray(losses, np.float32)


def fit_runs(
    config: Architecture,
    training: TrainConfig,
    data: Data,
    runs: Runs,
    params: Tree = None,
    *,
    loss: Loss = cross_entropy,
    stacking: str = "map",
    mesh: Mesh | None = None,
    on_epoch: OnEpoch | None = None,
    resume: tuple[int, TrainState, np.ndarray] | None = None,
) -> tuple[TrainState, np.ndarray]:
    """Train a stack of runs side by side.

    Args:
      config, training: network and procedure, the same for all.
      data: the corpora; features that are not on the device are streamed.
      runs: the stack.
      params: stacked parameters to start from, for fine-tuning; drawn from the runs' keys otherwise.
      loss: the task's.
      stacking, mesh: see `each_run`.
      on_epoch: called after every epoch with the epochs done, the state and the losses [epochs, R], NaN for
        epochs to come; an exception ends the training.
      resume: what `on_epoch` was called with once, to go on from there to the same bits.
    Returns: (the state after all epochs, losses [epochs, R] float32 on the host). The loss of a run that was
      stopped is NaN.
    """
    runs = spread(jax.vmap(lambda run: weighted(training, run, config.outputs))(runs), mesh)
    procedure = Procedure(config, training, loss, stacking, mesh)
    if resume is None:
        losses = np.full((training.epochs, len(runs.train)), np.nan, np.float32)
        resume = 0, start_runs(config, training, runs, params, data.corpora), losses
    done, state, losses = resume[0], spread(resume[1], mesh), resume[2].copy()
    for number in range(done, training.epochs):
        state, value = epoch(procedure, data, runs, state, number)
        losses[number] = value
        if on_epoch is not None:
            on_epoch(number + 1, state, losses)
    return state, losses
