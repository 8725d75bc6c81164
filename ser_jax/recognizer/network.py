"""The networks of a recogniser, all targets and seeds at once, as one pure function."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ser_jax import model
from ser_jax.arrays import Array, Tree
from ser_jax.model import Architecture
from ser_jax.recognizer.trained import Temperature, Trained


class Weights(NamedTuple):
    """A `Trained`'s arrays as they are computed with.

    Attributes:
      mean, scale: [F] float32.
      params: of all networks, with leading [A, R]: targets, seeds.
      temperature: of [A] float32 each.
    """

    mean: jax.Array
    scale: jax.Array
    params: Tree
    temperature: Temperature


class Said(NamedTuple):
    """What the networks say of some windows.

    Attributes:
      probability: [A, R, B] float32, calibrated, of class 1.
      attention: [A, R, B, S] float32; each row sums to 1.
    """

    probability: Array
    attention: Array


def weights(trained: Trained) -> Weights:
    """The arrays of a recogniser, stacked."""
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(t.params for t in trained.targets.values()))
    each = zip(*(target.temperature for target in trained.targets.values()), strict=True)
    numbers: list[Tree] = [jnp.array(own, jnp.float32) for own in each]
    temperature = Temperature(*numbers)
    return Weights(jnp.asarray(trained.mean), jnp.asarray(trained.scale), params, temperature)


class Answer(NamedTuple):
    """What the networks answer, before calibration.

    Attributes:
      margin: [A, R, B] float32, the second class's logit less the first one's.
      attention: [A, R, B, S] float32; each row sums to 1.
    """

    margin: jax.Array
    attention: jax.Array


@partial(jax.jit, static_argnums=0)
def answer(sizes: Architecture, own: Weights, logmel: Array, frames: Array) -> Answer:
    """Asks all networks about some windows; arguments as of `say`."""
    x = model.standardise(logmel, frames, own.mean, own.scale)
    output = jax.vmap(jax.vmap(lambda params: model.apply(sizes, params, x)))(own.params)
    return Answer(output.logits[..., 1] - output.logits[..., 0], output.attention)


@partial(jax.jit, static_argnums=0)
def say(sizes: Architecture, own: Weights, logmel: Array, frames: Array) -> Said:
    """Asks all networks about some windows.

    Args:
      sizes: the network and its sizes.
      own: their weights.
      logmel: [B, T, F] float32, dB.
      frames: [B] int32, frames of each that hold sound.
    Returns: Said(probability [A, R, B], attention [A, R, B, S]).
    """
    margin, attention = answer(sizes, own, logmel, frames)
    share = jnp.clip(frames, 1, sizes.frames) / sizes.frames
    each = jax.vmap(lambda temperature: temperature.at(share))(own.temperature)  # [A, B]
    return Said(jax.nn.sigmoid(margin / each[:, None, :]), attention)
