"""Preparing a corpus and reading it back."""

import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from ser_jax import cli, data
from ser_jax.data import audio, builder, databases, logmel, store, workers
from ser_jax.data.corpus import LABELS
from ser_jax.errors import UserError

RATE = 16000


def noise(seconds, seed):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))


@pytest.fixture
def speech(tmp_path):
    """A manifest of five recordings, the last of them 8 s long, with annotations no float32 can hold."""
    folder = tmp_path / "speech"
    folder.mkdir()
    rows = ["path,speaker,session,sex,language,arousal,valence"]
    for i, seconds in enumerate([0.5, 0.3, 1.0, 0.025, 8.0]):
        name = f"{chr(ord('e') - i)}.wav"
        soundfile.write(folder / name, noise(seconds, i), RATE, subtype="DOUBLE")
        rows.append(f"{name},0{i},s{i // 2},female,é{i},{0.1 * i!r},high".replace("high", "positive"))
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder / "manifest.csv"


def prepare(source, root, **options):
    options = {"workers": 1, "arousal_threshold": 0.1 * 3, "name": "tiny"} | options
    return data.prepare("manifest", source, data_dir=root, **options)


def test_a_corpus_holds_what_was_read(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    assert folder == tmp_path / "root/manifest/tiny/1.0.0"
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
    assert (corpus.arousal.dtype, corpus.frames.dtype, corpus.logmel.dtype) == (
        np.float64,
        np.int32,
        np.float32,
    )
    assert corpus.logmel.shape == (5, logmel.FRAMES, logmel.BANDS)
    for features, name in zip(corpus.logmel, corpus.id, strict=True):
        samples, _ = audio.read(speech.parent / name)
        np.testing.assert_array_equal(features, logmel.pad(logmel.logmel(samples))[0])


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


def test_preparing_twice_is_said(speech, tmp_path, caplog):
    prepare(speech, tmp_path / "root")
    with caplog.at_level("INFO", "ser_jax"):
        prepare(speech, tmp_path / "root")
    assert "tiny/1.0.0: already prepared" in caplog.text


def test_a_name_belongs_to_one_source(speech, tmp_path):
    prepare(speech, tmp_path / "root")
    with pytest.raises(
        UserError,
        match=r"tiny/1\.0\.0: was prepared by manifest from another source, .* or choose another --name",
    ):
        prepare(speech, tmp_path / "root", arousal_threshold=0.2)


@pytest.fixture
def flawed(speech):
    """The same with two recordings that cannot be records, and one that is not there."""
    (speech.parent / "b.wav").write_text("not sound")
    soundfile.write(speech.parent / "d.wav", noise(0.02, 0), RATE)
    (speech.parent / "e.wav").unlink()
    return speech


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


def test_an_interrupted_preparation_leaves_nothing_and_starts_again(tmp_path):
    folder = tmp_path / "speech"
    folder.mkdir()
    rows = ["path,speaker,arousal,valence"]
    soundfile.write(tmp_path / "one.wav", noise(1.0, 0), RATE)
    for i in range(4000):  # seconds of work
        (folder / f"{i}.wav").hardlink_to(tmp_path / "one.wav")
        rows.append(f"{i}.wav,{i % 3},low,positive")
    (folder / "manifest.csv").write_text("\n".join(rows))
    root = tmp_path / "root"
    code = (  # whoever is started in the background is deaf to Ctrl-C, and so are all it starts
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from ser_jax.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    shell = [sys.executable, "-c", code, "prepare", "manifest", "--source", folder / "manifest.csv"]
    shell += ["--name", "tiny", "--data-dir", root, "--workers", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(shell, **pipes, start_new_session=True) as prepared:
        while prepared.poll() is None and not list(root.glob("manifest/tiny/incomplete.*/*array_record*")):
            time.sleep(0.01)
        os.killpg(prepared.pid, signal.SIGINT)  # as a terminal does: to the workers as well
        out, err = prepared.communicate()
    assert (prepared.returncode, out) == (130, b"")
    assert err.splitlines()[-1] == b"ser-jax: interrupted"
    assert b"Traceback" not in err
    assert list(root.rglob("*")) == []
    (folder / "manifest.csv").write_text("\n".join(rows[:10]))
    prepare(folder / "manifest.csv", root, arousal_threshold=None)


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


def test_a_full_disk_is_named(speech, tmp_path):
    code = (
        "import resource, signal, sys; from ser_jax.cli import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); sys.exit(main(sys.argv[1:]))"
    )
    shell = [sys.executable, "-c", code, "prepare", "manifest", "--source", speech, "--name", "tiny"]
    shell += ["--arousal-threshold", "0.3", "--data-dir", tmp_path / "root", "--workers", "1"]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 2
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"ser-jax: {tmp_path / 'root/manifest/tiny/1.0.0'}: cannot be written (")
    assert sentence.endswith("expected a data directory to write to")
    assert list((tmp_path / "root").rglob("*")) == []


def test_one_process_at_a_time_prepares_a_corpus(speech, tmp_path):
    folder = tmp_path / "root/manifest/tiny"
    folder.mkdir(parents=True)
    (folder / "incomplete.XYZ_1.0.0").mkdir()
    hold = "import sys, time; from pathlib import Path; from ser_jax.data import locks\n"
    hold += "with locks.held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, folder], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="tiny: another process prepares this corpus, expected it to end"):
            prepare(speech, tmp_path / "root")
        assert (folder / "incomplete.XYZ_1.0.0").exists()
        holder.kill()
    prepare(speech, tmp_path / "root")
    assert not (folder / "incomplete.XYZ_1.0.0").exists()


def test_labels_of_one_name_are_of_one_database(speech, tmp_path):
    options = {"data_dir": tmp_path / "root", "labels_only": True}
    data.prepare("manifest", speech, name="emodb", arousal_threshold=0.3, **options)
    (tmp_path / "03a01Fa.wav").touch()
    with pytest.raises(UserError, match=r"labels\.json: are labels of manifest, expected another --name"):
        data.prepare("emodb", tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels_only": True, "skip_bad": True}, "--labels-only reads no recording, expected no --skip-bad"),
        ({"labels_only": True, "beam_runner": "DirectRunner"}, "expected no --skip-bad or --beam-runner"),
        ({"beam_options": ["x=1"]}, "--beam-options without --beam-runner, expected both"),
    ],
)
def test_flags_that_do_nothing_are_refused(speech, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        prepare(speech, tmp_path / "root", **options)


def test_something_must_be_left(flawed, tmp_path):
    for file in flawed.parent.glob("*.wav"):
        file.unlink()
    with pytest.raises(
        builder.FlawedError, match=r"5 of 5 utterances .* \(missing 5\), .* nothing would be left$"
    ):
        prepare(flawed, tmp_path / "root", skip_bad=True)
    assert list((tmp_path / "root").rglob("*")) == []


def test_labels_alone_need_no_recording(flawed, tmp_path):
    options = {"workers": 1, "arousal_threshold": 0.1 * 3, "name": "tiny", "data_dir": tmp_path / "root"}
    file = data.prepare("manifest", flawed, labels_only=True, **options)
    assert file == tmp_path / "root/manifest/tiny/labels.json"
    facts = data.facts("tiny", tmp_path / "root")
    with pytest.raises(data.UnknownCorpusError, match=r"of corpus 'tiny' in .* the labels only are kept"):
        data.load("tiny", tmp_path / "root")
    for i, letter in enumerate("edcba"):
        soundfile.write(flawed.parent / f"{letter}.wav", noise(0.5, i), RATE)
    data.prepare("manifest", flawed, **options)
    assert not file.exists()
    corpus = data.facts("tiny", tmp_path / "root")
    for key in LABELS:
        np.testing.assert_array_equal(getattr(facts, key), getattr(corpus, key))
    with pytest.raises(UserError, match=r"1\.0\.0: is prepared with its recordings"):
        data.prepare("manifest", flawed, labels_only=True, **options)


def test_recordings_without_a_label_are_said(tmp_path, caplog):
    folder = tmp_path / "Session1/dialog/EmoEvaluation"
    folder.mkdir(parents=True)
    (folder / "Ses01F_impro01.txt").write_text("[0.0 - 1.0]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n")
    (tmp_path / "Session1/sentences/wav/Ses01F_impro01").mkdir(parents=True)
    (tmp_path / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.wav").touch()
    data.prepare("iemocap", tmp_path, labels_only=True, data_dir=tmp_path / "root")
    assert "1 recordings or turns without a label are left out" in caplog.text


def test_leftovers_of_a_kill_are_swept(speech, tmp_path):
    leftover = tmp_path / "root/manifest/tiny/incomplete.ABCDEF_1.0.0"
    leftover.mkdir(parents=True)
    assert store.prepared(tmp_path / "root") == {}
    prepare(speech, tmp_path / "root")
    assert not leftover.exists()


def test_nothing_is_written_for_a_source_that_cannot_be_read(speech, tmp_path):
    with pytest.raises(UserError, match="expected --arousal-threshold"):
        prepare(speech, tmp_path / "root", arousal_threshold=None)
    assert not (tmp_path / "root").exists()


def test_a_place_that_cannot_be_written_is_named(speech, tmp_path):
    (tmp_path / "root").write_text("in the way")
    with pytest.raises(UserError, match=r"root/manifest/tiny/1\.0\.0: cannot be written \(.+\)"):
        prepare(speech, tmp_path / "root")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("emdb", {}, r"no database 'emdb', expected one of iemocap, .*; did you mean 'emodb'\?$"),
        ("manifest", {"name": "Tiny"}, "name 'Tiny', expected small letters"),
        ("manifest", {"name": "../tiny"}, "name '../tiny', expected small letters"),
        ("manifest", {"name": ""}, "name '', expected small letters"),
        ("manifest", {"workers": 0}, "0 workers, expected at least 1"),
        (
            "manifest",
            {"annotation_delay": 2.0},
            "manifest does not take --annotation-delay",
        ),
        (
            "recola",
            {"delay": 2.0},
            "not take --delay, expected of such options --annotation-delay",
        ),
        ("recola", {"annotation_delay": -1.0}, "--annotation-delay is -1.0, expected 0 to 10 s"),
        (
            "iemocap",
            {"arousal_threshold": 3.0},
            "not take --arousal-threshold, expected .* options none",
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(tmp_path, name, options, message):
    with pytest.raises(UserError, match=message):
        data.prepare(name, tmp_path, data_dir=tmp_path / "root", **options)


def test_an_unknown_corpus_is_named_with_its_neighbours(speech, tmp_path):
    root = tmp_path / "root"
    with pytest.raises(
        data.UnknownCorpusError,
        match=r"no corpus 'tiny' in .*root, found no such folder; prepare it with: ser-jax",
    ):
        data.load("tiny", root)
    prepare(speech, root)
    with pytest.raises(
        data.UnknownCorpusError, match=r"no corpus 'tny' in .*, found tiny; did you mean 'tiny'\?$"
    ):
        data.load("tny", root)


def test_the_data_dir_may_come_from_the_environment(speech, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "root"))
    prepare(speech, None)
    assert len(data.load("tiny")) == 5


def test_a_damaged_corpus_is_named(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    for shard in folder.glob("*array_record*"):
        shard.unlink()
    with pytest.raises(
        UserError, match=r"1\.0\.0: cannot be read .* delete this folder and prepare it again"
    ):
        data.load("tiny", tmp_path / "root")


@pytest.mark.parametrize("content", ["", "{}", "[]"])
@pytest.mark.parametrize("file", ["metadata.json", "dataset_info.json", "features.json"])
def test_an_emptied_file_of_a_corpus_is_named(speech, tmp_path, file, content):
    folder = prepare(speech, tmp_path / "root")
    (folder / file).write_text(content)
    damaged = pytest.raises(data.DamagedCorpusError, match=r"1\.0\.0: cannot be read .* prepare it again")
    with damaged:
        data.load("tiny", tmp_path / "root")
    with damaged:
        prepare(speech, tmp_path / "root")


def test_a_damaged_corpus_is_not_taken_for_prepared(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    shard = next(folder.glob("*array_record*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(data.DamagedCorpusError, match="delete this folder and prepare it again"):
        prepare(speech, tmp_path / "root")
    shard.write_bytes(whole)
    assert prepare(speech, tmp_path / "root") == folder
    (folder / "dataset_info.json").unlink()
    with pytest.raises(UserError, match=r"1\.0\.0: not a whole corpus \(no dataset_info.json\); delete"):
        prepare(speech, tmp_path / "root")


def test_a_marked_source_of_links_is_synthetic_too(speech, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    for file in speech.parent.glob("*.wav"):
        file.rename(kept / file.name)
        file.symlink_to(kept / file.name)
    (speech.parent / "SYNTHETIC.txt").touch()
    prepare(speech, tmp_path / "root")
    assert data.load("tiny", tmp_path / "root").synthetic


def test_a_source_of_links_to_marked_recordings_is_synthetic(speech, tmp_path):
    (speech.parent / "SYNTHETIC.txt").touch()
    links = tmp_path / "links"
    links.mkdir()
    for file in speech.parent.iterdir():
        if file.name != "SYNTHETIC.txt":
            (links / file.name).symlink_to(file)
    prepare(links / speech.name, tmp_path / "root")
    assert data.load("tiny", tmp_path / "root").synthetic


def test_a_marked_source_is_synthetic(speech, tmp_path):
    (speech.parent / "SYNTHETIC.txt").touch()
    prepare(speech, tmp_path / "root")
    assert data.load("tiny", tmp_path / "root").synthetic


def test_both_databases_go_through_the_same_door(tmp_path):
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
    np.testing.assert_array_equal(corpus.logmel[0, : corpus.frames[0]], expected)


@pytest.mark.parametrize("name", databases.DATABASES)
def test_every_builder_says_what_it_is(name):
    from tensorflow_datasets.core import dataset_metadata

    module = importlib.import_module(f"ser_jax.data.{name}.{name}_dataset_builder")
    assert issubclass(module.Builder, builder.CorpusBuilder)
    assert module.Builder.name == name
    assert module.Builder.MANUAL_DOWNLOAD_INSTRUCTIONS.strip()
    metadata = module.Builder.get_metadata()
    assert metadata.description.startswith("# ")
    assert f"ser-jax prepare {name} --source" in metadata.description
    assert metadata.citation.startswith("@")
    assert set(metadata.tags) <= set(dataset_metadata.valid_tags())


def test_tensorflow_stays_out(speech, tmp_path):
    prepare(speech, tmp_path / "root")
    data.load("tiny", tmp_path / "root")
    assert "tensorflow" not in sys.modules


def test_importing_the_door_is_cheap():
    code = "import sys, ser_jax.data; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"tensorflow_datasets", "librosa", "soundfile", "soxr", "scipy", "jax"} & set(loaded)
