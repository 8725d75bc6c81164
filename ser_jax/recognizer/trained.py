"""A trained recogniser in memory: what `fitting` finds, `folder` keeps and `network` computes with."""

import dataclasses
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from ser_jax.errors import UserError
from ser_jax.model import ModelConfig

VALUES = (0.05, 50.0)  # of a temperature
DECAYS = (0.0, 3.0)
Share = TypeVar("Share", float, np.ndarray, jax.Array)


class ModelError(UserError):
    """A folder that does not hold a recogniser, or one of another make."""


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


class Target(NamedTuple):
    """What the networks of one target tell apart.

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
      sizes: of its networks.
      filters: [F, bins] float64, the mel filters that its features are made with.
      mean, scale: [F] float32, dB and 1 / dB: (x - mean) * scale is what its networks hear.
      targets: by name, in the order of `labels.CLASS_NAMES`.
      facts: what it was trained on and how, as JSON: `name`, `synthetic`, `seeds`, `corpora`, ...
    Raises: ModelError where its networks are no attentive CNNs.
    """

    sizes: ModelConfig
    filters: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    targets: dict[str, Target]
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        if type(self.sizes) is not ModelConfig:
            raise ModelError(
                f"a recogniser of networks by {type(self.sizes).__name__}, expected ModelConfig: its files "
                "are those of the attentive CNN alone"
            )
