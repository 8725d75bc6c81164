"""Your own network: time-delay layers and attentive statistics pooling (Okabe et al., 2018).

    python examples/own_network.py --corpora synthetic_en --data-dir results/demo/data --epochs 10

Compare with `python -m experiments.monolingual`, the paper's network on the same folds and seeds.
"""

import dataclasses
import sys

import jax.numpy as jnp
from flax import linen as nn

import ser_jax
from ser_jax.experiment.command import main
from ser_jax.experiment.settings import monolingual


@dataclasses.dataclass(frozen=True)
class TimeDelay:
    """Sizes of the network; bands, frames and outputs follow from features and task."""

    bands: int = 26
    frames: int = 750
    outputs: int = 2
    width: int = 64  # of the layers
    block: int = 15  # frames

    @property
    def segments(self):
        """Number of blocks of frames, which the attention weights."""
        return self.frames // self.block

    def network(self):
        """Return the network with these sizes."""
        return TimeDelayNetwork(self)


class TimeDelayNetwork(nn.Module):
    config: TimeDelay

    @nn.compact
    def __call__(self, x, training):
        """Map standardized features [B, T, F] to outputs [B, K] and attention [B, S]."""
        segments, width = self.config.segments, self.config.width
        x = x[:, : segments * self.config.block].reshape(len(x), segments, -1)
        sound = jnp.any(x != 0, axis=2, keepdims=True)
        for far in (1, 2, 4):  # every block is seen with one before and one after it
            padded = jnp.pad(nn.relu(nn.Dense(width)(x)) * sound, [(0, 0), (far, far), (0, 0)])
            x = jnp.concatenate([padded[:, i : i + segments] for i in (0, far, 2 * far)], axis=2)
        weight = nn.softmax(nn.Dense(1, use_bias=False)(x) - 1e9 * ~sound, axis=1)  # [B, S, 1]
        mean = (weight * x).sum(axis=1, keepdims=True)
        spread = jnp.sqrt((weight * (x - mean) ** 2).sum(axis=1) + 1e-4)
        embedding = jnp.concatenate([mean[:, 0], spread], axis=1)
        dropped = nn.Dropout(0.5, deterministic=not training)(embedding)
        return ser_jax.Output(nn.Dense(self.config.outputs)(dropped), weight[..., 0], embedding)


if __name__ == "__main__":
    main(__doc__, "own_network", monolingual, ["--model", "own_network:TimeDelay", *sys.argv[1:]], fewest=1)
