"""Describe the devices, cores and memory of this host, and connect the hosts that compute together.

JAX is imported on use: worker processes that only count cores start without it.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from ser_jax.errors import UserError

if TYPE_CHECKING:
    import jax
    from jax.sharding import Mesh

DEVICE_FLAG = "xla_force_host_platform_device_count"  # XLA's flag that splits a processor into devices
ALIGNMENT = 64  # bytes; a CPU device uses host memory that begins at a multiple of them without copying it
COPIED = 1024  # utterances at a time
Stacking = Literal["auto", "vmap", "map"]
SHARE = 0.8  # of a device's free memory; the compiler needs the rest
_process: int | None = None  # in which JAX computes


class MachineError(UserError):
    """Devices or hosts that were requested and do not exist."""


class Gathered(Protocol):
    """Features [N, T, F] on the host, which may be larger than memory: only requested rows are read."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def aligned(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Return an uninitialised array that begins at a multiple of `ALIGNMENT` bytes."""
    size = np.dtype(dtype).itemsize * math.prod(shape)
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def use_all_cores() -> None:
    """Make every core of the processor a JAX device.

    Runs train faster side by side, one per core, than one after another on all cores. JAX must not be
    initialised yet; a number of devices set by `XLA_FLAGS` or `JAX_NUM_CPU_DEVICES` is kept.
    """
    import jax

    count: int = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]  # JAX creates options at run time
    if count >= 0 or DEVICE_FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # raised if JAX is already initialised
        jax.config.update("jax_num_cpu_devices", cores())


def backend() -> str:
    """Return the platform JAX computes on; call this before it computes.

    Raises: MachineError if there is no such device, or if this process was forked from one that had used JAX:
      it would wait forever for threads that a fork does not copy.
    """
    global _process
    import jax

    if _process not in (None, os.getpid()):
        found = f"this process was forked from process {_process}, which had already used JAX"
        raise MachineError(f"{found}, expected a fork before JAX is used, or a process started by spawn")
    try:
        platform = jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # the latter if a platform's plugin is not installed
        asked = os.environ.get("JAX_PLATFORMS")
        reason = (str(error).splitlines() or ["its plugin is not installed"])[0].partition(" (")[0]
        named = f"JAX_PLATFORMS is {asked!r}, but JAX" if asked else "JAX"
        sentence = f"{named} finds no device ({reason}), expected one, as with JAX_PLATFORMS=cpu"
        raise MachineError(sentence) from error
    _process = os.getpid()
    return platform


def runs_mesh(devices: Sequence["jax.Device"]) -> "Mesh":
    """Return a mesh of devices that share the runs, its one axis."""
    from jax.sharding import AxisType, Mesh

    return Mesh(np.array(devices), ("runs",), axis_types=(AxisType.Auto,))


