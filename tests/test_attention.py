"""Attention's shares against plain loops, and chance against every possible outcome."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_jax import attention
from ser_jax.model import ModelConfig

PAPER = ModelConfig()
HOP = PAPER.stride * PAPER.pool
REACH = (PAPER.pool - 1) * PAPER.stride + PAPER.kernel
RUNS, UTTERANCES, SEGMENTS = 3, 40, PAPER.segments
SEEDS = st.integers(0, 2**32 - 1)


def draw(seed):
    """Weights whose padding weighs the same everywhere, as a trained network's does, and frames."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, PAPER.frames + 1, UTTERANCES)
    silent = np.arange(SEGMENTS) * HOP >= frames[:, None]
    scores = 3 * rng.standard_normal((RUNS, UTTERANCES, SEGMENTS))
    scores = np.where(silent, scores[..., :1] + 1, scores)
    weights = np.exp(scores)
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32), frames


def hears(frame_count, segment):
    return any(frame < frame_count for frame in range(segment * HOP, segment * HOP + REACH))


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
    np.testing.assert_allclose(attention.decided(weights), apart, atol=1e-12)


@given(seed=SEEDS)
def test_the_shares_of_a_run_sum_to_one(seed):
    weights, frames = draw(seed)
    sound = attention.sounding(frames, SEGMENTS, HOP)
    for shares in (
        attention.largest(weights),
        attention.largest(attention.among(weights, sound)),
        attention.expected(sound),
    ):
        np.testing.assert_allclose(shares.sum(axis=-1), 1)


def test_ties_go_to_the_first():
    np.testing.assert_array_equal(attention.largest([[[0.2, 0.4, 0.4], [0.1, 0.1, 0.8]]]), [[0, 0.5, 0.5]])


def test_a_difference_of_just_the_margin_decides_nothing():
    weights = [[[0.75, 0.25], [0.76, 0.24], [0.5, 0.5]]]
    np.testing.assert_allclose(attention.decided(weights), [1 / 3])
    np.testing.assert_allclose(attention.decided(weights, margin=0.4), [2 / 3])


def test_a_single_segment_is_compared_with_nothing():
    np.testing.assert_array_equal(attention.decided(np.ones((1, 4, 1))), [1])


@pytest.mark.parametrize("frames", [1, 7, 89, 90, 91, 96, 97, 98, 180, 181, 630, 631, 720, 750])
def test_a_segment_sounds_where_any_of_its_frames_does(frames):
    found = attention.sounding([frames], SEGMENTS, HOP)
    np.testing.assert_array_equal(found, [[hears(frames, s) for s in range(SEGMENTS)]])


def test_the_paper_s_segments_end_before_the_input_does():
    reach = np.arange(SEGMENTS) * HOP + REACH
    assert reach[-1] <= PAPER.frames
    np.testing.assert_array_equal(
        attention.sounding(reach, SEGMENTS, HOP, least=REACH), np.tri(SEGMENTS, dtype=bool)
    )
    np.testing.assert_array_equal(
        attention.sounding(reach - 1, SEGMENTS, HOP, least=REACH), np.tri(SEGMENTS, k=-1, dtype=bool)
    )


@given(seed=SEEDS)
def test_among_sounding_segments_the_softmax_is_that_of_their_scores_alone(seed):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((RUNS, UTTERANCES, SEGMENTS))
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    frames = rng.integers(1, PAPER.frames + 1, (RUNS, UTTERANCES))
    found = attention.among(weights, attention.sounding(frames, SEGMENTS, HOP))
    for r, m in np.ndindex(RUNS, UTTERANCES):
        own = np.exp([scores[r, m, s] for s in range(SEGMENTS) if hears(frames[r, m], s)])
        np.testing.assert_allclose(found[r, m, : len(own)], own / own.sum())
        assert not found[r, m, len(own) :].any()


@given(seed=SEEDS)
def test_an_utterance_without_sound_is_left_out(seed):
    weights, frames = draw(seed)
    frames[::4] = 0
    some = frames > 0
    sound = attention.sounding(frames, SEGMENTS, HOP)
    heard = attention.among(weights, sound)
    np.testing.assert_array_equal(attention.largest(heard), attention.largest(heard[:, some]))
    np.testing.assert_array_equal(attention.decided(heard), attention.decided(heard[:, some]))
    np.testing.assert_array_equal(attention.expected(sound), attention.expected(sound[some]))
    for whole, part in zip(
        attention.on_padding(weights, sound),
        attention.on_padding(weights[:, some], sound[some]),
        strict=True,
    ):
        np.testing.assert_array_equal(whole, part)
    assert attention.by_length(weights, sound).utterances.sum() == RUNS * some.sum()


def test_rows_that_fill_a_stack_up_are_left_out():
    weights = np.zeros((2, 2, 2))
    weights[:, 0], weights[1, 1] = [0.9, 0.1], [0.2, 0.8]
    sound = np.ones((2, 2), bool)
    for kept in (weights, attention.among(weights, sound)):
        np.testing.assert_allclose(attention.largest(kept), [[1, 0], [0.5, 0.5]])
        np.testing.assert_array_equal(attention.by_length(kept, sound).utterances, [[0, 1], [0, 2]])
    np.testing.assert_allclose(attention.on_padding(weights, [[True, False]] * 2).weight, [0.1, 0.45])


def test_weights_that_were_rounded_away_weigh_the_same():
    found = attention.among([[[0, 0, 0, 1]]], np.array([[True, True, False, False]]))
    np.testing.assert_array_equal(found, [[[0.5, 0.5, 0, 0]]])


