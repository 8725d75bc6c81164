"""Preparing a corpus and reading it back: its records, its refusals, and nothing half-built left behind."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time

import five_recordings
import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds
from five_recordings import RATE, noise, prepare
from safetensors.numpy import save_file
from tensorflow_datasets.proto import tf_example_pb2

from ser_jax import data
from ser_jax.data import audio, beam, manifest, preparation, store
from ser_jax.data.corpus import LABELS, NUMBERS, TEXTS, Facts
from ser_jax.errors import UserError
from ser_jax.features import MFCC, FrontendError, LogMel, Waveform, describe, logmel, make, pad


@pytest.fixture
def speech(tmp_path):
    return five_recordings.written(tmp_path / "speech")


def test_a_corpus_holds_what_was_read(speech, tmp_path):
    folder = prepare(speech, tmp_path / "root")
    assert folder == tmp_path / "root/manifest/tiny/2.0.0"
    corpus = data.load("tiny", tmp_path / "root")
    assert "tensorflow" not in sys.modules
    facts = Facts.of("tiny", "manifest", manifest.read(speech, arousal_threshold=0.1 * 3))
    assert corpus.id.tolist() == ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"] == facts.id.tolist()[::-1]
    for key in LABELS:
        stored, read = getattr(corpus, key), getattr(facts, key)[::-1]
        np.testing.assert_array_equal(stored, read)
        assert stored.dtype == read.dtype
    assert (corpus.name, corpus.metadata) == ("tiny", facts.metadata)
    assert (corpus.arousal <= corpus.thresholds["arousal"]).sum() == 4  # one lies on the threshold
    assert corpus.seconds.tolist() == [8.0, 0.025, 1.0, 0.3, 0.5]
    assert corpus.frames.tolist() == [748, 1, 98, 28, 48]
    assert (corpus.features.shape, corpus.features.dtype) == ((5, 750, 26), np.float32)
    assert corpus.frontend == describe(LogMel())
    for features, name in zip(corpus.features, corpus.id, strict=True):
        samples, _ = audio.read(speech.parent / name)
        np.testing.assert_array_equal(features, pad(logmel(samples), 750)[0])


def test_workers_change_no_byte(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "SMALL", 0)
    monkeypatch.setattr(preparation, "CHUNK", 2)
    monkeypatch.setattr(beam, "SHARD", 2)
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
    monkeypatch.setattr(preparation, "SMALL", 0)
    soundfile.write(flawed.parent / "e.wav", noise(0.5, 0), RATE)
    with pytest.raises(
        preparation.PrepareError,
        match=r"^2 of 5 utterances cannot be prepared \(undecodable 1, too short 1\), the first is "
        r"\S*speech/b\.wav: not readable as audio .*; `ser-jax audit` "
        "lists all problems, --skip-bad leaves it out$",
    ):
        prepare(flawed, tmp_path / "root", workers=processes)
    assert list((tmp_path / "root").rglob("*")) == []


@pytest.mark.parametrize("shard", [1, 2, 512])
def test_what_is_bad_can_be_left_out(flawed, tmp_path, monkeypatch, caplog, shard):
    monkeypatch.setattr(beam, "SHARD", shard)
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


@pytest.mark.parametrize("marked", ["links", "recordings"])
def test_marked_links_and_links_to_marked_recordings_are_synthetic(speech, tmp_path, marked):
    links = tmp_path / "links"
    links.mkdir()
    for file in speech.parent.iterdir():
        (links / file.name).symlink_to(file)
    ((links if marked == "links" else speech.parent) / "SYNTHETIC.txt").touch()
    prepare(links / speech.name, tmp_path / "root")
    assert data.load("tiny", tmp_path / "root").synthetic


def test_a_name_belongs_to_one_source(speech, tmp_path):
    prepare(speech, tmp_path / "root")
    with pytest.raises(
        UserError,
        match=r"tiny/2\.0\.0: was prepared by manifest from another source, .* or choose another --name",
    ):
        prepare(speech, tmp_path / "root", arousal_threshold=0.2)


def test_an_interrupted_preparation_leaves_nothing_and_starts_again(tmp_path):
    folder = tmp_path / "speech"
    folder.mkdir()
    rows = ["path,speaker,arousal,valence"]
    soundfile.write(tmp_path / "one.wav", noise(1.0, 0), RATE)
    for i in range(2000):  # seconds of work
        (folder / f"{i}.wav").hardlink_to(tmp_path / "one.wav")
        rows.append(f"{i}.wav,{i % 3},low,positive")
    (folder / "manifest.csv").write_text("\n".join(rows))
    root = tmp_path / "root"
    code = (  # what is started in the background ignores Ctrl-C, and so does all it starts
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
    assert sentence.startswith(f"ser-jax: {tmp_path / 'root/manifest/tiny'}: cannot be written (")
    assert sentence.endswith("expected a data directory to write to")
    assert list((tmp_path / "root").rglob("*")) == []


def test_one_process_at_a_time_prepares_a_corpus(speech, tmp_path):
    folder = tmp_path / "root/manifest/tiny"
    folder.mkdir(parents=True)
    (folder / "incomplete.XYZ_2.0.0").mkdir()
    hold = "import sys, time; from pathlib import Path; from ser_jax.io import lock_folder\n"
    hold += "with lock_folder(Path(sys.argv[1]), OSError): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, folder], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="tiny: another process is preparing this corpus, expected it to"):
            prepare(speech, tmp_path / "root")
        assert (folder / "incomplete.XYZ_2.0.0").exists()
        holder.kill()
    prepare(speech, tmp_path / "root")
    assert not (folder / "incomplete.XYZ_2.0.0").exists()


def test_labels_alone_need_no_recording(flawed, tmp_path):
    options = {"workers": 1, "arousal_threshold": 0.1 * 3, "name": "tiny", "data_dir": tmp_path / "root"}
    file = data.prepare("manifest", flawed, labels_only=True, **options)
    assert file == tmp_path / "root/manifest/tiny/labels.json"
    facts = data.facts("tiny", tmp_path / "root")
    with pytest.raises(data.UnknownCorpusError, match=r"found tiny \(labels only\); prepare it with: "):
        data.load("tiny", tmp_path / "root")
    for i, letter in enumerate("edcba"):
        soundfile.write(flawed.parent / f"{letter}.wav", noise(0.5, i), RATE)
    data.prepare("manifest", flawed, **options)
    assert not file.exists()
    corpus = data.facts("tiny", tmp_path / "root")
    for key in LABELS:
        np.testing.assert_array_equal(getattr(facts, key), getattr(corpus, key))


@pytest.mark.parametrize("form", ["{}.npy", "{}", "safetensors"])
@pytest.mark.parametrize("rate", [10.0, 0.0])
def test_embeddings_are_found_by_id(speech, tmp_path, form, rate):
    rng = np.random.default_rng(0)
    ids = [f"{letter}.wav" for letter in "abcde"]
    arrays = {name: rng.normal(size=(3, 5) if rate else (5,)).astype(np.float32) for name in ids}
    place = tmp_path / "arrays"
    if form == "safetensors":
        save_file(arrays, place)
    else:
        place.mkdir()
        for name, array in arrays.items():
            np.save(place / form.format(name.removesuffix(".wav") if form == "{}" else name), array)
    features = make("embeddings", folder=str(place), rate=rate, dims=5)
    prepare(speech, tmp_path / "root", features=features)
    corpus = data.load("tiny", tmp_path / "root", features)
    assert corpus.features.shape == (5, 75 if rate else 1, 5)
    for i, name in enumerate(corpus.id):
        np.testing.assert_array_equal(corpus.features[i, : corpus.frames[i]], np.atleast_2d(arrays[name]))
    nowhere = make("embeddings", folder=str(tmp_path / "nowhere"), dims=5)
    with pytest.raises(FrontendError, match=r"expected the embedding of \w\.wav"):
        prepare(speech, tmp_path / "root", features=nowhere)
    with pytest.raises(FrontendError, match="embeddings are read from files"):
        features.extract(np.zeros(400))


def test_embeddings_are_found_by_a_column(speech, tmp_path):
    """The last has an empty cell, and is found by its id; the column is no fact of the corpus."""
    prepare(speech, tmp_path / "root")
    header, *rows = speech.read_text(encoding="utf-8").splitlines()
    rows = [f"{row},{'' if i == 4 else f'some/{i}.npy'}" for i, row in enumerate(rows)]
    speech.write_text("\n".join([f"{header},Embedding", *rows]), encoding="utf-8")
    (tmp_path / "arrays" / "some").mkdir(parents=True)
    for i in range(5):
        np.save(tmp_path / "arrays" / ("a.npy" if i == 4 else f"some/{i}.npy"), np.full(3, i))
    features = make("embeddings", folder=str(tmp_path / "arrays"), rate=0.0, dims=3)
    prepare(speech, tmp_path / "root", features=features)
    corpus = data.load("tiny", tmp_path / "root", features)
    assert corpus.id.tolist() == ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"]
    np.testing.assert_array_equal(corpus.features[:, 0, 0], [4, 3, 2, 1, 0])


def raw(folder):
    """Return the columns of the records of a dataset, whatever they should be."""
    examples = map(tf_example_pb2.Example.FromString, store._source(folder).__getitems__(range(5)))
    return [set(example.features.feature) for example in examples]


ORDERS = list(itertools.permutations([LogMel(), MFCC(), Waveform(seconds=0.5)]))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(one.name for one in order))
def test_facts_are_stored_once_whatever_is_prepared_first(speech, tmp_path, order):
    alone = {}
    for features in order:
        prepare(speech, tmp_path / features.name, features=features)
        alone[features] = data.load("tiny", tmp_path / features.name, features).fingerprint
    root = tmp_path / "root"
    folders = [prepare(speech, root, features=features) for features in order]
    first, *others = [raw(folder) for folder in folders]
    assert first == [{*TEXTS, *NUMBERS, "features"}] * 5
    assert others == [[{"id", "frames", "features"}] * 5] * 2
    by_tfds = tfds.builder_from_directory(folders[1]).as_data_source(split="utterances")
    assert set(by_tfds[0]) == {"id", "frames", "features"}
    for _ in range(2):  # from the records, and from the caches
        for features in order:
            assert data.load("tiny", root, features).fingerprint == alone[features]
    assert data.facts("tiny", root).metadata == data.load("tiny", root, order[1]).metadata
    with pytest.raises(UserError, match=r"tiny.*: is prepared with its recordings already, expected another"):
        prepare(speech, root, labels_only=True)
    assert [prepare(speech, root, features=features) for features in order] == folders


@pytest.mark.parametrize("features", [LogMel(), MFCC()])
def test_facts_that_are_gone_or_of_another_source_are_named(speech, tmp_path, features):
    """Whichever front end was prepared first; what is prepared again makes the other one whole."""
    root, other = tmp_path / "root", MFCC() if features == LogMel() else LogMel()
    first, second = prepare(speech, root, features=other), prepare(speech, root, features=features)
    fingerprint = data.load("tiny", root, features).fingerprint
    shutil.rmtree(first.parent)
    gone = r"its facts, stored with another front end, are gone; prepare tiny with that front end again, or "
    for use in (data.load, lambda *_: prepare(speech, root, features=features)):
        with pytest.raises(
            data.DamagedCorpusError, match=f"^{second}: {gone}delete this folder and prepare it"
        ):
            use("tiny", root, features)
    prepare(speech, root, features=other)
    assert data.load("tiny", root, features).fingerprint == fingerprint
    shutil.rmtree(first.parent)
    before = speech.read_text(encoding="utf-8")
    speech.write_text(before.replace("s2", "s3"), encoding="utf-8")
    with pytest.raises(data.DamagedCorpusError, match=gone):
        prepare(speech, root, features=features)
    prepare(speech, root, features=other)
    sentence = (
        rf"^{second}: cannot be read \(its facts are in {first}, of another source or prepared after it "
    )
    for use in (data.load, lambda *_: prepare(speech, root, features=features)):
        with pytest.raises(data.DamagedCorpusError, match=sentence):
            use("tiny", root, features)
    shutil.rmtree(second.parent)
    speech.write_text(before, encoding="utf-8")
    with pytest.raises(UserError, match=rf"^{first}: was prepared by manifest from another source, or from"):
        prepare(speech, root, features=features)
    assert not second.exists()


def test_what_the_facts_lack_is_left_out_of_every_front_end(flawed, tmp_path):
    """A recording whose end is damaged has features of its beginning."""
    root, whole = tmp_path / "root", audio.read

    def read(path, start, stop, seconds):
        if path.name == "a.wav" and seconds > 7:
            raise audio.AudioError(path, "undecodable", "its end is damaged")
        return whole(path, start, stop, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "read", read)
        prepare(flawed, root, skip_bad=True)
    with pytest.raises(UserError, match=r"was prepared with --skip-bad and lacks 4 utterances"):
        prepare(flawed, root, features=MFCC(seconds=2.0))
    prepare(flawed, root, features=MFCC(seconds=2.0), skip_bad=True)
    corpus = data.load("tiny", root, MFCC(seconds=2.0))
    assert (corpus.id.tolist(), corpus.left_out) == (["c.wav"], 4)
