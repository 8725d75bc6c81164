"""The network against the paper's counts, and its fast convolution against the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax import lax

from ser_jax import model
from ser_jax.model import ModelConfig, apply, attend, init, segment_maxima

SMALL = ModelConfig(bands=3, frames=100, channels=5, kernel=4, stride=3, pool=4)

scores_of_eight = arrays(np.float32, 8, elements=st.floats(-1e4, 1e4, width=32))
precisions = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])


def weigh(scores, dtype):
    """Attention of segments that have one channel, so that they are their own scores."""
    column = jnp.asarray(scores, dtype)[:, None]
    attended, alpha = attend(column, jnp.ones(1, dtype))
    return np.asarray(attended, np.float64), np.asarray(alpha, np.float64)


@precisions
@given(scores=scores_of_eight)
def test_attention_is_a_distribution(dtype, scores):
    attended, alpha = weigh(scores, dtype)
    assert np.isfinite(alpha).all()
    assert np.isfinite(attended).all()
    assert (alpha >= 0).all()
    assert alpha.sum() == pytest.approx(1, abs=8 * float(jnp.finfo(dtype).eps))


@precisions
@given(scores=arrays(np.float32, 8, elements=st.floats(-8, 8, width=32)))
def test_attention_is_positive_where_the_precision_can_tell(dtype, scores):
    assert (weigh(scores, dtype)[1] > 0).all()


@precisions
@given(scores=arrays(np.int8, 8, elements=st.integers(-60, 60)), constant=st.integers(-60, 60))
def test_attention_ignores_a_constant_added_to_all_scores(dtype, scores, constant):
    # Small whole numbers are exact in both precisions, so that nothing but the softmax can differ.
    plain, moved = weigh(scores, dtype)[1], weigh(scores.astype(int) + constant, dtype)[1]
    np.testing.assert_allclose(plain, moved, rtol=0, atol=2 * float(jnp.finfo(dtype).eps))


@precisions
@given(scores=scores_of_eight, order=st.permutations(range(8)))
def test_attention_permutes_with_its_segments(dtype, scores, order):
    eps = float(jnp.finfo(dtype).eps)
    plain, permuted = weigh(scores, dtype)[1], weigh(scores[list(order)], dtype)[1]
    np.testing.assert_allclose(plain[list(order)], permuted, rtol=4 * eps, atol=eps)


@given(segments=arrays(np.float32, (4, 3), elements=st.floats(-9, 9, width=32)))
def test_attended_sum_is_equation_2(segments):
    w = np.array([0.5, -1.0, 0.25], np.float32)
    weights = np.exp(segments.astype(float) @ w)
    weights /= weights.sum()
    attended, alpha = attend(jnp.asarray(segments), jnp.asarray(w))
    np.testing.assert_allclose(alpha, weights, rtol=1e-4)
    np.testing.assert_allclose(attended, weights @ segments, rtol=1e-3, atol=1e-4)


def test_the_papers_sizes():
    config = ModelConfig()
    params = init(config, jax.random.key(0))
    assert config.segments == 8
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 56_002
    output = apply(config, params, jnp.zeros((2, 750, 26)))
    assert output.logits.shape == (2, 2)
    assert output.attention.shape == (2, 8)


def test_only_a_stride_of_three_yields_eight_segments():
    assert [stride for stride in range(1, 11) if ModelConfig(stride=stride).segments == 8] == [3]


def plain_maxima(x, kernel, stride, pool):
    y = lax.conv_general_dilated(x, kernel, (stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))
    return lax.reduce_window(y, -jnp.inf, lax.max, (1, pool, 1), (1, pool, 1), "VALID")


def utterances(key, lengths, config):
    x = jax.random.normal(key, (len(lengths), config.frames, config.bands))
    return jnp.where(jnp.arange(config.frames)[None, :, None] < jnp.array(lengths)[:, None, None], x, 0)


def judged(function, config):
    """Maxima and the kernel's gradient of a weighted sum of them, compiled once for a configuration."""

    @jax.jit
    def judge(x, kernel, weight):
        maxima = function(x, kernel, config.stride, config.pool)
        gradient = jax.grad(lambda k: jnp.sum(function(x, k, config.stride, config.pool) * weight))(kernel)
        return maxima, gradient

    return judge


