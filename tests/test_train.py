"""Training against a plain loop, and runs in a stack against runs alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from five_runs import CONFIG, GROUP, N, a_run, close, equal, features
from sklearn.linear_model import LogisticRegression

from ser_jax import model, train
from ser_jax.augment import Gain
from ser_jax.data.standardize import Scaler
from ser_jax.objectives import ccc_loss, cross_entropy
from ser_jax.train import Batch, Data, Procedure, Runs, TrainConfig, TrainError, stack

pytestmark = pytest.mark.usefixtures("hastily")
STEADY = dataclasses.replace(CONFIG, dropout=0.0)


@pytest.fixture(scope="module")
def data():
    raw, frames = features()
    return jax.tree.map(jnp.asarray, Data(features=raw.reshape(N, -1), frames=frames, group=GROUP))


def place(stack, i):
    return jax.tree.map(lambda leaf: leaf[i], stack)


def step(training, data, run, state, batch, config=STEADY, loss=cross_entropy):
    procedure = Procedure(config, training, loss)
    return jax.jit(train.step, static_argnums=0)(procedure, train.gather(data, batch.rows), run, state, batch)


def a_batch(rows):
    return Batch(np.asarray(rows), np.ones(len(rows), bool), jax.random.key(0), np.ones(2, np.int32))


def test_an_epoch_visits_every_utterance_once():
    run = a_run(4, 23)
    for number in range(3):
        batches = train.schedule(run, 8, number)
        assert sorted(batches.rows[batches.mask].tolist()) == sorted(run.train.tolist())


def test_the_values_in_the_padding_never_matter(data):
    run, procedure = a_run(5, 20), Procedure(CONFIG, TrainConfig(batch=8, epochs=2, augment=Gain()))
    valid = np.arange(CONFIG.frames)[None, :] < np.asarray(data.frames)[:, None]
    valid = np.repeat(valid, CONFIG.bands, axis=1)
    poisoned = dataclasses.replace(data, features=jnp.where(valid, data.features, 1e6))
    assert not valid.all()
    close(train.fit(procedure, data, run), train.fit(procedure, poisoned, run))


def test_inputs_are_standardized_by_group_and_zero_in_the_padding(data):
    run = a_run(6, 10)
    rows = np.array([3, 8, 0, 40], np.int32)
    raw, frames = features()
    mean, scale = map(np.asarray, run.scaler)
    x = np.asarray(train.inputs(data, run, rows))
    for i, row in enumerate(rows):
        n, group = frames[row], GROUP[row]
        wanted = (raw[row, :n] - mean[group]) * scale[group]
        np.testing.assert_allclose(x[i, :n], wanted, rtol=1e-5, atol=1e-5)
        assert not x[i, n:].any()


def test_the_last_partial_batch_counts_by_its_mask(data):
    """Loss and gradient of five masked utterances are those of a batch of the five."""
    params, run = model.init(STEADY, jax.random.key(0)), a_run(7, 20)

    @jax.jit
    def value(batch):
        arguments = (params, {}), train.gather(data, batch.rows), run, batch
        return jax.value_and_grad(train.objective, 1)(Procedure(STEADY, TrainConfig()), *arguments)

    batch = a_batch(run.train[:8])
    close(value(batch._replace(mask=np.arange(8) < 5)), value(a_batch(run.train[:5])))


def kernels(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


RULES = [
    (TrainConfig(), optax.adam(1e-3)),
    (TrainConfig(weight_decay=0.2), optax.adam(1e-3)),
    (TrainConfig(optimizer="adamw", weight_decay=0.1), optax.adamw(1e-3, weight_decay=0.1, mask=kernels)),
    (TrainConfig(optimizer="sgd", learning_rate=0.1, weight_decay=0.5), optax.sgd(0.1, momentum=0.9)),
]


@pytest.mark.parametrize(("training", "rule"), RULES, ids=["adam", "adam with L2", "adamw", "sgd with L2"])
def test_a_step_is_the_optimizers_on_the_mean_cross_entropy(data, training, rule):
    run = a_run(8, 8)
    state = train.start(STEADY, training, run)

    def plain(params):
        logits = model.apply(STEADY, params, train.inputs(data, run, run.train)).outputs
        loss = -jax.nn.log_softmax(logits)[jnp.arange(8), run.labels[run.train]].mean()
        squares = sum((leaf**2).sum() for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
        return loss, loss + (0 if training.optimizer == "adamw" else training.weight_decay / 2 * squares)

    wanted, moments = state.params, rule.init(state.params)
    for _ in range(2):
        value, gradient = plain(wanted)[0], jax.jit(jax.grad(lambda own: plain(own)[1]))(wanted)
        updates, moments = rule.update(gradient, moments, wanted)
        wanted = optax.apply_updates(wanted, updates)
        state, found = step(training, data, run, state, a_batch(run.train))
        assert float(found) == pytest.approx(float(value), rel=1e-4)
    close(state.params, wanted)


def test_weights_and_missing_labels_weigh_the_loss(data):
    """A weight of 2 is an utterance twice; a weight of 0, or no label, is none."""
    run, state = a_run(8, 8), train.start(STEADY, TrainConfig(), a_run(8, 8))
    weights, labels = np.ones(N, np.float32), np.array(run.labels)
    weights[run.train[:2]], weights[run.train[2]] = 2, 0
    labels[run.train[2:4]] = -1
    weighted = dataclasses.replace(run, weights=weights, labels=labels)
    _, found = step(TrainConfig(), data, weighted, state, a_batch(run.train))
    often = np.concatenate([run.train[4:], run.train[:2], run.train[:2]])
    _, wanted = step(TrainConfig(), data, run, state, a_batch(often))
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)


def test_regression_trains_on_numbers_of_which_some_are_missing(data):
    config = dataclasses.replace(STEADY, outputs=3)
    labels = np.random.default_rng(0).uniform(-1, 1, (N, 3)).astype(np.float32)
    labels[::3, 1], labels[:, 2] = np.nan, np.nan
    run = a_run(0, 30, labels=labels)
    procedure = Procedure(config, TrainConfig(batch=16, epochs=8), ccc_loss)
    params, losses = train.fit(procedure, data, run)
    assert losses[-1] < losses[0]
    assert not params["classifier"]["bias"][2].any()  # nothing was learnt of the dimension without labels
    stack = train.stack([run, a_run(1, 41, labels=labels)])
    state, _ = train.fit_runs(procedure._replace(stacking="vmap"), data, stack)
    close(place(state.params, 0), params)


def test_unlabelled_rows_come_along_without_their_labels(data):
    others = np.array([3, 9, 11], np.int32)
    run = a_run(0, 20, unlabelled=others)
    longer = train.stack([run, a_run(1, 20, unlabelled=np.arange(30, dtype=np.int32))])
    alone, padded = (train.schedule(one, 8, 2) for one in (run, place(longer, 0)))
    assert alone.rows.shape == (3, 16)
    assert set(alone.rows[:, 8:].ravel().tolist()) == set(others.tolist())
    equal(padded.rows, alone.rows)
    seen = {}

    @dataclasses.dataclass(frozen=True)
    class Spy:
        unlabelled: bool = True

        def heads(self, key, output, corpora):
            return {}

        def __call__(self, loss, step, heads):
            seen.update(step._asdict())
            return loss(step.output.outputs, step.labels, step.weights)

    batch = place(alone, 2)._replace(mask=np.arange(8) < 4)
    procedure = Procedure(STEADY, TrainConfig(objective=Spy(), epochs=4))
    variables = model.init(STEADY, jax.random.key(0)), {}
    train.objective(procedure, variables, train.gather(data, batch.rows), run, batch)
    assert seen["valid"].tolist() == seen["weights"].astype(bool).tolist()[:8] + [True] * 8
    assert seen["weights"].tolist() == [1.0] * 4 + [0.0] * 12
    assert seen["labels"][8:].tolist() == [-1] * 8
    assert float(seen["progress"]) == 0.5
    none = dataclasses.replace(run, unlabelled=(others, np.int32(0)))
    train.objective(procedure, variables, train.gather(data, batch.rows), none, batch)
    assert not seen["valid"][8:].any()


def test_a_configuration_that_cannot_train_is_named():
    for changes, sentence in (
        ({"optimizer": "lion"}, "optimizer 'lion', expected one of adam, adamw, sgd"),
        ({"learning_rate": float("nan")}, "learning rate nan, .* expected a rate above 0"),
    ):
        with pytest.raises(TrainError, match=sentence):
            TrainConfig(**changes)


def test_balanced_class_weights_give_every_class_the_same_part_of_the_loss(data):
    training = TrainConfig(batch=8, epochs=2, class_weights="balanced")
    labels = (np.arange(N) % 4 == 0).astype(int)
    labels[::5] = -1
    run = a_run(0, 30, labels=labels)
    own = labels[run.train][labels[run.train] >= 0]
    found = np.asarray(train.balanced(run, 3).weights)
    for k in (0, 1):  # the third class has no utterances
        np.testing.assert_allclose(found[labels == k], len(own) / 2 / (own == k).sum(), rtol=1e-6)
    padded = place(train.stack([run, a_run(1, 41)]), 0)
    close(train.balanced(padded, 3).weights, found)
    corpus = np.arange(N) // 20
    by_corpus = np.asarray(train.balanced(padded, 3, corpus, corpus.max() + 1).weights)
    cells = [run.train[(labels[run.train] == k) & (corpus[run.train] == c)] for k in (0, 1) for c in (0, 1)]
    np.testing.assert_allclose([by_corpus[own].sum() for own in cells], len(own) / 4, rtol=1e-6)
    plain, given = TrainConfig(batch=8, epochs=2), dataclasses.replace(run, weights=found)
    wanted = train.fit(Procedure(CONFIG, plain), data, given)
    state, losses = train.fit_runs(Procedure(CONFIG, training), data, train.stack([run, a_run(1, 41)]))
    close((place(state.params, 0), losses[:, 0]), wanted)
    with pytest.raises(TrainError, match="balanced class weights for a task of numbers"):
        train.balanced(dataclasses.replace(run, labels=jnp.zeros((N, 2))), 2)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_converges_to_logistic_regression_from_any_seed(classes):
    """Compare with scikit-learn's probabilities for the same penalty, since the probe is convex."""
    rng, count, decay = np.random.default_rng(classes), 60, 0.03
    x = rng.normal(size=(count, 5, 3)).astype(np.float32)
    labels = rng.integers(0, classes, count)
    x[..., 0] += labels[:, None] - 1
    probe = model.Probe(3, 5, classes)
    training = TrainConfig(learning_rate=0.02, batch=count, epochs=1500, weight_decay=decay)
    placed = Data(features=x.reshape(count, -1), frames=np.full(count, 5), group=np.zeros(count, np.int32))
    scaler = Scaler(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))
    rows = np.arange(count, dtype=np.int32)
    runs = [
        Runs(key=train.key(seed, 0, 0), train=rows, count=count, labels=labels, scaler=scaler)
        for seed in range(2)
    ]
    state, _ = train.fit_runs(Procedure(probe, training), jax.tree.map(jnp.asarray, placed), stack(runs))
    found = jax.vmap(lambda params: jax.nn.softmax(model.apply(probe, params, x).outputs))(state.params)
    # Two classes have one vector of weights there, and here two opposite ones with half of its square sum.
    strength = (2 if classes == 2 else 1) / (decay * count)
    numbers = np.asarray(model.pooled(x))
    expected = LogisticRegression(C=strength, tol=1e-9, max_iter=5000).fit(numbers, labels)
    for one in found:
        np.testing.assert_allclose(one, expected.predict_proba(numbers), atol=1e-3)
