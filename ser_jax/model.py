"""The attentive CNN of Sec. 2: log-mels in, class scores and attention out, as pure functions.

Frames are convolved over time, each segment keeps its largest responses, an attention weighs the
segments, and a softmax layer decides from the weighted sum and all segments together.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

GLOROT = nn.initializers.glorot_uniform()  # paper silent; TensorFlow's default, in which it was built


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
    """

    bands: int = 26
    frames: int = 750
    channels: int = 200
    kernel: int = 10
    stride: int = 3
    pool: int = 30
    classes: int = 2
    dropout: float = 0.5

    def __post_init__(self):
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
    alpha = jax.nn.softmax(segments @ w)
    return alpha @ segments, alpha


class AttentiveCNN(nn.Module):
    """The network as a Linen module; the rest of the package knows only `init` and `apply`."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x, training: bool) -> Output:
        c = self.config
        kernel = self.param("kernel", GLOROT, (c.kernel, c.bands, c.channels))
        bias = self.param("bias", nn.initializers.zeros, (c.channels,))
        w = self.param("attention", GLOROT, (c.channels, 1))[:, 0]

        maxima = segment_maxima(x, kernel, c.stride, c.pool)
        # The maximum of relu(y + b) is relu of the maximum of y, plus b: less to compute.
        segments = nn.relu(maxima + bias[None, None, :])
        attended, attention = jax.vmap(attend, (0, None))(segments, w)

        features = jnp.concatenate([attended, segments.reshape(len(x), -1)], axis=-1)
        features = nn.Dropout(c.dropout, deterministic=not training)(features)
        return Output(nn.Dense(c.classes, kernel_init=GLOROT, name="classifier")(features), attention)


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


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def segment_maxima(x, kernel, stride: int, pool: int):
    """Convolves over time and keeps the largest response of every segment.

    m[b, s, c] = max_{p < pool} sum_{k, f} x[b, (s pool + p) stride + k, f] kernel[k, f, c]

    The convolution is a product of matrices, [windows, k F] times [k F, C], which stays a batched product
    under `vmap` over kernels. Segments that hold only zeros are not computed: their maximum is 0. The
    gradient knows the position of every maximum, so that no feature map is kept. The gradient with respect to
    x is zero in the segments that were not computed.

    Args:
      x: [B, T, F].
      kernel: [k, F, C].
      stride: frames between positions.
      pool: positions a segment.
    Returns: [B, S, C] maxima, before bias and ReLU.
    """
    return _segment_maxima_forward(x, kernel, stride, pool)[0]


class _Work(NamedTuple):
    """Which of the [B S] segments are worth computing.

    Attributes:
      order: [B S] int32, segments that hold sound first.
      live: [] int32, how many of them hold sound.
    """

    order: jax.Array
    live: jax.Array


def _rows(total: int) -> int:
    """Segments computed at once, a divisor of `total`.

    On a CPU 32 stay in the cache, and the loop over them ends with the last segment that holds sound. An
    accelerator is kept busy by all at once.
    """
    if jax.default_backend() != "cpu":
        return total
    return next(rows for rows in range(min(32, total), 0, -1) if total % rows == 0)


def _plan(x, segments: int, hop: int, reach: int) -> _Work:
    sounding = jnp.any(x != 0, axis=2)
    live = jnp.stack([sounding[:, s * hop : s * hop + reach].any(axis=1) for s in range(segments)], axis=1)
    order = jnp.argsort(~live.reshape(-1), stable=True).astype(jnp.int32)
    return _Work(order, jnp.sum(live, dtype=jnp.int32))


def _windows(x, rows, segments: int, width: int, stride: int, pool: int):
    """The windows [rows pool, width F] of segments `rows`, each one contiguous in memory."""
    batch, frames, bands = x.shape
    flat = x.reshape(batch, frames * bands)
    start = ((rows % segments) * pool)[:, None] + jnp.arange(pool, dtype=rows.dtype)[None, :]
    utterance = jnp.repeat(rows // segments, pool)

    def window(b, position):
        return lax.dynamic_slice(flat, (b, position * (stride * bands)), (1, width * bands))[0]

    return jax.vmap(window)(utterance, start.reshape(-1))


def _for_blocks(work: _Work, body, carry):
    """carry = body(first row, carry) for every block of rows that holds a live segment."""
    total = len(work.order)
    rows = _rows(total)
    if rows == total:
        return body(0, carry)
    return lax.while_loop(
        lambda state: state[0] < work.live, lambda state: (state[0] + rows, body(*state)), (0, carry)
    )[1]


def _segment_maxima_forward(x, kernel, stride, pool):
    width, bands, channels = kernel.shape
    segments = ((x.shape[1] - width) // stride + 1) // pool
    total = len(x) * segments
    rows = _rows(total)
    weights = kernel.reshape(width * bands, channels)
    work = _plan(x, segments, stride * pool, (pool - 1) * stride + width)
    offsets = jnp.arange(pool, dtype=jnp.int16)[None, :, None]

    def body(first, carry):
        maxima, positions = carry
        block = lax.dynamic_slice_in_dim(work.order, first, rows)
        y = (_windows(x, block, segments, width, stride, pool) @ weights).reshape(rows, pool, channels)
        largest = y.max(axis=1)
        # XLA reduces this several times faster than argmax; a NaN has no position, 0 stands for it.
        where = jnp.where(y == largest[:, None, :], offsets, jnp.int16(pool)).min(axis=1) % pool
        return (
            lax.dynamic_update_slice_in_dim(maxima, largest, first, axis=0),
            lax.dynamic_update_slice_in_dim(positions, where, first, axis=0),
        )

    nothing = jnp.zeros((total, channels), x.dtype), jnp.zeros((total, channels), jnp.int16)
    maxima, positions = _for_blocks(work, body, nothing)
    inverse = jnp.argsort(work.order)
    return maxima[inverse].reshape(len(x), segments, channels), (x, kernel, work, positions)


def _segment_maxima_backward(stride, pool, saved, gradient):
    x, kernel, work, positions = saved
    width, bands, channels = kernel.shape
    segments = gradient.shape[1]
    rows = _rows(len(work.order))
    weights = kernel.reshape(width * bands, channels)
    gradient = gradient.reshape(-1, channels)[work.order]
    offsets = jnp.arange(pool, dtype=positions.dtype)[None, :, None]

    def spread(first):
        """The gradient of a block's responses: nonzero at the position of each maximum."""
        block = lax.dynamic_slice_in_dim(work.order, first, rows)
        where = lax.dynamic_slice_in_dim(positions, first, rows)[:, None, :]
        value = lax.dynamic_slice_in_dim(gradient, first, rows)[:, None, :]
        return block, jnp.where(where == offsets, value, 0).reshape(rows * pool, channels)

    def to_kernel(first, total):
        block, dy = spread(first)
        return total + _windows(x, block, segments, width, stride, pool).T @ dy

    def to_input(first, total):
        block, dy = spread(first)
        spill = jax.vjp(lambda x: _windows(x, block, segments, width, stride, pool), x)[1]
        return total + spill(dy @ weights.T)[0]

    # Two loops, so that the compiler drops the input's where nobody asks for it, as in training.
    kernel_gradient = _for_blocks(work, to_kernel, jnp.zeros_like(weights)).reshape(kernel.shape)
    return _for_blocks(work, to_input, jnp.zeros_like(x)), kernel_gradient


segment_maxima.defvjp(_segment_maxima_forward, _segment_maxima_backward)
