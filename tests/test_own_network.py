"""A network of one's own in place of the paper's: the example, and what is said of one that is none."""

import dataclasses
import runpy
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recognisers
from corpora import noise_corpus
from flax import linen as nn

import ser_jax
from ser_jax import convolution, engine, model, stacks, train
from ser_jax.devices import Machine
from ser_jax.engine import Asked
from ser_jax.model import ArchitectureError, ModelConfig, Output
from ser_jax.recognizer.trained import ModelError
from ser_jax.runs import Data, Runs
from ser_jax.train import TrainConfig

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_network.py"
TimeDelay = runpy.run_path(str(EXAMPLE))["TimeDelay"]
SMALL = TimeDelay(bands=3, frames=40, segments=8)
N = 13
pytestmark = pytest.mark.usefixtures("hastily")


def utterances(config, lengths, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(len(lengths), config.frames, config.bands))
    return (x * (np.arange(config.frames)[None, :] < np.array(lengths)[:, None])[:, :, None]).astype(
        np.float32
    )


def test_the_example_is_a_page():
    assert len(EXAMPLE.read_text().splitlines()) <= 60


def test_the_example_tells_what_is_to_be_told_by_either_network(optimised, monkeypatch, capsys):
    """Of noise in which some bands are louder where arousal is high, others where valence is positive."""
    corpus = noise_corpus(speakers_a_session=1, each=10, frames=40)
    monkeypatch.setattr(ser_jax, "load", lambda name, folder: corpus)
    monkeypatch.setattr(sys, "argv", ["own_network.py", "anywhere", corpus.name, "6"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    names = [
        f"{network} {target}" for network in ("ModelConfig", "TimeDelay") for target in ("arousal", "valence")
    ]
    assert [line.partition(":")[0] for line in lines] == names
    for line in lines:
        assert float(line.split()[3]) > 75
        assert line.endswith(", n = 5")


def a_run(seed, count):
    draw = np.random.default_rng(seed)
    return Runs(
        key=jax.random.key(seed),
        train=draw.permutation(N).astype(np.int32),  # the first `count` are its own
        count=np.int32(count),
        labels=draw.integers(0, 2, N).astype(np.int8),
        mean=np.zeros((1, SMALL.bands), np.float32),
        scale=np.ones((1, SMALL.bands), np.float32),
    )


@pytest.fixture(scope="module")
def alone():
    """Utterances, runs, and what each run comes to by itself: parameters, losses, what it says of all."""
    lengths = np.random.default_rng(1).integers(5, SMALL.frames + 1, N).astype(np.int32)
    features = Data(utterances(SMALL, lengths), lengths, np.zeros(N, np.int32))
    runs = [a_run(seed, count) for seed, count in enumerate((13, 5))]
    fitted = [train.fit(SMALL, TrainConfig(batch=4, epochs=2), features, run) for run in runs]
    return features, runs, [(*own, model.apply(SMALL, own[0], features.logmel)) for own in fitted]


def test_each_run_of_a_stack_trains_as_if_alone(alone):
    features, runs, wanted = alone
    rows, machine = np.arange(N, dtype=np.int32), Machine.here(devices=1, budget=10**9)
    here = Data(*machine.place(*features[:2]), features.group)
    training = TrainConfig(batch=4, epochs=2, stacking="vmap")
    [done] = engine.compute(machine, SMALL, training, here, [Asked(run, rows) for run in runs])
    asked = list(engine.ask(machine, SMALL, here, runs, done.params, [rows, rows]))
    for place, (params, losses, said) in enumerate(wanted):
        found = jax.tree.map(lambda leaf: leaf[place], done.params)  # noqa: B023
        probability = jax.nn.softmax(said.logits)[:, 1]
        for one, other in (
            *zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True),
            (done.losses[place], losses),
            (done.said[place], probability),
            (asked[place].attention, said.attention),
        ):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_how_much_padding_follows_never_matters():
    longer = dataclasses.replace(SMALL, frames=60, segments=12)
    params = model.init(SMALL, jax.random.key(0))
    x = utterances(SMALL, [40, 23, 5, 1])
    padded = np.pad(x, [(0, 0), (0, 20), (0, 0)])
    short, long = model.apply(SMALL, params, x), model.apply(longer, params, padded)
    np.testing.assert_allclose(short.logits, long.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(short.attention, long.attention[:, :8], rtol=1e-5, atol=1e-6)
    assert not long.attention[:, 8:].any()


def test_its_attention_weighs_sound_alone_and_sums_to_1():
    x = utterances(SMALL, [40, 23, 5, 1, 0])
    weights = np.asarray(model.apply(SMALL, model.init(SMALL, jax.random.key(0)), x).attention)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert np.isfinite(weights).all()
    np.testing.assert_array_equal((weights > 0).sum(axis=1), [8, 5, 1, 1, 8])  # of none, all alike


@pytest.mark.parametrize("config", [ModelConfig(), TimeDelay()], ids=lambda config: type(config).__name__)
def test_the_bytes_of_a_run_are_those_the_compiler_asks_for(config, optimised, monkeypatch):
    """Of an epoch of a stack, all segments at once, as on an accelerator; within a factor of two."""
    monkeypatch.setattr(convolution, "_on_cpu", lambda: False)
    monkeypatch.setattr(stacks, "_step_bytes", stacks._step_bytes.__wrapped__)  # not what another test keeps
    training = TrainConfig()

    def shaped(*shape, kind=np.int32):
        return jax.ShapeDtypeStruct(shape, kind)

    def a_pass(logmel, frames, runs, state):
        def one(run, own):
            return train.one_epoch(config, training, Data(logmel, frames, frames), run, own, 0)

        return jax.vmap(one)(runs, state)

    key, level = (
        jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 8)),
        shaped(8, 1, 26, kind=np.float32),
    )
    runs = Runs(key, shaped(8, 64), shaped(8), shaped(8, 64, kind=np.int8), level, level)
    state = jax.eval_shape(lambda runs: train.start_runs(config, training, runs), runs)
    lowered = jax.jit(a_pass).lower(shaped(64, 750, 26, kind=np.float32), shaped(64), runs, state)
    measured = lowered.compile().memory_analysis().temp_size_in_bytes / 8
    assert 0.5 < measured / stacks.run_bytes(config, training, 64) < 2


