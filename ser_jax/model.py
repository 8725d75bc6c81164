"""The network as pure functions, log-mels in, class scores and attention out: the attentive CNN of Sec. 2, or
whatever else meets `Architecture`.

Of the attentive CNN, frames are convolved over time, each segment keeps its largest responses, an attention
weighs the segments, and a softmax layer decides from the weighted sum and all segments together.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from ser_jax.arrays import Array, Tree
from ser_jax.convolution import PRECISIONS, segment_maxima
from ser_jax.errors import UserError

GLOROT = nn.initializers.glorot_uniform()  # paper silent; TensorFlow's default, in which it was built
EXACT = lax.Precision.HIGHEST  # these products are small; an accelerator's default would round their inputs
TRIED = 3  # utterances of the batch whose shapes `check` looks at


class ArchitectureError(UserError):
    """A configuration or its network that is not what `Architecture` says."""


class Output(NamedTuple):
    """What the network says of a batch.

    Attributes:
      logits: [B, K] class scores before the softmax.
      attention: [B, S] weights of the segments; none is negative, each row sums to 1.
    """

    logits: jax.Array
    attention: jax.Array


class Architecture(Protocol):
    """What training, predicting and storing know of a network: its sizes, and how to get it.

    A frozen dataclass of numbers and strings meets it. It names a compiled program, so that equal ones must
    have equal hashes, and give the same network. `ModelConfig` is the paper's; examples/own_network.py has
    another one.

    Attributes:
      bands: F of the input.
      frames: T of the input.
      classes: K, at least 2; predictions are the probability of class 1.
      segments: S, what the attention weighs: 1 where there is nothing to choose from.
    """

    @property
    def bands(self) -> int:
        """F of the input."""

    @property
    def frames(self) -> int:
        """T of the input."""

    @property
    def classes(self) -> int:
        """K, at least 2."""

    @property
    def segments(self) -> int:
        """S, at least 1."""

    def __hash__(self) -> int: ...

    def network(self) -> nn.Module:
        """The network, called as module(x, training=training).

        x is [B, T, F] float32, standardised log-mels, exactly zero in the padding; training is Python's True
        or False, and the key of what is random in training is the stream "dropout". It returns Output(logits
        [B, K], attention [B, S]), float32. Attention is not negative, and each row sums to 1; a network
        without one says 1 / S. An utterance is judged by itself, since a batch may be filled with some that
        do not count. Parameters are float32, and nothing but them is kept from step to step.
        """


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of the attentive CNN (Secs. 2 and 4), an `Architecture`.

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

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r}, expected one of {', '.join(PRECISIONS)}")
        if self.segments < 1:
            raise ValueError(
                f"{self.frames} frames hold no segment of {self.pool} positions, "
                f"{self.stride} frames apart, under a kernel of {self.kernel} frames"
            )

    @property
    def segments(self) -> int:
        """S: how many whole pools the positions fill; what is left over is not looked at.

        >>> ModelConfig().segments, ModelConfig(stride=10).segments
        (8, 2)
        """
        return ((self.frames - self.kernel) // self.stride + 1) // self.pool

    @property
    def segment_frames(self) -> int:
        """Frames from one segment to the next: 90 in the paper."""
        return self.stride * self.pool

    def network(self) -> nn.Module:
        """The attentive CNN of these sizes."""
        return AttentiveCNN(self)


def attend(segments: Array, w: Array) -> tuple[jax.Array, jax.Array]:
    """Weighs the segments of one utterance by a softmax and sums them.

    alpha_i = exp(w.x_i) / sum_j exp(w.x_j),   z = sum_i alpha_i x_i      (eqs. 1, 2)

    Args:
      segments: [S, C] pooled feature maps.
      w: [C] the attention vector.
    Returns: (z [C], alpha [S]); alpha is positive and sums to 1.

    >>> z, alpha = attend(jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.zeros(2))
    >>> print(z, alpha)
    [1. 2.] [0.5 0.5]
    """
    alpha = jax.nn.softmax(jnp.dot(segments, w, precision=EXACT))
    return jnp.dot(alpha, segments, precision=EXACT), alpha


class AttentiveCNN(nn.Module):
    """The paper's network as a Linen module; the rest of the package knows only `init` and `apply`."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: jax.Array, training: bool) -> Output:
        """[B, T, F] standardised log-mels to logits [B, K] and attention [B, S]; dropout while `training`."""
        c = self.config
        kernel = self.param("kernel", GLOROT, (c.kernel, c.bands, c.channels))
        bias = self.param("bias", nn.initializers.zeros, (c.channels,))
        w = self.param("attention", GLOROT, (c.channels, 1))[:, 0]

        maxima = segment_maxima(x, kernel, c.stride, c.pool, c.precision)
        # The maximum of relu(y + b) is relu(max(y) + b): less to compute.
        segments = nn.relu(maxima + bias[None, None, :])
        attended, attention = jax.vmap(attend, (0, None))(segments, w)

        features = jnp.concatenate([attended, segments.reshape(len(x), -1)], axis=-1)
        features = nn.Dropout(c.dropout, deterministic=not training)(features)
        classifier = nn.Dense(c.classes, kernel_init=GLOROT, precision=EXACT, name="classifier")
        return Output(classifier(features), attention)


