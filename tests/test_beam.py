"""Preparing through Apache Beam: the same bytes as without, and what can go wrong with an engine."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

from ser_jax import data
from ser_jax.data import beam, store

TWO_PROCESSES = ["direct_num_workers=2", "direct_running_mode=multi_processing"]


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Prepare thirteen utterances in as many shards; the fourth is no sound, so its shard is empty."""
    rows = ["path,speaker,arousal,valence"]
    for i in range(13):
        noise = np.random.default_rng(i).uniform(-0.5, 0.5, 4000 + 400 * i)
        soundfile.write(tmp_path / f"{i}.wav", noise, 16000)
        rows.append(f"{i}.wav,{i % 3},{('low', 'high')[i % 2]},positive")
    (tmp_path / "3.wav").write_text("no sound")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    monkeypatch.setattr(beam, "SHARD", 1)
    source, options = tmp_path / "manifest.csv", {"name": "tiny", "workers": 1}
    return lambda root, **rest: data.prepare("manifest", source, data_dir=tmp_path / root, **options, **rest)


def test_two_processes_of_beam_write_the_same_bytes(prepare, tmp_path):
    engine = {"beam_runner": "DirectRunner", "beam_options": TWO_PROCESSES}
    folders = prepare("local", skip_bad=True), prepare("beam", skip_bad=True, **engine)
    local, by_beam = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert by_beam == local
    corpus = data.load("tiny", tmp_path / "beam")
    assert (len(corpus), corpus.left_out) == (12, 1)
    (left_out,) = store.metadata(folders[1])["left_out"]
    assert (left_out["id"], left_out["finding"]) == ("3.wav", "undecodable")


@pytest.mark.parametrize(
    ("runner", "sentence"),
    [
        ("DirectRunner", r"^1 of 13 utterances cannot be prepared \(undecodable 1\), the first is "),
        ("PortableRunner", r"^PortableRunner failed \(.*\), expected it to finish$"),
    ],
)
def test_what_beam_finds_bad_and_an_engine_that_fails_are_named(prepare, tmp_path, runner, sentence):
    with pytest.raises(data.preparation.PrepareError, match=sentence):
        prepare("root", beam_runner=runner)
    assert list((tmp_path / "root").rglob("*")) == []


def test_beam_that_is_not_installed_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        beam.BeamError, match=r'DirectRunner needs apache-beam .* pip install "ser_jax\[beam\]"'
    ):
        beam._beam("DirectRunner", [])


def test_tfds_alone_prepares_and_reads_a_corpus(tmp_path):
    """By a builder, by name, and from its folder; the bytes are those of `prepare`."""
    for name in ("03a01Fa", "03a01Nc", "08a01Wa", "16a01Td"):
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)
    made = beam.builder("emodb", data_dir=tmp_path / "tfds")
    with pytest.raises(AssertionError, match=r"give the folder of its release .*manual_dir=\.\.\."):
        made.download_and_prepare()
    made.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tmp_path))
    folder = data.prepare("emodb", tmp_path, data_dir=tmp_path / "own", workers=1)
    assert {file.name: file.read_bytes() for file in Path(made.data_dir).iterdir()} == {
        file.name: file.read_bytes() for file in folder.iterdir()
    }
    for root in ("tfds", "own"):
        found = tfds.builder("emodb", data_dir=tmp_path / root)
        again = tfds.builder_from_directory(found.data_dir)
        for source in (found.as_data_source()["utterances"], again.as_data_source(split="utterances")):
            assert [row["speaker"] for row in source] == [b"03", b"03", b"08", b"16"]
            assert source[0]["features"].shape == (750, 26)
        assert len(data.load("emodb", tmp_path / root)) == 4
