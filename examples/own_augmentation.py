"""Your own augmentation: imitate another microphone for each utterance by a random tilt of the spectrum.

    python examples/own_augmentation.py --corpora synthetic_en synthetic_fr --data-dir results/demo/data \\
        --epochs 10

The compiled training step calls it with standardized features; the scaler gives the size of 1 dB. Compare
with `python -m experiments.crosslingual`.
"""

import dataclasses
import sys

import jax
import jax.numpy as jnp

from ser_jax.experiment.command import main
from ser_jax.experiment.settings import crosslingual


@dataclasses.dataclass(frozen=True)
class Tilt:
    """Add a straight line over the bands, in dB.

    Attributes:
      decibels: largest change at the highest band, dB; the lowest band changes by the opposite.
    """

    decibels: float = 6.0

    def __call__(self, x, frames, scaler, key):
        """Tilt a batch [B, T, F], with a random slope for each utterance."""
        slope = jax.random.uniform(key, (len(x), 1), minval=-self.decibels, maxval=self.decibels)
        line = slope * jnp.linspace(-1, 1, x.shape[2])[None, :]
        return x + (line * scaler.scale)[:, None, :]


if __name__ == "__main__":
    main(
        __doc__, "own_augmentation", crosslingual, ["--train.augment", "own_augmentation:Tilt", *sys.argv[1:]]
    )
