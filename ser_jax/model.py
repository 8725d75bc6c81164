"""The attentive CNN of Sec. 2: log-mels in, class scores and attention out, as pure functions.

Frames are convolved over time, each segment keeps its largest responses, an attention weighs the
segments, and a softmax layer decides from the weighted sum and all segments together.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from ser_jax.convolution import PRECISIONS, segment_maxima

GLOROT = nn.initializers.glorot_uniform()  # paper silent; TensorFlow's default, in which it was built
EXACT = lax.Precision.HIGHEST  # these products are small; an accelerator's default would round their inputs


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of the attentive CNN (Secs. 2 and 4).

    Attributes:
      bands: F, mel bands; every kernel spans them all.
      frames: T, frames of the padded input, 10 ms apart.
      channels: C, kernels.
      kernel: frames a kernel spans.
      stride: frames between positions; 3 is the only stride that yields the paper's eight segments.
      pool: positions that one segment is the maximum of.
      classes: K.
      dropout: share of the classifier's inputs dropped in training.
      precision: of the convolution's products, "float32", "tf32" or "bfloat16", as `segment_maxima` says.
        Parameters, optimiser, attention and classifier are float32 whichever is chosen.
    """

    bands: int = 26
    frames: int = 750
    channels: int = 200
    kernel: int = 10
    stride: int = 3
    pool: int = 30
    classes: int = 2
    dropout: float = 0.5
    precision: str = "float32"

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r}, expected one of {', '.join(PRECISIONS)}")
        if self.segments < 1:
            raise ValueError(
                f"{self.frames} frames hold no segment of {self.pool} positions, "
                f"{self.stride} frames apart, under a kernel of {self.kernel} frames"
            )

    @property
    def segments(self) -> int:
        """S: how many whole pools the positions fill; what is left over is not looked at."""
        return ((self.frames - self.kernel) // self.stride + 1) // self.pool


class Output(NamedTuple):
    """What the network says of a batch.

    Attributes:
      logits: [B, K] class scores before the softmax.
      attention: [B, S] weights of the segments; positive, each row sums to 1.
    """

    logits: jax.Array
    attention: jax.Array


def attend(segments, w):
    """Weighs the segments of one utterance by a softmax and sums them.

    alpha_i = exp(w.x_i) / sum_j exp(w.x_j),   z = sum_i alpha_i x_i      (eqs. 1, 2)

    Args:
      segments: [S, C] pooled feature maps.
      w: [C] the attention vector.
    Returns: (z [C], alpha [S]); alpha is positive and sums to 1.
    """
    alpha = jax.nn.softmax(jnp.dot(segments, w, precision=EXACT))
    return jnp.dot(alpha, segments, precision=EXACT), alpha


class AttentiveCNN(nn.Module):
    """The network as a Linen module; the rest of the package knows only `init` and `apply`."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x, training: bool) -> Output:
        c = self.config
        kernel = self.param("kernel", GLOROT, (c.kernel, c.bands, c.channels))
        bias = self.param("bias", nn.initializers.zeros, (c.channels,))
        w = self.param("attention", GLOROT, (c.channels, 1))[:, 0]

        maxima = segment_maxima(x, kernel, c.stride, c.pool, c.precision)
        # The maximum of relu(y + b) is relu of the maximum of y, plus b: less to compute.
        segments = nn.relu(maxima + bias[None, None, :])
        attended, attention = jax.vmap(attend, (0, None))(segments, w)

        features = jnp.concatenate([attended, segments.reshape(len(x), -1)], axis=-1)
        features = nn.Dropout(c.dropout, deterministic=not training)(features)
        classifier = nn.Dense(c.classes, kernel_init=GLOROT, precision=EXACT, name="classifier")
        return Output(classifier(features), attention)


@partial(jax.jit, static_argnums=0)
def init(config: ModelConfig, key):
    """Draws the parameters of one run.

    Args:
      config: sizes.
      key: typed PRNG key.
    Returns: A dict of float32 arrays: 56,002 numbers at the defaults.
    """
    x = jnp.zeros((1, config.frames, config.bands))
    return AttentiveCNN(config).init(key, x, training=False)["params"]


def shapes(config: ModelConfig) -> Any:
    """What `init` returns, as `jax.ShapeDtypeStruct`s; nothing is drawn."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree (of parameters, say) by what leads to them, as in "classifier.bias"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


@partial(jax.jit, static_argnums=0)
def apply(config: ModelConfig, params, x, *, key=None) -> Output:
    """Runs the network on a batch.

    Args:
      config: sizes.
      params: what `init` returned, or its trained successor.
      x: [B, T, F] standardised log-mels, exactly zero in the padding.
      key: typed PRNG key of the dropout; without one nothing is dropped.
    Returns: Output(logits [B, K], attention [B, S]).
    Raises: ValueError where x is not of the configuration's frames and bands.
    """
    if x.shape[1:] != (config.frames, config.bands):
        raise ValueError(f"input of shape {x.shape}, expected [B, {config.frames}, {config.bands}]")
    rngs = None if key is None else {"dropout": key}
    return AttentiveCNN(config).apply({"params": params}, x, training=key is not None, rngs=rngs)