@dataclasses.dataclass(frozen=True)
class Machine:
    """The devices of this host, and its place among several hosts.

    Attributes:
      mesh: this host's devices, one axis "runs".
      budget: bytes of each device's memory that features and stacks may take.
      runs_at_once: per device; None for as many as fit.
      stacking: "vmap" computes the runs of a stack at once, "map" one after another within one program,
        "auto" what is faster on the platform. Results differ by rounding at most.
      host, hosts: this host's number, from 0, and how many hosts there are.
    """

    mesh: "Mesh"
    budget: int
    runs_at_once: int | None = None
    stacking: Stacking = "auto"
    host: int = 0
    hosts: int = 1

    def __post_init__(self) -> None:
        if self.stacking not in (known := get_args(Stacking)):
            raise MachineError(f"stacking {self.stacking!r}, expected one of {', '.join(known)}")

    @classmethod
    def here(cls, devices: int | None = None, budget: int | None = None, **options: Any) -> "Machine":
        """Return this host, by default with all devices and a budget of `SHARE` of the free memory.

        `options` are `runs_at_once` and `stacking`.

        Raises: MachineError if there are fewer devices, or none.
        """
        import jax

        backend()
        there = jax.local_devices()
        if devices is not None and devices > len(there):
            raise MachineError(
                f"{devices} devices requested, found {len(there)} ({there[0].device_kind}), expected no more"
            )
        mesh = runs_mesh(there[:devices])
        budget = int(SHARE * free_memory(there[0])) if budget is None else budget
        return cls(mesh, budget, host=jax.process_index(), hosts=jax.process_count(), **options)

    @property
    def platform(self) -> str:
        """ "cpu", "gpu" or "tpu"."""
        return self.mesh.devices.flat[0].platform

    @property
    def computes_runs_by(self) -> str:
        """Return "vmap" or "map"; "auto" depends on the platform only, since timing would change results.

        On CPU cores, "map" trains five runs faster (`python -m experiments.throughput`). Elsewhere it is
        "vmap", unmeasured: small kernels in sequence would leave an accelerator idle.
        """
        if self.stacking != "auto":
            return self.stacking
        return "map" if self.platform == "cpu" else "vmap"

    def place(self, features: Gathered, frames: np.ndarray) -> tuple[Any, Any]:
        """Put features on every device of the mesh, or leave them on the host if they do not fit.

        They fit if they take at most half of the budget; the other half is for the runs.

        Returns: features [N, T F] and frames [N] on the devices; else the arguments, to be streamed.
        """
        import jax
        from jax.sharding import NamedSharding, PartitionSpec

        if 2 * features.dtype.itemsize * math.prod(features.shape) > self.budget:
            return features, np.asarray(frames)
        if not isinstance(features, np.ndarray) or features.ctypes.data % ALIGNMENT:
            given = features  # all devices of a processor share what is aligned
            features = aligned(given.shape, given.dtype)
            for first in range(0, len(features), COPIED):
                rows = np.arange(first, min(first + COPIED, len(features)))
                features[rows] = given[rows]
        flat = features.reshape(len(frames), math.prod(features.shape[1:]))
        return jax.device_put((flat, np.asarray(frames)), NamedSharding(self.mesh, PartitionSpec()))

    def wait(self, until: str) -> None:
        """Block until all hosts have arrived here; raise MachineError if one has ended."""
        if self.hosts > 1:
            self._together("sync_global_devices", until)

    def agreed(self, number: int) -> int:
        """Return the number of host 0 on all hosts."""
        return int(self._together("broadcast_one_to_all", np.int32(number))) if self.hosts > 1 else number

    def gathered(self, tree: Any) -> Any:
        """Return the arrays of all hosts, with a leading axis of hosts."""
        return self._together("process_allgather", tree)

    def _together(self, function: str, argument: Any) -> Any:
        """Call a function of `multihost_utils`, which waits for all hosts."""
        import jax
        from jax.experimental import multihost_utils

        try:
            return getattr(multihost_utils, function)(argument)
        except jax.errors.JaxRuntimeError as error:
            raise MachineError(
                f"host {self.host} lost the other hosts, expected all {self.hosts}: one has ended and shows "
                "its error; run the same command on all hosts to resume"
            ) from error


def join(coordinator: str, hosts: int | None = None, host: int | None = None) -> None:
    """Connect this process, number `host` of `hosts`, to the others, before JAX computes anything.

    The coordinator is "HOST:PORT" of host 0, or "auto" if SLURM, Open MPI or a TPU pod provides all three
    values.

    Raises: MachineError if they do not connect.
    """
    import jax

    try:
        jax.distributed.initialize(None if coordinator == "auto" else coordinator, hosts, host)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MachineError(
            f"--coordinator {coordinator}: {reason}, expected all hosts to be started with the same one"
        ) from error


def free_memory(device: "jax.Device") -> int:
    """Return the free bytes of a device, of a CPU those of the host."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    import psutil  # imported late, since bare accelerator images lack it

    return psutil.virtual_memory().available
