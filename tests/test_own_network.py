"""A network of one's own: the example's properties, and what meets no `Architecture` is refused."""

import dataclasses
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recognisers
from flax import linen as nn

from ser_jax import engine, model
from ser_jax.devices import Machine
from ser_jax.model import ArchitectureError, AttentiveCNN, Output
from ser_jax.probe import Probe
from ser_jax.recognizer.trained import ModelError
from ser_jax.runs import Data
from ser_jax.train import TrainConfig

TimeDelay = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "own_network.py"))["TimeDelay"]
SMALL = TimeDelay(bands=3, frames=40, block=5)
NETWORKS = (SMALL, AttentiveCNN(3, 40, channels=5, pool=3), Probe(3, 40))
pytestmark = pytest.mark.usefixtures("hastily")


def utterances(config, lengths, seed=0):
    """Noise [B, T, F], zero beyond each length."""
    x = np.random.default_rng(seed).normal(size=(len(lengths), config.frames, config.bands))
    valid = np.arange(config.frames)[None, :] < np.array(lengths)[:, None]
    return (x * valid[:, :, None]).astype(np.float32)


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: type(config).__name__)
def test_utterances_do_not_influence_each_other(config):
    params, x = model.init(config, jax.random.key(0)), utterances(config, [40, 23, 5, 1])
    every = model.apply(config, params, x)
    for i in range(len(x)):
        for one, own in zip(model.apply(config, params, x[i : i + 1]), every, strict=True):
            np.testing.assert_allclose(one[0], own[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: type(config).__name__)
def test_attention_sums_to_1(config):
    x = utterances(config, [40, 23, 5, 1, 0])
    weights = np.asarray(model.apply(config, model.init(config, jax.random.key(0)), x).attention)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_the_example_ignores_padding():
    longer = dataclasses.replace(SMALL, frames=60)
    params, x = model.init(SMALL, jax.random.key(0)), utterances(SMALL, [40, 23, 5, 1])
    short = model.apply(SMALL, params, x)
    long = model.apply(longer, params, np.pad(x, [(0, 0), (0, 20), (0, 0)]))
    np.testing.assert_allclose(short.outputs, long.outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(short.attention, long.attention[:, :8], rtol=1e-5, atol=1e-6)
    assert not long.attention[:, 8:].any()
    np.testing.assert_array_equal((np.asarray(short.attention) > 0).sum(axis=1), [8, 5, 1, 1])


def test_a_recogniser_takes_the_attentive_cnn_alone():
    trained = recognisers.drawn(seeds=1)
    with pytest.raises(ModelError, match="TimeDelay, expected AttentiveCNN"):
        dataclasses.replace(trained, sizes=TimeDelay())


class Wrong(nn.Module):
    """A network that meets the interface, except for what `fault` names."""

    fault: str

    @nn.compact
    def __call__(self, x, training):
        b = len(x)
        pooled = x.mean(axis=1)
        if self.fault == "batch statistics":
            pooled = nn.BatchNorm(use_running_average=not training)(pooled)
        if self.fault == "bfloat16":
            pooled = nn.Dense(2, param_dtype=jnp.bfloat16)(pooled)
        if self.fault == "no key":
            pooled = nn.Dropout(0.5, deterministic=False)(pooled)
        outputs = nn.Dense(3 if self.fault == "outputs" else 2)(pooled)
        attention = jnp.ones((b, 1), jnp.int32 if self.fault == "whole" else jnp.float32)
        if self.fault == "flat":
            attention = attention[:, 0]
        if self.fault == "another" and training:
            outputs = outputs[:-1]
        return (outputs, attention) if self.fault == "tuple" else Output(outputs, attention)


class WithoutTraining(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


@dataclasses.dataclass(frozen=True)
class Offered:
    module: object = Wrong("none")
    bands: int = 4
    frames: int = 10
    outputs: int = 2
    segments: int = 1

    def network(self):
        return self.module


@dataclasses.dataclass
class Changing:
    bands: int = 4
    frames: int = 10
    outputs: int = 2
    segments: int = 1


REFUSED = {
    "outputs": (
        Offered(Wrong("outputs")),
        r"outputs of the network of Offered are float32 \[3, 3\] for 3 utterances, expected float32 \[3, 2\]",
    ),
    "attention without segments": (
        Offered(Wrong("flat")),
        r"attention of the network of Offered are float32 \[3\] for 3 utterances, expected float32 \[3, 1\]",
    ),
    "attention in whole numbers": (
        Offered(Wrong("whole")),
        r"attention of the network of Offered are int32 \[3, 1\] for 3 utterances, expected float32 \[3, 1\]",
    ),
    "another shape in training": (
        Offered(Wrong("another")),
        r"outputs of the network of Offered are float32 \[2, 2\] for 3 utterances, expected float32 \[3, 2\]",
    ),
    "other segments": (
        Offered(segments=5),
        r"network of Offered are float32 \[3, 1\] for 3 utterances, expected float32 \[3, 5\]",
    ),
    "a tuple": (Offered(Wrong("tuple")), "the network of Offered returns a tuple, expected an Output"),
    "state": (
        Offered(Wrong("batch statistics")),
        "the network of Offered has variables batch_stats and params, expected params and nothing else",
    ),
    "parameters": (
        Offered(Wrong("bfloat16")),
        "parameter Dense_0.bias of Offered is bfloat16, expected float32",
    ),
    "dropout without a key": (
        Offered(Wrong("no key")),
        r"the network of Offered fails on x float32 \[3, 10, 4\] \(InvalidRngError: .*\), expected a module "
        r"that is called with \(x, training=...\) and returns an Output",
    ),
    "no training": (
        Offered(WithoutTraining()),
        r"fails on x float32 \[3, 10, 4\] \(TypeError: .*'training'\), expected a module that is called with",
    ),
    "no module": (Offered(7), r"network\(\) of Offered returns 7, expected a Linen module"),
    "no output": (Offered(outputs=0), "outputs of Offered is 0, expected a whole number of at least 1"),
    "frames": (Offered(frames=10.0), "frames of Offered is 10.0, expected a whole number of at least 1"),
    "nothing": (object(), "bands of object is None, expected a whole number of at least 1"),
    "no hash": (
        Changing(),
        r"Changing has no hash \(unhashable type: 'Changing'\), expected a frozen dataclass",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_classes_are_refused_before_training(name):
    config, sentence = REFUSED[name]
    nothing = Data(
        features=np.zeros((1, 40), np.float32), frames=np.zeros(1, np.int32), group=np.zeros(1, int)
    )
    with pytest.raises(ArchitectureError, match=sentence) as refused:
        next(engine.compute(Machine.here(devices=1, budget=10**9), config, TrainConfig(), nothing, []))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("config", [*NETWORKS, AttentiveCNN(), TimeDelay(), Probe(), Offered()], ids=repr)
def test_networks_are_accepted(config):
    model.check(config)
