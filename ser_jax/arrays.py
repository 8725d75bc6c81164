"""What arrays, and trees of them, are called in signatures."""

from typing import Any, Protocol, TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray  # on a device or on the host
Tree: TypeAlias = Any  # of arrays: whatever `jax.tree` walks; of what shape, its docstring says


class Gathered(Protocol):
    """What an array [N, T, F] on the host is asked for where it may be larger than the memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T, F)."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """The rows [...] as an array [..., T, F]."""
