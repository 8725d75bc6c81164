"""Train runs, alone or in stacks, by pure functions.

A run is one model: one task, fold and seed. Everything that differs between the runs of a stack is an array
with a leading R; the features are on the device once, and batches are gathered from them. `step` and
`one_epoch` train one run, `epoch` a stack, each in one compiled call. Between calls, the host shows progress,
saves checkpoints and can be interrupted. A run whose loss or weights are no longer finite stops without
affecting the others.

The order of utterances, dropout and augmentation depend only on the run's key, the epoch and the step, not on
the stack, the device or a resumption.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from ser_jax import model
from ser_jax.augment import NO_AUGMENTATION, Augmentation
from ser_jax.data.standardize import Scaler
from ser_jax.errors import UserError, check_choices
from ser_jax.model import Architecture, Array, Output, Tree
from ser_jax.objectives import TASK_LOSS, Loss, Objective, Step, cross_entropy
from ser_jax.shapes import Bool, Float, Int, Key

CHUNK = 8  # steps whose features are brought to the device at a time, if they are streamed
PREDICTION_BATCH = 64
Stacked = TypeVar("Stacked")  # a tree with a leading R


class TrainError(UserError):
    """A configuration that cannot be used for training."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Specify how a run is trained (Sec. 4).

    Attributes:
      learning_rate: not given in the paper; Adam's usual default.
      batch: utterances per step; the last step of an epoch takes the rest.
      epochs: number of epochs; the weights after the last are used.
      optimizer: adam, adamw, or sgd with a momentum of 0.9.
      weight_decay: for all parameters except biases. With adam and sgd it is an L2 penalty, half of it times
        the sum of squares; with adamw it is decoupled from the gradient.
      class_weights: none; balanced, weights in the loss inversely proportional to a class's training
        utterances, 1 on average; or corpora, equal total weight for each class of each corpus.
      augment: augmentation of every batch.
      objective: the function to minimise.
    """

    learning_rate: float = 1e-3
    batch: int = 32
    epochs: int = 50
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.0
    class_weights: Literal["none", "balanced", "corpora"] = "none"
    augment: Augmentation = NO_AUGMENTATION
    objective: Objective = TASK_LOSS

    def __post_init__(self) -> None:
        check_choices(self, TrainError)
        if not self.learning_rate > 0 or self.weight_decay < 0 or self.batch < 1 or self.epochs < 0:
            raise TrainError(
                f"learning rate {self.learning_rate}, weight decay {self.weight_decay}, batch {self.batch}, "
                f"epochs {self.epochs}, expected a rate above 0, a batch of at least 1, none negative"
            )

    @property
    def gradient_transformation(self) -> optax.GradientTransformation:
        if self.optimizer == "adamw":
            return optax.adamw(self.learning_rate, weight_decay=self.weight_decay, mask=_are_no_biases)
        adam, sgd = optax.adam(self.learning_rate), optax.sgd(self.learning_rate, momentum=0.9)
        rule = adam if self.optimizer == "adam" else sgd
        if not self.weight_decay:
            return rule
        return optax.chain(optax.add_decayed_weights(self.weight_decay, _are_no_biases), rule)


def _are_no_biases(params: Tree) -> Tree:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """The utterances of all corpora in use, shared by all runs.

    Attributes:
      features: [N, T F] on the device (a TPU would pad a last axis of 26 to 128), or [N, T, F] on the host (a
        NumPy array, memory map or `Gathered`), to be streamed.
      frames: valid frames; those after them count as zero.
      group: which of the G scalers standardizes each utterance.
      speaker, corpus, corpora: numbers from 0, for objectives that use them, and how many corpora there are.
    """

    features: Array
    frames: Int[Array, "N"]
    group: Int[Array, "N"]
    speaker: Int[Array, "N"] | None = None
    corpus: Int[Array, "N"] | None = None
    corpora: int = dataclasses.field(default=1, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Runs:
    """The arrays that differ between runs: with a leading R for a stack, without it for one run.

    Attributes:
      key: random key for initialisation, order, dropout and augmentation.
      train, count: rows of `Data`; the first `count` are trained on, the rest is padding.
      labels: classes, or [N, K] numbers.
      scaler: the statistics that standardize each of the G groups of utterances.
      weights: of the utterances in the loss; None for 1 each.
      unlabelled: rows without labels, for objectives that use them, and how many of them are the run's own.
    """

    key: Key[jax.Array, "*R"]
    train: Int[Array, "*R M"]
    count: Int[Array, "*R"]
    labels: Int[Array, "*R N"] | Float[Array, "*R N K"]
    scaler: Scaler
    weights: Float[Array, "*R N"] | None = None
    unlabelled: tuple[Int[Array, "*R U"], Int[Array, "*R"]] | None = None


class TrainState(NamedTuple):
    """The arrays that training updates, with a leading R for a stack.

    Attributes:
      params, heads: of the network, and of the objective ({} for most).
      stopped: epoch and step, both from 1, in which the loss or the new weights were not finite; zeros as
        long as they are. Nothing is learnt after that.
    """

    params: Tree
    heads: Tree
    optimizer: Tree
    stopped: Int[jax.Array, "*R 2"]


class Batch(NamedTuple):
    """The utterances of one step of one run.

    Attributes:
      rows: of `Data`; U utterances without labels follow, if the run has such.
      mask: which of the first B count.
      key: of dropout, augmentation and objective.
      number: the epoch and the step within it, from 1.
    """

    rows: Int[jax.Array, "B+U"]
    mask: Bool[jax.Array, "B"]
    key: Key[jax.Array, ""]
    number: Int[jax.Array, "2"]


Updated = tuple[TrainState, jax.Array]  # the state after, and a loss


class Procedure(NamedTuple):
    """The static arguments of training: network, training, loss, and how `each_run` computes runs."""

    config: Architecture
    training: TrainConfig
    loss: Loss = cross_entropy
    stacking: str = "map"
    mesh: Mesh | None = None


def key(seed: int, stream: int, fold: int) -> Key[jax.Array, ""]:
    """Return the key of a run; `stream` distinguishes tasks and stages of training."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), fold)


