"""A recogniser predicts what its networks do, however a recording is given, cut or batched."""

import contextlib
import dataclasses
import io
import itertools
import multiprocessing
import pickle
import re
import types
import warnings

import jax
import jsonschema
import numpy as np
import pytest
import recognisers
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_jax import model
from ser_jax.data import audio
from ser_jax.devices import MachineError
from ser_jax.features import RATE, LogMel, Waveform, pad, remove_offset
from ser_jax.model import Probe
from ser_jax.recognizer import (
    Estimate,
    HopError,
    Prediction,
    Recognizer,
    RecordingError,
    Segment,
    Window,
    read_recording,
    schema,
    stream,
)  # fmt: skip
from ser_jax.recognizer.recognizer import NO_SPEECH, UNKNOWN
from ser_jax.recognizer.trained import PACKAGED

pytestmark = pytest.mark.usefixtures("hastily")


@pytest.fixture(scope="module")
def small():
    return recognisers.recogniser(seeds=2, channels=4)


@pytest.fixture(scope="module")
def batching(small):
    """The same, sixteen windows at a time, as on an accelerator."""
    return Recognizer(small.model, batch=16)


def plainly(own, scaler, frontend, samples):
    """Return values [R, K] and attention [S] of one window, network by network."""
    x, frames = pad(frontend.extract(remove_offset(samples)), frontend.frames)
    x[:frames] = (x[:frames] - np.asarray(scaler.mean)) * np.asarray(scaler.scale)
    values, attention = [], []
    for seed in range(2):
        params = jax.tree.map(lambda leaf: leaf[seed], own.params)  # noqa: B023
        output = model.apply(own.network, params, x[None])
        scores = np.asarray(output.outputs[0], np.float64)
        if own.temperature is not None:
            value, decay = own.temperature
            scores = np.exp(scores / (value * (frames / frontend.frames) ** -decay))
            scores /= scores.sum()
        values.append(scores)
        attention.append(np.asarray(output.attention[0]))
    return np.array(values), np.mean(attention, axis=0)


KINDS = {
    "two classes, two tasks": {"channels": 4},
    "numbers, no attention": {"tasks": ("arousal", "dimensions"), "network": Probe},
    "four classes of short windows of samples": {
        "tasks": ("emotion",),
        "frontend": Waveform(seconds=0.5),
        "channels": 4,
        "stride": 10,
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.025, 3.3, 11.1])
def test_predictions_are_those_of_the_networks_one_by_one(kind, seconds):
    recogniser = recognisers.recogniser(seeds=2, **KINDS[kind])
    frontend, samples = recogniser.frontend, recognisers.speech(seconds)
    prediction = recogniser(samples, RATE)
    length = round(frontend.seconds * RATE)
    assert prediction.seconds == pytest.approx(seconds)
    for window in (prediction.windows[0], prediction.windows[-1]):
        first = round(window.start * RATE)
        assert window.end == pytest.approx(min(seconds, window.start + frontend.seconds))
        for name, estimate in window.tasks.items():
            own = recogniser.model.tasks[name]
            cut = samples[first : first + length].astype(np.float32)
            values, attention = plainly(own, recogniser.model.scaler, frontend, cut)
            names = own.task.class_names or own.task.dimensions
            assert tuple(estimate.values) == tuple(estimate.spread) == names
            np.testing.assert_allclose(list(estimate.values.values()), values.mean(axis=0), atol=1e-4)
            np.testing.assert_allclose(list(estimate.spread.values()), values.std(axis=0, ddof=1), atol=1e-4)
            best = names[int(values.mean(axis=0).argmax())]
            assert estimate.label == (best if own.task.class_names else None)
            weights = [segment.weight for segment in estimate.attention]
            np.testing.assert_allclose(weights, attention if len(attention) > 1 else [], atol=1e-4)
    jsonschema.validate(prediction.as_dict("any"), schema())


