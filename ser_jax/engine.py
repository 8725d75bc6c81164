"""Compute any number of runs on all devices, in stacks that fit into memory.

This module chooses the size of stacks, whether features are streamed, and the device and host that compute
each run. These choices change results only by rounding.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import model, train
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Machine
from ser_jax.model import Architecture, Array, Output, Tree
from ser_jax.objectives import Loss, cross_entropy
from ser_jax.shapes import Float, Int, Key
from ser_jax.train import Data, Procedure, Runs, TrainConfig, TrainState, is_streamed, pad, repeat_last

if TYPE_CHECKING:  # importing Orbax takes seconds
    from ser_jax.checkpoint import Checkpointing

NO_ROWS = np.zeros(0, np.int32)
CPU_STACK = 5  # runs a device; one after another they need no memory, and progress is shown between stacks
MEASURED = 8  # runs of the step whose memory the compiler reports


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RunSpec:
    """One model to train, as `Runs` describes it, and the utterances it predicts.

    Attributes:
      key, train, labels, unlabelled, weights: see `Runs`; lists of several runs may differ in length.
      scaler: [G, F], or a function that fits it when the run is computed.
      test, dev: rows to predict after training, and during training.
      params: parameters to start from, for fine-tuning; None to draw them from the key.
      fold, seed: identify the run within a setting.
    """

    key: Key[jax.Array, ""]
    train: Int[np.ndarray, "M"]
    labels: Int[Array, "N"] | Float[Array, "N K"]
    scaler: Scaler | Callable[[], Scaler]
    test: Int[np.ndarray, "tested"] = dataclasses.field(default_factory=lambda: NO_ROWS)
    dev: Int[np.ndarray, "D"] = dataclasses.field(default_factory=lambda: NO_ROWS)
    unlabelled: Int[np.ndarray, "U"] = dataclasses.field(default_factory=lambda: NO_ROWS)
    weights: Float[np.ndarray, "N"] | None = None
    params: Tree = None
    fold: int = 0
    seed: int = 0

    def run(self) -> Runs:
        count = np.array(len(self.unlabelled), np.int32)
        return Runs(
            key=self.key,
            train=self.train,
            count=np.array(len(self.train), np.int32),
            labels=self.labels,
            scaler=self.scaler() if callable(self.scaler) else self.scaler,
            weights=self.weights,
            unlabelled=(self.unlabelled, count) if count else None,
        )


class RunResult(NamedTuple):
    """A trained model and its predictions, on the host.

    Attributes:
      params: the network's parameters.
      losses: mean over the training utterances.
      outputs: for the test rows.
      dev_outputs: for the development rows after each of W epochs.
      stopped: see `TrainState`. Outputs and parameters of a stopped run are NaN.
    """

    params: Tree
    losses: Float[np.ndarray, "*R epochs"]
    outputs: Float[np.ndarray, "*R M K"]
    dev_outputs: Float[np.ndarray, "*R W D K"]
    stopped: Int[np.ndarray, "*R 2"]


def compute(
    machine: Machine,
    config: Architecture,
    training: TrainConfig,
    data: Data,
    specs: Sequence[RunSpec],
    *,
    loss: Loss = cross_entropy,
    dev_epochs: Sequence[int] = (),
    on_epoch: Callable[[int], object] = lambda steps: None,
    checkpointing: "Checkpointing | None" = None,
    needed: Collection[int] | None = None,
) -> Iterator[dict[int, RunResult]]:
    """Train every run and predict its test and development utterances.

    Args:
      data: the corpora, features as `Machine.place` left them.
      specs: the runs; either all or none start from parameters and use unlabelled rows.
      dev_epochs: epochs after which the development rows are predicted.
      on_epoch: called with the utterance-steps done since the last call, as if all hosts were equally fast.
      checkpointing: saves snapshots, trees of host arrays, from which an interrupted computation is resumed.
      needed: indices of the runs to compute, all by default. Stacks without any of them are skipped; the
        others are unchanged, so that results are bit-identical.
    Yields: the results of a stack by index, the same on every host.
    Raises: ArchitectureError if the network does not meet its interface.
    """
    model.check(config)
    share = -(-len(specs) // machine.hosts)
    mine = [(machine.host + i * machine.hosts) % len(specs) for i in range(share)]
    each = stack_size(machine, config, training, data, share)
    each = machine.agreed(each if checkpointing is None else checkpointing.runs_per_stack(each))
    size = machine.mesh.size * -(-each // machine.mesh.size)
    widths = [max(map(len, rows)) for rows in zip(*((s.train, s.test, s.dev) for s in specs), strict=True)]
    # On a CPU steps past a run's count are free, so that one width, and one program, serves every setting.
    if machine.platform == "cpu" and not is_streamed(data):
        widths[0] = max(widths[0], len(data.frames))
    procedure = Procedure(config, training, loss, machine.computes_runs_by, machine.mesh)
    stacks = _Stacks(procedure, data, size, widths, machine.hosts, dev_epochs, checkpointing, on_epoch)
    for number, first in enumerate(range(0, share, each)):
        together = range(first * machine.hosts, min((first + each) * machine.hosts, len(specs)))
        if needed is None or set(together) & set(needed):
            result = stacks.compute(number, [specs[i] for i in mine[first : first + each]])
            if machine.hosts > 1:  # place p of host h holds the run p hosts + h of those together
                every = machine.gathered(result)
                result = jax.tree.map(lambda leaf: np.concatenate(np.asarray(leaf).swapaxes(0, 1)), every)
            yield {i: _single(result, place, specs[i]) for place, i in enumerate(together)}


def predict_runs(
    machine: Machine,
    config: Architecture,
    data: Data,
    specs: Sequence[RunSpec],
    params: Tree,
    rows: Sequence[Int[np.ndarray, "_"]],
) -> Iterator[Output]:
    """Predict the utterances `rows` of each run by its trained parameters, which are stacked.

    Yields: per run Output(outputs [M, K], attention [M, S]).
    """
    model.check(config)
    size = stack_size(machine, config, TrainConfig(), data, len(specs))
    longest = max(map(len, rows))
    for first in range(0, len(specs), size):
        some = range(first, min(first + size, len(specs)))
        runs = train.fill(train.stack([specs[i].run() for i in some]), size)
        own = repeat_last(jax.tree.map(lambda leaf: leaf[np.array(some)], params), size)  # noqa: B023
        padded = pad([rows[i] for i in some], longest, size)
        found = train.predict(config, data, runs, own, padded, machine.mesh)
        for place, i in enumerate(some):
            yield jax.tree.map(lambda part: part[place, : len(rows[i])], found)  # noqa: B023


def stack_size(machine: Machine, config: Architecture, training: TrainConfig, data: Data, count: int) -> int:
    """Return the size of a stack, a multiple of the devices, for `count` runs in as few stacks as fit."""
    devices = machine.mesh.size
    if machine.runs_at_once is not None:
        each = machine.runs_at_once
    elif machine.platform == "cpu":
        each = CPU_STACK
    else:
        streamed = is_streamed(data)
        room = machine.budget - (0 if streamed else data.features.nbytes)
        each = max(1, room // run_bytes(config, training, len(data.frames), streamed))
    stacks = -(-count // (devices * each))
    return devices * -(-count // (devices * stacks))


@cache
def run_bytes(config: Architecture, training: TrainConfig, utterances: int, streamed: bool = False) -> int:
    """Return the bytes of each further run of a stack, as the compiler reports for `MEASURED` runs.

    Labels, weights and rows are added; if features are streamed, so are two chunks of steps.
    """

    def one(_: jax.Array) -> tuple[Data, Runs, TrainState, train.Batch]:
        key, rows = jax.random.key(0), jnp.zeros(training.batch, jnp.int32)
        levels = jnp.zeros((1, config.bands))
        run = Runs(key=key, train=rows, count=jnp.int32(0), labels=rows, scaler=Scaler(levels, levels))
        features = jnp.zeros((training.batch, config.frames * config.bands))
        gathered = Data(features=features, frames=rows, group=rows, speaker=rows, corpus=rows)
        batch = train.Batch(rows, rows == 0, key, jnp.zeros(2, jnp.int32))
        return gathered, run, train.start(config, training, run), batch

    arguments = jax.eval_shape(jax.vmap(one), jnp.zeros(MEASURED))

    def any_loss(outputs: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.sum(outputs**2 * weights[:, None])  # a task's loss takes as little memory

    step = jax.jit(jax.vmap(partial(train.step, Procedure(config, training, any_loss))))
    needed: Any = step.lower(*arguments).compile().memory_analysis()  # of the backend's own type
    total = needed.argument_size_in_bytes + needed.output_size_in_bytes + needed.temp_size_in_bytes
    chunk = 4 * train.CHUNK * training.batch * config.frames * config.bands
    return total // MEASURED + 12 * utterances + (2 * chunk if streamed else 0)


class _Stacks(NamedTuple):
    """Values that the stacks of a computation share; `widths` of training, test and development rows."""

    procedure: Procedure
    data: Data
    size: int
    widths: Sequence[int]
    hosts: int
    dev_epochs: Sequence[int]
    checkpointing: "Checkpointing | None"
    on_epoch: Callable[[int], object]

    def compute(self, number: int, specs: list[RunSpec]) -> RunResult:
        config, training, *_, mesh = self.procedure
        count, params = len(specs), None
        runs = train.fill(train.stack([spec.run() for spec in specs], self.widths[0]), self.size)
        test = pad([spec.test for spec in specs], self.widths[1], self.size)
        dev = pad([spec.dev for spec in specs], self.widths[2], self.size)
        if specs[0].params is not None:
            first = jax.tree.map(lambda *leaves: np.stack(leaves), *(spec.params for spec in specs))
            params = repeat_last(first, self.size)
        steps = int(np.sum(runs.count)) * self.hosts
        losses = np.full((training.epochs, self.size), np.nan, np.float32)
        shape = len(self.dev_epochs), self.size, self.widths[2], config.outputs
        dev_outputs = np.full(shape, np.nan, np.float32)
        resume: tuple[int, TrainState, np.ndarray] | None = None
        if self.checkpointing is not None:
            start = partial(train.start_runs, config, training, corpora=self.data.corpora)
            state = jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[:count], start(runs, params)))
            like = {"state": state, "losses": losses[:, :count], "dev_outputs": dev_outputs[:, :count]}
            if found := self.checkpointing.latest(number, like):
                done, kept = found
                losses[:, :count], dev_outputs[:, :count] = kept["losses"], kept["dev_outputs"]
                resume = done, repeat_last(kept["state"], self.size), losses
                self.on_epoch(steps * done)

        def outputs(params: Tree, rows: np.ndarray) -> Array:
            return train.predict(config, self.data, runs, params, rows, mesh).outputs

        def after_epoch(epoch: int, state: TrainState, losses: np.ndarray) -> None:
            if epoch in self.dev_epochs and dev.size:
                dev_outputs[self.dev_epochs.index(epoch)] = outputs(state.params, dev)
            if self.checkpointing is not None:
                snapshot = partial(_snapshot, state, losses, dev_outputs, count)
                self.checkpointing.save(number, epoch, epoch == training.epochs, snapshot)
            self.on_epoch(steps)

        state, losses = train.fit_runs(
            self.procedure, self.data, runs, params, on_epoch=after_epoch, resume=resume
        )
        tested = outputs(state.params, test)
        own = _snapshot(state, losses, dev_outputs, count)
        stopped = own["state"].stopped

        def blank(leaf: np.ndarray) -> np.ndarray:
            """Replace what stopped runs hold by NaN."""
            rows = (stopped[:, 0] > 0).reshape(-1, *[1] * (leaf.ndim - 1))
            return np.where(rows, np.nan, leaf).astype(leaf.dtype)

        every = own["state"].params, tested[:count], own["dev_outputs"].swapaxes(0, 1)
        params, tested, dev_outputs = jax.tree.map(blank, every)
        return RunResult(params, own["losses"].T, tested, dev_outputs, stopped)


def _snapshot(state: TrainState, losses: np.ndarray, dev_outputs: np.ndarray, count: int) -> Tree:
    """Copy the first `count` places of a stack to the host."""
    own = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], state)
    return {"state": own, "losses": losses[:, :count].copy(), "dev_outputs": dev_outputs[:, :count].copy()}


def _single(stacked: RunResult, place: int, spec: RunSpec) -> RunResult:
    """Return the result of one run of a stack, without the padding of rows."""
    one: RunResult = jax.tree.map(lambda leaf: leaf[place], stacked)
    outputs, dev = one.outputs[: len(spec.test)], one.dev_outputs[:, : len(spec.dev)]
    return one._replace(outputs=outputs, dev_outputs=dev)
