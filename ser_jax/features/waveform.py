"""The samples themselves, for networks that learn their own front end."""

import dataclasses
from typing import ClassVar

import numpy as np

from ser_jax.features import Frontend


@dataclasses.dataclass(frozen=True)
class Waveform(Frontend):
    """Samples at 16 kHz, one a frame; 480 kB an utterance."""

    name: ClassVar[str] = "waveform"
    rate: ClassVar[float] = 16000.0
    dims: ClassVar[int] = 1

    def extract(self, samples: np.ndarray) -> np.ndarray:
        """Return the samples [n] as features [n, 1] float32."""
        return np.asarray(samples, np.float32)[:, None]
