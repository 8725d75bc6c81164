"""From the runs that somebody asks for to their computation: stacks that fit, on the devices there are.

Whoever plans an experiment lists its runs. How many of them go into a stack, whether their features lie on
the device or are streamed, and which device and which host computes which run, is decided here. None of it
changes a result.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ser_jax import cores, train
from ser_jax import runs as side_by_side
from ser_jax.errors import UserError
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, Runs, is_streamed
from ser_jax.train import TrainConfig

DEVICE_FLAG = "xla_force_host_platform_device_count"
CPU_STACK = 5  # runs a device; one after another they need no memory, and progress is shown between stacks
ALIGNMENT = 64  # bytes
COPIED = 1024  # utterances at a time
SHARE = 0.8  # of a device's free memory; the rest is for what the compiler adds


class EngineError(UserError):
    """Devices or hosts that are not there."""


def use_all_cores() -> None:
    """Makes every core of the processor a device of its own.

    Runs side by side, a core each, train faster than one after another on all cores, which wait for each
    other within every step. Where JAX has computed something already, or somebody has chosen a number of CPU
    devices, by `XLA_FLAGS` or `JAX_NUM_CPU_DEVICES`, it stays.
    """
    chosen = jax.config.jax_num_cpu_devices >= 0 or DEVICE_FLAG in os.environ.get("XLA_FLAGS", "")
    if chosen:
        return
    with contextlib.suppress(RuntimeError):  # what JAX says when it is too late
        jax.config.update("jax_num_cpu_devices", cores.available())


@dataclasses.dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes:
      mesh: this host's devices, one axis "runs".
      budget: bytes of memory of each that features and stacks may take.
      runs_at_once: per device, where somebody wants to say; None for as many as fit.
      host, hosts: which of how many.
    """

    mesh: Mesh
    budget: int
    runs_at_once: int | None = None
    host: int = 0
    hosts: int = 1

    @classmethod
    def here(
        cls, devices: int | None = None, budget: int | None = None, runs_at_once: int | None = None
    ) -> "Machine":
        """This host, one of several where `jax.distributed` was initialised.

        Args:
          devices: of this host; all by default.
          budget: bytes; by default `SHARE` of what is free.
          runs_at_once: see `Machine`.
        Raises: EngineError where there are fewer devices.
        """
        there = jax.local_devices()
        if devices is not None and devices > len(there):
            raise EngineError(
                f"{devices} devices asked for, found {len(there)} ({there[0].device_kind}), expected no more"
            )
        mesh = Mesh(np.array(there[:devices]), ("runs",))
        budget = int(SHARE * free_memory(there[0])) if budget is None else budget
        return cls(mesh, budget, runs_at_once, jax.process_index(), jax.process_count())

    def wait(self, until: str) -> None:
        """Lets no host go on before all have come here."""
        if self.hosts > 1:
            multihost_utils.sync_global_devices(until)


def join(coordinator: str, hosts: int | None = None, host: int | None = None) -> None:
    """Makes this process one of several that compute together; to be called before JAX does anything.

    Args:
      coordinator: "HOST:PORT" of host 0; "auto" where SLURM, Open MPI or a TPU pod says all three.
      hosts, host: how many processes, and which of them this is, from 0.
    Raises: EngineError where they do not come together.
    """
    try:
        if coordinator == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(coordinator, hosts, host)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EngineError(
            f"--coordinator {coordinator}: {reason}, expected all hosts to be started with the same one"
        ) from error


