"""A trained recogniser in memory, and its networks, all targets and seeds at once, as pure functions."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import model
from ser_jax.arrays import Array, Tree
from ser_jax.errors import UserError
from ser_jax.model import Architecture, AttentiveCNN
from ser_jax.tasks import Binary

TARGETS = {name: Binary(name) for name in ("arousal", "valence")}
VALUES = (0.05, 50.0)  # of a temperature
DECAYS = (0.0, 3.0)
Share = TypeVar("Share", float, np.ndarray, jax.Array)


class ModelError(UserError):
    """A folder that does not hold a recogniser, or one of another kind."""


class Temperature(NamedTuple):
    """The divisor of margins.

    Attributes:
      value: for a full window, within `VALUES`.
      decay: how fast it rises as the window empties, within `DECAYS`.
    """

    value: float
    decay: float = 0.0

    def at(self, share: Share) -> Share:
        """Return T for windows of which `share` [...] holds sound; numbers or arrays of NumPy or JAX."""
        return self.value * share**-self.decay


class Target(NamedTuple):
    """The networks of one target.

    Attributes:
      temperature: what the difference of the two logits is divided by.
      params: the networks' parameters with a leading R, one for each seed.
    """

    temperature: Temperature
    params: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained recogniser.

    Attributes:
      sizes: the configuration of its networks.
      filters: [F, bins] float64, the mel filters that its features are made with.
      mean, scale: [F] float32, dB and 1 / dB: its networks are given (x - mean) * scale.
      targets: by name, in the order of `TARGETS`.
      facts: its name and what it was trained on, as JSON: `name`, `synthetic`, `seeds`, `corpora`, ...
    Raises: ModelError if its networks are not attentive CNNs.
    """

    sizes: AttentiveCNN
    filters: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    targets: dict[str, Target]
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        if type(self.sizes) is not AttentiveCNN:
            raise ModelError(
                f"a recogniser of networks by {type(self.sizes).__name__}, expected AttentiveCNN: its files "
                "hold no other"
            )


class Weights(NamedTuple):
    """The arrays of a `Trained`, stacked for computation.

    Attributes:
      mean, scale: [F] float32.
      params: of all networks, with leading [A, R]: targets, seeds.
      temperature: of [A] float32 each.
    """

    mean: jax.Array
    scale: jax.Array
    params: Tree
    temperature: Temperature


class Probabilities(NamedTuple):
    """The networks' predictions for some windows.

    Attributes:
      probability: [A, R, B] float32, calibrated, of class 1.
      attention: [A, R, B, S] float32; each row sums to 1.
    """

    probability: Array
    attention: Array


def weights(trained: Trained) -> Weights:
    """Stack the arrays of a recogniser."""
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(t.params for t in trained.targets.values()))
    each = zip(*(target.temperature for target in trained.targets.values()), strict=True)
    numbers: list[Tree] = [jnp.array(own, jnp.float32) for own in each]
    return Weights(jnp.asarray(trained.mean), jnp.asarray(trained.scale), params, Temperature(*numbers))


@partial(jax.jit, static_argnums=0)
def margins(config: Architecture, own: Weights, features: Array, frames: Array) -> tuple[Array, Array]:
    """Apply all networks to some windows; arguments as of `predict`.

    Returns: ([A, R, B] the second class's logit minus the first one's, attention [A, R, B, S]).
    """
    x = model.standardize(features, frames, own.mean, own.scale)
    output = jax.vmap(jax.vmap(lambda params: model.apply(config, params, x)))(own.params)
    return output.outputs[..., 1] - output.outputs[..., 0], output.attention


@partial(jax.jit, static_argnums=0)
def predict(config: Architecture, own: Weights, features: Array, frames: Array) -> Probabilities:
    """Predict some windows by all networks.

    Args:
      config: the network.
      own: their weights.
      features: [B, T, F] float32, dB.
      frames: [B] int32, frames of each that hold sound.
    Returns: Probabilities(probability [A, R, B], attention [A, R, B, S]).
    """
    margin, attention = margins(config, own, features, frames)
    share = jnp.clip(frames, 1, config.frames) / config.frames
    each = jax.vmap(lambda temperature: temperature.at(share))(own.temperature)  # [A, B]
    return Probabilities(jax.nn.sigmoid(margin / each[:, None, :]), attention)