def stack(runs: list[Runs], width: int | None = None) -> Runs:
    """Stack single runs; lists of rows are padded to `width`, by default to the longest."""
    width = max(len(run.train) for run in runs) if width is None else width
    most = max(width, *(len(run.unlabelled[0]) for run in runs if run.unlabelled is not None), 0)

    def padded(run: Runs) -> Runs:
        others = run.unlabelled and (_pad(run.unlabelled[0], most), run.unlabelled[1])
        return dataclasses.replace(run, train=_pad(run.train, width), unlabelled=others)

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(padded, runs))


def fill(stack: Runs, size: int) -> Runs:
    """Fill a stack up to `size` runs with idle ones, which train on nothing: one program for any number."""
    idle = np.arange(size) >= len(stack.train)
    filled = repeat_last(stack, size)
    return dataclasses.replace(filled, count=np.where(idle, 0, filled.count))


def repeat_last(stack: Stacked, size: int) -> Stacked:
    """Repeat the last entry of arrays with a leading R until there are `size`."""
    return jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(size), len(leaf) - 1)], stack)


def pad(rows: list[np.ndarray], width: int, size: int) -> Int[np.ndarray, "size width"]:
    """Return lists of rows, and empty ones up to `size`, as one padded array."""
    return np.stack([_pad(own, width) for own in [*rows, *[np.zeros(0, np.int32)] * (size - len(rows))]])


def _pad(rows: Array, width: int) -> np.ndarray:
    return np.pad(np.asarray(rows), (0, width - len(rows)))


