"""The benchmarks of preparation, scaling and recognition: complete, and not to be deceived."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_jax.benchmark import preparation, publish, recognition
from ser_jax.benchmark.monitor import Process, monitor_code
from ser_jax.benchmark.preparation import (
    BOUNDS,
    LEAST,
    LOAD,
    MEMORY,
    PREPARE,
    PreparationError,
    different,
    exceeded,
    lengths,
    markdown,
    write_noise,
)
from ser_jax.data import load
from ser_jax.features.logmel import LogMel

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a system without /proc")
N = 40
SIZES = 600, 2100  # utterances; both fill a shard


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def report(kept):
    return preparation.measure(kept / "work", N, [1, 2])


def test_lengths_are_nearly_those_of_iemocap():
    seconds = lengths(10_039)
    assert abs(seconds.mean() - 4.46) < 0.01
    assert abs(seconds.std() - 3.07) < 0.03
    assert abs((seconds > 7.5).sum() - 1373) < 120
    assert (seconds.min(), seconds.max()) == (0.6, 35.0)
    assert abs(np.corrcoef(seconds, np.arange(10_039))[0, 1]) < 0.05


def test_a_report_says_what_was_measured(report, kept):
    assert report["utterances"] == [N]
    stages = ["prepare, 1 worker", "prepare, 2 workers", "load, first time", "load, second time"]
    assert list(report["stages"]) == stages
    assert all(one["seconds"] > 0 for one in report["stages"].values())
    assert report["different"] == []
    dataset = next((kept / "work/data-1").rglob("*.array_record*")).parent
    assert report["megabytes"] == pytest.approx(sum(f.stat().st_size for f in dataset.iterdir()) / 1e6)
    recordings = [soundfile.info(file) for file in (kept / "work/noise/audio").iterdir()]
    assert {(one.samplerate, one.subtype) for one in recordings} == {(16000, "PCM_16")}
    assert 3600 * report["hours"] == pytest.approx(sum(one.duration for one in recordings), abs=0.01)
    json.dumps(report)


def test_the_table_holds_every_number(report):
    text = markdown(report)
    for name, one in report["stages"].items():
        [line] = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
        assert f"{one['seconds']:.2f} s" in line
        assert f"{one['peak']:,.0f} MB" in line
    assert "n = 40 utterances of noise" in text
    assert "all datasets are the same to the byte" in text
    assert "the datasets differ in shard" in markdown(report | {"different": ["shard"]})
    unknown = report | {"stages": {"load": dataclasses.asdict(Process(1.0, None))}}
    assert markdown(unknown).count("| ? ") == 2


@pytest.mark.parametrize("damage", ["byte", "length", "missing", "more"])
def test_one_difference_between_datasets_is_found(tmp_path, damage):
    folders = [tmp_path / name for name in ("one", "other", "third")]
    for folder in folders:
        (folder / "inner").mkdir(parents=True)
        (folder / "inner/shard").write_bytes(bytes(1000))
        (folder / "info.json").write_text("{}")
    assert different(folders) == []
    shard = folders[2] / "inner/shard"
    shard.unlink()
    content = {"byte": bytes(500) + b"\x01" + bytes(499), "length": bytes(999), "more": bytes(1000)}
    if damage in content:
        shard.write_bytes(content[damage])
    if damage == "more":
        (folders[2] / "extra").touch()
    assert different(folders) == ["extra" if damage == "more" else "inner/shard"]


def test_speakers_have_utterances_of_both_classes(tmp_path):
    manifest = write_noise(tmp_path / "noise", lengths(LEAST), 20, segments=2500)
    with manifest.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {"audio/00000.wav"}
    assert len({row["speaker"] for row in rows}) == 20
    assert len({row["session"] for row in rows}) == 10
    for dimension in ("arousal", "valence"):
        counts = np.unique([row[dimension] for row in rows], return_counts=True)[1]
        assert len(counts) == 2
        assert counts.min() >= 0.4 * len(rows)
    assert max(float(row["end"]) for row in rows) <= preparation.RECORDING


def test_the_scaling_test_goes_through_every_stage(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(
        preparation, "monitor", lambda words: commands.append(words[2]) or (Process(1, 1.0), "")
    )
    report = preparation.measure_scaling(tmp_path / "new", LEAST)
    assert list(report["stages"]) == list(BOUNDS)
    assert commands == ["experiments.crosslingual", "experiments.report", "experiments.verify"]
    assert report["utterances"] == [LEAST, LEAST]
    assert report["exceeded"] == []
    for name in preparation.NAMES:
        assert len(load(name, tmp_path / "new/data")) == LEAST
    lines = markdown(report).splitlines()
    for name, bound in BOUNDS.items():
        assert any(line.startswith(f"| {name} ") and f"| {bound} s " in line for line in lines)


@pytest.mark.parametrize(("name", "most"), BOUNDS.items())
def test_a_stage_that_takes_too_much_is_named(name, most):
    assert exceeded({name: Process(float(most), 1000 * MEMORY)}) == exceeded({name: Process(1.0, None)}) == []
    assert exceeded({name: Process(most + 1.0, 1.0)}) == [f"{name}: {most + 1} s, expected {most} s at most"]
    assert exceeded({name: Process(1.0, 25_000.0)}) == [f"{name}: 25.0 GB, expected 24 GB at most"]


@pytest.mark.parametrize("sentences", [[], ["report: 25.0 GB, expected 24 GB at most"]])
def test_a_report_is_printed_and_written_and_exceeded_bounds_are_status_1(tmp_path, capsys, sentences):
    file, report = tmp_path / "report.json", {"utterances": 7, "exceeded": sentences}
    assert publish(lambda folder: report, lambda report: "a table", file) == len(sentences)
    printed = capsys.readouterr()
    assert (printed.out, printed.err.splitlines()) == ("a table\n", sentences)
    assert json.loads(file.read_text()) == report


@pytest.mark.parametrize(
    ("name", "flag", "value", "sentence"),
    [
        ("preparation", "--utterances", "0", "expected 1 to 1,000,000"),
        ("scaling", "--utterances", "99", "expected 100 to 1,000,000"),
        ("scaling", "--utterances", "many", ""),
        ("preparation", "--keep", "{}", "found something there, expected a new folder"),
        ("recognition", "--json", "{}", "found a folder, expected a file"),
    ],
)
def test_a_wrong_request_ends_with_status_2_and_names_the_flag(tmp_path, name, flag, value, sentence):
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", f"experiments.{name}", flag, value.format(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert flag in done.stderr
    assert sentence in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_corpus_that_lost_utterances_is_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "write_noise", lambda folder, *_: folder)
    monkeypatch.setattr(preparation, "monitor_code", lambda *_: (Process(1.0, 1.0), '[0.1, 99, ""]'))
    with pytest.raises(PreparationError, match="loaded 99 utterances, expected 100"):
        preparation.measure_scaling(tmp_path / "new", 100)


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """What preparing and loading twice took, by utterances of 0.1 s."""
    found = {}
    for count in SIZES:
        folder = tmp_path_factory.mktemp("sizes")
        manifest = write_noise(folder / "noise", np.full(count, 0.1), 10, segments=2500)
        prepared, _ = monitor_code(PREPARE, manifest, "noise", folder / "data", 1)
        found[count] = prepared, *(monitor_code(LOAD, folder / "data")[0] for _ in range(2))
    return found


@LINUX
@pytest.mark.parametrize("stage", range(3), ids=["prepare", "first", "second"])
def test_no_stage_keeps_the_features(sizes, stage):
    small, large = (sizes[count][stage].anonymous for count in SIZES)
    grown = 1e6 * (large - small) / (SIZES[1] - SIZES[0])
    assert grown < 4 * LogMel().frames * LogMel().dims / 2, f"{grown:.0f} bytes an utterance"


@LINUX
def test_recognition_is_measured_on_one_core(tmp_path, monkeypatch):
    calls = []

    def monitored(code, *words):
        calls.append(code)
        return Process(2.0, 300.0), "[[0.01, 0.03], 5.0]" if "WARM" in code or "timed" in code else ""

    monkeypatch.setattr(recognition, "monitor_code", monitored)
    report = recognition.measure(tmp_path, None)
    assert report["utterance"] == [0.01, 0.03]
    assert (report["hour"], report["memory"]) == (5.0, 300.0)
    assert report["start"] == report["start_one_core"] == [2.0] * recognition.STARTS
    assert sum(code.startswith(recognition.ONE_CORE) for code in calls) == 1 + recognition.STARTS
    assert soundfile.info(tmp_path / "hour.wav").duration == 3600
    assert "| 20.0 ms (95 %: 29.0 ms)" in recognition.markdown(report)
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(recognition.RecognitionError, match="keeps no process to one core"):
        recognition.measure(tmp_path, None)
