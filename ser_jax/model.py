"""Define networks as pure functions: standardized features in, outputs and attention weights out.

The attentive CNN of Sec. 2 convolves frames over time, keeps each segment's largest responses, weighs the
segments by attention, and classifies the weighted sum and all segments together. `Probe` is a linear
baseline. Any network that implements `Architecture` can replace them.
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from ser_jax.convolution import Precision, segment_maxima
from ser_jax.errors import UserError, check_choices
from ser_jax.shapes import Bool, Float, Int, Key

Array: TypeAlias = jax.Array | np.ndarray  # on a device or on the host
Tree: TypeAlias = Any  # of arrays, as `jax.tree` walks it
GLOROT = nn.initializers.glorot_uniform()  # paper silent; TensorFlow's default
EXACT = lax.Precision.HIGHEST  # these products are small; an accelerator's default would round their inputs
LEAST_VARIANCE = 1e-6  # keeps the gradient of the square root finite for constant features
TRIED = 3  # utterances of the batch that `check` traces


class ArchitectureError(UserError):
    """A configuration or network that does not implement `Architecture`."""


class Output(NamedTuple):
    """The outputs of a network for a batch.

    Attributes:
      outputs: logits of the classes, or predicted numbers.
      attention: weights of the segments, each row a distribution.
      embedding: inputs of the last layer, for objectives that need them; None if the network has none.
    """

    outputs: Float[jax.Array, "B K"]
    attention: Float[jax.Array, "B S"]
    embedding: Float[jax.Array, "B D"] | None = None


class Architecture(Protocol):
    """The interface of a network's configuration, a frozen dataclass of numbers and strings.

    It is a static argument of compiled functions: equal ones must have equal hashes and networks.
    """

    @property
    def bands(self) -> int:
        """F of the input, `dims` of the front end."""

    @property
    def frames(self) -> int:
        """T of the input."""

    @property
    def outputs(self) -> int:
        """K, classes or predicted numbers, at least 1."""

    @property
    def segments(self) -> int:
        """S of the attention; 1 for a network without one."""

    def __hash__(self) -> int: ...

    def network(self) -> nn.Module:
        """Return the Linen module, called as module(x, training=training).

        x is [B, T, F] float32, standardized features, exactly zero in the padding; training is a Python bool,
        and random layers draw from the stream "dropout". The module returns an `Output` in float32; a network
        without attention returns weights of 1 / S. Utterances must not influence each other, since some may
        be padding of the batch. Parameters are float32, and the only variables.
        """


@dataclasses.dataclass(frozen=True)
class AttentiveCNN:
    """The attentive CNN (Secs. 2 and 4), an `Architecture`.

    Attributes:
      bands, frames, outputs: F, T and K; every kernel spans all bands.
      channels: C, number of kernels.
      kernel: frames that a kernel spans.
      stride: frames between positions; 3 is the only stride that yields the paper's eight segments.
      pool: positions per segment, which is their maximum.
      dropout: share of the classifier's inputs to drop in training.
      mask_attention: give no weight to segments that begin after the sound, unlike the paper. The sound ends
        with the last frame that is not all zero, also after an augmentation.
      padding: content of the frames after the sound: zero (the paper; the convolution skips it), edge (the
        last frame) or silence (the frame with the lowest mean).
      precision: of the convolution's products: float32, tf32 or bfloat16 (see `segment_maxima`); everything
        else is always float32.
    """

    bands: int = 26
    frames: int = 750
    outputs: int = 2
    channels: int = 200
    kernel: int = 10
    stride: int = 3
    pool: int = 30
    dropout: float = 0.5
    mask_attention: bool = False
    padding: Literal["zero", "edge", "silence"] = "zero"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_choices(self, ArchitectureError)
        if min(self.channels, self.kernel, self.stride, self.pool) < 1 or not 0 <= self.dropout < 1:
            raise ArchitectureError(
                f"channels {self.channels}, kernel {self.kernel}, stride {self.stride}, pool {self.pool}, "
                f"dropout {self.dropout}, expected at least 1 each and a dropout of at least 0, below 1"
            )
        if self.segments < 1:
            raise ArchitectureError(
                f"{self.frames} frames hold no segment of {self.pool} positions, {self.stride} frames apart, "
                f"with a kernel of {self.kernel} frames; expected at least one: choose a smaller "
                "--model.pool, or --model attentive_pooling or probe"
            )

    @property
    def segments(self) -> int:
        """S, the number of whole pools; positions left over are not used.

        >>> AttentiveCNN().segments, AttentiveCNN(stride=10).segments
        (8, 2)
        """
        return ((self.frames - self.kernel) // self.stride + 1) // self.pool

    @property
    def segment_frames(self) -> int:
        """Frames from one segment to the next: 90 in the paper."""
        return self.stride * self.pool

    def network(self) -> nn.Module:
        return _AttentiveCNN(self)


def attend(
    segments: Float[Array, "S C"], w: Float[Array, "C"], valid: Bool[Array, "S"] | None = None
) -> tuple[Float[jax.Array, "C"], Float[jax.Array, "S"]]:
    """Return the sum of one utterance's segments weighted by a softmax, and the weights.

    alpha_i = exp(w.x_i) / sum_j exp(w.x_j),   z = sum_i alpha_i x_i      (eqs. 1, 2)

    Only segments that are `valid`, by default all, have a weight; at least one must be.

    >>> z, alpha = attend(jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.zeros(2))
    >>> print(z, alpha)
    [1. 2.] [0.5 0.5]
    """
    scores = jnp.dot(segments, w, precision=EXACT)
    alpha = jax.nn.softmax(scores if valid is None else jnp.where(valid, scores, -jnp.inf))
    return jnp.dot(alpha, segments, precision=EXACT), alpha


class _AttentiveCNN(nn.Module):
    config: AttentiveCNN

    @nn.compact
    def __call__(self, x: Float[Array, "B T F"], training: bool) -> Output:
        c = self.config
        kernel = self.param("kernel", GLOROT, (c.kernel, c.bands, c.channels))
        bias = self.param("bias", nn.initializers.zeros, (c.channels,))
        w = self.param("attention", GLOROT, (c.channels, 1))[:, 0]

        frames = valid_frames(x)
        maxima = segment_maxima(_padded(x, frames, c.padding), kernel, c.stride, c.pool, c.precision)
        # The maximum of relu(y + b) is relu(max(y) + b), which takes less work.
        segments = nn.relu(maxima + bias[None, None, :])
        valid = None
        if c.mask_attention:  # of the first segment even if there is no sound at all
            valid = jnp.maximum(frames, 1)[:, None] > jnp.arange(c.segments)[None, :] * c.segment_frames
        attended, attention = jax.vmap(attend, (0, None, None if valid is None else 0))(segments, w, valid)

        features = jnp.concatenate([attended, segments.reshape(len(x), -1)], axis=-1)
        dropped = nn.Dropout(c.dropout, deterministic=not training)(features)
        classifier = nn.Dense(c.outputs, kernel_init=GLOROT, precision=EXACT, name="classifier")
        return Output(classifier(dropped), attention, features)


def _padded(x: Float[Array, "B T F"], frames: Int[Array, "B"], padding: str) -> Float[Array, "B T F"]:
    """Return utterances whose padding, after their `frames`, is filled as `AttentiveCNN` describes."""
    if padding == "zero":
        return x
    place = jnp.arange(x.shape[1])[None, :]
    valid, chosen = place < frames[:, None], place == frames[:, None] - 1
    if padding == "silence":
        level = jnp.where(valid, x.mean(axis=2), jnp.inf)
        chosen = level == level.min(axis=1, keepdims=True)  # several, if they are equal
    count = jnp.maximum(chosen.sum(axis=1, keepdims=True), 1)
    frame = jnp.where(chosen[:, :, None], x, 0).sum(axis=1) / count
    return jnp.where(valid[:, :, None], x, frame[:, None, :])


@dataclasses.dataclass(frozen=True)
class Probe:
    """A linear classifier of the features' mean and standard deviation over time, an `Architecture`.

    A single frame has no deviation: then the features themselves are classified.

    Attributes:
      bands, frames, outputs: F, T and K.
      dropout: share of these numbers to drop in training.
    """

    bands: int = 26
    frames: int = 750
    outputs: int = 2
    dropout: float = 0.0

    @property
    def segments(self) -> int:
        """S, always 1, with a weight of 1."""
        return 1

    def network(self) -> nn.Module:
        return _Linear(self)

    def numbers(self, x: Float[Array, "B T F"]) -> Float[jax.Array, "B D"]:
        """Return the inputs of the classifier."""
        return jnp.asarray(x)[:, 0] if self.frames == 1 else pooled(x)


@dataclasses.dataclass(frozen=True)
class Single(Probe):
    """A linear classifier of one number per utterance, to show how much of a task it explains.

    Attributes:
      quantity: "level", the mean of the features over time and bands, which is that of the recording for
        log-mels standardized by statistics of other utterances; or "duration", in octaves, up to `frames`.
    """

    quantity: Literal["level", "duration"] = "level"

    def __post_init__(self) -> None:
        check_choices(self, ArchitectureError)

    def numbers(self, x: Float[Array, "B T F"]) -> Float[jax.Array, "B 1"]:
        """Return the inputs of the classifier."""
        count = jnp.maximum(valid_frames(x), 1)[:, None]
        if self.quantity == "level":
            return x.sum(axis=(1, 2))[:, None] / (count * x.shape[2])
        return jnp.log2(4 * count / self.frames)  # 0 for a quarter


@dataclasses.dataclass(frozen=True)
class AttentivePooling(Probe):
    """A linear classifier of the features' mean and standard deviation under the paper's attention.

    Every frame is a segment; padding has no weight.
    """

    @property
    def segments(self) -> int:
        """S, the number of frames."""
        return self.frames

    def network(self) -> nn.Module:
        return _AttentiveLinear(self)


class _Linear(nn.Module):
    config: Probe

    @nn.compact
    def __call__(self, x: Float[Array, "B T F"], training: bool) -> Output:
        c, (numbers, attention) = self.config, self.weighted(x)
        dropped = nn.Dropout(c.dropout, deterministic=not training)(numbers)
        classifier = nn.Dense(c.outputs, kernel_init=GLOROT, precision=EXACT, name="classifier")
        return Output(classifier(dropped), attention, numbers)

    def weighted(self, x: Float[Array, "B T F"]) -> tuple[Float[jax.Array, "B D"], Float[jax.Array, "B S"]]:
        """Return the inputs of the classifier, and the weights of the segments."""
        return self.config.numbers(x), jnp.ones((len(x), 1))


class _AttentiveLinear(_Linear):
    def weighted(self, x: Float[Array, "B T F"]) -> tuple[Float[jax.Array, "B D"], Float[jax.Array, "B S"]]:
        w = self.param("attention", nn.initializers.zeros, (self.config.bands, 1))[:, 0]  # begins as the mean
        valid = jnp.arange(x.shape[1])[None, :] < jnp.maximum(valid_frames(x), 1)[:, None]
        mean, attention = jax.vmap(attend, (0, None, 0))(x, w, valid)
        square = jnp.einsum("bt,btf->bf", attention, (x - mean[:, None, :]) ** 2, precision=EXACT)
        deviation = jnp.sqrt(jnp.maximum(square, LEAST_VARIANCE))
        return jnp.concatenate([mean, deviation], axis=1), attention


def valid_frames(x: Float[Array, "B T F"]) -> Int[jax.Array, "B"]:
    """Return the numbers of frames before the padding, which is zero: up to the last that is not all zero."""
    sound = jnp.any(x != 0, axis=2)
    return jnp.max(jnp.where(sound, jnp.arange(1, x.shape[1] + 1)[None, :], 0), axis=1)


def pooled(x: Float[Array, "B T F"]) -> Float[jax.Array, "B 2*F"]:
    """Return mean and standard deviation over the frames that are not all zero, which padding is."""
    valid = jnp.any(x != 0, axis=2, keepdims=True)
    count = jnp.maximum(valid.sum(axis=1), 1)
    mean = x.sum(axis=1) / count
    variance = (jnp.where(valid, x - mean[:, None, :], 0) ** 2).sum(axis=1) / count
    return jnp.concatenate([mean, jnp.sqrt(jnp.maximum(variance, LEAST_VARIANCE))], axis=1)


@partial(jax.jit, static_argnums=0)
def init(config: Architecture, key: Key[jax.Array, ""]) -> Tree:
    """Draw the parameters of one run: a dict of float32 arrays, 56,002 numbers for the paper's network."""
    x = jnp.zeros((1, config.frames, config.bands))
    return config.network().init(key, x, training=False)["params"]


