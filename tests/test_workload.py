"""The noise that the benchmark trains on, useful work on it, and that what is timed is users' work."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import workload
from experiments.ways import Noise, OneAfterAnother, Stack
from ser_jax import train
from ser_jax.model import ModelConfig
from ser_jax.train import TrainConfig

pytestmark = pytest.mark.usefixtures("hastily")
SMALL = ModelConfig(bands=4, frames=210, channels=6)
TRAINING = TrainConfig(batch=8, epochs=2)
UTTERANCES = 60


@pytest.fixture(scope="module")
def noise():
    return workload.corpus(SMALL, UTTERANCES)


def test_the_lengths_are_those_of_iemocap():
    seconds = workload.iemocap_seconds(10_039)
    for share, known in workload.QUANTILES.items():
        assert np.quantile(seconds, share) == pytest.approx(known, rel=2e-3, abs=0.02 * (share == 1) * known)
    assert np.minimum(seconds, 7.5).mean() == pytest.approx(4.05, abs=0.01)
    assert abs(np.corrcoef(seconds, np.arange(10_039))[0, 1]) < 0.05


def test_utterances_are_heard_for_their_length_and_no_longer_than_the_network_hears(noise):
    assert (noise.frames["full"] == SMALL.frames).all()
    heard = np.sort(np.minimum(workload.iemocap_seconds(UTTERANCES), 2.1))
    np.testing.assert_allclose(np.sort(noise.frames["iemocap"]), 100 * heard, atol=0.51)
    assert (noise.logmel != 0).all()


def test_a_whole_utterance_asks_for_its_products_twice():
    """Eight segments of 30 positions of a [260] x [260, 200] product, forward and for the gradient."""
    whole = np.full(3, 750)
    assert workload.useful_flops(ModelConfig(), whole) == 8 * 30 * 260 * 200 * 2 * 2
    assert workload.useful_flops(ModelConfig(), whole, winners_only=True) == 8 * 31 * 260 * 200 * 2
    assert workload.useful_flops(ModelConfig(), np.zeros(3)) == 0


def test_two_fifths_of_iemocaps_segments_hold_nothing():
    """The share that the specification of the speed states."""
    noise = np.minimum(100 * workload.iemocap_seconds(10_039), 750)
    share = workload.useful_flops(ModelConfig(), noise) / workload.useful_flops(
        ModelConfig(), np.full(1, 750)
    )
    assert share == pytest.approx(0.6, abs=0.02)


@given(st.lists(st.integers(0, SMALL.frames), min_size=1, max_size=8))
def test_segments_that_hold_sound_count(lengths):
    hop, reach = SMALL.stride * SMALL.pool, (SMALL.pool - 1) * SMALL.stride + SMALL.kernel
    sounding = np.arange(SMALL.frames) < np.array(lengths)[:, None]
    live = sum(sounding[:, s * hop : s * hop + reach].any(axis=1).sum() for s in range(SMALL.segments))
    each = SMALL.pool * SMALL.kernel * SMALL.bands * SMALL.channels * 4
    assert workload.useful_flops(SMALL, np.array(lengths)) == pytest.approx(live * each / len(lengths))


def test_parameters_and_moments_move_once_a_step():
    full = workload.useful_bytes(ModelConfig(), np.full(2, 750), 32)
    assert full == 4 * (750 * 26 + 6 * 56_002 / 32)


def test_a_cell_and_the_table_are_as_long_as_the_paper_says():
    noise = workload.corpus(ModelConfig(bands=1, channels=1), 10_039)
    runs = workload.runs(noise, 25, 10_039)
    assert int(np.sum(runs.count)) * 50 == workload.cell_steps()
    assert workload.table2_steps() == pytest.approx(51e6, rel=0.01)


def test_runs_are_the_seeds_of_one_fold_after_another(noise):
    runs = workload.runs(noise, 26, 1000)
    keys = np.asarray(jax.random.key_data(runs.key))
    assert len(np.unique(keys, axis=0)) == 26
    for i in range(26):
        rows = np.asarray(runs.train[i, : runs.count[i]])
        expected = np.flatnonzero(noise.session != i // 5 % 5)
        np.testing.assert_array_equal(np.sort(rows), expected)
    assert (np.asarray(workload.runs(noise, 3, 10).count) == 10).all()


@pytest.mark.parametrize("lengths", ["iemocap", "full"])
def test_what_is_timed_is_what_users_run(noise, lengths):
    placed = Noise.of(noise)
    data, runs = placed.on_mesh[lengths], workload.runs(noise, 5, 16)
    expected = train.fit_runs(SMALL, TRAINING, data, runs).state.params
    stack = Stack(SMALL, TRAINING, placed, 5, 16)
    streamed = Stack(SMALL, TRAINING, placed, 5, 16, streamed=True)
    alone = OneAfterAnother(SMALL, TRAINING, placed, 5, 16)
    at_once = OneAfterAnother(SMALL, TRAINING, placed, 5, 16, epochs=2)
    calls = [stack, stack, streamed, streamed, alone, alone, at_once]
    assert [call(lengths) for call in calls] == [80, 80, 80, 80, 80, 80, 160]
    jax.tree.map(np.testing.assert_array_equal, stack.state.params, expected)
    jax.tree.map(np.testing.assert_array_equal, streamed.state.params, expected)
    one = train.fit(SMALL, TRAINING, data, jax.tree.map(lambda leaf: leaf[1], runs))[0]
    jax.tree.map(np.testing.assert_array_equal, alone.states[1].params, one)
    jax.tree.map(np.testing.assert_array_equal, at_once.states[1].params, one)