def check_against_plain(config, lengths, fast, plain):
    x = utterances(jax.random.key(1), lengths, config)
    kernel = jax.random.normal(jax.random.key(2), (config.kernel, config.bands, config.channels))
    weight = jax.random.normal(jax.random.key(3), (len(lengths), config.segments, config.channels))
    for found, wanted in zip(fast(x, kernel, weight), plain(x, kernel, weight), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


FAST, PLAIN = judged(segment_maxima, SMALL), judged(plain_maxima, SMALL)


@given(lengths=st.lists(st.integers(0, 100), min_size=5, max_size=5))
def test_segment_maxima_are_those_of_a_plain_convolution_at_every_length(lengths):
    check_against_plain(SMALL, lengths, FAST, PLAIN)


@pytest.mark.parametrize(
    ("config", "lengths"),
    [
        (ModelConfig(channels=7), (750, 1, 9, 96, 97, 98, 400, 0)),
        (ModelConfig(channels=7, stride=1), (750, 30, 500)),
    ],
)
def test_segment_maxima_are_those_of_a_plain_convolution_at_the_papers_sizes(config, lengths):
    check_against_plain(config, lengths, judged(segment_maxima, config), judged(plain_maxima, config))


def test_the_gradient_reaches_the_input_where_it_sounds():
    kernel = jax.random.normal(jax.random.key(2), (SMALL.kernel, SMALL.bands, SMALL.channels))
    x = utterances(jax.random.key(1), (100, 100), SMALL)

    def total(function):
        return lambda x: jnp.sum(jnp.tanh(function(x, kernel, SMALL.stride, SMALL.pool)))

    np.testing.assert_allclose(
        jax.jit(jax.grad(total(segment_maxima)))(x),
        jax.jit(jax.grad(total(plain_maxima)))(x),
        rtol=1e-4,
        atol=1e-5,
    )


def test_the_network_is_the_papers_written_out():
    """Convolution, ReLU, pooling, attention, concatenation, softmax layer, one after another."""
    params = init(SMALL, jax.random.key(4))
    params["bias"] = jax.random.normal(jax.random.key(5), params["bias"].shape)
    x = utterances(jax.random.key(6), (100, 20, 3), SMALL)
    c = SMALL
    y = lax.conv_general_dilated(
        x, params["kernel"], (c.stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
    )
    maps = lax.reduce_window(
        jax.nn.relu(y + params["bias"][None, None]), 0.0, lax.max, (1, c.pool, 1), (1, c.pool, 1), "VALID"
    )
    alpha = jax.nn.softmax((maps @ params["attention"])[..., 0], axis=1)
    features = jnp.concatenate([jnp.einsum("bs,bsc->bc", alpha, maps), maps.reshape(3, -1)], axis=1)
    logits = features @ params["classifier"]["kernel"] + params["classifier"]["bias"][None]
    output = apply(c, params, x)
    np.testing.assert_allclose(output.attention, alpha, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output.logits, logits, rtol=1e-4, atol=1e-5)


def test_an_utterance_is_judged_alike_in_any_company():
    params = init(SMALL, jax.random.key(7))
    x = utterances(jax.random.key(8), (100, 40, 7, 61), SMALL)
    together = apply(SMALL, params, x)
    for i in range(len(x)):
        alone = apply(SMALL, params, x[i : i + 1])
        np.testing.assert_allclose(alone.logits[0], together.logits[i], rtol=1e-4, atol=1e-5)


def test_dropout_acts_only_with_a_key_and_keeps_the_mean():
    params = init(SMALL, jax.random.key(9))
    x = utterances(jax.random.key(10), (100,), SMALL)
    steady = apply(SMALL, params, x)
    many = jax.vmap(lambda key: apply(SMALL, params, x, key=key).logits)(
        jax.random.split(jax.random.key(0), 4000)
    )
    spread = np.std(many, axis=0)
    assert (spread > 0).all()
    np.testing.assert_allclose(many.mean(0), steady.logits, atol=5 * spread.max() / np.sqrt(4000))


def test_wrong_shapes_are_named():
    params = init(SMALL, jax.random.key(0))
    with pytest.raises(ValueError, match=r"shape \(2, 99, 3\), expected \[B, 100, 3\]"):
        apply(SMALL, params, jnp.zeros((2, 99, 3)))
    with pytest.raises(ValueError, match="50 frames hold no segment"):
        ModelConfig(frames=50)


def test_blocks_of_segments_divide_every_batch():
    assert all(total % model._rows(total) == 0 for total in range(1, 300))