def free_memory(device) -> int:
    """Bytes that a device has left; of a CPU, the host's."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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


def place(machine: Machine, logmel, frames) -> tuple:
    """Puts features where they are computed on, or leaves them on the host where they do not fit.

    Args:
      machine: what computes.
      logmel: [N, T, F] float32 on the host, an array or what has its `shape` and gathers by rows.
      frames: [N].
    Returns: (logmel, frames), on every device of the mesh if twice their size is within the budget, so that
      as much is left for the runs; else as NumPy has them, to be streamed.
    """
    if 2 * 4 * math.prod(logmel.shape) > machine.budget:
        return logmel, np.asarray(frames)
    everywhere = NamedSharding(machine.mesh, PartitionSpec())
    return tuple(jax.device_put(part, everywhere) for part in (_shareable(logmel), np.asarray(frames)))


def _shareable(logmel) -> np.ndarray:
    """Features in memory from a multiple of `ALIGNMENT` bytes on, which a processor's devices share."""
    if isinstance(logmel, np.ndarray) and logmel.ctypes.data % ALIGNMENT == 0:
        return logmel
    count = math.prod(logmel.shape)
    memory = np.empty(count + ALIGNMENT // 4, np.float32)
    start = -memory.ctypes.data % ALIGNMENT // 4
    found = memory[start : start + count].reshape(logmel.shape)
    for first in range(0, len(found), COPIED):
        rows = np.arange(first, min(first + COPIED, len(found)))
        found[rows] = logmel[rows]
    return found


def stack_size(machine: Machine, config: ModelConfig, training: TrainConfig, data: Data, count: int) -> int:
    """Runs of a stack, a multiple of the devices: as few stacks as fit beside the features, of one size.

    Args:
      data: as `place` left it.
      count: runs there are to compute.
    """
    devices = machine.mesh.size
    if machine.runs_at_once is not None:
        each = machine.runs_at_once
    elif _on_cpu(machine):
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


def compute(
    machine: Machine,
    config: ModelConfig,
    training: TrainConfig,
    data: Data,
    runs: Sequence[Runs],
    tested: Sequence[np.ndarray],
    params=None,
    on_epoch: Callable[[int], None] | None = None,
):
    """Trains every run and asks it about its own test utterances.

    Args:
      machine: what computes.
      config, training: the same for all runs.
      data: the corpora, as `place` left them.
      runs: single runs; their index lists may differ in length.
      tested: rows that each is asked about.
      params: stacked parameters to start from, for fine-tuning.
      on_epoch: called with the utterance-steps done since the last call, as if all hosts were equally fast.
    Returns: (stacked parameters [R] on the host, losses [R, epochs], per run the probabilities of its rows);
      the same on every host.
    """
    share = -(-len(runs) // machine.hosts)
    mine = [(machine.host + i * machine.hosts) % len(runs) for i in range(share)]
    size = stack_size(machine, config, training, data, share)
    widths = _widths(machine, data, runs, tested)
    parts = []
    for first in range(0, share, size):
        some = mine[first : first + size]
        begin = None if params is None else jax.tree.map(lambda leaf: leaf[np.array(some)], params)  # noqa: B023
        stack = _Stack([runs[i] for i in some], [tested[i] for i in some], begin)
        parts.append(_compute(machine, (config, training), data, stack, size, widths, on_epoch))
    own = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    trained, losses, said = _gathered(machine, own, len(runs))
    return trained, losses, [row[: len(rows)] for row, rows in zip(said, tested, strict=True)]


class _Stack(NamedTuple):
    """Runs that are computed together, what each is asked about, and where they start."""

    runs: list[Runs]
    tested: list[np.ndarray]
    params: Any


def _on_cpu(machine: Machine) -> bool:
    return machine.mesh.devices.flat[0].platform == "cpu"


def _widths(machine: Machine, data: Data, runs, tested) -> tuple[int, int]:
    """What lists of training and test rows are padded to.

    On a CPU steps past a run's count are free, so that one width, and one program, serves every job.
    """
    if _on_cpu(machine) and not is_streamed(data):
        return len(data.frames), len(data.frames)
    return max(len(run.train) for run in runs), max(map(len, tested))


def _compute(machine: Machine, configs, data: Data, stack: _Stack, size: int, widths, on_epoch):
    """One stack: (parameters, losses [R, epochs], probabilities [R, width]) on the host."""
    count = len(stack.runs)
    padded = [run._replace(train=_pad(run.train, widths[0])) for run in stack.runs]
    runs = fill(side_by_side.stack(padded), size)
    idle = [np.zeros(0, np.int32)] * (size - count)
    rows = np.stack([_pad(rows, widths[1]) for rows in [*stack.tested, *idle]])
    asked = np.array([len(rows) for rows in [*stack.tested, *idle]])
    params = _fill(stack.params, size)
    done = int(np.sum(runs.count)) * machine.hosts
    report = None if on_epoch is None else lambda *_: on_epoch(done)
    params, losses = train.fit_runs(*configs, data, runs, params, report, machine.mesh)
    said = side_by_side.predict(configs[0], data, runs, params, rows, asked, machine.mesh).probability
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], (params, losses.T, said))


def _pad(rows: np.ndarray, width: int) -> np.ndarray:
    return np.pad(rows, (0, width - len(rows)))


def _gathered(machine: Machine, own, count: int):
    """All runs' results in the order of the runs; run i was computed by host i modulo their number."""
    if machine.hosts == 1:
        return own
    every = multihost_utils.process_allgather(own)  # [host, place]
    runs = np.arange(count)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[runs % machine.hosts, runs // machine.hosts], every)
