"""What a program runs on: environment variables, processor, devices, versions, load, source."""

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ser_jax.devices import DEVICE_FLAG, cores
from ser_jax.errors import UserError
from ser_jax.shutdown import exit_on_interrupt, run_cli

VERSIONS = (
    "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "safetensors", "librosa", "soundfile", "torch",
)  # fmt: skip
MOST = 1024  # CPU devices; JAX takes minutes to start many thousands


BUSY = 0.5  # processes that ran or waited


class EnvironmentVariableError(UserError):
    """An environment variable with a value that JAX or XLA would refuse."""


def start_script(program: str) -> None:
    """Prepare the process of a script; call it before JAX and matplotlib are imported.

    Ctrl-C exits at once until `shutdown.raise_on_interrupt`, and figures are drawn into files only. Exits
    with status 2 and a sentence if an environment variable would keep JAX from starting.
    """
    exit_on_interrupt(program)
    os.environ["MPLBACKEND"] = "agg"
    if status := run_cli(program, check_environment):
        sys.exit(status)


def check_environment() -> None:
    """Check the variables that JAX and XLA read: JAX would fail to import, XLA would abort the process.

    Raises: EnvironmentVariableError naming the variable.
    """
    _check_devices("JAX_NUM_CPU_DEVICES", os.environ.get("JAX_NUM_CPU_DEVICES", "1"))
    flags = os.environ.get("XLA_FLAGS", "").split()
    if flags and not flags[0].startswith("-"):  # a file of flags
        if not Path(flags[0]).is_file():
            raise EnvironmentVariableError(
                f"XLA_FLAGS is {flags[0]!r}, expected flags like --{DEVICE_FLAG}=8, or a file of them"
            )
        flags = []
    for flag in flags:
        name, _, value = flag.lstrip("-").partition("=")
        if not re.fullmatch(r"--?xla_\w+", flag.partition("=")[0]):
            raise EnvironmentVariableError(f"XLA_FLAGS holds {flag!r}, expected flags like --{DEVICE_FLAG}=8")
        if name == DEVICE_FLAG:
            _check_devices(f"--{name} in XLA_FLAGS", value)
    if any(name.startswith("JAX_") for name in os.environ):
        try:
            import jax  # noqa: F401
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise EnvironmentVariableError(
                f"{reason}, expected a value that JAX takes, or the variable unset"
            ) from error


def _check_devices(name: str, text: str) -> None:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not 1 <= int(text) <= MOST:
        raise EnvironmentVariableError(f"{name} is {text!r}, expected a whole number from 1 to {MOST:,}")


def describe_environment() -> dict[str, str | int | None]:
    """Return the device that JAX computes on, the processor's cores and the versions in use."""
    import jax

    device = jax.devices()[0]
    return {
        "backend": jax.default_backend(),
        "device": processor() if device.platform == "cpu" else device.device_kind,
        "cores": cores(),
        "python": platform.python_version(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        **{name: _version(name) for name in VERSIONS},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load() -> float | None:
    """Return the mean number of processes that ran or waited in the last minute; None if it is not known."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def busy(load: float | None) -> bool:
    """Return whether other work distorts timings, by the load before them."""
    return load is not None and load > BUSY


def commit() -> str | None:
    """Return the commit of the source, with "+" if Python files were changed; None outside a checkout."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
