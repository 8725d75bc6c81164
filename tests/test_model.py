"""The network against the paper's counts and its layers written out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax import lax

from ser_jax.convolution import PRECISIONS
from ser_jax.model import ArchitectureError, AttentiveCNN, apply, attend, init

SMALL = AttentiveCNN(bands=3, frames=100, channels=5, kernel=4, stride=3, pool=4)

scores_of_eight = arrays(np.float32, 8, elements=st.floats(-1e4, 1e4, width=32))
precisions = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])


def weigh(scores, dtype):
    """Attend to segments of one channel, which are their own scores."""
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
def test_attention_is_positive_within_the_precision(dtype, scores):
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
    config = AttentiveCNN()
    params = init(config, jax.random.key(0))
    assert config.segments == 8
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 56_002
    output = apply(config, params, jnp.zeros((2, 750, 26)))
    assert output.outputs.shape == (2, 2)
    assert output.attention.shape == (2, 8)
    assert output.embedding.shape == (2, 9 * 200)


def test_only_a_stride_of_three_yields_eight_segments():
    assert [stride for stride in range(1, 11) if AttentiveCNN(stride=stride).segments == 8] == [3]


def utterances(key, lengths, config):
    x = jax.random.normal(key, (len(lengths), config.frames, config.bands))
    return jnp.where(jnp.arange(config.frames)[None, :, None] < jnp.array(lengths)[:, None, None], x, 0)


@jax.default_matmul_precision("float32")
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
    outputs = features @ params["classifier"]["kernel"] + params["classifier"]["bias"][None]
    output = apply(c, params, x)
    np.testing.assert_allclose(output.attention, alpha, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output.outputs, outputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_outputs_and_gradients_are_float32_at_every_precision(precision):
    config = dataclasses.replace(SMALL, precision=precision)
    params = init(config, jax.random.key(4))
    x = utterances(jax.random.key(6), (100, 20, 3), SMALL)
    gradient = jax.grad(lambda params: apply(config, params, x, key=jax.random.key(1)).outputs.sum())(params)
    for leaf in jax.tree.leaves((params, apply(config, params, x), gradient)):
        assert leaf.dtype == jnp.float32


def test_bfloat16_predicts_as_float32_does_to_its_accuracy():
    params = init(SMALL, jax.random.key(4))
    x = utterances(jax.random.key(6), (100, 20, 3), SMALL)
    rounded = apply(dataclasses.replace(SMALL, precision="bfloat16"), params, x)
    exact = apply(SMALL, params, x)
    eps = float(jnp.finfo(jnp.bfloat16).eps)
    np.testing.assert_allclose(rounded.outputs, exact.outputs, rtol=0, atol=4 * eps)
    np.testing.assert_allclose(rounded.attention, exact.attention, rtol=0, atol=4 * eps)
    assert not np.array_equal(rounded.outputs, exact.outputs)


def test_outputs_do_not_depend_on_the_rest_of_the_batch():
    params = init(SMALL, jax.random.key(7))
    x = utterances(jax.random.key(8), (100, 40, 7, 61), SMALL)
    together = apply(SMALL, params, x)
    for i in range(len(x)):
        alone = apply(SMALL, params, x[i : i + 1])
        np.testing.assert_allclose(alone.outputs[0], together.outputs[i], rtol=1e-4, atol=1e-5)


def test_dropout_acts_only_with_a_key_and_keeps_the_mean():
    params = init(SMALL, jax.random.key(9))
    x = utterances(jax.random.key(10), (100,), SMALL)
    steady = apply(SMALL, params, x)
    many = jax.vmap(lambda key: apply(SMALL, params, x, key=key).outputs)(
        jax.random.split(jax.random.key(0), 4000)
    )
    spread = np.std(many, axis=0)
    assert (spread > 0).all()
    np.testing.assert_allclose(many.mean(0), steady.outputs, atol=5 * spread.max() / np.sqrt(4000))


def test_wrong_shapes_are_named():
    params = init(SMALL, jax.random.key(0))
    with pytest.raises(ValueError, match=r"shape \(2, 99, 3\), expected \[B, 100, 3\]"):
        apply(SMALL, params, jnp.zeros((2, 99, 3)))


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"frames": 50}, "50 frames hold no segment of 30 positions, 3 frames apart"),
        ({"precision": "half"}, "precision 'half', expected one of float32, tf32, bfloat16"),
        ({"stride": 0}, "stride 0, .* expected at least 1 each"),
        ({"dropout": 1.0}, "dropout 1.0, expected .* below 1"),
    ],
)
def test_sizes_that_make_no_network_are_named(sizes, sentence):
    with pytest.raises(ArchitectureError, match=sentence):
        AttentiveCNN(**sizes)
