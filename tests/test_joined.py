"""Joined front ends: frames side by side, statistics, and the way from a flag to a prediction."""

import dataclasses
import json
import shlex
from typing import ClassVar

import five_recordings
import jax
import numpy as np
import pair
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import ran

from ser_jax import cli, data, model
from ser_jax.data import audio
from ser_jax.experiment import config
from ser_jax.experiment.command import parse
from ser_jax.features import RATE, Frontend, FrontendError, LogMel, describe, feature_type, make, tag
from ser_jax.features.joined import Joined
from ser_jax.model import AttentivePooling, Probe, apply, init
from ser_jax.recognizer import Recognizer

WAVE = np.random.default_rng(0).normal(size=5 * RATE) / 10


@dataclasses.dataclass(frozen=True)
class Steps(Frontend):
    """The number of the frame, and its square, at any rate; one frame of them at a rate of 0."""

    name: ClassVar[str] = "steps"
    rate: float = 10.0
    dims: ClassVar[int] = 2
    notice: ClassVar[str] = ", counted"

    @property
    def frames(self):
        return max(1, round(self.seconds * self.rate))

    def description(self):
        return {"rate": self.rate or 1 / self.seconds, "dtype": "float16"}

    def extract(self, samples):
        number = np.arange(max(1, int(len(samples) / RATE * self.rate)))
        return np.stack([number, number**2], axis=1).astype(np.float16)


@given(
    st.lists(st.sampled_from([0.0, 1.0, 8.0, 12.5, 30.0]), min_size=1, max_size=4),
    st.floats(0.2, 2.0),
)
def test_a_slower_frame_is_repeated_while_it_lasts(rates, seconds):
    frontend = Joined(parts=tuple(Steps(rate=rate) for rate in rates))
    samples = np.zeros(int(seconds * RATE))
    found = frontend.extract(samples)
    fastest = frontend.parts[int(np.argmax(rates))]
    assert found.shape == (len(fastest.extract(samples)), frontend.dims)
    assert (frontend.rate, frontend.frames) == (fastest.rate or 1 / 7.5, fastest.frames)
    for i, part in enumerate(frontend.parts):
        own = part.extract(samples)
        for number, frame in enumerate(found[:, 2 * i : 2 * i + 2]):
            now = (number + 0.5) / frontend.rate
            begun = [start / part.rate <= now for start in range(1, len(own))]
            np.testing.assert_array_equal(frame, own[sum(begun)])
    assert found.dtype == feature_type(describe(frontend)) == np.float16
    assert Joined(parts=(*frontend.parts, LogMel())).description()["dtype"] == "float32"


@pytest.mark.parametrize("seconds", [0.5, 3.0, 5.0])
def test_pooled_features_are_mean_and_deviation_of_the_frames_that_are_used(seconds):
    frontend = Joined(seconds=3.0, parts=(make("mfcc"), Steps(rate=0.0), make("whisper")), pooled=True)
    samples = WAVE[: round(seconds * RATE)]
    found = frontend.extract(samples)
    mfcc, steps, whisper = (part.extract(samples)[: part.frames] for part in frontend.parts)
    each = [np.r_[x.mean(axis=0, dtype=float), x.std(axis=0, dtype=float)] for x in (mfcc, whisper)]
    np.testing.assert_allclose(found, np.r_[each[0], steps[0], each[1]][None], rtol=1e-5, atol=1e-6)
    assert found.shape == (frontend.frames, frontend.dims) == (1, 26 + 2 + 768)
    assert found.dtype == feature_type(describe(frontend)) == np.float32


ODD = f"{__name__}:Steps"
SOME = {
    "whisper+mfcc": (),
    f"{ODD}+logmel+": ("--features.pooled",),
    "whisper+": ("--features.pooled", "--features.parts.0.layers", "1", "2"),
    f"mfcc+{ODD}": ("--features.seconds", "3.0", "--features.parts.0.dims", "20"),
}


def chosen(words):
    """Return the front end that flags of an experiment, and of `ser-jax prepare`, choose."""
    found = parse("", "table2", words)[0].features
    shell, app = ["prepare", "emodb", "--source", "emodb", *words], cli.tyro.extras.SubcommandApp()
    values, types, _ = cli._fields(shell)
    for command in (cli.prepare, cli.describe):
        app.command(cli._bound(command, values, types))
    assert app.cli(args=shell, config=cli.CONFIG).keywords["frontend"] == found
    return found


@pytest.mark.parametrize(("name", "fields"), SOME.items())
def test_flags_choose_what_can_be_spelt_and_stored(name, fields, tmp_path):
    found = chosen(["--features", name, *fields])
    assert config.rebuild(json.loads(json.dumps(config.describe(found)))) == found
    assert found.name == "+".join(part.name for part in found.parts) + "+" * (len(found.parts) == 1)
    stored = tmp_path / "config.json"
    stored.write_text(json.dumps({"config": config.describe(config.Config(features=found))}))
    again = ["--config", str(stored)]
    assert parse("", "table2", again)[0].features == found
    assert parse("", "table2", [*again, "--features", name])[0].features == found
    assert parse("", "table2", [*again, "--features", "mfcc+waveform"])[0].features == make("mfcc+waveform")