def is_streamed(data: Data) -> bool:
    """Return whether the features stay on the host and go to the device batch by batch."""
    return not isinstance(data.features, jax.Array)


def gather(data: Data, rows: Int[Array, "*B"]) -> Data:
    """Gather utterances: arrays that lead with the shape of `rows`; features flatten to [*B, T F]."""
    batch = jax.tree.map(lambda part: part[rows], data, is_leaf=lambda part: hasattr(part, "shape"))
    return dataclasses.replace(batch, features=batch.features.reshape(*rows.shape, -1))


_gather = jax.jit(gather)


def standardized(batch: Data, run: Runs) -> Float[jax.Array, "B T F"]:
    """Return the standardized features of gathered utterances for one run, zero in the padding."""
    mean, scale = run.scaler.mean[batch.group], run.scaler.scale[batch.group]
    features = batch.features.reshape(len(batch.frames), -1, mean.shape[-1])
    return model.standardize(features, batch.frames, mean, scale)


def inputs(data: Data, run: Runs, rows: Int[Array, "B"]) -> Float[jax.Array, "B T F"]:
    """Return the standardized features of utterances for one run."""
    return standardized(gather(data, rows), run)


def augmented(training: TrainConfig, gathered: Data, run: Runs, batch: Batch) -> Float[jax.Array, "rows T F"]:
    """Return the standardized and augmented features of a step, zero in the padding."""
    x = standardized(gathered, run)
    if training.augment == NO_AUGMENTATION:
        return x
    scaler = Scaler(*(part[gathered.group] for part in run.scaler))
    x = training.augment(x, gathered.frames, scaler, jax.random.fold_in(batch.key, 1))
    valid = jnp.arange(x.shape[1])[None, :] < gathered.frames[:, None]
    return jnp.where(valid[:, :, None], x, 0)


def order(run: Runs, key: Key[jax.Array, ""]) -> Int[Array, "M"]:
    """Return the run's own rows in random order, which does not depend on the padding; padding comes last."""
    draw = jax.random.uniform(key, run.train.shape)
    own = jnp.arange(len(run.train)) < run.count
    return run.train[jnp.argsort(jnp.where(own, draw, 2), stable=True)]


