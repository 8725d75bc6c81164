"""A recogniser's folder gives back what was written, and nothing else is taken for one."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import recognisers
from flax import linen as nn
from safetensors.numpy import load_file, save_file

from ser_jax.model import Output, Probe
from ser_jax.recognizer import ModelError, trained

DROPPED = object()


@dataclasses.dataclass(frozen=True)
class OwnNetwork:
    """A network that does not come with ser_jax."""

    bands: int = 26
    frames: int = 750
    outputs: int = 2
    sizes: tuple[int, ...] = (4, 3)
    segments: int = 5

    def network(self):
        return _Own(self)


class _Own(nn.Module):
    config: OwnNetwork

    @nn.compact
    def __call__(self, x, training):
        for size in self.config.sizes:
            x = nn.Dense(size)(x)
        attention = nn.softmax(x[:, : self.config.segments, 0])
        return Output(nn.Dense(self.config.outputs)(x.mean(axis=1)), attention)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return recognisers.kept(tmp_path_factory.mktemp("kept") / "model", seeds=2, channels=4)


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "model")


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": 2, "channels": 4},
        {"seeds": 1, "tasks": ("dimensions", "emotion"), "network": Probe},
        {"seeds": 1, "network": OwnNetwork},
    ],
)
def test_what_is_written_is_read(tmp_path, options):
    written = recognisers.drawn(**options)
    folder = recognisers.kept(tmp_path / "model", **options)
    read = trained.read(folder)
    assert jax.tree.structure(read) == jax.tree.structure(written)  # tasks, networks, facts, ...
    for one, other in zip(jax.tree.leaves(read), jax.tree.leaves(written), strict=True):
        np.testing.assert_array_equal(one, other)
    again = recognisers.kept(tmp_path / "again", **options)
    for file in ("config.json", "model.safetensors"):
        assert (folder / file).read_bytes() == (again / file).read_bytes()


def test_a_folder_may_lie_in_the_home_folder(copy, monkeypatch):
    monkeypatch.setenv("HOME", str(copy.parent))
    assert trained.read(f"~/{copy.name}").facts == trained.read(copy).facts


def test_using_a_model_imports_nothing_that_trains_nor_anything_that_its_folder_names(kept, tmp_path):
    folder = recognisers.kept(tmp_path / "own", seeds=1, network=OwnNetwork)
    (tmp_path / "evil.py").write_text("print('imported')")
    config = json.loads((folder / "config.json").read_text())
    config["frontend"]["class"] = "evil:Frontend"
    evil = shutil.copytree(folder, tmp_path / "evil")
    (evil / "config.json").write_text(json.dumps(config))
    code = f"""
import sys
from ser_jax.recognizer import ModelError, Recognizer
import numpy as np
for folder in {[str(folder), str(evil)]!r}:
    try:
        Recognizer.load(folder)
    except ModelError as error:
        print(error)
Recognizer.load({str(kept)!r})(np.random.default_rng(0).uniform(-1, 1, 16000), 16000)
heavy = {{"optax", "orbax", "tensorflow", "tensorflow_datasets", "matplotlib", "starlette",
         "onnx", "ser_jax.train", "ser_jax.engine", "ser_jax.checkpoint", "test_trained", "evil"}}