def test_everything_predicted_prints_as_one_line():
    segments = (Segment(0.0, 0.9, 0.25), Segment(0.9, 1.8, 0.75))
    arousal = Estimate({"low": 0.834, "high": 0.166}, {"low": 0.0412, "high": 0.0412}, "low", segments)
    numbers = Estimate({"arousal": -0.5, "valence": 0.251}, {"arousal": 0.0, "valence": 0.0}, None, ())
    tasks = {"arousal": arousal, "dimensions": numbers}
    window = Window(7.2, 12.5, tasks)
    assert repr(arousal) == "Estimate(low (high: 0.17 ± 0.04))"
    assert repr(numbers) == "Estimate(arousal -0.50, valence 0.25)"
    both = "arousal low (high: 0.17 ± 0.04)   dimensions arousal -0.50, valence 0.25"
    assert repr(window) == f"Window(7.2 to 12.5 s: {both})"
    assert repr(Prediction(12.5, tasks, (window, window), {})) == f"Prediction(12.5 s in 2 windows: {both})"
    assert repr(Prediction(5.3, tasks, (window,), {})) == f"Prediction(5.3 s in 1 window: {both})"


def test_a_recording_is_the_mean_of_its_windows_weighted_by_their_sound(small):
    prediction = small(recognisers.speech(20.0), RATE)
    assert [window.start for window in prediction.windows] == pytest.approx([0.0, 3.6, 7.2, 10.8, 14.4])
    assert [window.end for window in prediction.windows] == pytest.approx([7.5, 11.1, 14.7, 18.3, 20.0])
    share = np.array([7.5, 7.5, 7.5, 7.5, 5.6]) / 35.6
    for name, estimate in prediction.tasks.items():
        own = [window.tasks[name] for window in prediction.windows]
        for key, value in estimate.values.items():
            assert value == pytest.approx(share @ [one.values[key] for one in own])
        np.testing.assert_allclose([one.start for one in estimate.attention], 0.9 * np.arange(24))
        for segment in estimate.attention:  # its weight is the sum of those in the windows that hold it
            weights = [
                sum(part.weight for part in one.attention if abs(part.start - segment.start) < 0.1)
                for one in own
            ]
            assert segment.weight == pytest.approx(share @ weights)


@settings(max_examples=10)
@given(seconds=st.floats(0.025, 20), segments=st.integers(1, 8))
def test_windows_cover_everything_and_attention_sums_to_one(small, seconds, segments):
    prediction = small(recognisers.speech(seconds), RATE, hop=0.9 * segments)
    assert prediction.windows[0].start == 0
    for before, after in itertools.pairwise(prediction.windows):
        assert after.start - before.start == pytest.approx(0.9 * segments)
        assert before.end == pytest.approx(before.start + 7.5)
        assert after.start <= before.end < prediction.seconds
    assert prediction.windows[-1].end == pytest.approx(prediction.seconds, abs=0.025)
    for one in (prediction, *prediction.windows):
        for estimate in one.tasks.values():
            assert sum(segment.weight for segment in estimate.attention) == pytest.approx(1, abs=1e-5)
            assert sum(estimate.values.values()) == pytest.approx(1, abs=1e-5)
    jsonschema.validate(prediction.as_dict("any"), schema())


@settings(max_examples=6)
@given(seconds=st.lists(st.floats(0.03, 20), min_size=1, max_size=4))
def test_how_recordings_share_batches_does_not_matter(small, batching, seconds):
    recordings = [read_recording(recognisers.speech(one, seed=i), RATE) for i, one in enumerate(seconds)]
    alone = [next(small.predict([one])) for one in recordings]
    assert list(small.predict(recordings)) == alone
    for one, other in zip(batching.predict(recordings), alone, strict=True):
        assert one.seconds == other.seconds
        for window, expected in zip(one.windows, other.windows, strict=True):
            for name, estimate in window.tasks.items():
                assert estimate.values == pytest.approx(expected.tasks[name].values, abs=1e-5)


def test_recordings_are_read_no_further_ahead_than_a_batch_and_checked_before_each(batching):
    recording, checks, given, yielded, most = read_recording(recognisers.speech(1.0), RATE), [], 0, 0, 0

    def recordings():
        nonlocal given
        for _ in range(40):
            given += 1
            yield recording

    for _ in batching.predict(recordings(), check=lambda: checks.append(given)):
        yielded += 1
        most = max(most, given - yielded)
    assert (given, yielded, checks) == (40, 40, [16, 32, 40])
    assert most < 16

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        next(batching.predict(recordings(), check=stop))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_file_is_its_samples(tmp_path, small, rate):
    samples = recognisers.speech(9.0, rate)
    path = tmp_path / "speech.flac"
    soundfile.write(path, np.stack([samples, 0.5 * samples], axis=1), rate, subtype="PCM_24")
    read, _ = soundfile.read(path)
    assert small(path) == small(str(path)) == small(read, rate) == small(read.mean(axis=1), rate)
    calls = []
    read_recording(path, check=lambda: calls.append(1))
    assert len(calls) >= 2