def test_names_descriptions_and_refusals():
    frontend = make("whisper+mfcc", pooled=True)
    assert describe(frontend)["parts"] == [describe(make("whisper")), describe(make("mfcc"))]
    tags = [tag(it) for it in (frontend, make("whisper+mfcc"), make("whisper+mfcc", seconds=3.0))]
    assert len(set(tags)) == 3
    assert all(it.startswith("-whisper+mfcc-") for it in tags)
    for name in ("whisper+mfc", "+mfcc", "mfcc++", "+"):
        with pytest.raises(FrontendError, match=r"^no front end '(mfc)?', expected logmel, "):
            make(name)
    with pytest.raises(FrontendError, match=r"^logmel of 3 s, expected the 7\.5 s of all parts$"):
        Joined(parts=(LogMel(3.0), make("mfcc")))


@pytest.mark.parametrize("pooled", [False, True])
def test_a_corpus_holds_the_corpora_of_the_parts_side_by_side(tmp_path, pooled):
    """Of which one is looked up, so that nothing can be computed without ids."""
    speech, root = five_recordings.written(tmp_path / "speech"), tmp_path / "root"
    (tmp_path / "arrays").mkdir()
    for letter in "abcde":
        np.save(tmp_path / f"arrays/{letter}.npy", np.random.default_rng(ord(letter)).normal(size=5))
    found = make("embeddings", folder=str(tmp_path / "arrays"), rate=0.0, dims=5)
    frontend = Joined(parts=(make("mfcc"), found), pooled=pooled)
    with pytest.raises(data.UnknownCorpusError) as refused:
        data.load("tiny", root, frontend)
    words = shlex.split(str(refused.value).partition("prepare it with: ")[2])
    assert words[words.index("--features") : words.index("--data-dir")] == ["--features", "mfcc"]
    five_recordings.prepare(speech, root, features=frontend)
    both, mfcc, arrays = (data.load("tiny", root, it) for it in (frontend, *frontend.parts))
    for row, count in enumerate(mfcc.frames):
        x = mfcc.features[row, :count]
        numbers = [x.mean(axis=0), x.std(axis=0)] if pooled else [x]
        own = np.broadcast_to(arrays.features[row, 0], (count, 5)) if not pooled else arrays.features[row, 0]
        expected = np.concatenate([*numbers, own], axis=-1)
        stored = both.features[row, : both.frames[row]]
        np.testing.assert_allclose(stored, np.atleast_2d(expected), rtol=1e-4, atol=1e-4)
    with pytest.raises(FrontendError, match="embeddings are read from files"):
        frontend.extract(WAVE)


def test_parts_of_other_utterances_are_not_joined(tmp_path):
    """As if a recording had been damaged between both."""
    speech, root = five_recordings.written(tmp_path / "speech"), tmp_path / "root"
    five_recordings.prepare(speech, root)
    with pytest.MonkeyPatch.context() as patch:

        def refuse(path):
            if path.name == "a.wav":
                raise audio.AudioError(path, "undecodable", "it is damaged")

        patch.setattr(audio, "check", refuse)
        five_recordings.prepare(speech, root, features=make("mfcc"), skip_bad=True)
    with pytest.raises(data.DamagedCorpusError, match="tiny has 5 utterances with logmel and 4 with mfcc"):
        data.load("tiny", root, make("logmel+mfcc"))


def test_a_probe_of_pooled_features_is_that_of_the_frames():
    frames, count = 50, 7
    x = np.random.default_rng(0).normal(2, 3, (count, frames, 4)).astype(np.float32)
    lengths = np.random.default_rng(1).integers(2, frames + 1, count)
    x[np.arange(frames)[None, :] >= lengths[:, None]] = 0
    of_frames, of_numbers = Probe(4, frames, 3), Probe(8, 1, 3)
    params = init(of_frames, jax.random.key(0))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, init(of_numbers, jax.random.key(0)))
    pooled = Joined(parts=(Steps(),), pooled=True)
    numbers = np.stack([pooled.join([own[:n]]) for own, n in zip(x, lengths, strict=True)])
    expected, found = apply(of_frames, params, x), apply(of_numbers, params, numbers)
    np.testing.assert_allclose(found.embedding, expected.embedding, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.outputs, expected.outputs, rtol=1e-4, atol=1e-4)
    model.check(of_numbers)
    model.check(AttentivePooling(8, 1))


@pytest.mark.usefixtures("hastily")
@pytest.mark.parametrize("fields", [(), ("--features.pooled", "--features.parts.0.dims", "5")])
def test_a_recogniser_is_trained_and_predicts(fields, tmp_path):
    source = pair.shared() / "speech/IEMOCAP_full_release"
    features = ("--features", f"mfcc+{ODD}", "--features.seconds", "3", *fields)
    where = ("--data-dir", tmp_path, *features)
    ran(["ser-jax", "prepare", "iemocap", "--source", source, "--workers", "1", *where])
    out = tmp_path / "model"
    few = ("--tasks", "arousal", "--model", "probe", "--epochs", "3", "--seeds", "1")
    ran(["ser-jax", "train", "--corpora", "iemocap", "--out", out, *where, *few])
    recognizer = Recognizer.load(out)
    assert recognizer.frontend == chosen([*features])
    assert sum(recognizer(WAVE, RATE).tasks["arousal"].values.values()) == pytest.approx(1)
    assert "(mfcc+steps, counted)" in (out / "README.md").read_text()
