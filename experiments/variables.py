"""What the environment tells JAX and XLA, looked at before they are.

JAX answers a word that it does not take by a traceback while it is imported, XLA by ending the process.
"""

import os
import re
from pathlib import Path

from ser_jax.devices import DEVICE_FLAG
from ser_jax.errors import UserError

MOST = 1024  # devices that a processor is divided into; JAX takes minutes to start many thousands


class VariableError(UserError):
    """An environment variable that does not hold what it should."""


def check() -> None:
    """Refuses what JAX or XLA would not start with.

    Raises: VariableError naming the variable.
    """
    _check_devices("JAX_NUM_CPU_DEVICES", os.environ.get("JAX_NUM_CPU_DEVICES", "1"))
    flags = os.environ.get("XLA_FLAGS", "").split()
    if flags and not flags[0].startswith("-"):  # XLA reads them from there
        if not Path(flags[0]).is_file():
            raise VariableError(
                f"XLA_FLAGS is {flags[0]!r}, expected flags like --{DEVICE_FLAG}=8, or a file of them"
            )
        flags = []
    for flag in flags:
        name, _, value = flag.lstrip("-").partition("=")
        if not re.fullmatch(r"--?xla_\w+", flag.partition("=")[0]):
            raise VariableError(f"XLA_FLAGS holds {flag!r}, expected flags like --{DEVICE_FLAG}=8")
        if name == DEVICE_FLAG:
            _check_devices(f"--{name} in XLA_FLAGS", value)
    if any(name.startswith("JAX_") for name in os.environ):
        try:
            import jax  # noqa: F401
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise VariableError(
                f"{reason}, expected a value that JAX takes, or the variable unset"
            ) from error


def _check_devices(name: str, text: str) -> None:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not 1 <= int(text) <= MOST:
        raise VariableError(f"{name} is {text!r}, expected a whole number from 1 to {MOST:,}")