class Tensor:
    """As PyTorch's: NumPy may not read it on another device, or while it records gradients."""

    def __init__(self, samples, is_readable=False):
        self.samples, self.is_readable = samples, is_readable
        self.shape, self.ndim = samples.shape, samples.ndim

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.samples, is_readable=True)

    def __array__(self, dtype=None, copy=None):
        if not self.is_readable:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return np.asarray(self.samples, dtype)


class Named:
    """A path of another library."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def decoder(samples, rate):
    found = types.SimpleNamespace(data=Tensor(samples.T), sample_rate=rate)
    return types.SimpleNamespace(get_all_samples=lambda: found)


class Unseekable(io.BytesIO):
    def seekable(self):
        return False


FORMS = {  # of a path, or of samples [n, 2] and their rate, to the arguments of a recogniser
    "path": lambda path, *_: (path,),
    "text": lambda path, *_: (str(path),),
    "path of another library": lambda path, *_: (Named(path),),
    "in the home folder": lambda path, *_: (f"~/{path.name}",),
    "bytes": lambda path, *_: (path.read_bytes(),),
    "bytes that may change": lambda path, *_: (bytearray(path.read_bytes()),),
    "BytesIO": lambda path, *_: (io.BytesIO(path.read_bytes()),),
    "pipe": lambda path, *_: (Unseekable(path.read_bytes()),),
    "open file": lambda path, *_: (path.open("rb"),),
    "Hugging Face's bytes": lambda path, *_: ({"bytes": path.read_bytes(), "path": None},),
    "Hugging Face's path": lambda path, *_: ({"bytes": None, "path": str(path)},),
    "array": lambda _, samples, rate: (samples, rate),
    "a number of NumPy": lambda _, samples, rate: (samples, np.float32(rate)),
    "channels first": lambda _, samples, rate: (samples.T, rate),
    "list": lambda _, samples, rate: (samples.tolist(), rate),
    "JAX": lambda _, samples, rate: (jax.numpy.asarray(samples, np.float32), rate),
    "tensor": lambda _, samples, rate: (Tensor(samples), rate),
    "gradio": lambda _, samples, rate: ((rate, np.round(samples * 2**15).astype(np.int16)),),
    "soundfile": lambda _, samples, rate: ((samples, rate),),
    "torchaudio": lambda _, samples, rate: ((Tensor(samples.T), rate),),
    "Hugging Face": lambda _, samples, rate: ({"path": "a", "array": samples.T, "sampling_rate": rate},),
    "a pipeline of Transformers": lambda _, samples, rate: ({"raw": samples, "sampling_rate": rate},),
    "TorchCodec": lambda _, samples, rate: (decoder(samples, rate),),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_recording_is_predicted_alike(tmp_path, small, form, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "~a.wav"  # no home folder of a user
    soundfile.write(path, np.stack([recognisers.speech(1.0, 8000, i) for i in (0, 1)], axis=1), 8000)
    samples, rate = soundfile.read(path)
    arguments = FORMS[form](path, samples, rate)
    assert small(*arguments) == small(path)
    if hasattr(arguments[0], "close"):
        arguments[0].close()


def test_a_file_whose_header_states_no_length_is_named_as_it_was_given(tmp_path, caplog):
    path = tmp_path / "a.wav"
    soundfile.write(path, recognisers.speech(1.0), RATE)
    data = bytearray(path.read_bytes())
    data[40:44] = bytes(4)
    path.write_bytes(data)
    for sound, name, shown in (
        (path, None, path),
        (bytes(data), None, "the file"),
        (path, "speech", "speech"),
    ):
        assert read_recording(sound, name=name).seconds == 1
        assert caplog.messages == [f"{shown}: its header states no length, read to the end"]
        caplog.clear()


def test_features_are_those_of_training(tmp_path):
    for rate in (16_000, 44_100):
        soundfile.write(tmp_path / "a.wav", recognisers.speech(9.0, rate), rate)
        samples = read_recording(tmp_path / "a.wav").samples[:120_000]
        prepared = LogMel().extract(audio.read(tmp_path / "a.wav")[0])
        np.testing.assert_allclose(LogMel().extract(samples), prepared, atol=0.01)


@pytest.mark.parametrize(
    ("samples", "rate", "sentence"),
    [
        (np.zeros(399), RATE, "0.0249 s of sound, expected at least one frame of 0.025 s"),
        (np.zeros((800, 0)), RATE, "shape [800, 0]"),
        (np.zeros((9, 8000)), RATE, "shape [9, 8000], expected a single recording [n, channels]"),
        (np.zeros((2, 2, 8000)), RATE, "shape [2, 2, 8000]"),
        ([[0.1, 0.2], [0.3]], RATE, "samples are not an array (setting an array element with a sequence"),
        (([[0.1, 0.2], [0.3]], RATE), None, "samples are not an array"),
        (0.5, RATE, "shape []"),
        (None, RATE, "shape []"),
        ((RATE, np.zeros(8000)), RATE, "rate 16000 and samples with a rate of 16000, expected one rate"),
        ({"array": np.zeros(8000)}, None, "rate None of samples"),
        (b"hello there", None, "the file: not readable as audio (it begins with b'hello th')"),
        (b"RIFF", RATE, "rate 16000 for the file"),
        (io.TextIOWrapper(io.BytesIO(b"\xfa")), None, "the file: opened as text"),
        (io.StringIO("hello"), None, 'the file: opened as text, expected open(path, "rb")'),
        (np.full(800, np.nan), RATE, "float64 samples that are not finite, expected -1 to 1"),
        (np.array([[9.0, -9.0]] * 800), RATE, "samples of up to 9"),  # their mean is silence
        (np.zeros(8000), 10, "rate 10 of samples, expected 1000 to 768000 Hz"),
        (np.zeros(8000), np.nan, "rate nan"),
        (np.zeros(8000), None, "rate None"),
        ("a.wav", 16_000, "the file states its own"),
    ],
)
def test_samples_that_are_no_recording_are_refused(small, samples, rate, sentence):
    with pytest.raises(RecordingError, match=re.escape(sentence)):
        small(samples, rate)


@pytest.mark.parametrize("hop", [0, -0.9, 0.5, 1.0, 8.1, 1e30, np.nan, np.inf])
def test_hops_are_multiples_of_a_segment(small, hop):
    with pytest.raises(HopError, match=r"expected a multiple of 0\.9 s, at most 7\.2 s"):
        small(recognisers.speech(1.0), RATE, hop=hop)


@contextlib.contextmanager
def forked(function):
    """Run a function in a forked process and yield what it returns or raises, as a list."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()

    def run():
        try:
            theirs.send([function()])
        except Exception as error:
            theirs.send([error])

    process = fork.Process(target=run)
    with warnings.catch_warnings(action="ignore"):  # Python and JAX warn of forks
        process.start()
    try:
        yield ours.recv() if ours.poll(20) else ["waits forever"]
    finally:
        process.kill()
        process.join()


