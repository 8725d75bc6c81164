"""What was exported says the same as the recogniser it was made of, to anybody, or there is no file."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
import recognisers
import soundfile
from exports import MODELS, RATE, REACH, SOUNDS, TOLERANCE, by_lot, exported, session_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_jax.data import synthetic as plan
from ser_jax.features import logmel
from ser_jax.recognizer import Recognizer, exporting, trained
from ser_jax.recognizer.exporting import ExportError, export

EXAMPLE = Path(__file__).parents[1] / "examples" / "recognise_onnx.py"


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("kind", MODELS)
def test_both_files_say_what_python_says(kind, sound):
    exported(kind).hold(SOUNDS[sound])


@pytest.mark.parametrize("turn", plan.plan(92, 0)[::46], ids=lambda turn: turn.speaker)
def test_so_they_do_of_synthesised_speech(turn):
    exported("two targets").hold(plan.speak_turn(turn, 0))


@settings(max_examples=25)
@given(
    count=st.integers(400, REACH + 20_000),
    decibels=st.floats(-120, 0),
    offset=st.sampled_from((0, 0.1)),
    draw=st.integers(0, 2**32 - 1),
)
def test_so_they_do_whatever_the_length_and_the_level(count, decibels, offset, draw):
    noise = np.random.default_rng(draw).uniform(-1, 1, count)
    exported("two targets").hold(offset + 10 ** (decibels / 20) * noise)


def test_a_recording_of_one_window_is_heard_to_its_end():
    samples = recognisers.speech(7.5).astype(np.float32)
    own = exported("two targets")
    whole = own.recognizer(samples, RATE).targets["arousal"]
    assert whole.probability == pytest.approx(own.onnx(samples)["arousal_probability"], abs=TOLERANCE)
    assert exporting.reach(own.recognizer.model) == REACH


def test_there_is_something_to_differ():
    found = [exported("two targets").expected(SOUNDS[sound]) for sound in ("3 s", "longer", "a click")]
    assert np.ptp([said["arousal_probability"] for said in found]) > 0.05
    assert min(max(said["arousal_attention"]) for said in found) > 0.16  # of 8 segments
    assert min(said["valence_spread"] for said in found) > 0.05


def test_what_follows_the_sound_does_not_matter():
    own, samples = exported("two targets"), SOUNDS["3 s"].astype(np.float32)
    noisy = np.ones(REACH, np.float32)
    noisy[: len(samples)] = samples
    found = jax.device_get(own.call(noisy, np.int32(len(samples))))
    for name, value in own.stablehlo(samples).items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("count", [0, 1, 79, 80, 239, 240, 399])
def test_less_than_a_frame_is_no_sound(count):
    own = exported("two targets")
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="framed"):
        own.onnx(np.zeros(count, np.float32))
    assert all(np.isnan(value).all() for value in own.stablehlo(np.zeros(count, np.float32)).values())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 20_000, -1])
def test_what_is_no_number_is_not_hidden(place, value):
    samples = SOUNDS["3 s"].astype(np.float32)
    samples[place] = value
    for found in (exported("two targets").onnx(samples), exported("two targets").stablehlo(samples)):
        assert all(np.isnan(said).all() for said in found.values())


def test_the_spread_of_a_single_seed_is_0_and_attention_sums_to_1():
    own, samples = exported("one seed"), SOUNDS["3 s"].astype(np.float32)
    for found in (own.onnx(samples), own.stablehlo(samples)):
        assert found["arousal_spread"] == found["valence_spread"] == 0
        assert found["arousal_attention"].sum() == pytest.approx(1, abs=1e-6)


def test_the_matrices_of_the_features_are_logmel():
    trained = by_lot(seeds=1)
    samples = recognisers.speech(0.5)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
    energy = (frames @ exporting.spectrum()) ** 2 @ exporting.energies(trained)
    level = 10 * np.log10(np.maximum(energy, 1e-10))
    np.testing.assert_allclose(level, logmel.logmel(samples), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "targets"), [("two targets", ("arousal", "valence")), ("one target", ("valence",))]
)
def test_names_types_and_shapes(kind, targets):
    names = [f"{target}_{what}" for target in targets for what in ("probability", "spread", "attention")]
    session, said = exported(kind).session, exported(kind).stablehlo(SOUNDS["3 s"])
    segments = exported(kind).recognizer.model.sizes.segments
    [samples] = session.get_inputs()
    assert (samples.name, samples.shape, samples.type) == ("samples", ["n"], "tensor(float)")
    assert [(value.name, value.shape, value.type) for value in session.get_outputs()] == [
        (name, [segments] if name.endswith("attention") else [], "tensor(float)") for name in names
    ]
    assert {name: (value.dtype, value.shape) for name, value in said.items()} == {
        name: (np.float32, (segments,) if name.endswith("attention") else ()) for name in names
    }


def test_the_onnx_file_is_valid_and_says_what_it_is():
    trained = by_lot()
    found = onnx.load_from_string(exporting.onnx(trained))
    onnx.checker.check_model(found, full_check=True)
    about = {entry.key: entry.value for entry in found.metadata_props}
    assert about["rate"] == "16000"
    assert json.loads(about["classes"]) == {"arousal": ["low", "high"], "valence": ["negative", "positive"]}
    assert json.loads(about["facts"]) == trained.facts
    assert (found.producer_name, found.opset_import[0].version) == ("ser_jax", 13)
    assert "synthetic speech: it says nothing about people" in found.doc_string
    said = {value.name: value.doc_string for value in (*found.graph.input, *found.graph.output)}
    assert "16000 Hz" in said["samples"]
    assert "at least 400 samples" in said["samples"]
    assert said["valence_probability"].startswith("calibrated probability of positive valence")
    assert "segments of 0.9 s" in said["arousal_attention"]


def test_a_model_of_people_is_no_demonstration():
    of_people, drawn = by_lot(seeds=1, facts={"synthetic": False}), by_lot(seeds=1)
    assert "synthetic" not in onnx.load_from_string(exporting.onnx(of_people)).doc_string
    for own, name in ((of_people, "recogniser"), (drawn, "demonstration")):
        found = jax.export.deserialize(bytearray(exporting.stablehlo(own)))
        assert (found.fun_name, found.platforms) == (name, ("cpu", "cuda", "tpu"))


@pytest.mark.parametrize("kind", exporting.FORMATS)
def test_the_same_recogniser_gives_the_same_bytes_without_a_name_of_a_folder(kind, tmp_path):
    (tmp_path / "model").mkdir()
    trained.write(tmp_path / "model", by_lot(seeds=1))
    one = Recognizer.load(tmp_path / "model")
    export(one, kind, tmp_path / "one")
    other = Recognizer.load(tmp_path / "model")
    export(other, kind, tmp_path / "other")
    content = (tmp_path / "one").read_bytes()
    assert content == (tmp_path / "other").read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content
    assert jax.config.jax_traceback_in_locations_limit != 0
    assert not jax.config.jax_enable_x64


@pytest.fixture(scope="module")
def small():
    return Recognizer(by_lot(targets=("arousal",), seeds=1))


def test_a_file_is_replaced_whole_or_not_at_all(small, tmp_path, monkeypatch):
    place = tmp_path / "model.onnx"
    place.write_text("the one before")
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(ExportError) as raised:
            export(small, "onnx", place)
    assert str(raised.value) == (
        f"{place}: cannot be written (No space left), expected a place for a file of 1.6 MB"
    )
    assert [file.read_text() for file in tmp_path.iterdir()] == ["the one before"]
    export(small, "onnx", place)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    session_of(place.read_bytes())


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("none/model.onnx", "No such file or directory"),
        ("folder", "Is a directory"),
        (".", "empty name|Is a"),
    ],
)
def test_a_place_that_takes_no_file_is_named(small, tmp_path, monkeypatch, place, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        ExportError, match=rf"^{place}: cannot be written \(.*({found}).*\), expected a place"
    ):
        export(small, "onnx", Path(place))
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(("kind", "package"), [("onnx", "onnx"), ("stablehlo", "flatbuffers")])
def test_a_missing_package_is_named_with_what_brings_it(small, tmp_path, monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        ExportError, match=rf'^the package {package} is missing .*; pip install "ser_jax\[export'
    ):
        export(small, kind, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_other_formats_are_refused(small, tmp_path):
    with pytest.raises(ExportError, match=r"^format 'coreml', expected one of onnx, stablehlo$"):
        export(small, "coreml", tmp_path / "model")
    assert not list(tmp_path.iterdir())


def without(stubs, *packages):
    """An environment in which importing some packages fails."""
    stubs.mkdir()
    for name in packages:
        (stubs / f"{name}.py").write_text(f"raise ImportError('{name} is not wanted here')\n")
    return {**os.environ, "PYTHONPATH": str(stubs)}


def run(*command, env):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, env=env)
    return done.returncode, done.stdout, done.stderr


def test_twenty_lines_run_the_onnx_file_without_jax(tmp_path):
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 20
    recogniser = exported("two targets").recognizer
    export(recogniser, "onnx", tmp_path / "model.onnx")
    stereo = recognisers.speech(3)[:, None] * [0.5, 0.25]
    soundfile.write(tmp_path / "speech.wav", stereo, RATE)
    env = without(
        tmp_path / "stubs", "jax", "jaxlib", "flax", "ser_jax", "experiments", "onnx", "scipy", "librosa"
    )
    status, out, err = run(EXAMPLE, tmp_path / "model.onnx", tmp_path / "speech.wav", env=env)
    assert (status, err) == (0, "")
    about, *lines = out.splitlines()
    assert "arousal and valence" in about
    for line, (target, estimate) in zip(
        lines, recogniser(tmp_path / "speech.wav").targets.items(), strict=True
    ):
        name, label, second, probability, _, spread = line.rstrip(")").split()
        assert (name, label) == (target, estimate.label)
        assert second == {"arousal": "(high:", "valence": "(positive:"}[target]
        assert float(probability) == pytest.approx(estimate.probability, abs=TOLERANCE)
        assert float(spread) == pytest.approx(estimate.spread, abs=TOLERANCE)

    soundfile.write(tmp_path / "slow.wav", stereo, 8000)
    status, out, err = run(EXAMPLE, tmp_path / "model.onnx", tmp_path / "slow.wav", env=env)
    assert (status, out) == (1, "")
    assert err.endswith("slow.wav: 8000 Hz, expected 16000: resample it first\n")


def test_stablehlo_runs_in_a_process_without_ser_jax(tmp_path):
    recogniser = exported("two targets").recognizer
    export(recogniser, "stablehlo", tmp_path / "model")
    samples = recognisers.speech(3).astype(np.float32)
    np.save(tmp_path / "samples.npy", np.pad(samples, (0, REACH - len(samples))))
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys\n"
        "from pathlib import Path\n"
        "import jax, numpy as np\n"
        "assert not jax.config.jax_enable_x64\n"
        "model, samples = map(Path, sys.argv[1:])\n"
        "call = jax.export.deserialize(bytearray(model.read_bytes())).call\n"
        f"said = call(np.load(samples, allow_pickle=False), np.int32({len(samples)}))\n"
        "print(json.dumps({name: value.tolist() for name, value in said.items()}))\n"
    )
    env = without(tmp_path / "stubs", "ser_jax", "flax", "onnx", "onnxruntime")
    status, out, err = run(program, tmp_path / "model", tmp_path / "samples.npy", env=env)
    assert (status, err) == (0, "")
    found = json.loads(out)
    for target, estimate in recogniser(samples, RATE).targets.items():
        assert found[f"{target}_probability"] == pytest.approx(estimate.probability, abs=TOLERANCE)
        assert found[f"{target}_spread"] == pytest.approx(estimate.spread, abs=TOLERANCE)
