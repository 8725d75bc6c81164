"""Your own features: 768 numbers, 50 times a second, from a fixed random projection of the waveform.

    ser-jax prepare iemocap --source results/demo/speech/IEMOCAP_full_release --name synthetic_en \\
        --features own_features:Projection                     # in the folder of this file
    python examples/own_features.py --corpora synthetic_en --model probe --epochs 10

Replace it by any function from 16 kHz samples to frames. The fields are stored with the corpus; corpora
prepared with different front ends are stored side by side.
"""

import dataclasses
import sys
from typing import ClassVar

import numpy as np

from ser_jax.experiment.command import main
from ser_jax.experiment.settings import monolingual
from ser_jax.features import Frontend

HOP, WINDOW = 320, 400  # samples


@dataclasses.dataclass(frozen=True)
class Projection(Frontend):
    """The logarithm of the magnitudes of windows times a random matrix."""

    name: ClassVar[str] = "projection"
    rate: ClassVar[float] = 50.0
    dims: ClassVar[int] = 768
    seed: int = 0

    def extract(self, samples):
        """Return the features [t, 768] of samples [n] at 16 kHz."""
        windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
        matrix = np.random.default_rng(self.seed).standard_normal((WINDOW, self.dims)) / np.sqrt(WINDOW)
        return np.log(np.abs(windows @ matrix) + 1e-4)


if __name__ == "__main__":
    main(
        __doc__,
        "own_features",
        monolingual,
        ["--features", "own_features:Projection", *sys.argv[1:]],
        fewest=1,
    )
