"""An augmentation of one's own: another microphone for every utterance, as a random tilt of the spectrum.

    python examples/own_augmentation.py --corpora synthetic_en synthetic_fr --data-dir results/demo/data \\
        --epochs 10

It acts on standardized features inside the compiled training step; the scaler gives the size of a dB there.
Compare with `python -m experiments.crosslingual`.
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
      decibels: dB at the highest band, and their negative at the lowest, at most.
    """

    decibels: float = 6.0

    def __call__(self, x, frames, scaler, key):
        """Tilt a batch [B, T, F]; every utterance has a slope of its own."""
        slope = jax.random.uniform(key, (len(x), 1), minval=-self.decibels, maxval=self.decibels)
        line = slope * jnp.linspace(-1, 1, x.shape[2])[None, :]
        return x + (line * scaler.scale)[:, None, :]


if __name__ == "__main__":
    main(
        __doc__, "own_augmentation", crosslingual, ["--train.augment", "own_augmentation:Tilt", *sys.argv[1:]]
    )
