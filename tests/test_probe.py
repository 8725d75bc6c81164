"""The baseline network against NumPy."""

import dataclasses

import jax
import numpy as np
from five_runs import N, features

from ser_jax import model
from ser_jax.model import Probe, pooled

CONFIG = Probe(bands=4, frames=60, outputs=3)
RAW, FRAMES = features()
X = np.where(np.arange(60)[None, :, None] < FRAMES[:, None, None], RAW / 10 + 4, 0).astype(np.float32)


def test_the_network_is_linear_in_mean_and_standard_deviation():
    params = model.init(CONFIG, jax.random.key(0))
    each = [x[:n] for x, n in zip(X.astype(float), FRAMES, strict=True)]
    statistics = np.stack([np.concatenate([x.mean(axis=0), x.std(axis=0)]) for x in each])
    found = model.apply(CONFIG, params, X)
    np.testing.assert_allclose(found.embedding, statistics, rtol=1e-4, atol=1e-4)
    weights = jax.tree.map(np.asarray, params["classifier"])
    wanted = statistics @ weights["kernel"] + weights["bias"]
    np.testing.assert_allclose(found.outputs, wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.attention, np.ones((N, 1)))


def test_the_length_of_the_padding_does_not_matter():
    np.testing.assert_allclose(pooled(np.pad(X, [(0, 0), (0, 99), (0, 0)])), pooled(X), rtol=1e-5, atol=1e-6)


def test_constant_and_empty_utterances_have_finite_gradients():
    x = np.zeros((2, 60, 4), np.float32)
    x[1, :20] = 3
    assert np.isfinite(jax.grad(lambda x: pooled(x).sum())(x)).all()
    np.testing.assert_allclose(pooled(x), [[0] * 4 + [1e-3] * 4, [3] * 4 + [1e-3] * 4], atol=1e-6)


def test_it_meets_the_interface_with_dropout_too():
    for dropout in (0.0, 0.5):
        model.check(dataclasses.replace(CONFIG, dropout=dropout))
