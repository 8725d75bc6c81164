"""Weights of whole networks, and their shares against plain loops and every possible outcome."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_jax import attention
from ser_jax.model import AttentiveCNN, AttentivePooling, Probe, apply, init, shapes

FRAMES, HOP, REACH = 750, 90, 97  # of the paper: frames of the input, to the next segment, of a segment
RUNS, UTTERANCES, SEGMENTS = 3, 40, 8
SEEDS = st.integers(0, 2**32 - 1)


BATCH, STACK, SEGMENT = 3, 2, 6  # utterances, runs, frames of a segment
NETWORKS = [(s, s % 2 > 0, ("float32", "bfloat16")[s // 2 % 2]) for s in range(1, 13)]


def stack(segments, seed, **options):
    """Runs of a network whose windows do not overlap, so that each segment sees frames of its own.

    Channel 0 is the same in all segments, so that its bias shifts all scores alike. The first utterance has
    no padding.
    """
    size = {"bands": 2, "frames": SEGMENT * segments, "channels": 4, "kernel": 2, "stride": 2, "pool": 3}
    config, rng = AttentiveCNN(**size, **options), np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: rng.normal(size=(STACK, *leaf.shape)), shapes(config))
    params["kernel"][..., 0], params["bias"][:, 0] = 0, 1
    frames = np.array([config.frames, *rng.integers(1, config.frames + 1, BATCH - 1)])
    x = rng.normal(size=(BATCH, config.frames, 2))
    x[np.arange(config.frames) >= frames[:, None]] = 0
    return config, jax.tree.map(np.float32, params), np.float32(x), frames


@partial(jax.jit, static_argnums=0)
def weights_and_gradients(config, params, x, coefficients):
    """Return the weights [R, B, S], and the gradients of a weighted sum of them and of the outputs."""

    def sums(params):
        output = jax.vmap(lambda own: apply(config, own, x))(params)
        return (jnp.sum(output.attention * coefficients), jnp.sum(output.outputs**2)), output.attention

    return jax.jacrev(sums, has_aux=True)(params)[::-1]


@pytest.mark.usefixtures("hastily")
@pytest.mark.parametrize(("segments", "masked", "precision"), NETWORKS)
def test_weights_of_every_network_are_a_distribution_over_its_segments(segments, masked, precision):
    for seed in range(5):
        config, params, x, frames = stack(segments, seed, mask_attention=masked, precision=precision)
        rng = np.random.default_rng(seed)
        coefficients = rng.normal(size=(STACK, BATCH, segments)).astype(np.float32)

        def computed(x=x, params=params, config=config, by=coefficients, **changes):
            found, gradients = weights_and_gradients(config, params | changes, x, by)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found, gradients)))
            np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
            return np.asarray(found), gradients[0]

        found, gradient = computed()
        valid = np.broadcast_to(attention.valid_mask(frames, segments, SEGMENT), found.shape)
        assert (found[valid if masked else ...] > 0).all()
        assert not masked or not found[~valid].any()  # padding has no weight at all

        order = rng.permutation(segments)
        moved = x.copy()
        moved[0] = x[0].reshape(segments, SEGMENT, 2)[order].reshape(x[0].shape)
        np.testing.assert_allclose(computed(moved)[0][:, 0], found[:, 0, order], rtol=1e-4, atol=1e-6)

        shifted = params["bias"] + np.float32([rng.uniform(0, 5), 0, 0, 0])
        np.testing.assert_allclose(computed(bias=shifted)[0], found, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(gradient["bias"][:, 0], 0, atol=1e-5)

        largest = np.abs(params["attention"][:, 0]).max()  # of the scores of channel 0, which is 1
        extreme = computed(attention=params["attention"] * np.float32(1e4 / largest))[0]
        assert not masked or not extreme[~valid].any()


@pytest.mark.usefixtures("hastily")
@pytest.mark.parametrize("frames", range(1, 13))
def test_weights_of_attentive_pooling_are_a_distribution_over_the_valid_frames(frames):
    config, rng = AttentivePooling(bands=3, frames=frames), np.random.default_rng(frames)
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(size=(STACK, *leaf.shape))), shapes(config))
    count = np.array([frames, *rng.integers(1, frames + 1, BATCH - 1)])
    valid = np.arange(frames) < count[:, None]
    x = rng.normal(size=(BATCH, frames, 3)).astype(np.float32)
    x[..., 0] = 1  # its weight shifts all scores alike
    x *= valid[..., None]
    coefficients = rng.normal(size=(STACK, BATCH, frames)).astype(np.float32)

    def computed(x=x, weight=params["attention"]):
        found, gradients = weights_and_gradients(config, params | {"attention": weight}, x, coefficients)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found, gradients)))
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
        assert not np.asarray(found)[:, ~valid].any()
        return np.asarray(found), gradients[0]["attention"]

    found, gradient = computed()
    assert (found[:, valid] > 0).all()
    np.testing.assert_allclose(gradient[:, 0], 0, atol=1e-5)
    order = rng.permutation(frames)
    moved = x.copy()
    moved[0] = x[0, order]
    np.testing.assert_allclose(computed(moved)[0][:, 0], found[:, 0, order], rtol=1e-4, atol=1e-6)
    shifted = params["attention"] + np.float32([[3], [0], [0]])
    np.testing.assert_allclose(computed(weight=shifted)[0], found, rtol=1e-3, atol=1e-5)
    computed(weight=params["attention"] * np.float32(1e4 / np.abs(params["attention"]).max()))


def test_attentive_pooling_without_weights_is_the_probe():
    x = np.random.default_rng(0).normal(size=(4, 9, 3)).astype(np.float32)
    x[0, 5:] = 0
    pooling, probe = AttentivePooling(3, 9), Probe(3, 9)
    params = init(pooling, jax.random.key(0))
    found = apply(pooling, params, x)
    expected = apply(probe, {"classifier": params["classifier"]}, x)
    np.testing.assert_allclose(found.outputs, expected.outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.attention[0], [1 / 5] * 5 + [0] * 4, rtol=1e-6)


def test_a_masked_network_weighs_as_its_unmasked_twin_does_without_padding():
    config, params, x, frames = stack(8, seed=0)
    masked = dataclasses.replace(config, mask_attention=True)
    params = jax.tree.map(lambda leaf: leaf[0], params)
    wanted = attention.masked(
        apply(config, params, x).attention[None], attention.valid_mask(frames, 8, SEGMENT)
    )
    np.testing.assert_allclose(apply(masked, params, x).attention, wanted[0], rtol=1e-4, atol=1e-6)
    silent = apply(masked, params, np.zeros_like(x)).attention
    np.testing.assert_array_equal(silent, np.broadcast_to(np.eye(8)[0], (BATCH, 8)))


def draw(seed, least=0):
    """Return weights, equal on all padding as a trained network's, and valid frames."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(least, FRAMES + 1, UTTERANCES)
    padding = np.arange(SEGMENTS) * HOP >= frames[:, None]
    scores = 3 * rng.standard_normal((RUNS, UTTERANCES, SEGMENTS))
    weights = np.exp(np.where(padding, scores[..., :1] + 1, scores))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32), frames


