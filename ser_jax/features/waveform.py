"""The samples themselves, for networks that learn their own front end."""

import dataclasses
from typing import ClassVar

import numpy as np

from ser_jax.features import Frontend
from ser_jax.shapes import Float32, Shaped


@dataclasses.dataclass(frozen=True)
class Waveform(Frontend):
    """Samples at 16 kHz, one a frame; 480 kB an utterance."""

    name: ClassVar[str] = "waveform"
    rate: ClassVar[float] = 16000.0
    dims: ClassVar[int] = 1

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Float32[np.ndarray, "n 1"]:
        """Return the samples as frames of one number."""
        return np.asarray(samples, np.float32)[:, None]