USES = {
    "predict": lambda recogniser, file: recogniser(file),
    "compile, as servers do": lambda recogniser, file: recogniser.compile(),
    "stream": lambda recogniser, file: list(stream.pipe(recogniser, file.open("rb"))),
    "make": lambda recogniser, file: Recognizer(recogniser.model),
    "load": lambda recogniser, file: Recognizer.load(),
}


@pytest.mark.parametrize("use", USES)
def test_a_process_that_was_forked_later_is_refused(tmp_path, small, use):
    soundfile.write(tmp_path / "a.wav", recognisers.speech(1.0), RATE)
    with forked(lambda: USES[use](small, tmp_path / "a.wav")) as [found]:
        assert isinstance(found, MachineError), found
        assert str(found).endswith("expected a fork before JAX is used, or a process started by spawn")
    assert small(tmp_path / "a.wav").seconds == 1


def test_a_recogniser_survives_pickling_as_for_a_spawned_process(small):
    samples = recognisers.speech(1.0)
    assert pickle.loads(pickle.dumps(small))(samples, RATE) == small(samples, RATE)


def steady(kind, seconds, seed=0):
    """Return sound without speech, at a level of -20 dB."""
    rng, n = np.random.default_rng(seed), round(seconds * RATE)
    spectrum = np.fft.rfft(rng.normal(size=n)) / np.maximum(np.arange(n // 2 + 1), 1) ** 0.5
    tones = np.sin(2 * np.pi * 50 * np.arange(1, 9)[:, None] * np.arange(n) / RATE).sum(axis=0)
    sound = {
        "silence": np.zeros(n),
        "white": rng.normal(size=n),
        "pink": np.fft.irfft(spectrum, n),
        "hum": tones,
    }
    return sound[kind] * 0.1 / max(sound[kind].std(), 1e-9)


@pytest.mark.parametrize("kind", ["silence", "white", "pink", "hum"])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 7.5, 20.0])
def test_silence_and_steady_noise_are_no_speech(small, kind, seconds):
    prediction = small(steady(kind, seconds), RATE)
    for part in (prediction, *prediction.windows):
        assert {estimate.withheld for estimate in part.tasks.values()} == {NO_SPEECH}
        assert {estimate.label for estimate in part.tasks.values()} == {None}
    assert repr(prediction.tasks["arousal"]) == "Estimate(no speech)"
    jsonschema.validate(prediction.as_dict("any"), schema())