def test_a_recogniser_takes_the_attentive_cnn_alone():
    trained = recognisers.drawn(seeds=1)
    with pytest.raises(
        ModelError, match="networks by TimeDelay, expected ModelConfig: its files are those of"
    ):
        dataclasses.replace(trained, sizes=TimeDelay())


class Wrong(nn.Module):
    """A network that meets the interface, but for what `fault` names."""

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
        logits = nn.Dense(3 if self.fault == "classes" else 2)(pooled)
        attention = jnp.ones((b, 1), jnp.int32 if self.fault == "whole" else jnp.float32)
        if self.fault == "flat":
            attention = attention[:, 0]
        if self.fault == "another" and training:
            logits = logits[:-1]
        return (logits, attention) if self.fault == "tuple" else Output(logits, attention)


class WithoutTraining(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


@dataclasses.dataclass(frozen=True)
class Offered:
    module: object = Wrong("none")
    bands: int = 4
    frames: int = 10
    classes: int = 2
    segments: int = 1

    def network(self):
        return self.module


@dataclasses.dataclass
class Changing:
    bands: int = 4
    frames: int = 10
    classes: int = 2
    segments: int = 1


REFUSED = {
    "classes": (
        Offered(Wrong("classes")),
        r"logits by the network of Offered are float32 \[3, 3\] for 3 utterances, expected float32 \[3, 2\]",
    ),
    "attention without segments": (
        Offered(Wrong("flat")),
        r"attention by the network of Offered are float32 \[3\] for 3 utterances, expected float32 \[3, 1\]",
    ),
    "attention in whole numbers": (
        Offered(Wrong("whole")),
        r"attention by the network of Offered are int32 \[3, 1\] for 3 utterances, expected float32 \[3, 1\]",
    ),
    "another shape in training": (
        Offered(Wrong("another")),
        r"logits by the network of Offered are float32 \[2, 2\] for 3 utterances, expected float32 \[3, 2\]",
    ),
    "segments other than said": (
        Offered(segments=5),
        r"network of Offered are float32 \[3, 1\] for 3 utterances, expected float32 \[3, 5\]",
    ),
    "a tuple": (Offered(Wrong("tuple")), "the network of Offered gives a tuple, expected an Output"),
    "state": (
        Offered(Wrong("batch statistics")),
        "the network of Offered keeps batch_stats and params, expected params and nothing else",
    ),
    "parameters": (
        Offered(Wrong("bfloat16")),
        "parameter Dense_0.bias of Offered is bfloat16, expected float32",
    ),
    "dropout without a key": (
        Offered(Wrong("no key")),
        r"the network of Offered fails on x float32 \[3, 10, 4\] \(InvalidRngError: .*\), expected it to be "
        r"called with \(x, training=...\) and to give an Output",
    ),
    "no training": (
        Offered(WithoutTraining()),
        r"fails on x float32 \[3, 10, 4\] \(TypeError: .*'training'\), expected it to be called with",
    ),
    "no module": (Offered(7), r"network\(\) of Offered gives 7, expected a Linen module"),
    "one class": (Offered(classes=1), "classes of Offered is 1, expected a whole number from 2 on"),
    "frames": (Offered(frames=10.0), "frames of Offered is 10.0, expected a whole number from 1 on"),
    "nothing": (object(), "bands of object is None, expected a whole number from 1 on"),
    "no hash": (
        Changing(),
        r"Changing has no hash \(unhashable type: 'Changing'\), expected a frozen dataclass",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_network_is_refused_where_the_engine_starts(name):
    config, sentence = REFUSED[name]
    machine = Machine.here(devices=1, budget=10**9)
    nothing = Data(np.zeros((1, 10, 4), np.float32), np.zeros(1, np.int32), np.zeros(1, np.int32))
    with pytest.raises(ArchitectureError, match=sentence) as refused:
        next(engine.compute(machine, config, TrainConfig(), nothing, []))
    assert "\n" not in str(refused.value)
    with pytest.raises(ArchitectureError, match=sentence):
        next(engine.ask(machine, config, nothing, [], {}, []))


@pytest.mark.parametrize("config", [ModelConfig(), TimeDelay(), SMALL, Offered()], ids=repr)
def test_what_is_one_is_taken(config):
    model.check(config)
