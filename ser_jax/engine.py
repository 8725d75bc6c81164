"""From the runs that somebody asks for to their computation: stacks that fit, on the devices there are.

Whoever plans an experiment lists its runs. How many of them go into a stack, whether their features lie on
the device or are streamed, and which device and which host computes which run, is decided here. None of it
changes a result by more than rounding.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import jax
import numpy as np

from ser_jax import model, stacks, train
from ser_jax.arrays import Array, Tree
from ser_jax.machine import Machine
from ser_jax.model import Architecture
from ser_jax.runs import Data, Prediction, Runs, fill, filled, is_streamed, lists, predict, stack
from ser_jax.train import Progress, State, TrainConfig

NOBODY = np.zeros(0, np.int32)


class Done(NamedTuple):
    """Runs that were computed together, on the host.

    Attributes:
      runs: which of those asked for; every one comes once.
      params: stacked parameters.
      losses: [R, epochs], the mean over each run's training utterances.
      said: per run [M] the probabilities of its test rows.
      watched: per run [W, its rows] the probabilities of its development rows after the epochs watched.
      stopped: [R, 2] epoch and step, from 1, in which a run's numbers were not finite any more; zeros where
        they are. What a stopped run says, and its parameters, are NaN.
    """

    runs: list[int]
    params: Tree
    losses: np.ndarray
    said: list[np.ndarray]
    watched: list[np.ndarray]
    stopped: np.ndarray


class Snapshot(NamedTuple):
    """A stack in training, on the host: all that its epochs to come depend on, and what it said so far.

    Attributes:
      state: a `train.State` with a leading R, without idle places.
      losses: [epochs, R], NaN for those to come.
      watched: [W, R, D] probabilities of the development rows, NaN for the epochs to come.
    """

    state: State
    losses: np.ndarray
    watched: np.ndarray


class Keep(Protocol):
    """Where a host's stacks are kept while they train, so that work can be taken up again."""

    def runs_a_stack(self, proposed: int) -> int:
        """How many runs a stack has: those of the work that is taken up, or else what is proposed."""

    def latest(self, stack: int, like: Snapshot) -> tuple[int, Snapshot] | None:
        """Epochs done and what was kept of a stack after them; `like` has the shapes and kinds expected."""

    def offer(self, stack: int, epoch: int, last: bool, snapshot: Callable[[], Snapshot]) -> None:
        """Called after every epoch, `last` after the last one. What it raises ends the training."""


class Asked(NamedTuple):
    """One run and what it is asked about.

    Attributes:
      run: a single run; the index lists of several may differ in length.
      test: [M] int32, rows that it is asked about in the end.
      dev: [D] int32, rows that it is asked about while it trains.
    """

    run: Runs
    test: np.ndarray
    dev: np.ndarray = NOBODY


