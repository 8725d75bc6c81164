"""What computes: the devices of this host, what memory they have, and the hosts that work together."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ser_jax import host
from ser_jax.arrays import Array, Gathered, Tree
from ser_jax.errors import UserError

COPIED = 1024  # utterances at a time
SHARE = 0.8  # of a device's free memory; the rest is for what the compiler adds


class MachineError(UserError):
    """Devices or hosts that are not there."""


def use_all_cores() -> None:
    """Makes every core of the processor a device of its own.

    Runs side by side, a core each, train faster than one after another on all cores, which wait for each
    other within every step. Where JAX has computed something already, or somebody has chosen a number of CPU
    devices, by `XLA_FLAGS` or `JAX_NUM_CPU_DEVICES`, it stays.
    """
    count: int = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]  # JAX makes its options as it starts
    if count >= 0 or host.DEVICE_FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # what JAX says when it is too late
        jax.config.update("jax_num_cpu_devices", host.cores())


def backend() -> str:
    """What JAX computes on, "cpu", "gpu" or "tpu".

    Raises: MachineError where it finds nothing to compute on, or not what the environment asks for.
    """
    try:
        return jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # the latter of a platform whose plugin is not installed
        asked = os.environ.get("JAX_PLATFORMS")
        reason = (str(error).splitlines() or ["its plugin is not installed"])[0].partition(" (")[0]
        named = f"JAX_PLATFORMS is {asked!r}, but JAX" if asked else "JAX"
        raise MachineError(
            f"{named} finds no device ({reason}), expected one, as with JAX_PLATFORMS=cpu"
        ) from error


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
        Raises: MachineError where there are fewer devices, or none.
        """
        backend()
        there = jax.local_devices()
        if devices is not None and devices > len(there):
            raise MachineError(
                f"{devices} devices asked for, found {len(there)} ({there[0].device_kind}), expected no more"
            )
        mesh = Mesh(np.array(there[:devices]), ("runs",))
        budget = int(SHARE * free_memory(there[0])) if budget is None else budget
        return cls(mesh, budget, runs_at_once, jax.process_index(), jax.process_count())

    @property
    def on_cpu(self) -> bool:
        """Whether its devices are the processor's."""
        return self.mesh.devices.flat[0].platform == "cpu"

    def place(self, logmel: Gathered, frames: np.ndarray) -> tuple[Array, Array]:
        """Puts features where they are computed on, or leaves them on the host where they do not fit.

        Args:
          logmel: [N, T, F] float32 on the host, an array or what has its `shape` and gathers by rows.
          frames: [N].
        Returns: (logmel [N, T, F], frames [N]), on every device of the mesh if twice their size is within the
          budget, so that as much is left for the runs; else as NumPy has them, to be streamed.
        """
        if 2 * 4 * math.prod(logmel.shape) > self.budget:
            return cast(Array, logmel), np.asarray(frames)  # of it only rows are asked for
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return jax.device_put(_shareable(logmel), everywhere), jax.device_put(np.asarray(frames), everywhere)

    def wait(self, until: str) -> None:
        """Lets no host go on before all have come here.

        Raises: MachineError where one will not come any more.
        """
        if self.hosts > 1:
            with self._others():
                multihost_utils.sync_global_devices(until)

    def agreed(self, number: int) -> int:
        """What host 0 says, on all hosts."""
        if self.hosts == 1:
            return number
        with self._others():
            return int(multihost_utils.broadcast_one_to_all(np.int32(number)))

    def gathered(self, tree: Tree) -> Tree:
        """The arrays of all hosts, with a leading axis of hosts."""
        with self._others():
            return multihost_utils.process_allgather(tree)

    @contextlib.contextmanager
    def _others(self) -> Iterator[None]:
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            raise MachineError(
                f"host {self.host} of {self.hosts} is alone, expected all of them: another one has ended and "
                "says why; the same command on all goes on from what is saved"
            ) from error


def join(coordinator: str, hosts: int | None = None, host: int | None = None) -> None:
    """Makes this process one of several that compute together; to be called before JAX does anything.

    Args:
      coordinator: "HOST:PORT" of host 0; "auto" where SLURM, Open MPI or a TPU pod says all three.
      hosts, host: how many processes, and which of them this is, from 0.
    Raises: MachineError where they do not come together.
    """
    try:
        if coordinator == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(coordinator, hosts, host)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MachineError(
            f"--coordinator {coordinator}: {reason}, expected all hosts to be started with the same one"
        ) from error


def free_memory(device: jax.Device) -> int:
    """Bytes that a device has left; of a CPU, the host's, half of all where the system does not tell."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # no Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _shareable(logmel: Gathered) -> np.ndarray:
    """Features in memory from a multiple of `host.ALIGNMENT` bytes on, which a processor's devices share."""
    if isinstance(logmel, np.ndarray) and logmel.ctypes.data % host.ALIGNMENT == 0:
        return logmel
    found = host.aligned(logmel.shape)
    for first in range(0, len(found), COPIED):
        rows = np.arange(first, min(first + COPIED, len(found)))
        found[rows] = logmel[rows]
    return found
