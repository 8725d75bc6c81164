"""The networks against the paper's counts, their layers written out, and the interface they meet."""

import dataclasses
import runpy
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from five_runs import CONFIG, N, features
from flax import linen as nn
from jax import lax

from ser_jax import engine, model
from ser_jax.convolution import Precision
from ser_jax.devices import Machine
from ser_jax.model import ArchitectureError, AttentiveCNN, Output, Probe, Single, apply, init, pooled
from ser_jax.train import Data, TrainConfig

SMALL = AttentiveCNN(bands=3, frames=100, channels=5, kernel=4, stride=3, pool=4)
EXAMPLE = Path(__file__).parents[1] / "examples" / "own_network.py"
TimeDelay = runpy.run_path(str(EXAMPLE))["TimeDelay"]
PROBE = Probe(bands=CONFIG.bands, frames=CONFIG.frames, outputs=3)
pytestmark = pytest.mark.usefixtures("hastily")


X = np.random.default_rng(6).normal(size=(4, SMALL.frames, SMALL.bands)).astype(np.float32)
X[np.arange(SMALL.frames)[None, :] >= np.array([100, 20, 3, 61])[:, None]] = 0


@pytest.fixture(scope="module")
def params():
    found = init(SMALL, jax.random.key(4))
    return found | {"bias": jax.random.normal(jax.random.key(5), found["bias"].shape)}


def test_the_papers_sizes():
    config = AttentiveCNN()
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(model.shapes(config))) == 56_002
    assert [stride for stride in range(1, 11) if AttentiveCNN(stride=stride).segments == 8] == [3]
    x = jax.ShapeDtypeStruct((2, 750, 26), np.float32)
    output = jax.eval_shape(lambda *given: apply(config, *given), model.shapes(config), x)
    assert [part.shape for part in output] == [(2, 2), (2, 8), (2, 9 * 200)]


