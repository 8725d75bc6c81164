"""Convolution over time and max-pooling in one: the segments' maxima, without a feature map in memory.

What makes it cheap is exact: a segment that holds only zeros is not computed, a maximum sends its gradient to
the one window that won, and the winners' positions are all that the gradient keeps.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from ser_jax.arrays import Array

# What the compiler is told of each; JAX's default is not float32 on every accelerator.
PRECISIONS = {
    "float32": lax.Precision.HIGHEST,
    "tf32": lax.Precision.DEFAULT,
    "bfloat16": lax.Precision.DEFAULT,
}
Carry = TypeVar("Carry")


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def segment_maxima(x: Array, kernel: Array, stride: int, pool: int, precision: str = "float32") -> jax.Array:
    """Convolves over time and keeps the largest response of every segment.

    m[b, s, c] = max_{p < pool} sum_{k, f} x[b, (s pool + p) stride + k, f] kernel[k, f, c]

    The convolution is a product of matrices, [windows, k F] times [k F, C], which stays a batched product
    under `vmap` over kernels. Segments that hold only zeros are not computed on a CPU: their maximum is 0.
    The gradient knows the position of every maximum, the first among equals, so that no feature map is kept;
    with respect to x it is zero in segments that hold only zeros.

    Args:
      x: [B, T, F].
      kernel: [k, F, C].
      stride: frames between positions.
      pool: positions a segment.
      precision: of the products, here and in the gradient. "float32": that of the operands. "tf32": what the
        device takes for float32 by default, TF32 on an NVIDIA GPU, float32 on a CPU. "bfloat16": operands
        rounded to bfloat16, sums in float32.
    Returns: [B, S, C] maxima, before bias and ReLU, in x's own type.
    """
    return _forward(jnp.asarray(x), jnp.asarray(kernel), stride, pool, precision)[0]


class _Work(NamedTuple):
    """Which of the [B S] segments are worth computing.

    Attributes:
      order: [B S] int32, segments that hold sound first.
      live: [] int32, how many of them hold sound.
    """

    order: jax.Array
    live: jax.Array


Saved = tuple[jax.Array, jax.Array, _Work, jax.Array]  # x, kernel, plan, positions of the maxima [B S, C]


def _on_cpu() -> bool:
    """Whether work is cut to what stays in a cache, or to what keeps an accelerator busy."""
    return jax.default_backend() == "cpu"


def _rows(total: int) -> int:
    """Segments multiplied at once, a divisor of `total`: on a CPU 32 at most, elsewhere all."""
    if not _on_cpu():
        return total
    return next(rows for rows in range(min(32, total), 0, -1) if total % rows == 0)


def _plan(x: jax.Array, segments: int, hop: int, reach: int) -> _Work:
    sounding = jnp.any(x != 0, axis=2)
    live = jnp.stack([sounding[:, s * hop : s * hop + reach].any(axis=1) for s in range(segments)], axis=1)
    order = jnp.argsort(~live.reshape(-1), stable=True).astype(jnp.int32)
    return _Work(order, jnp.sum(live, dtype=jnp.int32))


def _product(a: jax.Array, b: jax.Array, precision: str) -> jax.Array:
    """a b for matrices, summed in float32 at least."""
    if precision == "bfloat16":
        a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    accumulator = jnp.promote_types(a.dtype, jnp.float32)
    return lax.dot(a, b, precision=PRECISIONS[precision], preferred_element_type=accumulator)


def _windows(x: jax.Array, rows: jax.Array, segments: int, width: int, stride: int, pool: int) -> jax.Array:
    """The windows [rows pool, width F] of segments `rows`, each one contiguous in memory."""
    batch, frames, bands = x.shape
    flat = x.reshape(batch, frames * bands)
    start = ((rows % segments) * pool)[:, None] + jnp.arange(pool, dtype=rows.dtype)[None, :]
    utterance = jnp.repeat(rows // segments, pool)

    def window(b: jax.Array, position: jax.Array) -> jax.Array:
        return lax.dynamic_slice(flat, (b, position * (stride * bands)), (1, width * bands))[0]

    return jax.vmap(window)(utterance, start.reshape(-1))


def _for_blocks(work: _Work, rows: int, body: Callable[[ArrayLike, Carry], Carry], carry: Carry) -> Carry:
    """carry = body(first, carry) for every block of `rows` segments that holds a live one."""
    if rows == len(work.order):
        return body(0, carry)
    return lax.while_loop(
        lambda state: state[0] < work.live, lambda state: (state[0] + rows, body(*state)), (0, carry)
    )[1]


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, pool: int, precision: str
) -> tuple[jax.Array, Saved]:
    width, bands, channels = kernel.shape
    segments = ((x.shape[1] - width) // stride + 1) // pool
    total = len(x) * segments
    rows = _rows(total)
    weights = kernel.reshape(width * bands, channels)
    work = _plan(x, segments, stride * pool, (pool - 1) * stride + width)
    offsets = jnp.arange(pool, dtype=jnp.int16)[None, :, None]
    rounded = x.astype(jnp.bfloat16) if precision == "bfloat16" else x

    def body(first: ArrayLike, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        maxima, positions = carry
        block = lax.dynamic_slice_in_dim(work.order, first, rows)
        y = _product(_windows(rounded, block, segments, width, stride, pool), weights, precision)
        y = y.reshape(rows, pool, channels)
        largest = y.max(axis=1)
        # XLA reduces this several times faster than argmax; a NaN has no position, 0 stands for it.
        where = jnp.where(y == largest[:, None, :], offsets, jnp.int16(pool)).min(axis=1) % pool
        return (
            lax.dynamic_update_slice_in_dim(maxima, largest.astype(x.dtype), first, axis=0),
            lax.dynamic_update_slice_in_dim(positions, where, first, axis=0),
        )

    nothing = jnp.zeros((total, channels), x.dtype), jnp.zeros((total, channels), jnp.int16)
    maxima, positions = _for_blocks(work, rows, body, nothing)
    inverse = jnp.argsort(work.order)
    return maxima[inverse].reshape(len(x), segments, channels), (x, kernel, work, positions)


def _backward(
    stride: int, pool: int, precision: str, saved: Saved, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel, work, positions = saved
    width, bands, channels = kernel.shape
    segments = gradient.shape[1]
    live = jnp.arange(len(work.order)) < work.live
    gradient = jnp.where(live[:, None], gradient.reshape(-1, channels)[work.order], 0)
    rows = _rows(len(work.order))
    weights = kernel.reshape(width * bands, channels)
    offsets = jnp.arange(pool, dtype=positions.dtype)[None, :, None]

    def windows(x: jax.Array, block: jax.Array) -> jax.Array:
        return _windows(x, block, segments, width, stride, pool)

    def spread(first: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The gradient of a block's responses: nonzero at the position of each maximum."""
        block = lax.dynamic_slice_in_dim(work.order, first, rows)
        where = lax.dynamic_slice_in_dim(positions, first, rows)[:, None, :]
        value = lax.dynamic_slice_in_dim(gradient, first, rows)[:, None, :]
        return block, jnp.where(where == offsets, value, 0).reshape(rows * pool, channels)

    def to_kernel(first: ArrayLike, total: jax.Array) -> jax.Array:
        block, dy = spread(first)
        return total + _product(windows(x, block).T, dy, precision)

    def to_input(first: ArrayLike, total: jax.Array) -> jax.Array:
        block, dy = spread(first)
        spill = jax.vjp(lambda x: windows(x, block), x)[1]
        return total + spill(_product(dy, weights.T, precision).astype(x.dtype))[0]

    # Two sums, so that the compiler drops the input's where nobody asks for it, as in training.
    if _on_cpu():
        heard = lax.reduce_precision(x, 8, 7) if precision == "bfloat16" else x
        by_kernel = _sum_of_winners(heard, work, positions, gradient, width, stride, pool)
    else:
        by_kernel = _for_blocks(work, rows, to_kernel, jnp.zeros_like(weights))
    return _for_blocks(work, rows, to_input, jnp.zeros_like(x)), by_kernel.reshape(kernel.shape)


def _sum_of_winners(
    x: jax.Array, work: _Work, positions: jax.Array, gradient: jax.Array, width: int, stride: int, pool: int
) -> jax.Array:
    """The kernels' gradient [k F, C] from the windows that won, one segment after another.

    Per segment and kernel one window, not all `pool` of them: less arithmetic than a product by that factor.
    A segment's frames and the sum stay in the cache.
    """
    batch, frames, bands = x.shape
    flat = x.reshape(batch, frames * bands)
    total, channels = gradient.shape
    segments = total // batch
    step = stride * bands
    reach = (pool - 1) * step + width * bands

    def body(i: ArrayLike, total: jax.Array) -> jax.Array:
        row = work.order[i]
        segment = lax.dynamic_slice(flat, (row // segments, (row % segments) * (pool * step)), (1, reach))[0]
        start = positions[i].astype(jnp.int32) * step
        won = jax.vmap(lambda at: lax.dynamic_slice(segment, (at,), (width * bands,)))(start)
        return total + gradient[i][:, None] * won

    return _for_blocks(work, 1, body, jnp.zeros((channels, width * bands), x.dtype)).T


segment_maxima.defvjp(_forward, _backward)
