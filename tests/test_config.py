"""The configuration: the paper's defaults, names that choose parts of it, and its form on disk."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from ser_jax.augment import Gain
from ser_jax.experiment.config import (
    KINDS,
    ComputeConfig,
    Config,
    ConfigError,
    ProtocolConfig,
    choose,
    describe,
    digest,
    rebuild,
)
from ser_jax.features import LogMel, Waveform
from ser_jax.model import AttentiveCNN, Probe
from ser_jax.objectives import DomainAdversarial
from ser_jax.tasks import TASKS, Binary, Categorical, Joint, Regression
from ser_jax.train import TrainConfig

OWN = """
import dataclasses
from pathlib import Path
from typing import Any

from ser_jax.augment import NoAugmentation
from ser_jax.features import Frontend
from ser_jax.tasks import Categorical

@dataclasses.dataclass(frozen=True)
class Mine(NoAugmentation):
    decibels: tuple[float, ...] = (1.0, 2.0)

@dataclasses.dataclass(frozen=True)
class Needy:
    weight: float

@dataclasses.dataclass
class Mutable:
    bands: int = 1

@dataclasses.dataclass(frozen=True)
class Sizeless:
    def network(self):
        return None

class Plain:
    def network(self):
        return None

@dataclasses.dataclass(frozen=True)
class Broken:
    def __post_init__(self):
        raise ValueError("broken on purpose")

VALUE = Mine((3.0,))
ODD = Categorical("../odd", ("anger", "sadness"))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of one's own."""
    (tmp_path / "own_module.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "own_module.py"
    sys.modules.pop("own_module", None)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"standardize": "auto"}, "standardize 'auto', expected one of train, corpus, speaker"),
        ({"baselines": ("level", "x")}, "baselines 'x', expected some of level, duration"),
        ({"adapted": ("train",)}, "--adapted train is the mode of all rows, expected another mode"),
        ({"trim": 0.0}, "--protocol.trim is 0, expected more than 0, at most 100 dB"),
    ],
)
def test_a_protocol_that_does_not_exist_is_named(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ProtocolConfig(**fields)


def test_the_network_follows_from_features_and_task():
    config = Config(features=Waveform(seconds=2.0), tasks=(TASKS["all"],), model=Probe())
    network = config.network(config.tasks[0])
    assert (network.bands, network.frames, network.outputs) == (Waveform.dims, config.features.frames, 9)


TWO = (Binary("valence"), TASKS["emotion"])


def test_the_label_rule_is_that_of_all_tasks():
    config = Config(protocol=ProtocolConfig(label_rule="table1"), tasks=(*TWO, Joint(TWO)))
    valence, emotion, both = config.tasks
    assert valence.rule == "table1"
    assert emotion == TASKS["emotion"]
    assert both.parts == (valence, emotion)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in KINDS[kind][0]])
def test_every_known_name_chooses_and_can_be_described(kind, name):
    found = choose(kind, name)
    assert rebuild(json.loads(json.dumps(describe(found)))) == found


def test_a_whole_tree_survives_the_disk(own):
    config = Config(
        corpora=("a", "b"),
        data_dir=Path("data"),
        tasks=(Regression(("arousal",)), Categorical("mine", ("anger", "fear"), (("joy", "fear"),))),
        features=LogMel(seconds=3.0),
        model=AttentiveCNN(channels=3),
        train=TrainConfig(augment=choose("train.augment", "own_module:VALUE"), objective=DomainAdversarial()),
        compute=ComputeConfig(devices=2),
    )
    tree = json.loads(json.dumps(describe(config)))
    assert tree["train"]["augment"] == {"class": "own_module:Mine", "decibels": [3.0]}
    found = rebuild({name: part for name, part in tree.items() if name not in ("out", "data_dir", "compute")})
    assert found == dataclasses.replace(config, data_dir=None, compute=ComputeConfig())
    assert digest(tree) == digest(dict(reversed(tree.items())))


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("tasks", "arousall", "; did you mean 'arousal'?"),
        ("features", "", "expected one of logmel, waveform, mfcc, egemaps, whisper, embeddings, or"),
        ("model", "nowhere:Net", "No module named 'nowhere', expected module:Name that can be imported"),
        ("model", "own_broken:Net", "division by zero, expected module:Name that can be imported"),
        ("model", "json:JSONDecoder", "no network, expected a frozen dataclass with network"),
        ("model", "own_module:Plain", "no dataclass, expected a frozen dataclass with network"),
        ("model", "own_module:Mutable", "unhashable type: 'Mutable', expected a frozen dataclass"),
        ("model", "own_module:Broken", "broken on purpose, expected a frozen dataclass with a default for"),
        ("train.objective", "own_module:Mine", "no heads, expected a frozen dataclass with __call__, heads"),
        ("train.objective", "own_module:Needy", "missing 1 required positional argument: 'weight', expected"),
        ("tasks", "own_module:VALUE", "no labels, expected a frozen dataclass with labels, loss, predict"),
    ],
)  # fmt: skip
def test_a_name_that_chooses_nothing_is_explained(own, kind, name, sentence):
    with pytest.raises(ConfigError) as refused:
        choose(kind, name)
    assert str(refused.value).startswith(f"--{kind} {name}: ")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Config(corpora=()), "--corpora , expected one or more, all different"),
        (lambda: Config(corpora=("a", "a")), "--corpora a a, expected one or more, all different"),
        (lambda: Config(tasks=(TASKS["emotion"],) * 2), "--tasks emotion emotion, expected one or more"),
        (lambda: Config(tasks=(Regression(name="a/b"),)), "task 'a/b', expected a name of letters, digits"),
        (lambda: Config(train=TrainConfig(epochs=0)), "--train.epochs is 0, expected a whole number from"),
        (lambda: Config(tasks=(Regression(),), train=TrainConfig(class_weights="balanced")),
         "--train.class-weights balanced for a regression task or several tasks at once, expected none"),
        (lambda: Config(tasks=(Joint(TWO),), train=TrainConfig(class_weights="balanced")),
         "--train.class-weights balanced for a regression task or several"),
        (lambda: ProtocolConfig(folds=1), "--protocol.folds is 1, expected a whole number from 2 to"),
        (lambda: ProtocolConfig(seeds=10**30), "expected a whole number from 1 to 1,000,000,000"),
        (lambda: ComputeConfig(memory=float("nan")), "--compute.memory is nan, expected more than 0"),
        (lambda: ComputeConfig(hosts=2), "without --compute.coordinator, expected both"),
        (lambda: Config(model=choose("model", "own_module:Sizeless")).network(TASKS["emotion"]),
         "network Sizeless takes no bands, frames or outputs ("),
        (lambda: describe(dataclasses.replace(Gain(), decibels=len)), "in a configuration, expected numbers"),
         (lambda: rebuild({"class": "ser_jax.augment:Gain", "x": 3}), "a stored ser_jax.augment:Gain does"),
        (lambda: rebuild({"class": "json:dumps"}), "does not fit ("),
        (lambda: rebuild({"class": "gone:Gain"}), "a stored configuration: No module named 'gone'"),
        (lambda: rebuild({"decibels": 3}), "a stored configuration: "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(own, make, sentence):
    with pytest.raises(ConfigError) as refused:
        make()
    assert sentence in str(refused.value)
