"""The Whisper encoder: a plain NumPy forward pass, the parity vectors, padding, batches and layers."""

import dataclasses
import json
import os
import shutil
import sys
import types
from pathlib import Path

import httpx
import jax
import jax.numpy as jnp
import numpy as np
import pair
import pytest
import recognisers
import servers
import soundfile
from encoders import DEPTH, WIDTH, draw
from librosa.filters import mel as slaney
from safetensors.numpy import save_file
from scipy.special import erf

from ser_jax import data, devices
from ser_jax.cli import main
from ser_jax.data import beam, preparation
from ser_jax.features import RATE, FrontendError, LogMel, describe, make, tag, whisper
from ser_jax.features.whisper import Whisper, encode, log_mel, normalize, read_encoder
from ser_jax.model import AttentivePooling, Probe
from ser_jax.recognizer import Recognizer, stream
from ser_jax.recognizer.trained import ModelError, packaged

FILTERS = jnp.asarray(whisper.mel_filters(80))


def plain(weights, mel):
    """Return the embedding and the outputs of all blocks of one log-mel [t, 80], read literally."""
    w = {name.removeprefix("model.encoder."): value.astype(np.float64) for name, value in weights.items()}

    def gelu(x):
        return x * (1 + erf(x / np.sqrt(2))) / 2

    def norm(name, x):
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def convolve(name, x, stride):
        padded = np.pad(x, [(1, 1), (0, 0)])
        rows = [
            np.einsum("kc,ock->o", padded[t : t + 3], w[f"{name}.weight"]) for t in range(0, len(x), stride)
        ]
        return gelu(np.stack(rows) + w[f"{name}.bias"])

    x = convolve("conv2", convolve("conv1", mel, 1), 2)
    x = x + w["embed_positions.weight"][: len(x)]
    found = [x]
    for layer in range(DEPTH):
        name = f"layers.{layer}"
        own = norm(f"{name}.self_attn_layer_norm", x)
        q, k, v = (
            own @ w[f"{name}.self_attn.{one}_proj.weight"].T + w.get(f"{name}.self_attn.{one}_proj.bias", 0)
            for one in "qkv"
        )
        heads = []
        for head in (slice(0, 64), slice(64, 128)):
            scores = np.exp(q[:, head] @ k[:, head].T / 8)
            heads.append(scores / scores.sum(1, keepdims=True) @ v[:, head])
        attended = np.concatenate(heads, 1)
        x = x + attended @ w[f"{name}.self_attn.out_proj.weight"].T + w[f"{name}.self_attn.out_proj.bias"]
        own = gelu(norm(f"{name}.final_layer_norm", x) @ w[f"{name}.fc1.weight"].T + w[f"{name}.fc1.bias"])
        x = x + own @ w[f"{name}.fc2.weight"].T + w[f"{name}.fc2.bias"]
        found.append(x)
    return np.stack(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("whisper")
    save_file(draw(), place / "model.safetensors")
    return place


def noise(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [(0.1 * rng.standard_normal(length)).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("frames", [1, 2, 3, 77, 200])
def test_equals_a_plain_forward_pass_whatever_the_padding(folder, frames):
    mel = jnp.asarray(np.random.default_rng(frames).standard_normal((1, 201, 80)), jnp.float32)
    found = jax.jit(encode)(read_encoder(folder), mel, jnp.array([frames]))[:, 0, : (frames + 1) // 2]
    np.testing.assert_allclose(found, plain(draw(), np.asarray(mel[0, :frames], float)), atol=2e-4)


@pytest.mark.skipif("SER_JAX_WHISPER" not in os.environ, reason="SER_JAX_WHISPER names no encoder of tiny.en")
def test_equals_the_parity_vectors():
    place = Path(os.environ["SER_JAX_WHISPER"])
    encoder, known = read_encoder(place), np.load(place / "parity.npz")
    found = encode(encoder, jnp.asarray(known["mel"].T[None]), jnp.array([known["mel"].shape[1]]))[-1]
    norm = (jnp.asarray(encoder.stem[f"layer_norm.{part}"]) for part in ("weight", "bias"))
    last = normalize(found, *norm)
    np.testing.assert_allclose(last[0], known["expected"], atol=1e-4)
    own = read_encoder(whisper.PACKAGED)
    for name, weight in own.blocks.items():
        np.testing.assert_array_equal(weight, encoder.blocks[name][:2])


@pytest.mark.parametrize("length", [400, 8000, 8079, 24000])
def test_log_mels_are_whispers(length):
    (samples,) = noise(length)
    padded = np.pad(np.pad(samples, (0, 400)), (200, 0), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: length // 160]
    power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1])) ** 2
    level = np.log10(np.maximum(power @ slaney(sr=RATE, n_fft=400, n_mels=80).T, 1e-10))
    expected = (np.maximum(level, level.max() - 8) + 4) / 4
    batch = np.zeros((1, 24000), np.float32)
    batch[0, :length] = samples
    found = log_mel(jnp.asarray(batch), jnp.array([length]), FILTERS)[0, : length // 160]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("gain", [1e-4, 1.0, 1e3])
def test_relative_log_mels_do_not_depend_on_the_level(gain):
    samples = noise(8000)[0][None] * np.linspace(1e-3, 1, 8000)
    each = [
        log_mel(jnp.asarray(one, jnp.float32), jnp.array([8000]), FILTERS, True)
        for one in (samples, gain * samples)
    ]
    np.testing.assert_allclose(each[0], each[1], atol=1e-3)
    assert each[0].max() == pytest.approx(1.25)


@pytest.mark.parametrize("below", [10.0, 25.0])
def test_silence_around_speech_is_cut_off(below):
    rng = np.random.default_rng(0)
    level = np.r_[
        np.full(40, -60.0),
        rng.uniform(-20, 0, 50),
        np.full(30, -40.0),
        rng.uniform(-20, 0, 50),
        np.full(60, -60),
    ]
    batch = np.stack(
        [np.r_[level, np.zeros(20)], np.r_[np.full(200, -30.0), np.zeros(50)]]
    )  # the other is steady
    mel = (np.repeat(batch[:, :, None], 80, axis=2) / 10 + 4) / 4
    found, frames = whisper.trim(jnp.asarray(mel), jnp.array([230, 200]), below)
    power = np.convolve(10 ** (level / 10), np.full(5, 0.2), "same")
    loudest = np.convolve(10 ** (level / 10), np.full(10, 0.1), "same").max()
    loud = np.flatnonzero(power >= loudest * 10 ** (-below / 10))
    first, last = loud[0], loud[-1]
    assert frames.tolist() == [last - first + 1, 200]
    np.testing.assert_allclose(found[0, : frames[0]], mel[0, first : last + 1], rtol=1e-5)
    np.testing.assert_allclose(found[1, :200], mel[1, :200], rtol=1e-5)


def test_silence_around_a_recording_does_not_change_its_mean(folder):
    frontend = Whisper(weights=str(folder), stride=375, relative=True, trim=25.0)
    (speech,) = noise(24_000)
    around = np.concatenate([1e-4 * noise(16_000, seed=1)[0], speech, 1e-4 * noise(8_000, seed=2)[0]])
    found, known = frontend.extract(around), frontend.extract(speech)
    assert found.shape == known.shape == (1, WIDTH)
    assert np.abs(found - known).max() < 0.1 * known.std()
    everything = dataclasses.replace(frontend, trim=None).extract(around)
    assert np.abs(everything - known).max() > 0.5 * known.std()


@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("layers", [(0,), (3,), (2, 1)])
def test_layers_lie_side_by_side_and_positions_are_averaged(folder, layers, stride):
    frontend = Whisper(weights=str(folder), layers=layers, stride=stride)
    (samples,) = noise(9000)
    mel = log_mel(jnp.asarray(samples[None]), jnp.array([9000]), FILTERS)
    every = np.asarray(encode(read_encoder(folder), mel, jnp.array([56])))[:, 0]
    x = np.concatenate([every[layer] for layer in layers], axis=1)
    expected = [x[first : first + stride].mean(0) for first in range(0, len(x), stride)]
    found = frontend.extract(samples)
    assert found.shape == (len(expected), frontend.dims)
    assert frontend.dims == len(layers) * WIDTH
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-3)


def test_a_batch_equals_its_recordings_one_by_one(folder):
    frontend = Whisper(weights=str(folder), seconds=2.0)
    recordings = noise(400, 40000, 8000, 31999, 32000, 500, 7000, 9000, 16000, 25000)
    found = frontend.extract_batch(recordings)
    for samples, own in zip(recordings, found, strict=True):
        np.testing.assert_allclose(own, frontend.extract(samples), atol=1e-3, rtol=1e-3)
    assert max(map(len, found)) == frontend.frames == 25
    assert frontend.rate == 12.5
    assert [len(own) for own in found[:2]] == [1, 25]


def test_names_of_full_models_shards_and_files_are_read(folder, tmp_path):
    full = draw() | {"model.decoder.layers.0.encoder_attn.k_proj.weight": np.ones((2, 2), np.float32)}
    names = sorted(full)
    save_file({name: full[name] for name in names[:20]}, tmp_path / "model-1.safetensors")
    save_file({name: full[name] for name in names[20:]}, tmp_path / "model-2.safetensors")
    save_file(draw(prefix="encoder."), tmp_path.with_suffix(".safetensors"))
    for place in (tmp_path, tmp_path.with_suffix(".safetensors")):
        jax.tree.map(np.testing.assert_array_equal, read_encoder(place), read_encoder(folder))


def test_corpora_are_found_by_the_weights_and_not_by_their_place(folder, tmp_path):
    save_file(draw(), tmp_path / "moved.safetensors")
    moved = Whisper(weights=str(tmp_path / "moved.safetensors"))
    save_file(draw(1), tmp_path / "other.safetensors")
    other = Whisper(weights=str(tmp_path / "other.safetensors"))
    assert tag(moved) == tag(Whisper(weights=str(folder))) != tag(other)
    assert describe(moved)["sha256"] != describe(other)["sha256"]
    assert "weights" not in describe(moved)


def test_the_default_comes_with_the_package():
    frontend = make("whisper")
    assert tag(frontend) == "-whisper"
    assert (frontend.dims, frontend.frames) == (384, 94)
    found = frontend.extract(noise(16000)[0])
    assert found.shape == (13, 384)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"layers": (4,)}, r"layers \(4,\), expected some of 0 to 3"),
        ({"layers": ()}, r"layers \(\), expected some"),
        ({"stride": 0}, "stride 0 and 7.5 s, expected positions of 20 ms within 8 s"),
        ({"seconds": 9.0}, "stride 4 and 9 s, expected positions"),
    ],
)
def test_what_cannot_be_computed_is_refused(folder, fields, sentence):
    with pytest.raises(FrontendError, match=sentence):
        Whisper(weights=str(folder), **fields)