@pytest.mark.parametrize("snr", [20, 5])
def test_speech_in_noise_is_speech(small, snr):
    speech = recognisers.speech(5.0)
    noise = steady("white", 5.0) * 10 * speech.std() * 10 ** (-snr / 20)
    assert small(speech + noise, RATE).tasks["arousal"].label is not None


def test_windows_without_speech_do_not_count(small):
    speech, silence = recognisers.speech(7.5), steady("white", 15.0) / 100
    prediction = small(np.concatenate([speech, silence]), RATE)
    withheld = [window.tasks["arousal"].withheld for window in prediction.windows]
    assert withheld[-2:] == [NO_SPEECH] * 2
    counted = [window for window in prediction.windows if window.tasks["arousal"].withheld is None]
    for name, estimate in prediction.tasks.items():
        mean = np.mean([list(window.tasks[name].values.values()) for window in counted], axis=0)
        assert list(estimate.values.values()) == pytest.approx(mean)


@pytest.mark.parametrize(("low", "is_known"), [(0.49, False), (0.5, False), (0.51, True), (None, False)])
def test_tasks_that_may_be_chance_across_languages_have_no_class(small, low, is_known):
    unseen = {"valence": {"UAR": 0.6, "interval": [low, 0.7], "corpora": {}}}
    model = dataclasses.replace(small.model, facts=small.model.facts | {"unseen": unseen})
    speech = recognisers.speech(3.0)
    found = Recognizer(model)(speech, RATE)
    assert found.tasks["arousal"] == small(speech, RATE).tasks["arousal"]
    assert (found.tasks["valence"].label is not None) == is_known
    assert found.tasks["valence"].withheld == (None if is_known else UNKNOWN)
    assert found.as_dict("any")["model"]["unseen"] == unseen
    assert Recognizer(model, force=True)(speech, RATE).tasks == small(speech, RATE).tasks
    jsonschema.validate(found.as_dict("any"), schema())


@pytest.mark.parametrize("name", PACKAGED)
def test_models_of_the_package_say_how_far_they_can_be_trusted(name, tmp_path, monkeypatch):
    recognizer = Recognizer.load(name)
    assert recognizer.about["license"] == "CC-BY-NC-SA-4.0"
    assert not recognizer.is_synthetic
    arousal = recognizer.about["unseen"]["arousal"]
    assert set(arousal["corpora"]) == {"emodb", "savee", "casia", "emotale_da"}
    assert arousal["interval"][0] > 0.5
    assert recognizer(recognisers.speech(2.0), RATE).tasks["arousal"].label in ("low", "high")
    monkeypatch.chdir(tmp_path)
    recognisers.kept(tmp_path / name, tasks=("emotion",), seeds=1, channels=2)
    assert list(Recognizer.load(name).model.tasks) == ["arousal", "valence"]
    assert list(Recognizer.load(f"./{name}").model.tasks) == ["emotion"]


def test_the_level_of_a_recording_does_not_change_the_default_model():
    recognizer, speech = Recognizer.load(), 0.1 * recognisers.speech(3.0)
    known = recognizer(speech, RATE).tasks
    for gain in (0.01, 3.0):
        for name, estimate in recognizer(gain * speech, RATE).tasks.items():
            assert estimate.values == pytest.approx(known[name].values, abs=1e-3)
