"""The baseline network: mean and standard deviation of the features over time, and one linear layer."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from ser_jax.model import EXACT, GLOROT, Output

LEAST = 1e-6  # variance; keeps the gradient of the square root finite for constant features


@dataclasses.dataclass(frozen=True)
class Probe:
    """A linear classifier of the features' statistics over time, an `Architecture`.

    It has no attention; its one segment has a weight of 1.

    Attributes:
      bands, frames: F and T of the input.
      outputs: K.
      dropout: share of the 2 F statistics dropped in training.
    """

    bands: int = 26
    frames: int = 750
    outputs: int = 2
    dropout: float = 0.0

    @property
    def segments(self) -> int:
        """S, always 1."""
        return 1

    def network(self) -> nn.Module:
        """Return the network of these sizes."""
        return _Probe(self)


class _Probe(nn.Module):
    config: Probe

    @nn.compact
    def __call__(self, x: jax.Array, training: bool) -> Output:
        """Map standardized features [B, T, F] to outputs [B, K] and attention [B, 1]."""
        statistics = pooled(x)
        dropped = nn.Dropout(self.config.dropout, deterministic=not training)(statistics)
        classifier = nn.Dense(self.config.outputs, kernel_init=GLOROT, precision=EXACT, name="classifier")
        return Output(classifier(dropped), jnp.ones((len(x), 1)), statistics)


def pooled(x: jax.Array) -> jax.Array:
    """Return mean and standard deviation over the frames that hold sound.

    Args:
      x: [B, T, F], zero in the padding; other frames whose features are all zero are taken for padding, too.
    Returns: [B, 2 F].
    """
    valid = jnp.any(x != 0, axis=2, keepdims=True)
    count = jnp.maximum(valid.sum(axis=1), 1)
    mean = x.sum(axis=1) / count
    variance = (jnp.where(valid, x - mean[:, None, :], 0) ** 2).sum(axis=1) / count
    return jnp.concatenate([mean, jnp.sqrt(jnp.maximum(variance, LEAST))], axis=1)