def shapes(config: Architecture) -> Tree:
    """Return the tree of `init` as `jax.ShapeDtypeStruct`s, without drawing anything."""
    return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def leaves_by_path(tree: Tree) -> dict[str, Any]:
    """Return the leaves of a tree by their path, as in "classifier.bias"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def standardize(
    features: Float[Array, "B T F"],
    frames: Int[Array, "B"],
    mean: Float[Array, "F"] | Float[Array, "B F"],
    scale: Float[Array, "F"] | Float[Array, "B F"],
) -> Float[jax.Array, "B T F"]:
    """Return (features - mean) * scale, exactly zero after the valid `frames` of each utterance."""

    def wide(part: Array) -> Array:
        return part[None, None, :] if part.ndim == 1 else part[:, None, :]

    valid = jnp.arange(features.shape[1])[None, :] < frames[:, None]
    return jnp.where(valid[:, :, None], (features - wide(mean)) * wide(scale), 0)


@partial(jax.jit, static_argnums=0)
def apply(
    config: Architecture, params: Tree, x: Float[Array, "B T F"], *, key: Key[jax.Array, ""] | None = None
) -> Output:
    """Run the network on standardized features, exactly zero in the padding.

    `key` is the random key for dropout, None for inference.

    Raises: ValueError if x does not have the configuration's frames and bands.
    """
    if x.shape[1:] != (config.frames, config.bands):
        raise ValueError(f"input of shape {x.shape}, expected [B, {config.frames}, {config.bands}]")
    rngs = None if key is None else {"dropout": key}
    output = config.network().apply({"params": params}, x, training=key is not None, rngs=rngs)
    return cast(Output, output)


def check(config: Architecture) -> None:
    """Raise ArchitectureError if a configuration does not implement `Architecture`, judging by shapes."""
    name = type(config).__name__
    for size in ("bands", "frames", "outputs", "segments"):
        found = getattr(config, size, None)
        if not isinstance(found, int) or found < 1:
            raise ArchitectureError(f"{size} of {name} is {found!r}, expected a whole number of at least 1")
    key, x = jax.random.key(0), jax.ShapeDtypeStruct((TRIED, config.frames, config.bands), jnp.float32)
    try:
        hash(config)
        variables = jax.eval_shape(partial(config.network().init, training=False), key, x)
        outputs = [
            jax.eval_shape(partial(apply, config, key=dropout), variables["params"], x)
            for dropout in (None, key)
        ]
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise ArchitectureError(
            f"the network of {name} fails on x float32 {list(x.shape)} ({reason}), expected a frozen "
            "dataclass, and a Linen module that is called with (x, training=...) and returns an Output"
        ) from error
    for path, leaf in leaves_by_path(variables).items():
        if not path.startswith("params.") or leaf.dtype != jnp.float32:
            found = f"{path} {leaf.dtype}"
            raise ArchitectureError(f"the network of {name} has {found}, expected params of float32 alone")
    for output in outputs:
        if not isinstance(output, Output):
            found = type(output).__name__
            raise ArchitectureError(f"the network of {name} returns a {found}, expected an Output")
        for part, width in (("outputs", config.outputs), ("attention", config.segments)):
            found = getattr(output, part)
            if found.shape != (TRIED, width) or found.dtype != jnp.float32:
                raise ArchitectureError(
                    f"{part} of the network of {name} are {found.dtype} {list(found.shape)} for {TRIED} "
                    f"utterances, expected float32 {[TRIED, width]}"
                )
