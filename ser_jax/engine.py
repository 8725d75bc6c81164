"""From the runs that somebody asks for to their computation: stacks that fit, on the devices there are.

Whoever plans an experiment lists its runs. How many of them go into a stack, whether their features lie on
the device or are streamed, and which device and which host computes which run, is decided here. None of it
changes a result by more than rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from ser_jax import runs as side_by_side
from ser_jax import train
from ser_jax.machine import Machine
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, Runs, is_streamed
from ser_jax.train import TrainConfig

CPU_STACK = 5  # runs a device; one after another they need no memory, and progress is shown between stacks
NOBODY = np.zeros(0, np.int32)


def run_bytes(config: ModelConfig, training: TrainConfig, utterances: int) -> int:
    """Bytes that one more run of a stack takes while all of the stack compute one step together.

    Its parameters with Adam's moments and their successors, labels and rows; and of a batch the features as
    gathered and as standardised, the windows, the responses and their gradient. The compiler may reuse some.
    """
    positions = training.batch * config.segments * config.pool
    width = config.kernel * config.bands
    parameters = (width + 2) * config.channels + (config.segments + 1) * config.channels * config.classes
    step = 2 * training.batch * config.frames * config.bands + positions * (width + 2 * config.channels)
    return 4 * (8 * parameters + step) + 5 * utterances


def stack_size(machine: Machine, config: ModelConfig, training: TrainConfig, data: Data, count: int) -> int:
    """Runs of a stack, a multiple of the devices: as few stacks as fit beside the features, of one size.

    Args:
      data: as `place` left it.
      count: runs there are to compute.
    """
    devices = machine.mesh.size
    if machine.runs_at_once is not None:
        each = machine.runs_at_once
    elif machine.on_cpu:
        each = CPU_STACK
    else:
        room = machine.budget - (0 if is_streamed(data) else data.logmel.nbytes)
        each = max(1, room // run_bytes(config, training, len(data.frames)))
    stacks = -(-count // (devices * each))
    return devices * -(-count // (devices * stacks))


def fill(stack: Runs, size: int) -> Runs:
    """The stack with idle places at its end, which train on nothing: the same program for any number of runs.

    Args:
      stack: of R runs.
      size: the places wanted, R or more.
    """
    idle = np.arange(size) >= len(stack.count)
    filled = _fill(stack, size)
    return filled._replace(count=np.where(idle, 0, filled.count))


def _fill(stack, size: int):
    """The last of the stack as often as it takes."""
    return jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(size), len(leaf) - 1)], stack)


class Done(NamedTuple):
    """Runs that were computed together, on the host.

    Attributes:
      runs: which of those asked for; every one comes once.
      params: stacked parameters.
      losses: [R, epochs], the mean over each run's training utterances.
      said: per run the probabilities of its test rows.
      watched: per run [W, its rows] the probabilities of its development rows after the epochs watched.
    """

    runs: list[int]
    params: Any
    losses: np.ndarray
    said: list[np.ndarray]
    watched: list[np.ndarray]


class Asked(NamedTuple):
    """One run and what it is asked about.

    Attributes:
      run: a single run; the index lists of several may differ in length.
      test: rows that it is asked about in the end.
      dev: rows that it is asked about while it trains.
    """

    run: Runs
    test: np.ndarray
    dev: np.ndarray = NOBODY


def compute(
    machine: Machine,
    config: ModelConfig,
    training: TrainConfig,
    data: Data,
    asked: Sequence[Asked],
    params=None,
    on_epoch: Callable[[int], None] | None = None,
    watch: Sequence[int] = (),
) -> Iterator[Done]:
    """Trains every run and asks it about its own utterances.

    Args:
      machine: what computes.
      config, training: the same for all runs.
      data: the corpora, as `place` left them.
      asked: the runs.
      params: stacked parameters to start from, for fine-tuning.
      on_epoch: called with the utterance-steps done since the last call, as if all hosts were equally fast.
      watch: after how many epochs runs are asked about their development rows.
    Yields: Done, stack by stack, the same on every host.
    """
    share = -(-len(asked) // machine.hosts)
    mine = [(machine.host + i * machine.hosts) % len(asked) for i in range(share)]
    size = stack_size(machine, config, training, data, share)
    job = _Job(machine, config, training, data, size, _widths(machine, data, asked), tuple(watch))
    for first in range(0, share, size):
        some = mine[first : first + size]
        begin = None if params is None else jax.tree.map(lambda leaf: leaf[np.array(some)], params)  # noqa: B023
        own = _compute(job, [asked[i] for i in some], begin, on_epoch)
        yield _done(machine, asked, first, own)


def ask(
    machine: Machine,
    config: ModelConfig,
    data: Data,
    runs: Sequence[Runs],
    params,
    rows: Sequence[np.ndarray],
) -> Iterator[side_by_side.Prediction]:
    """What trained runs say of some utterances.

    Args:
      machine, config, data: as in `compute`.
      runs: single runs.
      params: stacked parameters, one for each.
      rows: what each is asked about; the lists may differ in length.
    Yields: per run a Prediction(probability [M], attention [M, S]).
    """
    size = stack_size(machine, config, TrainConfig(), data, len(runs))
    longest = max(map(len, rows))
    for first in range(0, len(runs), size):
        some = range(first, min(first + size, len(runs)))
        stack = fill(side_by_side.stack([runs[i] for i in some]), size)
        own = _fill(jax.tree.map(lambda leaf: leaf[np.array(some)], params), size)  # noqa: B023
        lists = _rows([rows[i] for i in some], longest, size)
        said = side_by_side.predict(config, data, stack, own, *lists, machine.mesh)
        for place, i in enumerate(some):
            yield side_by_side.Prediction(*(part[place, : len(rows[i])] for part in said))


class _Job(NamedTuple):
    """What all stacks have in common; `widths` of the lists of training, test and development rows."""

    machine: Machine
    config: ModelConfig
    training: TrainConfig
    data: Data
    size: int
    widths: tuple[int, int, int]
    watch: tuple[int, ...]


def _widths(machine: Machine, data: Data, asked: Sequence[Asked]) -> tuple[int, int, int]:
    """What lists of rows are padded to.

    On a CPU steps past a run's count are free, so that one width, and one program, serves every job.
    """
    longest = tuple(
        max(map(len, lists))
        for lists in ([one.run.train for one in asked], [a.test for a in asked], [a.dev for a in asked])
    )
    if machine.on_cpu and not is_streamed(data):
        return tuple(len(data.frames) if most else 0 for most in longest)
    return longest


def _compute(job: _Job, asked: list[Asked], params, on_epoch):
    """One stack: (parameters, losses [R, epochs], probabilities [R, width], [R, W, width]) on the host."""
    machine, data = job.machine, job.data
    padded = [one.run._replace(train=_pad(one.run.train, job.widths[0])) for one in asked]
    runs = fill(side_by_side.stack(padded), job.size)
    done = int(np.sum(runs.count)) * machine.hosts
    dev = _rows([one.dev for one in asked], job.widths[2], job.size)
    watched = []

    def ask(params, rows):
        said = side_by_side.predict(job.config, data, runs, params, *rows, machine.mesh)
        return said.probability

    def report(epoch, losses, params):
        if epoch in job.watch and dev[0].size:
            watched.append(ask(params, dev))
        if on_epoch is not None:
            on_epoch(done)

    params, losses = train.fit_runs(
        job.config, job.training, data, runs, _fill(params, job.size), report, machine.mesh
    )
    said = ask(params, _rows([one.test for one in asked], job.widths[1], job.size))
    seen = np.stack(watched, axis=1) if watched else np.zeros((job.size, 0, 0), np.float32)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(asked)], (params, losses.T, said, seen))


def _rows(lists: list[np.ndarray], width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [size, width] and how many of them each run is asked about, idle places none."""
    every = [*lists, *[NOBODY] * (size - len(lists))]
    return np.stack([_pad(rows, width) for rows in every]), np.array([len(rows) for rows in every])


def _pad(rows: np.ndarray, width: int) -> np.ndarray:
    return np.pad(rows, (0, width - len(rows)))


def _done(machine: Machine, asked: Sequence[Asked], first: int, own) -> Done:
    """One stack's results of all hosts; place p of host h holds run (first + p) hosts + h."""
    if machine.hosts > 1:
        every = multihost_utils.process_allgather(own)  # [host, place, ...]
        own = jax.tree.map(lambda leaf: np.concatenate(list(np.asarray(leaf).swapaxes(0, 1))), every)
    begin = first * machine.hosts
    runs = [begin + i for i in range(len(own[1])) if begin + i < len(asked)]
    params, losses, said, watched = jax.tree.map(lambda leaf: leaf[: len(runs)], own)
    return Done(
        runs,
        params,
        losses,
        [row[: len(asked[i].test)] for i, row in zip(runs, said, strict=True)],
        [rows[:, : len(asked[i].dev)] for i, rows in zip(runs, watched, strict=True)],
    )
