"""What margins are divided by before they become probabilities; `calibration` finds it."""

from typing import NamedTuple, TypeVar

import jax
import numpy as np

VALUES = (0.05, 50.0)
DECAYS = (0.0, 3.0)
Share = TypeVar("Share", float, np.ndarray, jax.Array)


class Temperature(NamedTuple):
    """What margins are divided by.

    Attributes:
      value: where the window is full, within `VALUES`.
      decay: how fast it rises as the window empties, within `DECAYS`.
    """

    value: float
    decay: float = 0.0

    def at(self, share: Share) -> Share:
        """T of windows of which `share` [...] holds sound; numbers or arrays of NumPy or JAX."""
        return self.value * share**-self.decay
