"""`segment_maxima` against a plain convolution and max-pooling, and what is compiled for each platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ser_jax.convolution import segment_maxima

BANDS, KERNEL, STRIDE, POOL, CHANNELS = 3, 4, 3, 4, 5
FRAMES, SEGMENTS, HOP = 100, 8, STRIDE * POOL


def plain_maxima(x, kernel, stride, pool):
    y = lax.conv_general_dilated(
        x, kernel, (stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"), precision="highest"
    )
    return lax.reduce_window(y, -jnp.inf, lax.max, (1, pool, 1), (1, pool, 1), "VALID")


def evaluated(function, stride=STRIDE, pool=POOL, **options):
    """Compile (maxima, gradients of x and kernel of their weighted sum)."""

    @jax.jit
    def evaluate(x, kernel, weight):
        maxima, pull = jax.vjp(lambda x, kernel: function(x, kernel, stride, pool, **options), x, kernel)
        return maxima, *pull(weight.astype(maxima.dtype))

    return evaluate


@pytest.fixture(params=["cpu", "default"])
def platform(request, monkeypatch):
    """Have the tested function compute as on a CPU, or as on an accelerator."""
    monkeypatch.setattr(
        lax, "platform_dependent", lambda *arguments, **branches: branches[request.param](*arguments)
    )
    return request.param


def drawn(lengths, frames=FRAMES, bands=BANDS, kernel=KERNEL, hop=HOP, segments=SEGMENTS, dtype=np.float32):
    """Draw inputs that end at `lengths`, a kernel, and a weight that is zero in segments without sound."""
    draw = np.random.default_rng(0)
    lengths = np.asarray(lengths)
    x = draw.normal(size=(len(lengths), frames, bands))
    x[np.arange(frames)[None, :] >= lengths[:, None]] = 0
    weight = draw.normal(size=(len(lengths), segments, CHANNELS))
    weight[np.arange(segments)[None, :] * hop >= lengths[:, None]] = 0
    return tuple(a.astype(dtype) for a in (x, draw.normal(size=(kernel, bands, CHANNELS)), weight))


def whole(a):
    """Return small whole numbers in place of a: their sums are exact, and many are equal."""
    return np.sign(a) * (np.abs(a) > 0.5).astype(a.dtype)


def check_close(found, wanted, **tolerance):
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, **tolerance)


FAST, PLAIN = evaluated(segment_maxima), evaluated(plain_maxima)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-4), (np.float64, 1e-10)])
def test_values_and_gradients_are_the_plain_ones_from_one_frame_to_750(dtype, tolerance):
    with jax.enable_x64(dtype == np.float64):
        case = drawn(range(1, 751), frames=750, bands=2, kernel=10, hop=90, dtype=dtype)
        found = evaluated(segment_maxima, 3, 30)(*case)
        check_close(found, evaluated(plain_maxima, 3, 30)(*case), rtol=tolerance, atol=tolerance * 20)
        assert found[0].dtype == dtype


def test_both_platforms_compute_the_plain_values_and_gradients(platform):
    case = drawn((100, 1, 12, 13, 40, 0))
    check_close(evaluated(segment_maxima)(*case), PLAIN(*case), rtol=1e-4, atol=1e-4)
    case = tuple(whole(a) for a in case)
    for found, wanted in zip(evaluated(segment_maxima)(*case), PLAIN(*case), strict=True):
        assert np.array_equal(found, wanted)


def test_segments_of_zeros_are_zero_and_pass_no_gradient_on(platform):
    lengths = np.array([0, 13, 60, 99])
    x, kernel, weight = drawn(lengths)
    silent = np.arange(SEGMENTS)[None, :] * HOP >= lengths[:, None]
    maxima, to_x, to_kernel = evaluated(segment_maxima)(x, kernel, np.ones_like(weight) * silent[:, :, None])
    assert silent.any()
    assert not np.asarray(maxima)[silent].any()
    assert not np.asarray(to_x).any()
    assert not np.asarray(to_kernel).any()


def test_bfloat16_rounds_the_operands_and_nothing_else(platform):
    """It is the plain convolution of rounded operands, and so are its gradients."""
    case = drawn((100, 1, 12, 13, 40, 0, 77, 98))
    x, kernel, weight = (np.asarray(jnp.asarray(a).astype(jnp.bfloat16).astype(jnp.float32)) for a in case)
    found = evaluated(segment_maxima, precision="bfloat16")(*case[:2], weight)
    check_close(found, PLAIN(x, kernel, weight), rtol=1e-4, atol=1e-4)
    assert not np.array_equal(found[0], FAST(*case)[0])


@pytest.mark.parametrize("vmapped", [False, True])
def test_the_program_depends_on_the_platform_it_is_lowered_for(vmapped):
    """Loops over blocks for a CPU, one product of all windows for accelerators, never both."""
    case = drawn((100, 1, 12, 13, 40, 0, 77, 98))
    function = evaluated(segment_maxima)
    if vmapped:
        function, case = jax.jit(jax.vmap(function)), tuple(np.stack([a, a]) for a in case)
    loops = {
        platform: jax.export.export(function, platforms=[platform])(*case)
        .mlir_module()
        .count("stablehlo.while")
        for platform in ("cpu", "cuda", "tpu")
    }
    assert loops == {"cpu": 3, "cuda": 0, "tpu": 0}
