"""Losses and objectives against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from ser_jax.model import Output
from ser_jax.objectives import (
    DomainAdversarial,
    ObjectiveError,
    Step,
    SupervisedContrastive,
    TaskLoss,
    ccc_loss,
    cross_entropy,
    reverse_gradient,
    supervised_contrast,
)

DRAW = np.random.default_rng(0)
B, D = 12, 5
OUTPUTS, EMBEDDING = DRAW.normal(size=(B, 3)), DRAW.normal(size=(B, D))
CLASSES, WEIGHTS = DRAW.integers(0, 3, B), DRAW.uniform(0, 2, B)
NUMBERS = DRAW.normal(size=(B, 3))


def value(function, *arguments):
    """Return the value and the gradient by the first argument, which has to be finite."""
    found, gradient = jax.value_and_grad(function)(*(jnp.asarray(one) for one in arguments))
    assert np.isfinite(gradient).all()
    return float(found), np.asarray(gradient)


def step(**changes):
    given = {
        "output": Output(jnp.asarray(OUTPUTS), jnp.ones((B, 1)), jnp.asarray(EMBEDDING)),
        "labels": jnp.asarray(CLASSES),
        "weights": jnp.asarray(WEIGHTS),
        "valid": jnp.ones(B, bool),
        "speaker": None,
        "corpus": jnp.arange(B) % 4,
        "progress": jnp.float32(0.25),
        "key": jax.random.key(0),
    }
    return Step(**(given | changes))


def plain_cross_entropy(outputs, labels, weights):
    each = logsumexp(outputs, axis=1) - outputs[np.arange(len(labels)), labels]
    return (weights * each).sum() / weights.sum()


def test_cross_entropy_is_the_mean_over_utterances_with_weight():
    weights, labels = WEIGHTS.copy(), CLASSES.copy()
    weights[:4], labels[:4] = 0, -1
    found, gradient = value(cross_entropy, OUTPUTS, labels, weights)
    assert found == pytest.approx(plain_cross_entropy(OUTPUTS[4:], CLASSES[4:], weights[4:]), rel=1e-5)
    assert not gradient[:4].any()
    assert value(cross_entropy, OUTPUTS, labels, 0 * weights)[0] == 0


def plain_ccc(x, y, weight):
    mean_x, mean_y = (np.average(one, weights=weight) for one in (x, y))
    covariance = np.average((x - mean_x) * (y - mean_y), weights=weight)
    variances = np.average((x - mean_x) ** 2 + (y - mean_y) ** 2, weights=weight)
    return 2 * covariance / (variances + (mean_x - mean_y) ** 2)


def test_ccc_loss_is_one_minus_the_mean_ccc_of_what_is_annotated():
    labels, weights = NUMBERS.copy(), WEIGHTS.copy()
    labels[:5, 0], labels[7, 1], weights[3] = np.nan, np.nan, 0
    each = []
    for k in range(3):
        known = np.isfinite(labels[:, k])
        each.append(plain_ccc(OUTPUTS[known, k], labels[known, k], weights[known]))
    found, gradient = value(ccc_loss, OUTPUTS, labels, weights)
    assert found == pytest.approx(1 - np.mean(each), rel=1e-4)
    assert not gradient[3].any()
    assert not gradient[:5, 0].any()


def test_ccc_loss_leaves_out_a_dimension_without_labels():
    labels = NUMBERS.copy()
    labels[:, 1] = np.nan
    found, gradient = value(ccc_loss, OUTPUTS, labels, WEIGHTS)
    kept = [0, 2]
    assert found == pytest.approx(value(ccc_loss, OUTPUTS[:, kept], labels[:, kept], WEIGHTS)[0], rel=1e-5)
    assert not gradient[:, 1].any()
    assert value(ccc_loss, OUTPUTS, np.full_like(labels, np.nan), WEIGHTS)[0] == 0
    assert value(ccc_loss, NUMBERS, NUMBERS, WEIGHTS)[0] == pytest.approx(0, abs=1e-5)
    opposite = 2 * NUMBERS.mean(axis=0) - NUMBERS
    assert value(ccc_loss, opposite, NUMBERS, np.ones(B))[0] == pytest.approx(2, rel=1e-5)


def test_a_reversed_gradient_is_multiplied_by_minus_its_strength():
    x = jnp.asarray(EMBEDDING)
    np.testing.assert_allclose(reverse_gradient(x, 0.3), x, rtol=1e-6)
    found = jax.grad(lambda x: (reverse_gradient(x, 0.3) ** 3).sum())(x)
    np.testing.assert_allclose(found, -0.3 * 3 * x**2, rtol=1e-4)


def test_domain_adversarial_training_helps_the_heads_and_hinders_the_network():
    objective = DomainAdversarial(strength=0.5, hidden=7)
    heads = objective.heads(jax.random.key(1), step().output, corpora=4)
    valid = np.arange(B) < 9

    def classifier(heads, embedding):
        hidden = jax.nn.relu(embedding @ heads["hidden"]["kernel"] + heads["hidden"]["bias"][None, :])
        return cross_entropy(
            hidden @ heads["corpus"]["kernel"] + heads["corpus"]["bias"][None, :],
            step().corpus,
            jnp.asarray(valid, jnp.float32),
        )

    def whole(heads, embedding):
        output = step().output._replace(embedding=embedding)
        return objective(cross_entropy, step(output=output, valid=jnp.asarray(valid)), heads)

    embedding = step().output.embedding
    found, (to_heads, to_embedding) = jax.value_and_grad(whole, (0, 1))(heads, embedding)
    wanted, (plain_heads, plain_embedding) = jax.value_and_grad(classifier, (0, 1))(heads, embedding)
    task = plain_cross_entropy(OUTPUTS, CLASSES, WEIGHTS)
    assert float(found) == pytest.approx(float(wanted) + task, rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), to_heads, plain_heads)
    strength = 0.5 * (2 / (1 + np.exp(-10 * 0.25)) - 1)
    np.testing.assert_allclose(to_embedding, -strength * plain_embedding, rtol=1e-4, atol=1e-6)
    assert not np.asarray(to_embedding)[9:].any()


def plain_contrast(embedding, labels, counted, temperature):
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    losses = []
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if j != i and counted[i] and counted[j]]
        alike = [j for j in others if labels[j] == labels[i]]
        if alike:
            total = logsumexp([unit[i] @ unit[j] / temperature for j in others])
            losses.append(-np.mean([unit[i] @ unit[j] / temperature - total for j in alike]))
    return np.mean(losses) if losses else 0.0


@pytest.mark.parametrize("uncounted", [0, 5, 11, 12])
def test_supervised_contrast_is_the_double_loop(uncounted):
    counted = np.arange(B) >= uncounted
    found, _ = value(supervised_contrast, EMBEDDING, CLASSES, counted, 0.7)
    assert found == pytest.approx(plain_contrast(EMBEDDING, CLASSES, counted, 0.7), rel=1e-4)


def test_the_objectives_add_their_part_to_the_tasks_loss():
    task = plain_cross_entropy(OUTPUTS, CLASSES, WEIGHTS)
    assert float(TaskLoss()(cross_entropy, step(), {})) == pytest.approx(task, rel=1e-5)
    weights = step().weights.at[:4].set(0)
    found = SupervisedContrastive(weight=0.5)(cross_entropy, step(weights=weights), {})
    wanted = plain_cross_entropy(OUTPUTS, CLASSES, np.asarray(weights))
    wanted += 0.5 * plain_contrast(EMBEDDING, CLASSES, np.arange(B) >= 4, 0.1)
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_an_objective_that_cannot_be_is_named():
    bare = Output(jnp.asarray(OUTPUTS), jnp.ones((B, 1)))
    for objective in (DomainAdversarial(), SupervisedContrastive()):
        with pytest.raises(ObjectiveError, match="a network without an embedding"):
            objective.heads(jax.random.key(0), bare, 2)
    with pytest.raises(ObjectiveError, match="data without `corpus`"):
        DomainAdversarial()(cross_entropy, step(corpus=None), {})
    with pytest.raises(ObjectiveError, match="a task of numbers, expected classes"):
        SupervisedContrastive()(ccc_loss, step(labels=jnp.asarray(NUMBERS)), {})
