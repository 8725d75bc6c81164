"""Convolve over time and max-pool in one operation, without a feature map in memory.

The result is exact: each maximum passes its gradient to the window that produced it, and the backward pass
stores only the positions of the maxima. The platform that the program is lowered for decides how it computes
(`lax.platform_dependent`): a CPU takes blocks of segments that fit its cache and skips those of only zeros,
accelerators take all windows at once.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from ser_jax.shapes import Array, Float, Int

Precision = Literal["float32", "tf32", "bfloat16"]
Carry = TypeVar("Carry")


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def segment_maxima(
    x: Float[Array, "B T F"],
    kernel: Float[Array, "k F C"],
    stride: int,
    pool: int,
    precision: str = "float32",
) -> Float[Array, "B S C"]:
    """Convolve over time and keep the largest response of every segment.

    m[b, s, c] = max_{p < pool} sum_{k, f} x[b, (s pool + p) stride + k, f] kernel[k, f, c]

    The convolution is a matrix product, [windows, k F] times [k F, C], which stays a batched product under
    `vmap` over kernels. Ties go to the first position. The gradient with respect to x is zero in segments
    that hold only zeros; their maximum is 0.

    Args:
      stride: frames between positions.
      pool: positions per segment.
      precision: of the products, here and in the gradient. "float32": the operands' own. "tf32": the device's
        default for float32, which is TF32 on an NVIDIA GPU and float32 on a CPU. "bfloat16": operands rounded
        to bfloat16, sums in float32.
    Returns: maxima, before bias and ReLU, in the type of x.
    """
    return _forward(jnp.asarray(x), jnp.asarray(kernel), stride, pool, precision)[0]


class _Sizes(NamedTuple):
    """S, and the static arguments of `segment_maxima`."""

    segments: int
    stride: int
    pool: int
    precision: str


class _Plan(NamedTuple):
    """List the segments to be computed: in `order`, the `live` that hold sound come first."""

    order: Int[Array, "B*S"]
    live: Int[Array, ""]


Saved = tuple[jax.Array, jax.Array, _Plan, jax.Array]  # x, kernel, plan, positions of the maxima [B S, C]
CACHE_ROWS = 32  # segments whose products stay in a processor's cache


def _block_rows(total: int) -> int:
    """Return the largest divisor of `total` up to `CACHE_ROWS`."""
    return next(rows for rows in range(min(CACHE_ROWS, total), 0, -1) if total % rows == 0)


def _sound(sizes: _Sizes, x: jax.Array, width: int) -> jax.Array:
    """Return which segments [B, S] hold sound."""
    segments, stride, pool, _ = sizes
    hop, reach = stride * pool, (pool - 1) * stride + width
    sound = jnp.any(x != 0, axis=2)
    return jnp.stack([sound[:, s * hop : s * hop + reach].any(axis=1) for s in range(segments)], axis=1)


def _plan(sizes: _Sizes, x: jax.Array, width: int) -> _Plan:
    live = _sound(sizes, x, width)
    order = jnp.argsort(~live.reshape(-1), stable=True).astype(jnp.int32)
    return _Plan(order, jnp.sum(live, dtype=jnp.int32))


def _product(a: jax.Array, b: jax.Array, precision: str) -> jax.Array:
    """Multiply matrices, summing in float32 at least."""
    if precision == "bfloat16":
        a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    # JAX's default precision is not float32 on every accelerator.
    own = lax.Precision.HIGHEST if precision == "float32" else lax.Precision.DEFAULT
    return lax.dot(a, b, precision=own, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))


def _windows(sizes: _Sizes, x: jax.Array, rows: jax.Array, width: int) -> jax.Array:
    """Gather the windows [rows pool, width F] of segments `rows`, each contiguous in memory."""
    segments, stride, pool, _ = sizes
    batch, frames, bands = x.shape
    flat = x.reshape(batch, frames * bands)
    start = ((rows % segments) * pool)[:, None] + jnp.arange(pool, dtype=rows.dtype)[None, :]
    utterance = jnp.repeat(rows // segments, pool)

    def window(b: jax.Array, position: jax.Array) -> jax.Array:
        return lax.dynamic_slice(flat, (b, position * (stride * bands)), (1, width * bands))[0]

    return jax.vmap(window)(utterance, start.reshape(-1))


def _all_windows(sizes: _Sizes, x: jax.Array, width: int) -> jax.Array:
    """Return the windows [pool B S, width F] of all segments, by their position in the segment.

    There is no gather: a TPU would copy one window after another. With the positions first, whole tiles of a
    TPU's layout are pooled, which 30 rows of a segment are not.
    """
    segments, stride, pool, _ = sizes
    batch, frames, bands = x.shape
    count, parts = segments * pool, -(-width // stride)
    hops = count - 1 + parts
    x = jnp.pad(x, [(0, 0), (0, max(0, hops * stride - frames)), (0, 0)])
    x = x[:, : hops * stride].reshape(batch, hops, stride * bands)
    x = jnp.concatenate([x[:, i : i + count] for i in range(parts)], axis=2)[:, :, : width * bands]
    return x.reshape(batch * segments, pool, -1).swapaxes(0, 1).reshape(batch * count, -1)


def _for_blocks(plan: _Plan, rows: int, body: Callable[[ArrayLike, Carry], Carry], carry: Carry) -> Carry:
    """Update carry = body(first, carry) for every block of `rows` segments that holds a live one."""
    if rows == len(plan.order):
        return body(0, carry)
    return lax.while_loop(
        lambda state: state[0] < plan.live, lambda state: (state[0] + rows, body(*state)), (0, carry)
    )[1]


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, pool: int, precision: str
) -> tuple[jax.Array, Saved]:
    segments = ((x.shape[1] - kernel.shape[0]) // stride + 1) // pool
    sizes = _Sizes(segments, stride, pool, precision)
    maxima, plan, positions = lax.platform_dependent(
        x, kernel, cpu=partial(_maxima_in_blocks, sizes), default=partial(_maxima_at_once, sizes)
    )
    return maxima.reshape(len(x), segments, -1), (x, kernel, plan, positions)


def _maxima_at_once(sizes: _Sizes, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, _Plan, jax.Array]:
    """Return the maxima and their positions [B S, C], by one product, with silence."""
    segments, _, pool, precision = sizes
    width, bands, channels = kernel.shape
    rounded = x.astype(jnp.bfloat16) if precision == "bfloat16" else x
    y = _product(_all_windows(sizes, rounded, width), kernel.reshape(width * bands, channels), precision)
    y = y.reshape(pool, -1, channels)
    rows = jnp.arange(len(x) * segments, dtype=jnp.int32)
    return y.max(axis=0).astype(x.dtype), _Plan(rows, jnp.int32(len(rows))), lax.argmax(y, 0, jnp.int16)


def _maxima_in_blocks(sizes: _Sizes, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, _Plan, jax.Array]:
    """Return the maxima [B S, C], the plan, and their positions in its order, block by block."""
    _, _, pool, precision = sizes
    width, bands, channels = kernel.shape
    plan = _plan(sizes, x, width)
    rows = _block_rows(len(plan.order))
    weights = kernel.reshape(width * bands, channels)
    offsets = jnp.arange(pool, dtype=jnp.int16)[None, :, None]
    rounded = x.astype(jnp.bfloat16) if precision == "bfloat16" else x

    def body(first: ArrayLike, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        maxima, positions = carry
        block = lax.dynamic_slice_in_dim(plan.order, first, rows)
        y = _product(_windows(sizes, rounded, block, width), weights, precision)
        y = y.reshape(rows, pool, channels)
        largest = y.max(axis=1)
        # XLA reduces this several times faster than argmax; a NaN has no position, 0 stands for it.
        where = jnp.where(y == largest[:, None, :], offsets, jnp.int16(pool)).min(axis=1) % pool
        return (
            lax.dynamic_update_slice_in_dim(maxima, largest.astype(x.dtype), first, axis=0),
            lax.dynamic_update_slice_in_dim(positions, where, first, axis=0),
        )

    shape = (len(plan.order), channels)
    maxima, positions = _for_blocks(
        plan, rows, body, (jnp.zeros(shape, x.dtype), jnp.zeros(shape, jnp.int16))
    )
    return maxima[jnp.argsort(plan.order)], plan, positions


def _backward(
    stride: int, pool: int, precision: str, saved: Saved, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    segments, channels = gradient.shape[1:]
    gradient = gradient.reshape(-1, channels)
    sizes = _Sizes(segments, stride, pool, precision)
    # Two functions, so that the compiler drops the input's gradient if nobody uses it, as in training.
    by_kernel = lax.platform_dependent(
        saved, gradient, cpu=partial(_sum_of_winners, sizes), default=partial(_kernel_gradient, sizes)
    )
    by_input = lax.platform_dependent(
        saved,
        gradient,
        cpu=partial(_input_gradient_in_blocks, sizes),
        default=partial(_input_gradient, sizes),
    )
    return by_input, by_kernel


def _in_order(plan: _Plan, gradient: jax.Array) -> jax.Array:
    """Return the gradient [B S, C] in the order of a plan, zero in silence."""
    live = jnp.arange(len(plan.order)) < plan.live
    return jnp.where(live[:, None], gradient[plan.order], 0)


def _spread(positions: jax.Array, gradient: jax.Array, pool: int, axis: int) -> jax.Array:
    """Place the gradient [n, C] of n segments at their maxima, zero elsewhere.

    Returns: [pool n, C] if the positions come first (axis 0), [n pool, C] if the segments do (axis 1).
    """
    offsets = jnp.expand_dims(jnp.arange(pool, dtype=positions.dtype), (1 - axis, 2))
    there = jnp.expand_dims(positions, axis) == offsets
    return jnp.where(there, jnp.expand_dims(gradient, axis), 0).reshape(-1, gradient.shape[1])


def _kernel_gradient(sizes: _Sizes, saved: Saved, gradient: jax.Array) -> jax.Array:
    """Return the kernel's gradient [k, F, C] as one product of matrices."""
    x, kernel, _, positions = saved
    windows = _all_windows(sizes, x, kernel.shape[0])
    total = _product(windows.T, _spread(positions, gradient, sizes.pool, 0), sizes.precision)
    return total.reshape(kernel.shape)