print(sorted(heavy & set(sys.modules)))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    own, other, heavy = done.stdout.splitlines()
    assert f"{folder / 'config.json'}: test_trained:OwnNetwork does not come with ser_jax: import" in own
    assert "evil:Frontend does not come with ser_jax: import evil first" in other
    assert heavy == "[]"


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("format", "another", "not a ser_jax recogniser of version 4: train the model again"),
        ("version", 2, "train the model again"),
        ("facts", [], "TypeError"),
        ("facts.seeds", 3, "attention float32 [2, 4, 1], expected float32 [3, 4, 1] as config.json says"),
        ("facts.seeds", DROPPED, "KeyError: 'seeds'"),
        ("facts.unseen", {"arousal": 3}, "AttributeError"),
        ("frontend.class", "os:system", "os:system is not of type Frontend"),
        ("frontend.seconds", 1e9, "windows of 100000000000 frames of 26 numbers are too large"),
        ("frontend.seconds", -1, "its seconds are -1, expected a positive number"),
        (
            "features.dims",
            27,
            "but it was trained on {'name': 'logmel', 'rate': 100.0, 'frames': 750, 'dims': 27",
        ),
        ("frontend.more", 1, "unexpected keyword argument 'more'"),
        ("frontend.seconds", 5.0, "name, frames, bands and outputs"),
        ("tasks.arousal.task.dimension", "tension", "dimension 'tension', expected one of arousal, valence"),
        ("tasks.arousal.task.dimension", "valence", "name, frames, bands and outputs ('valence'"),
        ("tasks.arousal.network.channels", 5, "attention float32 [2, 4, 1], expected float32 [2, 5, 1]"),
        ("tasks.arousal.network.channels", 0, "channels 0"),
        ("tasks.arousal.network.channels", 10**12, "expected"),
        ("tasks.arousal.network.channels", "4", "TypeError"),
        ("tasks.arousal.network.outputs", 3, "name, frames, bands and outputs"),
        ("tasks.arousal.temperature.value", "1", "expected two numbers"),
        ("tasks.valence", DROPPED, "tasks.valence.params.attention float32 [2, 4, 1], expected none"),
        ("sha256", "0" * 64, "its SHA-256 is not that of config.json"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(copy, place, value, sentence):
    config = json.loads((copy / "config.json").read_text())
    inner = config
    *above, last = place.split(".")
    for key in above:
        inner = inner[key]
    if value is DROPPED:
        del inner[last]
    else:
        inner[last] = value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=re.escape(sentence)) as error:
        trained.read(copy)
    assert str(copy) in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": "ser_jax']
)
def test_a_file_that_is_no_configuration_is_refused(copy, content):
    (copy / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json: .*, expected what ser-jax train wrote"):
        trained.read(copy)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("scaler.mean", DROPPED, "scaler.mean none, expected float32 [26]"),
        ("scaler.mean", np.zeros(25, np.float32), "scaler.mean float32 [25], expected float32 [26]"),
        ("scaler.mean", np.zeros(26), "scaler.mean float64 [26], expected float32 [26]"),
        ("more", np.zeros(1, np.float32), "more float32 [1], expected none"),
        ("scaler.scale", np.full(26, np.inf, np.float32), "scaler.scale holds numbers that are not finite"),
        ("tasks.arousal.params.bias", np.full((2, 4), np.nan, np.float32), "bias holds numbers that are not"),
    ],
)
def test_weights_that_do_not_fit_are_refused(copy, name, value, sentence):
    tensors = load_file(copy / "model.safetensors")
    tensors[name] = value
    if value is DROPPED:
        del tensors[name]
    save_file(tensors, copy / "model.safetensors")
    config = json.loads((copy / "config.json").read_text())
    config["sha256"] = hashlib.sha256((copy / "model.safetensors").read_bytes()).hexdigest()
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=re.escape(sentence)):
        trained.read(copy)


def test_damaged_weights_are_refused(copy, monkeypatch):
    content, draw = (copy / "model.safetensors").read_bytes(), np.random.default_rng(0)
    damaged = [content[:i] for i in (0, 8, len(content) // 2, len(content) - 1)] + [content + b"\0"]
    for place in draw.integers(0, len(content), 3).tolist():
        damaged.append(
            content[:place] + bytes([content[place] ^ 1 << int(draw.integers(8))]) + content[place + 1 :]
        )
    for one in damaged:
        (copy / "model.safetensors").write_bytes(one)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            trained.read(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_is_missing_or_not_regular_is_named_and_not_waited_for(copy, name):
    with pytest.raises(ModelError, match="is a file, expected the folder that ser-jax train wrote"):
        trained.read(copy / name)
    (copy / name).unlink()
    with pytest.raises(ModelError, match=f"{name}: no such file, expected the .* of a recogniser"):
        trained.read(copy)
    os.mkfifo(copy / name)
    with pytest.raises(ModelError, match=f"{name}: not a regular file"):
        trained.read(copy)


def test_weights_that_predict_nothing_finite_are_refused():
    model = recognisers.drawn(("arousal",), seeds=1, network=Probe)
    bias = jax.tree.map(lambda leaf: np.full_like(leaf, 3e38), model)
    with pytest.raises(ModelError, match="predicts non-finite numbers"):
        recognisers.Recognizer(bias).compile()