def test_weights_that_are_none_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(FrontendError, match=r"model.safetensors: .*, expected Whisper's weights"):
        Whisper(weights=str(tmp_path))
    save_file({"model.encoder.conv1.bias": np.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(FrontendError, match=r"lacks conv1\.weight, expected the encoder"):
        Whisper(weights=str(tmp_path))
    save_file(draw(depth=0), tmp_path / "model.safetensors")
    with pytest.raises(FrontendError, match=r"lacks layers\.0\."):
        Whisper(weights=str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FrontendError, match=r"lacks conv1\.weight"):
        Whisper(weights=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("conv1.weight", (128,), r"\[128\], expected \[128, 'any', 3\]"),
        ("conv2.weight", (128, 64, 3), r"\[128, 64, 3\], expected \[128, 128, 3\]"),
        ("conv2.bias", (), r"\[\], expected \[128\]"),
        ("embed_positions.weight", (400, 64), r"\[400, 64\], expected \[400, 128\]"),
        ("layers.1.fc1.weight", (256, 128), r"\[256, 128\], expected \[512, 128\]"),
        ("layers.2.fc2.weight", (512, 128), r"\[512, 128\], expected \[128, 512\]"),
        ("layers.0.self_attn.k_proj.weight", (128, 1), r"\[128, 1\], expected \[128, 128\]"),
    ],
)
def test_a_tensor_of_another_shape_is_named(tmp_path, name, shape, expected):
    save_file(draw() | {f"model.encoder.{name}": np.ones(shape, np.float32)}, tmp_path / "of.safetensors")
    with pytest.raises(FrontendError, match=rf"of.safetensors: {name} is {expected}$"):
        Whisper(weights=str(tmp_path))


def test_widths_that_heads_do_not_divide_are_refused(tmp_path):
    narrow = {name: value[tuple(map(slice, np.minimum(value.shape, 96)))] for name, value in draw().items()}
    save_file(narrow, tmp_path / "model.safetensors")
    with pytest.raises(FrontendError, match=f"{tmp_path}: encoder of width 96, expected a multiple of 64"):
        Whisper(weights=str(tmp_path))


@pytest.mark.parametrize("place", ["/nowhere/whisper", "~/whisper.safetensors", "./whisper", "whisper"])
def test_paths_that_do_not_exist_are_not_asked_for_on_the_hub(place):
    with pytest.raises(FrontendError, match=rf"{place}: no such file or folder, expected one, or the name"):
        Whisper(weights=place)


def test_weights_are_downloaded_by_name(folder, monkeypatch):
    name = "someone/whisper-of-theirs"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FrontendError, match=rf"{name}: no such file or folder, expected .*ser_jax\[hub\]"):
        Whisper(weights=name)
    asked = []
    hub = types.SimpleNamespace(
        snapshot_download=lambda *it, **options: asked.append((it, options)) or folder
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    frontend = Whisper(weights=name, revision="main")
    frontend.extract(noise(8000)[0])
    assert tag(frontend) == tag(Whisper(weights=str(folder)))
    given = {"revision": "main", "allow_patterns": ["*.safetensors"], "local_files_only": False}
    assert asked == [((name,), given)]
    assert frontend.revision == folder.name  # a commit: branches move
    assert dataclasses.replace(frontend, stride=2).revision == folder.name
    assert asked[1:] == [((name,), given | {"revision": folder.name})]
    hub.snapshot_download = lambda *_, **__: 1 / 0
    with pytest.raises(FrontendError, match="another: division by zero, expected a repository of Whisper's"):
        Whisper(weights="someone/another")


def test_a_recogniser_downloads_nothing(tmp_path, monkeypatch):
    asked = []
    hub = types.SimpleNamespace(snapshot_download=lambda *_, **options: asked.append(options) or 1 / 0)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    shutil.copytree(packaged(), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["frontend"] = {"class": "ser_jax.features.whisper:Whisper", "weights": "someone/whisper"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"someone/whisper: .*, expected revision main of that repo"):
        Recognizer.load(tmp_path)
    assert [options["local_files_only"] for options in asked] == [True]


def test_one_process_computes_on_an_accelerator(folder, tmp_path, monkeypatch):
    source, workers = pair.shared() / "speech/IEMOCAP_full_release", []
    monkeypatch.setattr(devices, "backend", lambda: "gpu")
    monkeypatch.setattr(beam, "in_order", lambda *it: workers.append(it[2]) or preparation.in_order(*it))
    for features in (Whisper(weights=str(folder), seconds=0.5), LogMel()):
        data.prepare("iemocap", source, features=features, data_dir=tmp_path, workers=2)
    assert workers == [1, 2]


def test_a_recogniser_of_its_features_is_trained_and_predicts(folder, tmp_path, capsys):
    source = pair.shared() / "speech/IEMOCAP_full_release"
    features = ("--features", "whisper", "--features.weights", str(folder), "--features.seconds", "3")
    data_dir = ("--data-dir", str(tmp_path))
    prepare = ["prepare", "iemocap", "--source", str(source), "--workers", "1", *features, *data_dir]
    out = str(tmp_path / "model")
    train = ["train", "--corpora", "iemocap", "--out", out, *features, *data_dir, "--tasks", "arousal"]
    assert main(prepare) == main([*train, "--model", "probe", "--epochs", "3", "--seeds", "1"]) == 0
    recognizer = Recognizer.load(out)
    recording = next(source.rglob("*.wav"))
    assert recognizer.frontend == Whisper(weights=str(folder), seconds=3.0)
    assert sum(recognizer(recording).tasks["arousal"].values.values()) == pytest.approx(1)
    save_file(draw(1), folder / "model.safetensors")
    try:
        whisper._read.cache_clear()
        with pytest.raises(ModelError, match=r"its front end computes .*, but it was trained on"):
            Recognizer.load(out)
    finally:
        save_file(draw(), folder / "model.safetensors")
        whisper._read.cache_clear()


@pytest.fixture(scope="module", params=[Probe, AttentivePooling])
def trained(request, tmp_path_factory):
    """Return the folder of a recogniser, the recogniser, a recording of two windows, and its prediction."""
    options = {"tasks": ("arousal",), "seeds": 2, "network": request.param, "frontend": Whisper(seconds=2.0)}
    folder = recognisers.kept(tmp_path_factory.mktemp("trained") / "model", **options)
    recognizer, file = Recognizer.load(folder), folder.with_name("speech.wav")
    soundfile.write(file, recognisers.speech(3.5), RATE, subtype="FLOAT")
    return folder, recognizer, file, recognizer(file).as_dict(str(file))


def test_recognisers_predict_by_command(trained, capsys):
    folder, recognizer, file, known = trained
    segments = recognizer.model.tasks["arousal"].network.segments
    attention = known["windows"][1]["tasks"]["arousal"]["attention"]
    assert (len(attention), segments) in [(0, 1), (25, 25)]
    assert main(["predict", "--model", str(folder), "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == [known]


def test_recognisers_are_served(trained):
    _, recognizer, file, known = trained
    with servers.running(recognizer) as serving:
        for place in ("predict", "visualize"):
            url = f"{serving.address}/{place}?name={file}"
            found = httpx.post(url, content=file.read_bytes(), trust_env=False, timeout=60).json()
            assert found.get("prediction", found) == known


def test_recognisers_stream(trained):
    _, recognizer, file, _ = trained
    with file.open("rb") as opened:
        *_, last = stream.pipe(recognizer, opened)
    samples = soundfile.read(file, dtype="float32")[0]
    assert (last.seconds, last.window) == (3.5, recognizer.window(samples[-2 * RATE :], start=1.5))