@partial(jax.jit, static_argnums=0)
def init(config: Architecture, key: jax.Array) -> Tree:
    """Draws the parameters of one run.

    Args:
      config: the network and its sizes.
      key: typed PRNG key.
    Returns: A dict of float32 arrays: 56,002 numbers of the paper's network.
    """
    x = jnp.zeros((1, config.frames, config.bands))
    return config.network().init(key, x, training=False)["params"]


def shapes(config: Architecture) -> Tree:
    """What `init` returns, as `jax.ShapeDtypeStruct`s; nothing is drawn."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def named(tree: Tree) -> dict[str, Any]:
    """The leaves of a tree (of parameters, say) by what leads to them, as in "classifier.bias"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def standardise(logmel: Array, frames: Array, mean: Array, scale: Array) -> jax.Array:
    """What a network hears of some utterances: [B, T, F] float32, exactly zero in the padding.

    Args:
      logmel: [B, T, F] dB.
      frames: [B] frames that hold sound.
      mean, scale: [F], or [B, F]: (x - mean) * scale is heard.
    """

    def wide(part: Array) -> Array:
        return part[None, None, :] if part.ndim == 1 else part[:, None, :]

    sound = jnp.arange(logmel.shape[1])[None, :] < frames[:, None]
    return jnp.where(sound[:, :, None], (logmel - wide(mean)) * wide(scale), 0)


@partial(jax.jit, static_argnums=0)
def apply(config: Architecture, params: Tree, x: Array, *, key: jax.Array | None = None) -> Output:
    """Runs the network on a batch.

    Args:
      config: the network and its sizes.
      params: what `init` returned, or its trained successor.
      x: [B, T, F] standardised log-mels, exactly zero in the padding.
      key: typed PRNG key of the dropout; without one nothing is dropped.
    Returns: Output(logits [B, K], attention [B, S]).
    Raises: ValueError where x is not of the configuration's frames and bands.
    """
    if x.shape[1:] != (config.frames, config.bands):
        raise ValueError(f"input of shape {x.shape}, expected [B, {config.frames}, {config.bands}]")
    rngs = None if key is None else {"dropout": key}
    said = config.network().apply({"params": params}, x, training=key is not None, rngs=rngs)
    return cast(Output, said)  # Linen returns more only where variables may change


def check(config: Architecture) -> None:
    """Looks whether a configuration meets `Architecture`, by shapes; nothing is computed.

    Raises: ArchitectureError naming what it gave and what was expected.
    """
    name = type(config).__name__
    for size, least in (("bands", 1), ("frames", 1), ("classes", 2), ("segments", 1)):
        found = getattr(config, size, None)
        if not isinstance(found, int) or found < least:
            raise ArchitectureError(f"{size} of {name} is {found!r}, expected a whole number from {least} on")
    try:
        hash(config)
    except TypeError as error:
        raise ArchitectureError(f"{name} has no hash ({error}), expected a frozen dataclass") from error
    module = config.network() if hasattr(config, "network") else None
    if not isinstance(module, nn.Module):
        raise ArchitectureError(f"network() of {name} gives {module!r}, expected a Linen module")
    x = jax.ShapeDtypeStruct((TRIED, config.frames, config.bands), jnp.float32)
    try:
        variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, training=False), x)
        _check_parameters(name, variables)
        for training in (False, True):
            key = jax.random.key(0) if training else None
            output = jax.eval_shape(partial(apply, config, key=key), variables["params"], x)
            _check_output(config, output)
    except ArchitectureError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise ArchitectureError(
            f"the network of {name} fails on x float32 {list(x.shape)} ({reason}), "
            "expected it to be called with (x, training=...) and to give an Output"
        ) from error


def _check_parameters(name: str, variables: Any) -> None:
    if set(variables) != {"params"}:
        kept = " and ".join(sorted(variables)) or "nothing"
        raise ArchitectureError(f"the network of {name} keeps {kept}, expected params and nothing else")
    for path, leaf in named(variables["params"]).items():
        if leaf.dtype != jnp.float32:
            raise ArchitectureError(f"parameter {path} of {name} is {leaf.dtype}, expected float32")


def _check_output(config: Architecture, output: Any) -> None:
    expected = {"logits": [TRIED, config.classes], "attention": [TRIED, config.segments]}
    if not isinstance(output, Output):
        raise ArchitectureError(
            f"the network of {type(config).__name__} gives a {type(output).__name__}, expected an Output"
        )
    for part, shape in expected.items():
        found = getattr(output, part)
        if list(jnp.shape(found)) != shape or found.dtype != jnp.float32:
            raise ArchitectureError(
                f"{part} by the network of {type(config).__name__} are {found.dtype} {list(found.shape)} "
                f"for {TRIED} utterances, expected float32 {shape}"
            )