def schedule(run: Runs, size: int, number: ArrayLike) -> Batch:
    """Return the batches of `size` utterances of one run after `number` epochs, with a leading axis of steps.

    Each of its own utterances appears once; steps past their count have an empty mask.
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


def balanced(run: Runs, classes: int, corpus: Array | int = 0, corpora: int = 1) -> Runs:
    """Return one run with weights that give every class of every corpus the same share of the loss.

    Args:
      corpus: [N] numbers of `corpora`; by default all are one.
    Raises: TrainError for labels that are not classes.
    """
    labels = jnp.asarray(run.labels)
    if labels.ndim != 1:
        raise TrainError("balanced class weights for a task of numbers, expected a task of classes")
    own = (jnp.arange(len(run.train)) < run.count) & (labels[run.train] >= 0)
    each = labels + classes * corpus
    counts = jnp.zeros(classes * corpora).at[each[run.train]].add(own)
    weights = counts.sum() / jnp.maximum(jnp.count_nonzero(counts) * counts, 1)
    return dataclasses.replace(run, weights=weights[each])


_balanced = jax.jit(jax.vmap(balanced, (0, None, None, None)), static_argnums=(1, 3))


def start(
    config: Architecture, training: TrainConfig, run: Runs, params: Tree = None, corpora: int = 1
) -> TrainState:
    """Return the state one run starts from: with `params`, or with parameters drawn from its key."""
    params = model.init(config, jax.random.fold_in(run.key, 0)) if params is None else params
    x = jax.ShapeDtypeStruct((1, config.frames, config.bands), jnp.float32)
    output = jax.eval_shape(partial(model.apply, config), params, x)
    heads = training.objective.heads(jax.random.fold_in(run.key, 2), output, corpora)
    optimizer = training.gradient_transformation.init((params, heads))
    return TrainState(params, heads, optimizer, jnp.zeros(2, jnp.int32))


@partial(jax.jit, static_argnums=(0, 1, 4))
def start_runs(
    config: Architecture, training: TrainConfig, runs: Runs, params: Tree = None, corpora: int = 1
) -> TrainState:
    """Compute `start` for every run of a stack."""
    return jax.vmap(lambda run, params: start(config, training, run, params, corpora))(runs, params)


def objective(
    procedure: Procedure, variables: tuple[Tree, Tree], gathered: Data, run: Runs, batch: Batch
) -> Float[jax.Array, ""]:
    """Return the objective of a step of one run, from (params, heads) and `gather(data, batch.rows)`."""
    config, training, loss, *_ = procedure
    params, heads = variables
    x = augmented(training, gathered, run, batch)
    output = model.apply(config, params, x, key=batch.key)
    labels, valid = jnp.asarray(run.labels)[batch.rows], batch.mask
    if run.unlabelled is not None:
        first = len(valid)  # the rest may have labels, which must not be used
        labels = labels.at[first:].set(-1 if labels.ndim == 1 else jnp.nan)
        valid = jnp.concatenate([valid, jnp.full(len(labels) - first, run.unlabelled[1] > 0)])
    labelled = labels >= 0 if labels.ndim == 1 else jnp.isfinite(labels).any(axis=1)
    weights = (valid & labelled).astype(jnp.float32)
    if run.weights is not None:
        weights = weights * run.weights[batch.rows]
    progress = (batch.number[0] - 1) / max(training.epochs, 1)
    key = jax.random.fold_in(batch.key, 2)
    step = Step(output, labels, weights, valid, gathered.speaker, gathered.corpus, progress, key)
    return training.objective(loss, step, heads)


def step(procedure: Procedure, gathered: Data, run: Runs, state: TrainState, batch: Batch) -> Updated:
    """Update one run by one batch; return the state after and the loss."""
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
    """Take several steps (places, Batch) of one run; return the state and the sum of the losses.

    `fetch` gathers the `Data` of a place. Steps with an empty mask, or of a stopped run, change nothing.
    """

    def body(carry: Updated, placed: tuple[jax.Array, Batch]) -> tuple[Updated, None]:
        state, total = carry
        place, batch = placed

        def learn(state: TrainState) -> Updated:
            return step(procedure, fetch(place), run, state, batch)

        learns = batch.mask.any() & (state.stopped[0] == 0)
        idle = state, jnp.zeros(())
        if procedure.stacking == "vmap":  # a conditional computes both, and copies the features for every run
            state, value = jax.tree.map(partial(jnp.where, learns), learn(state), idle)
        else:
            state, value = lax.cond(learns, learn, lambda _: idle, state)
        return (state, total + value * batch.mask.sum()), None

    return lax.scan(body, (state, jnp.zeros(())), steps)[0]


def one_epoch(procedure: Procedure, data: Data, run: Runs, state: TrainState, number: ArrayLike) -> Updated:
    """Pass once over one run's utterances, after `number` epochs; return the state and the mean loss.

    The loss is NaN once the run is stopped.
    """
    batches = schedule(run, procedure.training.batch, number)
    state, total = _advance(procedure, partial(gather, data), run, state, (batches.rows, batches))
    return state, _mean_loss(state, total, run.count)


def _mean_loss(state: TrainState, total: ArrayLike, count: ArrayLike) -> jax.Array:
    return jnp.where(state.stopped[..., 0] > 0, jnp.nan, total / jnp.maximum(count, 1))


def each_run(
    function: Callable[..., Tree],
    shared: Tree,
    *stacks: Tree,
    stacking: str = "map",
    mesh: Mesh | None = None,
) -> Tree:
    """Compute function(shared, *run) for every run of the stacks, along their leading axis R.

    Args:
      stacking: "vmap" for all at once, "map" for one after another within one program.
      mesh: devices that share the runs (one axis), whose number must divide R; they exchange nothing.
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