def _input_gradient(sizes: _Sizes, saved: Saved, gradient: jax.Array) -> jax.Array:
    """Return the input's gradient [B, T, F] by one product."""
    x, kernel, _, positions = saved
    width, _, channels = kernel.shape
    gradient = jnp.where(_sound(sizes, x, width).reshape(-1)[:, None], gradient, 0)
    weights = kernel.reshape(-1, channels)
    spread = _product(_spread(positions, gradient, sizes.pool, 0), weights.T, sizes.precision)
    return jax.vjp(lambda x: _all_windows(sizes, x, width), x)[1](spread.astype(x.dtype))[0]


def _input_gradient_in_blocks(sizes: _Sizes, saved: Saved, gradient: jax.Array) -> jax.Array:
    """Return the input's gradient [B, T, F], block by block."""
    x, kernel, plan, positions = saved
    weights, gradient = kernel.reshape(-1, kernel.shape[2]), _in_order(plan, gradient)
    rows = _block_rows(len(plan.order))

    def body(first: ArrayLike, total: jax.Array) -> jax.Array:
        block, where, value = (
            lax.dynamic_slice_in_dim(part, first, rows) for part in (plan.order, positions, gradient)
        )
        spill = jax.vjp(lambda x: _windows(sizes, x, block, kernel.shape[0]), x)[1]
        spread = _product(_spread(where, value, sizes.pool, 1), weights.T, sizes.precision)
        return total + spill(spread.astype(x.dtype))[0]

    return _for_blocks(plan, rows, body, jnp.zeros_like(x))


