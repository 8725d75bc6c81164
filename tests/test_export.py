"""An exported recogniser gives the predictions of the recogniser, without ser_jax."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
from encoders import written
from flax import linen as nn
from recognisers import drawn

from ser_jax.data.standardize import Scaler
from ser_jax.features import MFCC, Frontend, Waveform
from ser_jax.features.joined import Joined
from ser_jax.features.whisper import Whisper
from ser_jax.model import AttentiveCNN, AttentivePooling, Output, Probe
from ser_jax.recognizer import Recognizer
from ser_jax.recognizer.export import ExportError, export, to_onnx, to_stablehlo

pytestmark = pytest.mark.usefixtures("hastily")
EXAMPLE = Path(__file__).parents[1] / "examples" / "recognise_onnx.py"
RNG = np.random.default_rng(0)
SOUNDS = {
    "one frame": RNG.uniform(-1, 1, 400),
    **{f"{count} samples": RNG.uniform(-0.1, 0.1, count) for count in (1600, 16_000, 52_801, 120_000)},
    "3 s": RNG.uniform(-1, 1, 48_000) * np.repeat(10 ** RNG.uniform(-3, 0, 15), 3200),
    "longer than a window": np.sin(np.arange(150_000) ** 2 / 2e6),
    "silence": np.zeros(48_000),
    "noise of -80 dB on an offset": 0.9 + RNG.uniform(-1e-4, 1e-4, 48_000),  # needs float64
}


@dataclasses.dataclass(frozen=True)
class Levels(Frontend):
    """The level of each half second."""

    name: ClassVar[str] = "levels"
    rate: ClassVar[float] = 2.0
    dims: ClassVar[int] = 1

    def extract(self, samples):
        parts = np.array_split(samples, max(1, len(samples) // 8000))
        return np.array([[part.std()] for part in parts])


@dataclasses.dataclass(frozen=True)
class Mixed:
    """A network of many primitives: convolutions, embeddings, activations, order and normalisation."""

    bands: int = 26
    frames: int = 750
    outputs: int = 4
    segments: int = 15
    is_unusual: bool = False

    def network(self):
        return MixedNetwork(self)


class MixedNetwork(nn.Module):
    config: Mixed

    @nn.compact
    def __call__(self, x, training):
        blocks = x.reshape(len(x), self.config.segments, -1)
        blocks = nn.gelu(nn.Conv(6, (3,), kernel_dilation=(2,))(blocks))
        blocks = nn.LayerNorm()(blocks) + nn.Embed(20, 6)(jnp.arange(self.config.segments)[None])
        weight = nn.softmax(nn.softplus(nn.Dense(1)(blocks)), axis=1)
        pooled = jnp.concatenate([(weight * blocks).sum(axis=1), jnp.sort(blocks, axis=1)[:, 3]], axis=1)
        pooled = jnp.clip(nn.silu(pooled), -2, 2) ** 3 + jnp.expm1(-jnp.abs(pooled))
        outputs = nn.Dense(self.config.outputs)(pooled)
        return Output(jnp.cumsum(outputs, axis=1) if self.config.is_unusual else outputs, weight[..., 0])


def fitted(network, frontend, **sizes):
    """Return a recogniser of random weights whose predictions depend on the features of speech."""
    trained = drawn(("arousal",), 2, network, frontend, **sizes)
    features = frontend.extract(SOUNDS["3 s"]).astype(np.float32)
    return dataclasses.replace(trained, scaler=Scaler(features.mean(0), 1 / (features.std(0) + 0.01)))


def random_whisper(**fields):
    return Whisper(weights=written(), **fields)


MODELS = {
    "small": lambda: Recognizer.load("small").model,
    "whisper by default": lambda: Recognizer.load().model,
    "four classes in bfloat16": lambda: drawn(("emotion",), 2, channels=8, precision="bfloat16"),
    "masked attention": lambda: drawn(("arousal",), 2, channels=8, mask_attention=True, padding="silence"),
    "numbers by Probe, one seed": lambda: drawn(("dimensions",), 1, Probe),
    "own network": lambda: drawn(("emotion",), 2, Mixed),
    "mfcc": lambda: fitted(AttentivePooling, MFCC()),
    "waveform": lambda: fitted(Probe, Waveform()),
    "whisper": lambda: fitted(Probe, Whisper()),
    "whisper's embedding": lambda: fitted(AttentivePooling, random_whisper(layers=(0,), stride=3)),
    "whisper's statistics": lambda: fitted(
        Probe, Joined(parts=(random_whisper(stride=2), MFCC()), pooled=True)
    ),
    "whisper beside mfcc": lambda: fitted(AttentivePooling, Joined(parts=(random_whisper(), MFCC()))),
    "whisper without silence": lambda: fitted(Probe, random_whisper(relative=True, trim=20.0)),
    "whisper's layers": lambda: fitted(AttentiveCNN, random_whisper(layers=(3, 1)), channels=4, pool=5),
}


@functools.cache
def exported(name):
    """Return a recogniser, its ONNX, its StableHLO, and two functions of samples: what these compute."""
    trained = MODELS[name]()
    graph, program = to_onnx(trained), to_stablehlo(trained)
    call = jax.jit(jax.export.deserialize(bytearray(program)).call)

    def by_stablehlo(samples):
        window = np.full(120_000, np.nan, np.float32)  # what follows the sound is not used
        window[: len(samples)] = samples[:120_000]
        return jax.device_get(call(window, np.int32(len(samples))))

    return Recognizer(trained), graph, program, session(graph), by_stablehlo


def session(content):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised anyway
    own = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in own.get_outputs()]
    first = own.get_inputs()[0].name

    def run(samples, **rest):
        return dict(zip(names, own.run(names, {first: samples, **rest}), strict=True))

    return run


def assert_same(found, window, atol=1e-5):
    known = {}
    for name, estimate in window.tasks.items():
        values = "values" if estimate.label is estimate.withheld is None else "probabilities"
        known[f"{name}_{values}"] = list(estimate.values.values())
        known[f"{name}_spread"] = list(estimate.spread.values())
        if estimate.attention:
            known[f"{name}_attention"] = [segment.weight for segment in estimate.attention]
    assert found.keys() == known.keys()
    for name, value in known.items():
        assert (found[name].dtype, found[name].shape) == (np.float32, (len(value),))
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_both_formats_agree_with_the_recogniser(name):
    recognizer, _, _, *functions = exported(name)
    # A difference in rounding to bfloat16, or of Whisper's features to float16, counts more.
    atol = 1e-4 if "bfloat16" in name else 1e-3 if "whisper" in name else 1e-5
    values = []
    for sound in SOUNDS.values():
        samples = sound.astype(np.float32)
        window = recognizer.window(samples)
        values += [list(estimate.values.values()) for estimate in window.tasks.values()]
        for function in functions:
            assert_same(function(samples), window, atol)
    assert np.ptp(values, axis=0).max() > 100 * atol


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0), np.zeros(399), np.full(9000, np.nan), np.array([*[0.1] * 300, np.inf, *[0.1] * 300])],
)
@pytest.mark.parametrize("name", ["small", "whisper", "waveform"])
def test_too_few_or_non_finite_samples_give_nan(samples, name):
    for function in exported(name)[3:]:
        assert all(np.isnan(value).all() for value in function(samples.astype(np.float32)).values())


def test_other_front_ends_are_given_as_features():
    trained = drawn(("arousal",), 2, Probe, Levels())
    content = to_onnx(trained)
    recognizer, run = Recognizer(trained), session(content)
    reason = "padded features (levels), which this file cannot compute from samples"
    assert reason in onnx.load_from_string(content).doc_string
    call = jax.export.deserialize(bytearray(to_stablehlo(trained))).call
    samples = SOUNDS["3 s"].astype(np.float32)
    features = np.zeros((15, 1), np.float32)
    features[:6] = Levels().extract(samples)
    window = recognizer.window(samples)
    assert_same(run(features, frames=np.array(6, np.int32)), window)
    assert_same(jax.device_get(call(features, np.int32(6))), window)
    assert np.isnan(run(features, frames=np.array(0, np.int32))["arousal_probabilities"]).all()


def test_the_onnx_file_is_valid_and_describes_itself():
    recognizer, content, *_ = exported("small")
    found = onnx.load_from_string(content)
    onnx.checker.check_model(found, full_check=True)
    about = {entry.key: json.loads(entry.value) for entry in found.metadata_props}
    assert about["rate"] == 16_000
    assert about["names"] == {"arousal": ["low", "high"], "valence": ["negative", "positive"]}
    assert about["facts"] == recognizer.model.facts
    assert found.producer_name == "ser_jax"
    assert "16000 Hz" in found.doc_string


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_same_recogniser_gives_the_same_bytes_without_paths(synthetic, tmp_path):
    contents = {}
    for format in ("onnx", "stablehlo"):
        for name in ("one", "other"):
            trained = drawn(("dimensions",), 2, Probe)
            trained = dataclasses.replace(trained, facts={**trained.facts, "synthetic": synthetic})
            export(Recognizer(trained), format, tmp_path / name)
        contents[format] = content = (tmp_path / "one").read_bytes()
        assert content == (tmp_path / "other").read_bytes()
        assert b".py" not in content
        assert str(Path.home()).encode() not in content
    assert jax.config.jax_traceback_in_locations_limit != 0
    assert not jax.config.jax_enable_x64
    assert ("synthetic" in onnx.load_from_string(contents["onnx"]).doc_string) == synthetic
    found = jax.export.deserialize(bytearray(contents["stablehlo"]))
    assert (found.fun_name, found.platforms) == ("recogniser", ("cpu", "cuda", "tpu"))


def test_a_network_that_cannot_be_translated_is_refused_by_its_primitive():
    with pytest.raises(ExportError, match="the recogniser computes cumsum, which ONNX export cannot"):
        to_onnx(drawn(("emotion",), 1, Mixed, is_unusual=True))


def test_a_file_that_no_program_would_read_is_refused(monkeypatch):
    monkeypatch.setattr(onnx.checker, "MAXIMUM_PROTOBUF", 10_000)
    with pytest.raises(ExportError, match=r"^0\.00 GB of ONNX, expected 0\.00 GB at most"):
        to_onnx(drawn(("dimensions",), 1, Probe))


@pytest.mark.parametrize(
    ("place", "reason"), [("none/model.onnx", "No such file or directory"), ("folder", "Is a directory")]
)
def test_a_file_that_cannot_be_written_is_named(tmp_path, place, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "kept").write_text("before")
    with pytest.raises(ExportError, match=rf"{place}: cannot be written \({reason}\), expected room for"):
        export(Recognizer(drawn(("dimensions",), 1, Probe)), "stablehlo", tmp_path / place)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "kept"]


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnx"), ("stablehlo", "flatbuffers")])
def test_a_missing_package_is_named(format, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=rf"the package {package} is missing .* pip install"):
        export(Recognizer(drawn(("dimensions",), 1, Probe)), format, tmp_path / "model")


def run_without(packages, tmp_path, *command):
    """Run Python in a process in which importing some packages fails."""
    (tmp_path / "stubs").mkdir()
    for name in packages:
        (tmp_path / "stubs" / f"{name}.py").write_text(f"raise ImportError('{name}')\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "stubs")}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env)


def test_the_example_runs_the_onnx_file_without_jax(tmp_path):
    recognizer, content, *_ = exported("small")
    (tmp_path / "model.onnx").write_bytes(content)
    soundfile.write(tmp_path / "speech.wav", SOUNDS["3 s"], 16_000)
    packages = ["jax", "jaxlib", "flax", "ser_jax", "onnx", "scipy", "librosa"]
    done = run_without(packages, tmp_path, EXAMPLE, tmp_path / "model.onnx", tmp_path / "speech.wav")
    assert (done.returncode, done.stderr) == (0, "")
    about, *lines = done.stdout.splitlines()
    assert "arousal, valence" in about
    for line, (name, estimate) in zip(lines, recognizer(tmp_path / "speech.wav").tasks.items(), strict=True):
        label = estimate.label
        assert line == f"{name} {label} ({estimate.values[label]:.4f} ± {estimate.spread[label]:.4f})"


def test_stablehlo_runs_without_ser_jax(tmp_path):
    recognizer, _, content, *_ = exported("small")
    (tmp_path / "model").write_bytes(content)
    program = """
import sys, jax, numpy as np
assert not jax.config.jax_enable_x64
call = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read())).call
print(call(np.full(120_000, 0.1, np.float32), np.int32(120_000))["arousal_probabilities"].tolist())
"""
    done = run_without(["ser_jax", "flax", "onnx"], tmp_path, "-c", program, tmp_path / "model")
    assert (done.returncode, done.stderr) == (0, "")
    known = recognizer.window(np.full(120_000, 0.1, np.float32)).tasks["arousal"]
    assert json.loads(done.stdout) == pytest.approx(list(known.values.values()), abs=1e-5)
