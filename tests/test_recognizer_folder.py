"""A recogniser's folder gives back what was written, and nothing else is taken for one."""

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
from safetensors.numpy import load_file, save_file

from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import ModelError, trained

SIZES = AttentiveCNN(channels=4)
DROPPED = object()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return recognisers.kept(tmp_path_factory.mktemp("kept") / "model", seeds=2, sizes=SIZES)


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "model")


def test_what_is_written_is_read(kept):
    written, read = recognisers.drawn(seeds=2, sizes=SIZES), trained.read(kept)
    assert (read.sizes, read.facts) == (written.sizes, written.facts)
    assert list(read.targets) == ["arousal", "valence"]
    for name in ("filters", "mean", "scale", "targets"):
        one, other = getattr(written, name), getattr(read, name)
        assert jax.tree.structure(one) == jax.tree.structure(other)
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_same_model_is_the_same_bytes(kept, tmp_path):
    again = recognisers.kept(tmp_path / "again", seeds=2, sizes=SIZES)
    for file in ("config.json", "model.safetensors"):
        assert (kept / file).read_bytes() == (again / file).read_bytes()


def test_using_a_model_imports_nothing_that_trains(kept):
    code = f"""
import sys
from ser_jax.recognizer import Recognizer
import numpy as np
Recognizer.load({str(kept)!r})(np.random.default_rng(0).normal(size=16000), 16000)
heavy = {{"librosa", "numba", "optax", "orbax", "tensorflow", "tensorflow_datasets", "matplotlib", "fastapi",
         "onnx", "ser_jax.train", "ser_jax.engine", "ser_jax.checkpoint"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def put(config, place, value):
    *above, last = place.split(".")
    for key in above:
        config = config[key]
    if value is DROPPED:
        del config[last]
    else:
        config[last] = value


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("format", "another", "format 'another', expected 'ser_jax recogniser'"),
        ("version", 1, "version 1, expected 2; train it again"),
        ("version", DROPPED, "version None, expected 2; train it again"),
        ("features.rate", 8000, "features.rate 8000, expected 16000"),
        ("features", [], "features [], expected"),
        ("standardize", "speaker", "standardize 'speaker', expected 'train'"),
        ("seeds", 0, "seeds 0, expected a whole number"),
        ("seeds", True, "seeds True"),
        ("seeds", 10**9, "seeds 1000000000, expected a whole number from 1 to 10,000"),
        ("seeds", DROPPED, "seeds None"),
        ("seeds", 3, "arousal.attention float32 [2, 4, 1], expected float32 [3, 4, 1] as config.json says"),
        ("model", {}, "model {}, expected an object of bands, frames"),
        ("model.more", 1, "expected an object of bands, frames"),
        ("model.channels", 5, "arousal.attention float32 [2, 4, 1], expected float32 [2, 5, 1]"),
        ("model.channels", 0, "model.channels 0"),
        ("model.channels", 10**12, "model.channels 1000000000000"),
        ("model.channels", 4.0, "model.channels 4.0"),
        ("model.channels", "4", "model.channels '4'"),
        ("model.pool", 1000, "750 frames hold no segment"),
        ("model.bands", 13, "model.bands 13, expected 26"),
        ("model.precision", "float16", "precision 'float16'"),
        ("targets", {}, "targets {}, expected some of arousal, valence"),
        (
            "targets.dominance",
            {"classes": ["a", "b"], "temperature": {"value": 1.0, "decay": 0.0}},
            "expected an object of arousal, valence",
        ),
        ("targets.arousal", None, "targets.arousal None, expected an object of classes, temperature"),
        (
            "targets.arousal.classes",
            ["high", "low"],
            "classes ['high', 'low'], expected ['low', 'high']",
        ),
        (
            "targets.arousal.temperature",
            1.0,
            "arousal.temperature 1.0, expected an object of value, decay",
        ),
        ("targets.arousal.temperature.value", 0, "targets.arousal.temperature.value 0, expected 0.05 to 50"),
        ("targets.arousal.temperature.value", -1.0, "targets.arousal.temperature.value -1.0"),
        ("targets.arousal.temperature.value", float("nan"), "targets.arousal.temperature.value nan"),
        ("targets.arousal.temperature.value", "1", "targets.arousal.temperature.value '1'"),
        ("targets.arousal.temperature.value", 10**400, "targets.arousal.temperature.value 1000"),
        ("targets.arousal.temperature.value", True, "targets.arousal.temperature.value True"),
        ("targets.arousal.temperature.decay", 3.1, "targets.arousal.temperature.decay 3.1, expected 0 to 3"),
        (
            "targets.arousal.temperature.decay",
            DROPPED,
            "expected an object of value, decay",
        ),
        ("targets.valence", DROPPED, "valence.attention float32 [2, 4, 1], expected none"),
        ("sha256", "0" * 64, "not the weights whose SHA-256 config.json names"),
        ("sha256", DROPPED, "not the weights whose SHA-256"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(copy, place, value, sentence):
    config = json.loads((copy / "config.json").read_text())
    put(config, place, value)
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=re.escape(sentence)) as error:
        trained.read(copy)
    assert str(copy) in str(error.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not JSON"),
        (b"[]", "not the configuration"),
        (b"null", "not the configuration"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"format": "ser_jax recogniser"', "not JSON"),
    ],
)
def test_a_configuration_that_is_none_is_refused(copy, content, sentence):
    (copy / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=sentence):
        trained.read(copy)


def with_sha(place):
    config = json.loads((place / "config.json").read_text())
    config["sha256"] = hashlib.sha256((place / "model.safetensors").read_bytes()).hexdigest()
    (place / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("features.filters", DROPPED, "features.filters none, expected float64 [26, 201]"),
        (
            "features.filters",
            np.zeros((26, 201), np.float32),
            "features.filters float32 [26, 201], expected",
        ),
        (
            "standardization.mean",
            np.zeros(25, np.float32),
            "standardization.mean float32 [25], expected float32 [26]",
        ),
        ("more", np.zeros(1, np.float32), "more float32 [1], expected none"),
        (
            "standardization.scale",
            np.full(26, np.inf, np.float32),
            "standardization.scale holds numbers that",
        ),
        (
            "arousal.kernel",
            np.full((2, 10, 26, 4), np.nan, np.float32),
            "arousal.kernel holds numbers that are not",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(copy, name, value, sentence):
    tensors = load_file(copy / "model.safetensors")
    if value is DROPPED:
        del tensors[name]
    else:
        tensors[name] = value
    save_file(tensors, copy / "model.safetensors")
    with_sha(copy)
    with pytest.raises(ModelError, match=re.escape(sentence)):
        trained.read(copy)


def test_damaged_weights_are_never_taken_for_whole(copy):
    whole = (copy / "model.safetensors").read_bytes()
    draw = np.random.default_rng(0)
    damaged = [whole[:i] for i in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1)] + [whole + b"\0"]
    for place in draw.integers(0, len(whole), 40).tolist():
        damaged.append(
            whole[:place] + bytes([whole[place] ^ 1 << int(draw.integers(8))]) + whole[place + 1 :]
        )
    for content in damaged:
        (copy / "model.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            trained.read(copy)
    (copy / "model.safetensors").write_bytes(whole)
    trained.read(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_no_regular_file_is_named_and_not_waited_for(copy, name):
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(ModelError, match=rf"{re.escape(name)}: not a regular file, expected a file of a"):
        trained.read(copy)
    (copy / name).unlink()
    (copy / name).mkdir()
    with pytest.raises(ModelError, match=rf"{re.escape(name)}: is a folder"):
        trained.read(copy)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named(copy, missing):
    (copy / missing).unlink()
    with pytest.raises(ModelError, match=rf"{re.escape(missing)}: no such file, expected a file of"):
        trained.read(copy)


def test_what_is_no_folder_is_named(tmp_path):
    with pytest.raises(ModelError, match="no such folder, expected the folder that ser-jax train wrote"):
        trained.read(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is a file, expected the folder that"):
        trained.read(tmp_path / "file")