def epoch(procedure: Procedure, data: Data, runs: Runs, state: TrainState, number: ArrayLike) -> Updated:
    """Compute `one_epoch` for every run of a stack.

    Features that stay on the host are gathered there while the device computes.
    """
    if not is_streamed(data):
        return _resident_epoch(procedure, data, runs, state, number)
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
    """Advance every run by batches [R, steps] whose features [R, steps, B, T F] were gathered."""

    def one(_: object, gathered: Data, run: Runs, own: TrainState, batches: Batch) -> Updated:
        def fetch(place: jax.Array) -> Data:
            return jax.tree.map(lambda part: part[place], gathered)

        return _advance(procedure, fetch, run, own, (jnp.arange(len(batches.rows)), batches))

    return each_run(one, (), gathered, runs, state, batches, stacking=procedure.stacking, mesh=procedure.mesh)


def fit(
    procedure: Procedure, data: Data, run: Runs, params: Tree = None
) -> tuple[Tree, Float[np.ndarray, "epochs"]]:
    """Train one run; return its parameters and losses. Arguments as in `fit_runs`."""
    run, params = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (run, params))
    state, losses = fit_runs(procedure, jax.tree.map(jnp.asarray, data), run, params)
    return jax.tree.map(lambda leaf: leaf[0], state.params), losses[:, 0]


def fit_runs(
    procedure: Procedure,
    data: Data,
    runs: Runs,
    params: Tree = None,
    *,
    on_epoch: Callable[[int, TrainState, np.ndarray], None] | None = None,
    resume: tuple[int, TrainState, np.ndarray] | None = None,
) -> tuple[TrainState, Float[np.ndarray, "epochs R"]]:
    """Train a stack of runs side by side.

    Args:
      procedure, data, runs: see these; features that are not on the device are streamed.
      params: stacked parameters to start from, for fine-tuning; drawn from the runs' keys otherwise.
      on_epoch: called after every epoch with the epochs done, the state and the losses, NaN for epochs to
        come; an exception ends the training.
      resume: arguments of an earlier `on_epoch`, to continue from there to the same bits.
    Returns: the state after all epochs, and the losses; NaN once a run is stopped.
    """
    config, training, *_, mesh = procedure
    if training.class_weights != "none" and runs.weights is None:
        each = (data.corpus, data.corpora) if training.class_weights == "corpora" else (0, 1)
        runs = _balanced(runs, config.outputs, *each)
    runs = spread(runs, mesh)
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


@partial(jax.jit, static_argnums=(0, 1))
def _predict_batch(config: Architecture, mesh: Mesh | None, batch: Data, runs: Runs, params: Tree) -> Output:
    def one(_: object, batch: Data, run: Runs, params: Tree) -> Output:
        return model.apply(config, params, standardized(batch, run))._replace(embedding=None)

    return each_run(one, (), batch, runs, params, mesh=mesh)


def predict(
    config: Architecture,
    data: Data,
    runs: Runs,
    params: Tree,
    rows: Int[np.ndarray, "R M"],
    mesh: Mesh | None = None,
) -> Output:
    """Predict utterances by every run of a stack, without dropout.

    Returns: Output(outputs [R, M, K], attention [R, M, S]) on the host.
    """
    width = rows.shape[1]
    batches = max(1, -(-width // PREDICTION_BATCH))
    padded = np.pad(rows, ((0, 0), (0, batches * PREDICTION_BATCH - width)))
    parts = np.split(padded, batches, axis=1)
    fetch = gather if is_streamed(data) else _gather
    each = [_predict_batch(config, mesh, fetch(data, part), runs, params) for part in parts]
    return jax.tree.map(lambda *found: np.concatenate(found, axis=1)[:, :width], *each)
