"""Preparing through Apache Beam: the same bytes as without, and what can go wrong with an engine."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from ser_jax import data
from ser_jax.data import beam, store

TWO_PROCESSES = ["direct_num_workers=2", "direct_running_mode=multi_processing"]
SHARDS_OF_ONE = (
    "import sys; from ser_jax import cli; from ser_jax.data import beam; beam.SHARD = 1; "
    "sys.exit(cli.main(sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Thirteen utterances, the fourth no sound: more than ten shards, one of them empty."""
    folder = tmp_path_factory.mktemp("speech")
    rows = ["path,speaker,arousal,valence"]
    for i in range(13):
        noise = np.random.default_rng(i).uniform(-0.5, 0.5, 4000 + 400 * i)
        soundfile.write(folder / f"{i}.wav", noise, 16000)
        rows.append(f"{i}.wav,{i % 3},{('low', 'high')[i % 2]},positive")
    (folder / "3.wav").write_text("no sound")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder / "manifest.csv"


def prepare(speech, root, *options):
    arguments = ["prepare", "manifest", "--source", speech, "--name", "tiny", "--data-dir", root, *options]
    shell = [sys.executable, "-c", SHARDS_OF_ONE, *map(str, arguments)]
    return subprocess.run(shell, capture_output=True, text=True)


def files(root):
    folder = root / "manifest/tiny/2.0.0"
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def local(speech, tmp_path_factory):
    root = tmp_path_factory.mktemp("local")
    assert prepare(speech, root, "--skip-bad", "--workers", 1).returncode == 0
    return root


def test_two_processes_of_beam_write_the_same_bytes(speech, local, tmp_path):
    done = prepare(
        speech, tmp_path, "--skip-bad", "--beam-runner", "DirectRunner", "--beam-options", *TWO_PROCESSES
    )
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == files(local)
    corpus = data.load("tiny", tmp_path)
    assert (len(corpus), corpus.left_out) == (12, 1)
    assert corpus.fingerprint == data.load("tiny", local).fingerprint
    (left_out,) = store.metadata(store.prepared(tmp_path)["tiny"])["left_out"]
    assert (left_out["id"], left_out["finding"]) == ("3.wav", "undecodable")


def test_what_beam_finds_bad_is_refused(speech, tmp_path):
    done = prepare(speech, tmp_path, "--beam-runner", "DirectRunner")
    assert done.returncode == 2
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(
        "ser-jax: 1 of 13 utterances cannot be prepared (undecodable 1), the first is "
    )
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_an_engine_that_fails_is_named(speech, tmp_path):
    moved = shutil.copytree(speech.parent, tmp_path / "copy") / speech.name
    done = prepare(moved, tmp_path / "root", "--beam-runner", "PortableRunner")
    assert done.returncode == 2
    assert "PortableRunner" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "root").rglob("*")) == []


def test_beam_that_is_not_installed_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        beam.BeamError, match=r'DirectRunner needs apache-beam .* pip install "ser_jax\[beam\]"'
    ):
        beam._beam("DirectRunner", [])
