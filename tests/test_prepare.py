"""Preparing: what is asked for, what is refused, and that nothing half-built is left behind."""

import os
import signal
import subprocess
import sys
import time

import five_recordings
import numpy as np
import pytest
import soundfile
from five_recordings import RATE, noise, prepare

from ser_jax import data
from ser_jax.data.corpus import LABELS
from ser_jax.errors import UserError


@pytest.fixture
def speech(tmp_path):
    return five_recordings.written(tmp_path / "speech")


@pytest.fixture
def flawed(speech):
    return five_recordings.flawed(speech)


def test_preparing_twice_is_logged(speech, tmp_path, caplog):
    prepare(speech, tmp_path / "root")
    with caplog.at_level("INFO", "ser_jax"):
        prepare(speech, tmp_path / "root")
    assert "tiny/2.0.0: already prepared" in caplog.text


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
    for i in range(4000):  # seconds of work
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
    hold += "with lock_folder(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, folder], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="tiny: another process prepares this corpus, expected it to end"):
            prepare(speech, tmp_path / "root")
        assert (folder / "incomplete.XYZ_2.0.0").exists()
        holder.kill()
    prepare(speech, tmp_path / "root")
    assert not (folder / "incomplete.XYZ_2.0.0").exists()


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
    with pytest.raises(UserError, match=r"2\.0\.0: is prepared with its recordings"):
        data.prepare("manifest", flawed, labels_only=True, **options)


def test_recordings_without_a_label_are_warned_of(tmp_path, caplog):
    folder = tmp_path / "Session1/dialog/EmoEvaluation"
    folder.mkdir(parents=True)
    (folder / "Ses01F_impro01.txt").write_text("[0.0 - 1.0]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n")
    (tmp_path / "Session1/sentences/wav/Ses01F_impro01").mkdir(parents=True)
    (tmp_path / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.wav").touch()
    data.prepare("iemocap", tmp_path, labels_only=True, data_dir=tmp_path / "root")
    assert "1 recordings or turns without a label are left out" in caplog.text


def test_nothing_is_written_for_a_source_that_cannot_be_read(speech, tmp_path):
    with pytest.raises(UserError, match="expected --arousal-threshold"):
        prepare(speech, tmp_path / "root", arousal_threshold=None)
    assert not (tmp_path / "root").exists()


def test_a_place_that_cannot_be_written_is_named(speech, tmp_path):
    (tmp_path / "root").write_text("in the way")
    with pytest.raises(UserError, match=r"root/manifest/tiny: cannot be written \(.+\)"):
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


def test_importing_data_is_cheap():
    code = "import sys, ser_jax.data; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"tensorflow_datasets", "librosa", "soxr", "scipy", "jax"} & set(loaded)