def test_the_network_is_the_papers_written_out(params):
    """Convolution, ReLU, pooling, attention, concatenation, softmax layer, one after another."""
    c = SMALL
    y = lax.conv_general_dilated(
        X, params["kernel"], (c.stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
    )
    y = jax.nn.relu(y + params["bias"][None, None])
    maps = lax.reduce_window(y, 0.0, lax.max, (1, c.pool, 1), (1, c.pool, 1), "VALID")
    alpha = jax.nn.softmax((maps @ params["attention"])[..., 0], axis=1)
    attended = jnp.concatenate([jnp.einsum("bs,bsc->bc", alpha, maps), maps.reshape(len(X), -1)], axis=1)
    outputs = attended @ params["classifier"]["kernel"] + params["classifier"]["bias"][None]
    output = apply(c, params, X)
    np.testing.assert_allclose(output.attention, alpha, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output.outputs, outputs, rtol=1e-4, atol=1e-5)
    for i in range(len(X)):  # utterances do not depend on the rest of the batch
        alone = apply(c, params, X[i : i + 1])
        np.testing.assert_allclose(alone.outputs[0], output.outputs[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", get_args(Precision))
def test_outputs_and_gradients_are_float32_and_close_at_every_precision(precision, params):
    config = dataclasses.replace(SMALL, precision=precision)
    gradient = jax.grad(lambda params: apply(config, params, X, key=jax.random.key(1)).outputs.sum())(params)
    found, exact = apply(config, params, X), apply(SMALL, params, X)
    assert {leaf.dtype for leaf in jax.tree.leaves((found, gradient))} == {np.dtype(np.float32)}
    tolerance = 4 * float(jnp.finfo(jnp.bfloat16).eps)
    np.testing.assert_allclose(found.outputs, exact.outputs, rtol=0, atol=tolerance)
    assert np.array_equal(found.outputs, exact.outputs) == (precision != "bfloat16")


def test_dropout_acts_only_with_a_key_and_keeps_the_mean(params):
    steady, keys = apply(SMALL, params, X[:1]), jax.random.split(jax.random.key(0), 4000)
    many = jax.vmap(lambda key: apply(SMALL, params, X[:1], key=key).outputs)(keys)
    spread = np.std(many, axis=0)
    assert (spread > 0).all()
    np.testing.assert_allclose(many.mean(0), steady.outputs, atol=5 * spread.max() / np.sqrt(4000))


def test_the_probe_is_linear_in_mean_and_standard_deviation():
    raw, frames = features()
    x = np.where(np.arange(60)[None, :, None] < frames[:, None, None], raw / 10 + 4, 0).astype(np.float32)
    params = init(PROBE, jax.random.key(0))
    each = [one[:n].astype(float) for one, n in zip(x, frames, strict=True)]
    statistics = np.stack([np.concatenate([one.mean(axis=0), one.std(axis=0)]) for one in each])
    found = apply(PROBE, params, x)
    np.testing.assert_allclose(found.embedding, statistics, rtol=1e-4, atol=1e-4)
    weights = jax.tree.map(np.asarray, params["classifier"])
    np.testing.assert_allclose(
        found.outputs, statistics @ weights["kernel"] + weights["bias"], rtol=1e-3, atol=1e-4
    )
    np.testing.assert_array_equal(found.attention, np.ones((N, 1)))
    padded = np.pad(x, [(0, 0), (0, 99), (0, 0)])
    np.testing.assert_allclose(pooled(padded), pooled(x), rtol=1e-5, atol=1e-6)
    constant = np.zeros((2, 60, 4), np.float32)
    constant[1, :20] = 3
    assert np.isfinite(jax.grad(lambda x: pooled(x).sum())(jnp.asarray(constant))).all()


@pytest.mark.parametrize("padding", ["edge", "silence"])
def test_padding_is_filled_before_the_convolution(padding, params):
    """With the last frame, or with the one whose mean is lowest; as the zero-padded network sees it."""
    filled, frames = X.copy(), [100, 20, 3, 61]
    for x, count in zip(filled, frames, strict=True):
        x[count:] = x[count - 1] if padding == "edge" else x[x[:count].mean(axis=1).argmin()]
    config = dataclasses.replace(SMALL, padding=padding)
    np.testing.assert_allclose(
        apply(config, params, X).outputs, apply(SMALL, params, filled).outputs, rtol=1e-4, atol=1e-5
    )
    nothing = np.zeros_like(X)
    np.testing.assert_array_equal(
        apply(config, params, nothing).outputs, apply(SMALL, params, nothing).outputs
    )
    masked = dataclasses.replace(config, mask_attention=True)  # by the sound, not by what fills the padding
    np.testing.assert_array_equal(apply(masked, params, X).attention[2, 1:], 0)


@pytest.mark.parametrize("quantity", ["level", "duration"])
def test_a_baseline_is_linear_in_one_number(quantity):
    config = Single(SMALL.bands, SMALL.frames, 3, quantity=quantity)
    params = init(config, jax.random.key(0))
    frames = np.array([100, 20, 3, 61])
    level = [x[:n].mean(dtype=np.float64) for x, n in zip(X, frames, strict=True)]
    number = np.asarray(level if quantity == "level" else np.log2(frames / 25))[:, None]
    weights = jax.tree.map(np.asarray, params["classifier"])
    found = apply(config, params, X)
    np.testing.assert_allclose(
        found.outputs, number @ weights["kernel"] + weights["bias"], rtol=1e-4, atol=1e-5
    )
    assert np.isfinite(apply(config, params, np.zeros_like(X)).outputs).all()
    model.check(config)
    with pytest.raises(ArchitectureError, match="quantity 'pitch', expected one of level, duration"):
        Single(quantity="pitch")


def test_sizes_that_make_no_network_are_named():
    for sizes, sentence in (
        ({"frames": 50}, "50 frames hold no segment of 30 positions, .* --model attentive_pooling or probe"),
        ({"stride": 0}, "stride 0, .* expected at least 1 each"),
        ({"dropout": 1.0}, "dropout 1.0, expected .* below 1"),
        ({"padding": "noise"}, "padding 'noise', expected one of zero, edge, silence"),
    ):
        with pytest.raises(ArchitectureError, match=sentence):
            AttentiveCNN(**sizes)


class Wrong(nn.Module):
    """A network that meets the interface except for `fault`."""

    fault: str

    @nn.compact
    def __call__(self, x, training):
        pooled = x.mean(axis=1)
        if self.fault == "statistics":
            pooled = nn.BatchNorm(use_running_average=not training)(pooled)
        if self.fault == "bfloat16":
            pooled = nn.Dense(2, param_dtype=jnp.bfloat16)(pooled)
        if self.fault == "no key":
            pooled = nn.Dropout(0.5, deterministic=False)(pooled)
        outputs = nn.Dense(3 if self.fault == "outputs" else 2)(pooled)
        attention = jnp.ones((len(x), 1), jnp.int32 if self.fault == "whole" else jnp.float32)
        if self.fault == "another" and training:
            outputs = outputs[:-1]
        return (outputs, attention) if self.fault == "tuple" else Output(outputs, attention)


@dataclasses.dataclass(frozen=True)
class Offered:
    module: object = Wrong("none")
    bands: int = 4
    frames: int = 10
    outputs: int = 2
    segments: int = 1

    def network(self):
        return self.module


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (Offered(Wrong("outputs")), r"are float32 \[3, 3\] for 3 utterances, expected float32 \[3, 2\]"),
        (Offered(Wrong("another")), r"are float32 \[2, 2\] for 3 utterances, expected float32 \[3, 2\]"),
        (Offered(Wrong("whole")), r"attention of .* are int32 \[3, 1\] .*, expected float32 \[3, 1\]"),
        (Offered(segments=5), r"attention of .* are float32 \[3, 1\] .*, expected float32 \[3, 5\]"),
        (Offered(Wrong("tuple")), "the network of Offered returns a tuple, expected an Output"),
        (Offered(Wrong("statistics")), "fails on .*ScopeCollectionNotFound: .*batch_stats.*, expected a"),
        (Offered(Wrong("bfloat16")), "has params.Dense_0.bias bfloat16, expected params of float32 alone"),
        (Offered(Wrong("no key")), r"fails on x float32 \[3, 10, 4\] \(InvalidRngError: .*\), expected"),
        (Offered(nn.Dense(2)), r"\(TypeError: .*'training'\), expected a frozen dataclass"),
        (Offered(frames=10.0), "frames of Offered is 10.0, expected a whole number of at least 1"),
        (object(), "bands of object is None, expected a whole number of at least 1"),
    ],
)
def test_a_configuration_that_is_no_network_is_refused_before_training(config, sentence):
    machine = Machine.here(devices=1, budget=10**9)
    nothing = Data(features=np.zeros((1, 10, 4), np.float32), frames=np.zeros(1, int), group=np.zeros(1, int))
    for calls in (
        engine.compute(machine, config, TrainConfig(), nothing, []),
        engine.predict_runs(machine, config, nothing, [], {}, []),
    ):
        with pytest.raises(ArchitectureError, match=sentence) as refused:
            next(calls)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "config", [AttentiveCNN(), TimeDelay(), dataclasses.replace(PROBE, dropout=0.5), Offered()]
)
def test_a_configuration_that_meets_the_interface_is_accepted(config):
    model.check(config)
    params = jax.eval_shape(lambda: init(config, jax.random.key(0)))
    with pytest.raises(ValueError, match=rf"expected \[B, {config.frames}, {config.bands}\]"):
        jax.eval_shape(lambda params: apply(config, params, jnp.zeros((2, 9, config.bands))), params)
