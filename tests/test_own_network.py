"""A network of one's own in place of the paper's: the example, and what a configuration has to be."""

import dataclasses
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from five_runs import CONFIG, TRAINING, close, data, specs
from flax import linen as nn

from ser_jax import engine, model, train
from ser_jax.devices import Machine
from ser_jax.model import ArchitectureError, AttentiveCNN, Output, Probe
from ser_jax.train import Data, TrainConfig, inputs

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_network.py"
TimeDelay = runpy.run_path(str(EXAMPLE))["TimeDelay"]
SMALL = TimeDelay(bands=CONFIG.bands, frames=CONFIG.frames, block=5, width=8)
PROBE = Probe(bands=CONFIG.bands, frames=CONFIG.frames)
pytestmark = pytest.mark.usefixtures("hastily")


def utterances(lengths):
    x = np.random.default_rng(0).normal(size=(len(lengths), SMALL.frames, SMALL.bands))
    valid = np.arange(SMALL.frames)[None, :] < np.array(lengths)[:, None]
    return (x * valid[:, :, None]).astype(np.float32)


@pytest.mark.parametrize("config", [SMALL, PROBE], ids=lambda config: type(config).__name__)
def test_each_run_of_a_stack_trains_and_predicts_as_if_alone(config):
    here = Machine.here(devices=1, budget=10**9, stacking="vmap")
    speech, own = data(here), specs()[:2]
    found = next(engine.compute(here, config, TRAINING, speech, own))
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(found[i].params for i in (0, 1)))
    rows = [spec.test for spec in own]
    again = list(engine.predict_runs(here, config, speech, own, params, rows))
    for i, spec in enumerate(own):
        run = jax.tree.map(jnp.asarray, spec.run())
        wanted, losses = train.fit(config, TRAINING, speech, run)
        output = model.apply(config, wanted, inputs(speech, run, spec.test))
        close((found[i].params, found[i].losses, found[i].outputs), (wanted, losses, output.outputs))
        close(again[i]._replace(embedding=None), output._replace(embedding=None))


def test_attention_of_the_example_weighs_sound_alone_and_sums_to_1():
    x = utterances([60, 23, 5, 1, 0])
    weights = np.asarray(model.apply(SMALL, model.init(SMALL, jax.random.key(0)), x).attention)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal((weights > 0).sum(axis=1), [12, 5, 1, 1, 12])  # without sound, all alike


class Wrong(nn.Module):
    """A network that meets the interface except for `fault`."""

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
    "segments other than said": (
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
        r"the network of Offered fails on x float32 \[3, 10, 4\] \(InvalidRngError: .*\), expected a "
        r"module that is called with \(x, training=...\) and returns an Output",
    ),
    "no training": (
        Offered(WithoutTraining()),
        r"fails on x float32 \[3, 10, 4\] \(TypeError: .*'training'\), expected a module that is called with",
    ),
    "no module": (Offered(7), r"network\(\) of Offered returns 7, expected a Linen module"),
    "nothing": (object(), "bands of object is None, expected a whole number of at least 1"),
    "no hash": (
        Changing(),
        r"Changing has no hash \(unhashable type: 'Changing'\), expected a frozen dataclass",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_configuration_that_is_no_network_is_refused_before_training(name):
    config, sentence = REFUSED[name]
    machine = Machine.here(devices=1, budget=10**9)
    nothing = Data(features=np.zeros((1, 10, 4), np.float32), frames=np.zeros(1, int), group=np.zeros(1, int))
    with pytest.raises(ArchitectureError, match=sentence) as refused:
        next(engine.compute(machine, config, TrainConfig(), nothing, []))
    assert "\n" not in str(refused.value)
    with pytest.raises(ArchitectureError, match=sentence):
        next(engine.predict_runs(machine, config, nothing, [], {}, []))


@pytest.mark.parametrize("config", [AttentiveCNN(), TimeDelay(), SMALL, PROBE, Offered()], ids=repr)
def test_a_configuration_that_meets_the_interface_is_accepted(config):
    model.check(config)