def is_valid(frames, segment):
    return any(frame < frames for frame in range(segment * HOP, segment * HOP + REACH))


def valid_mask(frames):
    return attention.valid_mask(frames, SEGMENTS, HOP)


@given(seed=SEEDS)
def test_the_shares_are_those_of_a_plain_count(seed):
    weights, _ = draw(seed)
    won, apart = np.zeros((RUNS, SEGMENTS)), np.zeros(RUNS)
    for r, m in np.ndindex(RUNS, UTTERANCES):
        row = weights[r, m].tolist()
        won[r, row.index(max(row))] += 1 / UTTERANCES
        first, second = sorted(map(float, row))[:-3:-1]
        apart[r] += (first - second > 0.5) / UTTERANCES
    np.testing.assert_allclose(attention.largest(weights), won, atol=1e-12)
    np.testing.assert_allclose(attention.decisive(weights), apart, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 7, 89, 90, 91, 96, 97, 98, 180, 181, 630, 631, 720, 750])
def test_a_segment_is_valid_if_any_of_its_frames_is(frames):
    np.testing.assert_array_equal(valid_mask([frames]), [[is_valid(frames, s) for s in range(SEGMENTS)]])


@given(seed=SEEDS)
def test_masked_weights_are_the_softmax_of_the_valid_scores(seed):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((RUNS, UTTERANCES, SEGMENTS))
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    frames = rng.integers(1, FRAMES + 1, (RUNS, UTTERANCES))
    found = attention.masked(weights, valid_mask(frames))
    for r, m in np.ndindex(RUNS, UTTERANCES):
        own = np.exp([scores[r, m, s] for s in range(SEGMENTS) if is_valid(frames[r, m], s)])
        np.testing.assert_allclose(found[r, m, : len(own)], own / own.sum())
        assert not found[r, m, len(own) :].any()


@given(seed=SEEDS)
def test_an_utterance_without_valid_frames_is_left_out(seed):
    weights, frames = draw(seed)
    frames[::4] = 0
    some, valid = frames > 0, valid_mask(frames)
    masked = attention.masked(weights, valid)
    for share in (attention.largest, attention.decisive):
        np.testing.assert_array_equal(share(masked), share(masked[:, some]))
    np.testing.assert_array_equal(
        attention.expected_by_chance(valid), attention.expected_by_chance(valid[some])
    )
    np.testing.assert_array_equal(
        attention.on_padding(weights, valid), attention.on_padding(weights[:, some], valid[some])
    )


def test_chance_is_the_mean_over_every_possible_choice():
    valid = attention.valid_mask([80, 200, 300], 4, HOP)  # one, three and four segments
    outcomes = list(itertools.product(*(np.flatnonzero(row) for row in valid)))
    assert len(outcomes) == 12
    weights = np.eye(4)[np.array(outcomes)]
    np.testing.assert_allclose(attention.expected_by_chance(valid), attention.largest(weights).mean(axis=0))


@given(seed=SEEDS)
def test_padding_has_what_the_valid_segments_have_not(seed):
    weights, frames = draw(seed, least=1)
    weight_there, largest_there = attention.on_padding(weights, valid_mask(frames))
    padding = np.array([[not is_valid(count, s) for s in range(SEGMENTS)] for count in frames])
    for r in range(RUNS):
        weight = np.mean([weights[r, m][padding[m]].sum() for m in range(UTTERANCES)])
        np.testing.assert_allclose(weight_there[r], weight, rtol=1e-6)
        largest = [padding[m][weights[r, m].argmax()] for m in range(UTTERANCES)]
        np.testing.assert_allclose(largest_there[r], np.mean(largest))


def test_a_run_that_diverged_has_no_shares():
    weights, frames = draw(3, least=1)
    weights[1, 5] = np.nan
    valid = valid_mask(frames)
    for shares in (
        attention.largest(weights),
        attention.largest(attention.masked(weights, valid)),
        attention.decisive(weights)[:, None],
        attention.on_padding(weights, valid).T,
    ):
        np.testing.assert_array_equal(np.isnan(shares).any(axis=1), [False, True, False])
