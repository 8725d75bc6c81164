"""Training against a plain loop, and runs in a stack against runs alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from five_runs import CONFIG, N, a_run, features
from ser_jax.schedule import Batch

from ser_jax import model, runs, schedule, train
from ser_jax.model import ModelConfig
from ser_jax.runs import Data
from ser_jax.train import TrainConfig

pytestmark = pytest.mark.usefixtures("hastily")


@pytest.fixture(scope="module")
def data():
    logmel, frames = map(jnp.asarray, features())
    return Data(logmel, frames, jnp.arange(N, dtype=jnp.int32) % 2)


def close(left, right):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def alone(data):
    each = [a_run(0, 30), a_run(1, 41), a_run(2, 5)]
    return each, [train.fit(CONFIG, TrainConfig(batch=16, epochs=3), data, run) for run in each]


@pytest.mark.parametrize("stacking", ["vmap", "map"])
def test_each_run_of_a_stack_trains_as_if_alone(data, alone, stacking):
    training = TrainConfig(batch=16, epochs=3, stacking=stacking)  # 64 segments: more than one block
    each, wanted = alone
    _, (params, *_), losses = train.fit_runs(CONFIG, training, data, runs.stack(each))
    for r, (own, own_losses) in enumerate(wanted):
        close(jax.tree.map(lambda leaf: leaf[r], params), own)  # noqa: B023
        np.testing.assert_allclose(losses[:, r], own_losses, rtol=1e-3)


def test_the_same_stack_trains_to_the_same_bits(data, optimised):
    training = TrainConfig(batch=8, epochs=2)
    stack = runs.stack([a_run(0, 30), a_run(1, 41)])
    first, second = (train.fit_runs(CONFIG, training, data, stack).state.params for _ in range(2))
    assert all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )


def test_steps_past_a_runs_count_leave_its_state_untouched(data):
    run = a_run(3, 7)
    longer = run._replace(train=np.pad(run.train, (0, 30), constant_values=1))
    training = TrainConfig(batch=8, epochs=2)
    close(train.fit(CONFIG, training, data, run)[0], train.fit(CONFIG, training, data, longer)[0])


def test_an_epoch_visits_every_utterance_once_whatever_the_padding():
    run = a_run(4, 23)
    padded = run._replace(train=np.pad(run.train, (0, 50)))
    for number in range(3):
        key = jax.random.key(number)
        own = schedule.order(run, key)
        assert sorted(own.tolist()) == sorted(run.train.tolist())
        assert schedule.order(padded, key)[:23].tolist() == own.tolist()


def test_what_lies_in_the_padding_never_matters(data):
    run, training = a_run(5, 20), TrainConfig(batch=8, epochs=2)
    sound = np.arange(CONFIG.frames)[None, :] < np.asarray(data.frames)[:, None]
    poisoned = data._replace(logmel=jnp.where(sound[:, :, None], data.logmel, 1e6))
    assert np.abs(np.asarray(poisoned.logmel) - np.asarray(data.logmel)).max() > 1e5
    close(train.fit(CONFIG, training, data, run)[0], train.fit(CONFIG, training, poisoned, run)[0])


def test_inputs_are_standardised_by_group_and_zero_in_the_padding(data):
    run = a_run(6, 10)
    rows = np.array([3, 8, 0, 40], np.int32)
    x = np.asarray(runs.inputs(data, run, rows))
    for i, row in enumerate(rows):
        n, group = int(data.frames[row]), int(data.group[row])
        wanted = (np.asarray(data.logmel[row, :n]) - np.asarray(run.mean[group])) * np.asarray(
            run.scale[group]
        )
        np.testing.assert_allclose(x[i, :n], wanted, rtol=1e-5, atol=1e-5)
        assert not x[i, n:].any()


def test_the_last_partial_batch_counts_by_its_mask(data):
    """Loss and gradient of five masked utterances are those of a batch of the five."""
    params = model.init(CONFIG, jax.random.key(0))
    run = a_run(7, 20)
    rows = run.train[:8]
    mask = np.arange(8) < 5
    config = ModelConfig(**{**vars(CONFIG), "dropout": 0.0})

    @jax.jit
    def value(rows, mask):
        labels = run.labels[rows].astype(jnp.int32)
        return jax.value_and_grad(train.loss, 1)(
            config, params, runs.inputs(data, run, rows), labels, mask, jax.random.key(1)
        )

    close(value(rows, mask), value(rows[:5], np.ones(5, bool)))


def test_a_step_is_adam_on_the_mean_cross_entropy(data):
    config = ModelConfig(**{**vars(CONFIG), "dropout": 0.0})
    training, run = TrainConfig(batch=8), a_run(8, 8)
    state = train.start(config, training, run)

    def plain(params):
        logits = model.apply(config, params, runs.inputs(data, run, run.train)).logits
        chosen = jax.nn.log_softmax(logits)[jnp.arange(8), run.labels[run.train].astype(int)]
        return -chosen.mean()

    gradient = jax.jit(jax.grad(plain))(state.params)
    rule = optax.adam(1e-3)
    wanted = optax.apply_updates(state.params, rule.update(gradient, rule.init(state.params))[0])
    step = jax.jit(train.step, static_argnums=(0, 1))
    batch = Batch(run.train, np.ones(8, bool), jax.random.key(0), np.ones(2, np.int32))
    got, value = step(config, training, runs.gather(data, run.train), run, state, batch)
    assert float(value) == pytest.approx(float(plain(state.params)), rel=1e-5)
    close(got.params, wanted)


def test_fine_tuning_starts_from_the_parameters_given(data):
    stack = runs.stack([a_run(0, 10), a_run(1, 10)])
    start = jax.vmap(lambda key: model.init(CONFIG, key))(jax.random.split(jax.random.key(9), 2))
    _, (params, *_), losses = train.fit_runs(CONFIG, TrainConfig(epochs=0), data, stack, start)
    close(params, start)
    assert losses.shape == (0, 2)


def test_predictions_are_the_networks_and_ignore_the_padding(data):
    stack = runs.stack([a_run(0, 10), a_run(1, 10)])
    params = train.start_runs(CONFIG, TrainConfig(), stack).params
    rows = np.stack([np.arange(N), np.arange(N)[::-1]]).astype(np.int32)
    said = runs.predict(CONFIG, data, stack, params, rows, np.array([N, 7]))
    for r, count in enumerate((N, 7)):
        run = jax.tree.map(lambda leaf: leaf[r], stack)  # noqa: B023
        own = jax.tree.map(lambda leaf: leaf[r], params)  # noqa: B023
        output = model.apply(CONFIG, own, runs.inputs(data, run, rows[r, :count]))
        np.testing.assert_allclose(
            said.probability[r, :count], jax.nn.softmax(output.logits)[:, 1], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(said.attention[r, :count], output.attention, rtol=1e-4, atol=1e-5)


def test_an_unknown_stacking_is_named():
    with pytest.raises(ValueError, match="stacking 'pmap', expected one of auto, vmap, map"):
        TrainConfig(stacking="pmap")


@pytest.mark.parametrize(("stacking", "chunk"), [("vmap", 2), ("map", 4)])
def test_streamed_features_train_and_predict_as_resident_ones(data, stacking, chunk, monkeypatch, tmp_path):
    monkeypatch.setattr(train, "CHUNK", chunk)
    np.save(tmp_path / "logmel.npy", data.logmel)
    mapped = np.load(tmp_path / "logmel.npy", mmap_mode="r")
    streamed = Data(mapped, np.asarray(data.frames), np.asarray(data.group))
    training = TrainConfig(batch=8, epochs=2, stacking=stacking)
    stack = runs.stack([a_run(0, 30), a_run(1, 41), a_run(2, 5)])
    _, (params, *_), losses = train.fit_runs(CONFIG, training, data, stack)
    _, (others, *_), other_losses = train.fit_runs(CONFIG, training, streamed, stack)
    close(others, params)
    np.testing.assert_allclose(other_losses, losses, rtol=1e-4)
    rows = np.tile(np.arange(N, dtype=np.int32), (3, 4))
    asked = (stack, params, rows, np.full(3, rows.shape[1]))
    for said, wanted in zip(
        runs.predict(CONFIG, streamed, *asked), runs.predict(CONFIG, data, *asked), strict=True
    ):
        np.testing.assert_allclose(said, wanted, rtol=1e-4, atol=1e-6)
