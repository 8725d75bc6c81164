"""The benchmark of preparing and loading: complete, and not to be deceived."""

import dataclasses
import json
import os

import numpy as np
import pytest
import soundfile

from experiments import preparation
from experiments.preparation import different, lengths, markdown
from ser_jax.benchmark.monitor import Process
from ser_jax.errors import UserError

N = 40


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def report(kept):
    return preparation.measure(kept / "work", N, [1, 2])


def test_the_lengths_are_nearly_those_of_iemocap():
    seconds = lengths(10_039)
    assert abs(seconds.mean() - 4.46) < 0.01
    assert abs(seconds.std() - 3.07) < 0.03
    assert abs((seconds > 7.5).sum() - 1373) < 120
    assert (seconds.min(), seconds.max()) == (0.6, 35.0)
    assert abs(np.corrcoef(seconds, np.arange(10_039))[0, 1]) < 0.05


def test_a_report_says_what_was_measured(report, kept):
    assert report.utterances == N
    assert list(report.prepared) == [1, 2]
    assert all(process.seconds > 0 for process in [*report.prepared.values(), *report.loading])
    for seconds, process in zip(report.loaded, report.loading, strict=True):
        assert 0 < seconds < process.seconds
    assert report.different == []
    dataset = kept / "work/data-1/manifest/noise/1.0.0"
    assert report.megabytes == pytest.approx(sum(f.stat().st_size for f in dataset.iterdir()) / 1e6)
    recordings = sorted((kept / "work/noise/audio").iterdir())
    found = np.array([soundfile.info(file).duration for file in recordings])
    assert {(soundfile.info(f).samplerate, soundfile.info(f).subtype) for f in recordings} == {
        (16000, "PCM_16")
    }
    assert report.lengths["sum"] == pytest.approx(found.sum(), abs=0.01)
    assert report.lengths["mean"] == pytest.approx(found.mean(), abs=1e-3)
    assert report.lengths["deviation"] == pytest.approx(found.std(), abs=1e-3)
    assert report.lengths["longer"] == (found > 7.5).mean()


def test_the_table_holds_every_number(report):
    text = markdown(report)
    for count in (1, 2):
        seconds = report.prepared[count].seconds
        assert f"{seconds:.1f} s" in text
        assert f"{N / seconds:.0f}" in text
    for name, seconds in zip(("first", "second"), report.loaded, strict=True):
        assert any(f"load, {name} time" in line and f"{seconds:.2f} s" in line for line in text.splitlines())
    assert f"{report.device}, {report.cores} cores" in text
    assert "n = 40 utterances of noise" in text
    assert "those of 1 and 2 workers are the same to the byte" in text


def test_what_differs_is_named_in_the_table(report):
    text = markdown(dataclasses.replace(report, different=["metadata.json", "shard"]))
    assert "those of 1 and 2 workers differ in metadata.json, shard" in text


def test_memory_that_cannot_be_measured_is_not_made_up(report):
    unknown = dataclasses.replace(report, prepared={1: Process(1.0, None)})
    assert "| ? " in markdown(unknown)


@pytest.mark.parametrize("damage", ["byte", "length", "missing", "more"])
def test_one_difference_between_datasets_is_found(tmp_path, damage):
    folders = [tmp_path / name for name in ("one", "other", "third")]
    for folder in folders:
        (folder / "inner").mkdir(parents=True)
        (folder / "inner/shard").write_bytes(bytes(1000))
        (folder / "info.json").write_text("{}")
    assert different(folders) == []
    shard = folders[2] / "inner/shard"
    if damage == "byte":
        shard.write_bytes(bytes(500) + b"\x01" + bytes(499))
    elif damage == "length":
        shard.write_bytes(bytes(999))
    elif damage == "missing":
        shard.unlink()
    else:
        (folders[2] / "extra").touch()
    assert different(folders) == ["extra" if damage == "more" else "inner/shard"]


def test_a_folder_in_use_and_numbers_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "something").touch()
    with pytest.raises(UserError, match="is not empty, expected a new folder"):
        preparation.measure(tmp_path, N, [1])
    for utterances, workers in ((0, [1]), (N, [1, 0])):
        with pytest.raises(UserError, match="expected at least 1 of each"):
            preparation.measure(tmp_path / "new", utterances, workers)


def test_the_command_prints_the_table_and_keeps_the_numbers(report, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preparation, "measure", lambda folder, utterances, workers: report)
    with pytest.raises(SystemExit) as end:
        preparation.main(["--utterances", str(N), "--json", str(tmp_path / "report.json")])
    assert end.value.code == 0
    assert capsys.readouterr().out == markdown(report) + "\n"
    said = json.loads((tmp_path / "report.json").read_text())
    assert said["prepared"]["2"]["seconds"] == report.prepared[2].seconds
    assert said["loaded"] == report.loaded
    assert os.sep not in json.dumps(said)


def test_a_wrong_request_ends_as_one_sentence(capsys):
    with pytest.raises(SystemExit) as end:
        preparation.main(["--utterances", "0"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.endswith("argument --utterances: '0', expected a whole number from 1 to 1,000,000\n")