def _sum_of_winners(sizes: _Sizes, saved: Saved, gradient: jax.Array) -> jax.Array:
    """Return the kernel's gradient [k, F, C] from the windows that held a maximum, segment by segment.

    A segment's frames and the sum stay in the processor's cache.
    """
    segments, stride, pool, precision = sizes
    x, kernel, plan, positions = saved
    if precision == "bfloat16":
        x = lax.reduce_precision(x, 8, 7)
    batch, frames, bands = x.shape
    width, _, channels = kernel.shape
    gradient = _in_order(plan, gradient)
    flat = x.reshape(batch, frames * bands)
    step = stride * bands
    reach = (pool - 1) * step + width * bands

    def body(i: ArrayLike, total: jax.Array) -> jax.Array:
        row = plan.order[i]
        segment = lax.dynamic_slice(flat, (row // segments, (row % segments) * (pool * step)), (1, reach))[0]
        start = positions[i].astype(jnp.int32) * step
        won = jax.vmap(lambda at: lax.dynamic_slice(segment, (at,), (width * bands,)))(start)
        return total + gradient[i][:, None] * won

    total = _for_blocks(plan, 1, body, jnp.zeros((channels, width * bands), x.dtype))
    return total.T.reshape(kernel.shape)


segment_maxima.defvjp(_forward, _backward)
