"""What a program runs on: processor, cores, devices, versions, how busy it is."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

from ser_jax import devices

VERSIONS = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "orbax-checkpoint",
    "librosa",
    "soundfile",
    "torch",
)


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load() -> float | None:
    """Processes that ran or waited for a core, the mean of the last minute, this one included."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def busy(load: float | None) -> bool:
    """Whether other work is felt, by the load before one's own."""
    return load is not None and load > 0.5


def described() -> dict[str, str | int | None]:
    """The device that JAX computes on, its cores where it is a processor, and the versions in use."""
    device = jax.devices()[0]
    return {
        "backend": jax.default_backend(),
        "device": processor() if device.platform == "cpu" else device.device_kind,
        "cores": devices.cores(),
        "python": platform.python_version(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        **{name: _version(name) for name in VERSIONS},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