def compute(
    machine: Machine,
    config: Architecture,
    training: TrainConfig,
    data: Data,
    asked: Sequence[Asked],
    params: Tree = None,
    on_epoch: Callable[[int, bool], None] | None = None,
    watch: Sequence[int] = (),
    keep: Keep | None = None,
    needed: Collection[int] | None = None,
) -> Iterator[Done]:
    """Trains every run and asks it about its own utterances.

    Args:
      machine: what computes.
      config, training: the same for all runs.
      data: the corpora, as `place` left them.
      asked: the runs.
      params: stacked parameters to start from, for fine-tuning.
      on_epoch: called with the utterance-steps done since the last call, as if all hosts were equally fast,
        and whether they were done before, by the work that is taken up.
      watch: after how many epochs runs are asked about their development rows.
      keep: where stacks in training are kept, and taken up again.
      needed: the runs whose results are wanted, all by default; a stack without any of them is left out. The
        others are divided as if all were wanted, so that each keeps its place and its bits.
    Yields: Done, stack by stack, the same on every host.
    """
    model.check(config)
    share = -(-len(asked) // machine.hosts)
    mine = [(machine.host + i * machine.hosts) % len(asked) for i in range(share)]
    each = stacks.size(machine, config, training, data, share)
    each = machine.agreed(each if keep is None else keep.runs_a_stack(each))
    size = machine.mesh.size * -(-each // machine.mesh.size)
    job = _Job(machine, config, training, data, size, _widths(machine, data, asked), tuple(watch), keep)
    for number, first in enumerate(range(0, share, each)):
        together = range(first * machine.hosts, min((first + each) * machine.hosts, len(asked)))
        if needed is not None and not set(together) & set(needed):
            continue
        some = mine[first : first + each]
        begin = None if params is None else jax.tree.map(lambda leaf: leaf[np.array(some)], params)  # noqa: B023
        own = _compute(job, number, [asked[i] for i in some], begin, on_epoch)
        yield _done(machine, asked, list(together), own)


def ask(
    machine: Machine,
    config: Architecture,
    data: Data,
    runs: Sequence[Runs],
    params: Tree,
    rows: Sequence[np.ndarray],
) -> Iterator[Prediction]:
    """What trained runs say of some utterances.

    Args:
      machine, config, data: as in `compute`.
      runs: single runs.
      params: stacked parameters, one for each.
      rows: per run [M] int32, what it is asked about; the lists may differ in length.
    Yields: per run a Prediction(probability [M], attention [M, S]).
    """
    model.check(config)
    size = stacks.size(machine, config, TrainConfig(), data, len(runs))
    longest = max(map(len, rows))
    for first in range(0, len(runs), size):
        some = range(first, min(first + size, len(runs)))
        together = fill(stack([runs[i] for i in some]), size)
        own = filled(jax.tree.map(lambda leaf: leaf[np.array(some)], params), size)  # noqa: B023
        asked = lists([rows[i] for i in some], longest, size)
        said = predict(config, data, together, own, *asked, machine.mesh)
        for place, i in enumerate(some):
            yield Prediction(*(part[place, : len(rows[i])] for part in said))


class _Job(NamedTuple):
    """What all stacks have in common; `widths` of the lists of training, test and development rows."""

    machine: Machine
    config: Architecture
    training: TrainConfig
    data: Data
    size: int
    widths: tuple[int, int, int]
    watch: tuple[int, ...]
    keep: Keep | None


def _widths(machine: Machine, data: Data, asked: Sequence[Asked]) -> tuple[int, int, int]:
    """What lists of rows are padded to.

    On a CPU steps past a run's count are free, so that one width, and one program, serves every job.
    """
    whole = len(data.frames) if machine.on_cpu and not is_streamed(data) else None

    def width(lists: Iterable[Array]) -> int:
        most = max(map(len, lists))
        return most if whole is None or not most else whole

    return width(a.run.train for a in asked), width(a.test for a in asked), width(a.dev for a in asked)


def _compute(
    job: _Job, number: int, asked: list[Asked], params: Tree, on_epoch: Callable[[int, bool], None] | None
) -> Tree:
    """One stack: a `Done` without its `runs`, lists as arrays as wide as the longest, on the host."""
    machine, data, keep = job.machine, job.data, job.keep
    runs = fill(stack([one.run for one in asked], job.widths[0]), job.size)
    done = int(np.sum(runs.count)) * machine.hosts
    dev = lists([one.dev for one in asked], job.widths[2], job.size)
    params = filled(params, job.size)
    begun, watched = _begun(job, number, runs, params, len(asked))
    for _ in range(0 if begun is None else begun.epoch):
        on_epoch is None or on_epoch(done, True)

    def probability(params: Tree, rows: tuple[np.ndarray, np.ndarray]) -> Array:
        return predict(job.config, data, runs, params, *rows, machine.mesh).probability

    def report(progress: Progress) -> None:
        if progress.epoch in job.watch and dev[0].size:
            watched[job.watch.index(progress.epoch)] = probability(progress.state.params, dev)
        if keep is not None:
            last = progress.epoch == job.training.epochs
            keep.offer(number, progress.epoch, last, lambda: _snapshot(progress, watched, len(asked)))
        if on_epoch is not None:
            on_epoch(done, False)

    trained = train.fit_runs(job.config, job.training, data, runs, params, report, machine.mesh, begun)
    said = probability(trained.state.params, lists([one.test for one in asked], job.widths[1], job.size))
    own = _snapshot(trained, watched, len(asked))
    lost = own.state.stopped[:, 0] > 0
    answers = said[: len(asked)], own.watched.swapaxes(0, 1)
    params, said, watched = jax.tree.map(partial(_without, lost), (own.state.params, *answers))
    return params, own.losses.T, said, watched, own.state.stopped


def _without(lost: Array, leaf: Array) -> np.ndarray:
    """NaN for the runs that are lost."""
    return np.where(lost.reshape(-1, *[1] * (leaf.ndim - 1)), np.nan, leaf).astype(leaf.dtype)


def _begun(
    job: _Job, number: int, runs: Runs, params: Tree, count: int
) -> tuple[Progress | None, np.ndarray]:
    """Where a stack is taken up, and what it has said of its development rows [W, places, D]."""
    epochs = job.training.epochs
    watched = np.full((len(job.watch), job.size, job.widths[2]), np.nan, np.float32)
    losses = np.full((epochs, job.size), np.nan, np.float32)
    if job.keep is None:
        return None, watched
    state = jax.eval_shape(partial(train.start_runs, job.config, job.training), runs, params)
    own = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), state)
    lists: list[Tree] = [
        jax.ShapeDtypeStruct(part[:, :count].shape, part.dtype) for part in (losses, watched)
    ]
    found = job.keep.latest(number, Snapshot(own, *lists))
    if found is None:
        return None, watched
    epoch, kept = found
    losses[:, :count], watched[:, :count] = kept.losses, kept.watched
    return Progress(epoch, filled(kept.state, job.size), losses), watched


def _snapshot(progress: Progress, watched: np.ndarray, count: int) -> Snapshot:
    """The first `count` places of a stack."""
    state = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], progress.state)
    return Snapshot(state, progress.losses[:, :count].copy(), watched[:, :count].copy())


def _done(machine: Machine, asked: Sequence[Asked], runs: list[int], own: Tree) -> Done:
    """One stack's results of all hosts; place p of host h holds the run p hosts + h of `runs`."""
    if machine.hosts > 1:
        every = machine.gathered(own)  # [host, place, ...]
        own = jax.tree.map(lambda leaf: np.concatenate(list(np.asarray(leaf).swapaxes(0, 1))), every)
    params, losses, said, watched, stopped = jax.tree.map(lambda leaf: leaf[: len(runs)], own)
    return Done(
        runs,
        params,
        losses,
        [row[: len(asked[i].test)] for i, row in zip(runs, said, strict=True)],
        [rows[:, : len(asked[i].dev)] for i, rows in zip(runs, watched, strict=True)],
        stopped,
    )