def test_what_chance_does_is_the_mean_over_every_possible_choice():
    sound = attention.sounding([80, 200, 300], 4, HOP)  # one, three and four segments
    outcomes = list(itertools.product(*(np.flatnonzero(row) for row in sound)))
    assert len(outcomes) == 12
    weights = np.eye(4)[np.array(outcomes)]
    np.testing.assert_allclose(attention.expected(sound), attention.largest(weights).mean(axis=0))


def test_random_weights_prefer_no_place_and_the_first_segment_still_wins_most():
    rng = np.random.default_rng(0)
    frames = rng.integers(1, 400, 20_000)
    weights = rng.dirichlet(np.ones(SEGMENTS), (1, len(frames)))
    sound = attention.sounding(frames, SEGMENTS, HOP)
    found = attention.preference(weights, sound)
    chance = sound / sound.sum(axis=1, keepdims=True)
    error = np.sqrt((chance * (1 - chance)).sum(axis=0)[:5]) / chance.sum(axis=0)[:5]
    assert (np.abs(found[0, :5] - 1) < 4 * error).all()
    assert np.isnan(found[0, 5:]).all()
    assert (np.diff(attention.expected(sound)[:5]) < -0.04).all()


@given(seed=SEEDS)
def test_padding_has_what_the_sounding_segments_have_not(seed):
    weights, frames = draw(seed)
    frames = np.maximum(frames, 1)
    found = attention.on_padding(weights, attention.sounding(frames, SEGMENTS, HOP))
    for r in range(RUNS):
        silent = [[not hears(frames[m], s) for s in range(SEGMENTS)] for m in range(UTTERANCES)]
        weight = np.mean([weights[r, m][silent[m]].sum() for m in range(UTTERANCES)])
        wins = np.mean([silent[m][weights[r, m].argmax()] for m in range(UTTERANCES)])
        np.testing.assert_allclose(found.weight[r], weight, rtol=1e-6)
        np.testing.assert_allclose(found.wins[r], wins)


@given(seed=SEEDS)
def test_each_length_has_the_shares_of_its_own_utterances(seed):
    weights, frames = draw(seed)
    frames = np.minimum(frames, 500)  # nothing fills seven or eight
    sound = attention.sounding(frames, SEGMENTS, HOP)
    found = attention.by_length(weights, sound)
    for n in range(1, SEGMENTS + 1):
        own = weights[:, sound.sum(axis=1) == n]
        assert (found.utterances[:, n - 1] == own.shape[1]).all()
        np.testing.assert_allclose(found.largest[:, n - 1], attention.largest(own))
        np.testing.assert_allclose(found.decided[:, n - 1], attention.decided(own))
    assert np.isnan(found.largest[:, 6:]).all()
    assert np.isnan(found.decided[:, 6:]).all()


@given(seed=SEEDS)
def test_the_lengths_together_are_the_whole(seed):
    weights, frames = draw(seed)
    sound = attention.sounding(np.maximum(frames, 1), SEGMENTS, HOP)
    parts = attention.by_length(weights, sound)
    share = parts.utterances / UTTERANCES
    np.testing.assert_allclose(
        np.nansum(share[..., None] * parts.largest, axis=1), attention.largest(weights), atol=1e-12
    )
    np.testing.assert_allclose(
        np.nansum(share * parts.decided, axis=1), attention.decided(weights), atol=1e-12
    )


def test_runs_with_utterances_of_their_own_are_as_if_alone():
    weights, _ = draw(1)
    frames = np.random.default_rng(2).integers(1, 751, (RUNS, UTTERANCES))
    sound = attention.sounding(frames, SEGMENTS, HOP)
    for r in range(RUNS):
        alone = (weights[r : r + 1], sound[r])
        np.testing.assert_allclose(attention.preference(weights, sound)[r], attention.preference(*alone)[0])
        for function in (attention.on_padding, attention.by_length):
            for whole, part in zip(function(weights, sound), function(*alone), strict=True):
                np.testing.assert_allclose(whole[r], part[0])


def test_a_run_that_diverged_says_nothing():
    weights, frames = draw(3)
    weights[1, 5] = np.nan
    sound = attention.sounding(np.maximum(frames, 1), SEGMENTS, HOP)
    diverged = np.array([False, True, False])
    for shares in (
        attention.largest(weights),
        attention.largest(attention.among(weights, sound)),
        attention.decided(weights)[:, None],
        np.stack(attention.on_padding(weights, sound), axis=1),
    ):
        np.testing.assert_array_equal(np.isnan(shares).any(axis=1), diverged)


def test_no_utterance_is_no_share_and_no_warning():
    nothing = np.zeros((2, 0, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(attention.largest(nothing)).all()
        assert np.isnan(attention.decided(nothing)).all()
        assert np.isnan(attention.expected(np.zeros((0, 4), bool))).all()
        assert attention.largest(nothing).shape == (2, 4)


def test_over_runs_is_the_mean_and_the_sample_deviation():
    found = attention.over_runs([[0.1, 1.0], [0.3, 1.0], [0.8, np.nan]])
    np.testing.assert_allclose(found.mean, [0.4, np.nan])
    np.testing.assert_allclose(found.deviation, [np.sqrt(0.13), np.nan])  # (0.09 + 0.01 + 0.16) / 2
    assert found.runs == 3


def test_a_single_run_has_no_deviation():
    found = attention.over_runs([[0.25, 0.75]])
    np.testing.assert_array_equal(found.mean, [0.25, 0.75])
    np.testing.assert_array_equal(found.deviation, [np.nan, np.nan])
    assert found.runs == 1


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"attention of shape \(5, 8\), expected \[R, M, S\]"):
        attention.largest(np.ones((5, 8)))
    with pytest.raises(ValueError, match=r"sound of shape \(4, 8\), expected \(5, 8\) or \(2, 5, 8\)"):
        attention.among(np.ones((2, 5, 8)), np.ones((4, 8), bool))
