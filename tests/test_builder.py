"""Preparing a corpus and reading it back: what its records hold, and what cannot be one."""

import re
import shlex
import sys

import five_recordings
import numpy as np
import pytest
import soundfile
from five_recordings import RATE, noise, prepare

from ser_jax import cli, data
from ser_jax.data import audio, builder, databases, store, workers
from ser_jax.errors import UserError
from ser_jax.features import LogMel, describe, logmel, pad


@pytest.fixture
def speech(tmp_path):
    return five_recordings.written(tmp_path / "speech")


def test_a_corpus_holds_what_was_read(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    assert folder == tmp_path / "root/manifest/tiny/2.0.0"
    corpus = data.load("tiny", tmp_path / "root")
    assert (corpus.name, corpus.database, corpus.synthetic) == ("tiny", "manifest", False)
    assert corpus.thresholds == {"arousal": 0.1 * 3, "valence": 0.5}
    assert corpus.id.tolist() == ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"]
    assert corpus.speaker.tolist() == ["04", "03", "02", "01", "00"]
    assert corpus.session.tolist() == ["s2", "s1", "s1", "s0", "s0"]
    assert corpus.language.tolist() == ["é4", "é3", "é2", "é1", "é0"]
    assert set(corpus.sex) == {"female"}
    assert corpus.arousal.tolist() == [0.1 * i for i in (4, 3, 2, 1, 0)]
    assert corpus.seconds.tolist() == [8.0, 0.025, 1.0, 0.3, 0.5]
    assert corpus.frames.tolist() == [748, 1, 98, 28, 48]
    assert (corpus.arousal.dtype, corpus.frames.dtype, corpus.features.dtype) == (
        np.float64,
        np.int32,
        np.float32,
    )
    assert corpus.features.shape == (5, 750, 26)
    assert np.isnan(corpus.dominance).all()
    assert set(corpus.dialogue) == set(corpus.raters) == {""}
    assert corpus.frontend == describe(LogMel())
    for features, name in zip(corpus.features, corpus.id, strict=True):
        samples, _ = audio.read(speech.parent / name)
        np.testing.assert_array_equal(features, pad(logmel.logmel(samples), 750)[0])


def test_a_threshold_and_its_equal_stay_equal(speech, tmp_path):
    prepare(speech, tmp_path / "root")
    corpus = data.load("tiny", tmp_path / "root")
    assert (corpus.arousal <= corpus.thresholds["arousal"]).sum() == 4


def test_workers_change_no_byte(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "SMALL", 0)
    monkeypatch.setattr(workers, "CHUNK", 2)
    monkeypatch.setattr(builder, "SHARD", 2)
    folders = [prepare(speech, tmp_path / f"root{n}", workers=n) for n in (1, 2)]
    one, two = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert one == two
    assert len([name for name in one if "array_record" in name]) == 3
    assert len(data.load("tiny", tmp_path / "root1")) == 5


def test_a_moved_source_and_another_name_give_equal_data(speech, tmp_path):
    prepare(speech, tmp_path / "root")
    first = data.load("tiny", tmp_path / "root").fingerprint
    moved = speech.parent.rename(tmp_path / "moved") / "manifest.csv"
    before = sorted((tmp_path / "root").rglob("*"))
    prepare(moved, tmp_path / "root")
    assert sorted((tmp_path / "root").rglob("*")) == before
    prepare(moved, tmp_path / "root", name="again")
    assert data.load("again", tmp_path / "root").fingerprint == first
    moved.write_text(moved.read_text(encoding="utf-8").replace("s2", "s3"), encoding="utf-8")
    prepare(moved, tmp_path / "root", name="other")
    assert data.load("other", tmp_path / "root").fingerprint != first


@pytest.fixture
def flawed(speech):
    return five_recordings.flawed(speech)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_fails_leaves_nothing(flawed, tmp_path, monkeypatch, processes):
    monkeypatch.setattr(workers, "SMALL", 0)
    soundfile.write(flawed.parent / "e.wav", noise(0.5, 0), RATE)
    with pytest.raises(
        builder.FlawedError,
        match=r"^2 of 5 utterances cannot be prepared \(undecodable 1, too short 1\), the first is "
        r"\S*speech/b\.wav: not readable as audio .*; `ser-jax audit manifest --source "
        r"\S*manifest\.csv .*` names all that is wrong, --skip-bad leaves it out$",
    ):
        prepare(flawed, tmp_path / "root", workers=processes)
    assert list((tmp_path / "root").rglob("*")) == []


def test_what_is_missing_is_found_before_anything_is_read(flawed, tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "read", None)
    with pytest.raises(
        builder.FlawedError,
        match=r"^1 of 5 .* \S*speech/e\.wav: no such audio file \(asked for by manifest\.csv:2\); ",
    ):
        prepare(flawed, tmp_path / "root")


@pytest.mark.parametrize("shard", [1, 2, 512])
def test_what_is_bad_can_be_left_out(flawed, tmp_path, monkeypatch, caplog, shard):
    monkeypatch.setattr(builder, "SHARD", shard)
    folder = prepare(flawed, tmp_path / "root", skip_bad=True)
    assert "3 utterances are left out, e.wav the first" in caplog.text
    corpus = data.load("tiny", tmp_path / "root")
    assert (corpus.id.tolist(), corpus.left_out) == (["a.wav", "c.wav"], 3)
    left_out = {row["id"]: row for row in store.metadata(folder)["left_out"]}
    assert {key: row["finding"] for key, row in left_out.items()} == {
        "e.wav": "missing",
        "d.wav": "too short",
        "b.wav": "undecodable",
    }
    assert left_out["b.wav"]["file"] == "b.wav"
    assert str(tmp_path) not in (folder / "metadata.json").read_text()
    with pytest.raises(UserError, match=r"with --skip-bad and lacks 3 utterances, e\.wav the first"):
        prepare(flawed, tmp_path / "root")
    assert prepare(flawed, tmp_path / "root", skip_bad=True) == folder


def test_the_audit_that_is_recommended_can_be_typed(flawed, tmp_path):
    folder = flawed.parent.rename(tmp_path / "my speech")
    with pytest.raises(builder.FlawedError) as refused:
        prepare(folder / flawed.name, tmp_path / "root")
    program, *command = shlex.split(re.search("`(.*)`", str(refused.value))[1])
    assert program == "ser-jax"
    assert cli.main([*command, "--json", "--workers", "1"]) == 1


def test_something_must_be_left(flawed, tmp_path):
    for file in flawed.parent.glob("*.wav"):
        file.unlink()
    with pytest.raises(
        builder.FlawedError, match=r"5 of 5 utterances .* \(missing 5\), .* nothing would be left$"
    ):
        prepare(flawed, tmp_path / "root", skip_bad=True)
    assert list((tmp_path / "root").rglob("*")) == []


@pytest.mark.parametrize("marked", ["links", "recordings"])
def test_marked_links_and_links_to_marked_recordings_are_synthetic(speech, tmp_path, marked):
    links = tmp_path / "links"
    links.mkdir()
    for file in speech.parent.iterdir():
        (links / file.name).symlink_to(file)
    ((links if marked == "links" else speech.parent) / "SYNTHETIC.txt").touch()
    prepare(links / speech.name, tmp_path / "root")
    assert data.load("tiny", tmp_path / "root").synthetic


def test_iemocap_and_recola_are_prepared_alike(tmp_path):
    wav = tmp_path / "one/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"
    labels = tmp_path / "one/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    for file in (wav, labels):
        file.parent.mkdir(parents=True)
    soundfile.write(wav, noise(0.5, 0), RATE)
    labels.write_text("[0.0 - 0.5]\tSes01F_impro01_M000\txxx\t[2.5, 3.25, 1.0]\n")
    folder = data.prepare("iemocap", tmp_path / "one", data_dir=tmp_path / "root")
    (tmp_path / "above").mkdir()
    (tmp_path / "one").rename(tmp_path / "above/one")
    assert data.prepare("iemocap", tmp_path / "above", data_dir=tmp_path / "root") == folder
    corpus = data.load("iemocap", tmp_path / "root")
    assert (corpus.database, corpus.thresholds) == ("iemocap", {"arousal": 2.5, "valence": 2.5})
    assert (corpus.speaker[0], corpus.valence[0], corpus.arousal[0]) == ("01M", 2.5, 3.25)

    for folder, text in (
        ("RECOLA-Annotation/emotional_behaviour/arousal/P16.csv", None),
        ("RECOLA-Annotation/emotional_behaviour/valence/P16.csv", None),
        ("RECOLA-Audio_timings/P16.csv", "start;stop\n0.5;0.9\n"),
        ("RECOLA-Audio-recordings/P16.wav", ""),
    ):
        file = tmp_path / "two" / folder
        file.parent.mkdir(parents=True)
        grid = "".join(f"{k * 0.04:.2f};-.1;-.1;-.1;-.1;-.1;-.1\n" for k in range(7501))
        file.write_text("time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3\n" + grid if text is None else text)
    soundfile.write(tmp_path / "two/RECOLA-Audio-recordings/P16.wav", noise(1.0, 0), RATE, subtype="DOUBLE")
    data.prepare("recola", tmp_path / "two", data_dir=tmp_path / "root")
    corpus = data.load("recola", tmp_path / "root")
    assert (corpus.database, corpus.thresholds) == ("recola", {"arousal": 0.0, "valence": 0.0})
    assert (corpus.arousal[0], corpus.seconds[0]) == (-0.1, 0.4)
    expected = logmel.logmel(noise(1.0, 0)[8000:14400]).astype(np.float32)
    np.testing.assert_array_equal(corpus.features[0, : corpus.frames[0]], expected)


def test_unlabelled_utterances_are_kept(speech, tmp_path):
    text = speech.read_text(encoding="utf-8").replace(",0.1,", ",,").replace(",0.2,positive", ",0.2,")
    speech.write_text(text.replace("language", "emotion"), encoding="utf-8")
    for options in ({"labels_only": True}, {}):
        prepare(speech, tmp_path / "root", **options)
        facts = data.facts("tiny", tmp_path / "root")
        assert np.isnan(facts.arousal).tolist() == [False, False, False, True, False]
        assert np.isnan(facts.valence).tolist() == [False, False, True, False, False]
        assert facts.arousal.dtype == facts.dominance.dtype == np.float64
        assert facts.scales == {"arousal": (0.0, 0.4)}
        assert facts.emotion[0] == "é4"


@pytest.mark.parametrize("name", databases.DATABASES)
def test_every_database_has_a_builder(name, tmp_path):
    made = builder.BUILDERS[name]
    assert issubclass(made, builder.CorpusBuilder)
    assert made.name == name
    config = builder.CorpusConfig(
        name="tiny", catalog=None, notes={}, audit="", frontend=LogMel(), workers=1, skip_bad=False
    )
    info = made(config=config, data_dir=tmp_path).info
    assert info.description.endswith(f"{databases.DATABASES[name].what}.")
    assert info.citation


def test_tensorflow_stays_out(speech, tmp_path):
    prepare(speech, tmp_path / "root")
    data.load("tiny", tmp_path / "root")
    assert "tensorflow" not in sys.modules
