"""Augment standardized batches inside the compiled training step, by pure functions.

Each utterance has its own random draws. The padding is set to zero afterwards.
"""

import dataclasses
import math
from typing import Protocol

import jax
import jax.numpy as jnp

from ser_jax.data.standardize import Scaler
from ser_jax.model import Array
from ser_jax.shapes import Bool, Float, Int, Key

Features = Float[Array, "B T F"]
Augmented = Float[jax.Array, "B T F"]
Frames = Int[Array, "B"]
PRNGKey = Key[jax.Array, ""]

_NEPER = 10 / math.log(10)  # dB per unit of the natural logarithm of a power


class Augmentation(Protocol):
    """The interface of an augmentation: a frozen dataclass that is called within the training step."""

    def __hash__(self) -> int: ...

    def __call__(self, x: Features, frames: Frames, scaler: Scaler, key: PRNGKey) -> Augmented:
        """Augment a batch.

        Args:
          x, frames: standardized features, zero in the padding, and how many frames are valid.
          scaler: mean and scale [B, F] that standardized each utterance: x = (features - mean) * scale, so 1
            dB of a log-mel feature is `scale` in x.
          key: random key, determined by the run, the epoch and the step.
        """


@dataclasses.dataclass(frozen=True)
class NoAugmentation:
    """Leave the features as they are."""

    def __call__(self, x: Features, frames: Frames, scaler: Scaler, key: PRNGKey) -> Augmented:
        return jnp.asarray(x)


@dataclasses.dataclass(frozen=True)
class SpecAugment:
    """Set random spans of time and of bands to zero, the mean of standardized features.

    Reference: Park et al., "SpecAugment" (Interspeech 2019), without time warping.

    Attributes:
      times: number of spans of time.
      longest: maximum frames of a span of time; never more than a fifth of the utterance.
      bands: number of spans of bands.
      widest: maximum bands of a span of bands.
    """

    times: int = 2
    longest: int = 40
    bands: int = 2
    widest: int = 5

    def __call__(self, x: Features, frames: Frames, scaler: Scaler, key: PRNGKey) -> Augmented:
        batch, length, dims = x.shape
        every = jnp.asarray(frames, jnp.float32)
        keys = jax.random.split(key, 2)
        widths = jnp.minimum(self.longest, every // 5)
        time = _spans(keys[0], self.times, every, widths, length)
        band = _spans(keys[1], self.bands, jnp.full(batch, float(dims)), jnp.full(batch, self.widest), dims)
        return jnp.where(time[:, :, None] | band[:, None, :], 0, x)


def _spans(
    key: PRNGKey, count: int, ends: Float[jax.Array, "B"], widths: Array, size: int
) -> Bool[jax.Array, "B size"]:
    """Draw `count` spans per row, each of 0 to `widths` places before `ends`."""
    draw = jax.random.uniform(key, (2, count, len(ends)))
    width = jnp.floor(draw[0] * (widths[None, :] + 1))
    start = jnp.floor(draw[1] * jnp.maximum(ends[None, :] - width + 1, 1))
    place = jnp.arange(size)[None, None, :]
    inside = (place >= start[:, :, None]) & (place < (start + width)[:, :, None])
    return inside.any(axis=0)


@dataclasses.dataclass(frozen=True)
class Gain:
    """Make every utterance louder or softer. For features in dB.

    Attributes:
      decibels: dB, the largest change in either direction; changes are uniform.
    """

    decibels: float = 6.0

    def __call__(self, x: Features, frames: Frames, scaler: Scaler, key: PRNGKey) -> Augmented:
        gain = jax.random.uniform(key, (len(x),), minval=-self.decibels, maxval=self.decibels)
        return x + (gain[:, None] * scaler.scale)[:, None, :]


@dataclasses.dataclass(frozen=True)
class Noise:
    """Add stationary noise of a random level, equal in all bands. For features in dB.

    Powers add: a feature of a dB and noise of n dB give 10 log10(10^(a / 10) + 10^(n / 10)).

    Attributes:
      least, most: dB, limits of the uniform signal-to-noise ratio; the signal is the mean feature.
    """

    least: float = 10.0
    most: float = 40.0

    def __call__(self, x: Features, frames: Frames, scaler: Scaler, key: PRNGKey) -> Augmented:
        mean, scale = scaler.mean[:, None, :], scaler.scale[:, None, :]
        valid = (jnp.arange(x.shape[1])[None, :] < frames[:, None])[:, :, None]
        level = x / scale + mean
        total = jnp.where(valid, level, 0).sum(axis=(1, 2)) / (jnp.maximum(frames, 1) * x.shape[2])
        ratio = jax.random.uniform(key, (len(x),), minval=self.least, maxval=self.most)
        noise = (total - ratio)[:, None, None]
        return (jnp.logaddexp(level / _NEPER, noise / _NEPER) * _NEPER - mean) * scale


NO_AUGMENTATION = NoAugmentation()
AUGMENTATIONS = {"none": NoAugmentation, "specaugment": SpecAugment, "gain": Gain, "noise": Noise}
