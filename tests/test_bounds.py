"""Bounds of time and memory: the script goes the whole road, and nothing holds features that it could map."""

import csv
import dataclasses
import gc
import json
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import noise_corpus
from ser_jax.data.logmel import BANDS, FRAMES

from experiments import bounds, verify
from experiments import report as report_of
from experiments.bounds import BOUNDS, MEMORY, broken, markdown
from experiments.crosslingual import CROSSLINGUAL
from experiments.main import main
from experiments.pool import Pool
from experiments.preparation import LOAD, PreparationError
from ser_jax.benchmark.monitor import Process, monitor_code
from ser_jax.data import load
from ser_jax.data.histogram import towards
from ser_jax.devices import ALIGNMENT

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a system without /proc")
FEATURES = 4 * FRAMES * BANDS  # bytes an utterance
SIZES = 600, 2100  # utterances; both fill a shard


MAINS = {
    "experiments.crosslingual": partial(main, "", "crosslingual", [CROSSLINGUAL]),
    "experiments.report": report_of.main,
    "experiments.verify": verify.main,
}


def here(command):
    """Runs an experiment in this process, which has imported already what takes seconds to import."""
    _, _, module, *words = command
    with pytest.raises(SystemExit) as end:
        MAINS[module](words)
    assert end.value.code == 0, command
    return Process(0.5, 600.0, 400.0), ""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def report(kept):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "monitor", here)
        return bounds.measure(kept / "work", bounds.LEAST)


def test_every_stage_is_gone_through(report, kept):
    assert list(report.stages) == [name for name, _ in BOUNDS]
    assert report.utterances == (bounds.LEAST, bounds.LEAST)
    assert all(process.seconds > 0 for process in report.stages.values())
    for name in bounds.NAMES:
        assert len(load(name, kept / "work/data")) == bounds.LEAST
    out = kept / "work/results"
    assert len(list((out / "predictions").iterdir())) == 4
    assert (out / "report.html").exists()
    assert broken(report) == []


def test_the_noise_is_said_by_people_of_both_classes(kept, report):
    with (kept / "work/noise/manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["speaker"] for row in rows}) == 20
    assert len({row["session"] for row in rows}) == 10
    for target in ("arousal", "valence"):
        counts = np.unique([row[target] for row in rows], return_counts=True)[1]
        assert counts.min() >= 0.4 * len(rows)
    assert max(float(row["end"]) for row in rows) <= bounds.RECORDING


def test_the_table_holds_every_number_beside_its_bound(report):
    text = markdown(report)
    for name, most in BOUNDS:
        one = report.stages[name]
        [line] = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
        fields = [field.strip() for field in line.split("|")[2:-1]]
        memory = [f"{value / 1000:.2f} GB" for value in (one.peak, one.anonymous)]
        assert fields == [f"{one.seconds:.1f} s", f"{most} s", *memory]
    assert "100 and 100 utterances of noise" in text


def test_memory_that_cannot_be_measured_is_neither_made_up_nor_too_much(report):
    unknown = dataclasses.replace(report, stages=dict.fromkeys(report.stages, Process(1.0, None, None)))
    assert markdown(unknown).count("| ? ") == 2 * len(BOUNDS)
    assert broken(unknown) == []


def too_much(report, name, **process):
    stages = report.stages | {name: dataclasses.replace(report.stages[name], **process)}
    return dataclasses.replace(report, stages=stages)


@pytest.mark.parametrize(("name", "seconds"), BOUNDS)
def test_a_stage_that_takes_too_much_is_named(report, name, seconds):
    assert broken(too_much(report, name, seconds=float(seconds), peak=1000 * MEMORY)) == []
    slow, large = too_much(report, name, seconds=seconds + 1.0), too_much(report, name, peak=25_000.0)
    assert broken(slow) == [f"{name}: {seconds + 1} s, expected {seconds} s at most"]
    assert broken(large) == [f"{name}: 25.0 GB, expected 24 GB at most"]


@pytest.mark.parametrize(("peak", "status"), [(1000.0, 0), (25_000.0, 1)])
def test_a_broken_bound_is_the_exit_status(report, tmp_path, monkeypatch, capsys, peak, status):
    measured = too_much(report, "report", peak=peak)
    monkeypatch.setattr(bounds, "measure", lambda folder, utterances: measured)
    with pytest.raises(SystemExit) as end:
        bounds.main(["--utterances", "100", "--json", str(tmp_path / "bounds.json")])
    assert end.value.code == status
    said = capsys.readouterr()
    assert said.out == markdown(measured) + "\n"
    assert said.err == ("report: 25.0 GB, expected 24 GB at most\n" if status else "")
    found = json.loads((tmp_path / "bounds.json").read_text())
    assert found["stages"]["report"]["peak"] == peak


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--utterances", "99"], "'99', expected a whole number from 100 to 1,000,000"),
        (["--utterances", "100", "--keep", "{used}"], "is not empty, expected a new folder"),
        (["--utterances", "100", "--keep", "{used}/file"], "is a file, expected a new folder"),
        (["--json", "{used}"], "expected a file, found a folder"),
    ],
)
def test_a_wrong_request_ends_as_one_sentence(tmp_path, capsys, flags, sentence):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as end:
        bounds.main([flag.format(used=tmp_path) for flag in flags])
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "experiments.bounds: " in said
    assert sentence in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("utterances", [-1, 99, 1_000_001])
def test_numbers_that_cannot_be_are_refused(tmp_path, utterances):
    with pytest.raises(PreparationError, match="utterances, expected 100 to 1,000,000"):
        bounds.measure(tmp_path / "new", utterances)


def test_a_corpus_that_lost_utterances_is_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "write_segments", lambda folder, count, seed: folder)
    monkeypatch.setattr(bounds, "monitor_code", lambda code, *words: (Process(1.0, 1.0), '[0.1, 99, ""]'))
    with pytest.raises(PreparationError, match="loaded 99 utterances, expected 100"):
        bounds.measure(tmp_path / "new", 100)


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """Corpora of two sizes, of 0.1 s each: what preparing and loading them took, by size."""
    found = {}
    for count in SIZES:
        folder = tmp_path_factory.mktemp("sizes")
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16000 * 60)
        soundfile.write(folder / "noise.wav", samples, 16000)
        rows = ["path,start,end,speaker,arousal,valence"]
        rows += [f"noise.wav,{i / 50},{i / 50 + 0.1},{i % 10},low,positive" for i in range(count)]
        (folder / "noise.csv").write_text("\n".join(rows))
        words = ["prepare", "manifest", "--source", folder / "noise.csv", "--name", "noise"]
        prepared, _ = monitor_code(bounds.CLI, *words, "--data-dir", folder / "data", "--workers", 1)
        found[count] = prepared, *(monitor_code(LOAD, folder / "data")[0] for _ in range(2))
    return found


@LINUX
@pytest.mark.parametrize("stage", range(3), ids=["prepare", "first", "second"])
def test_no_stage_keeps_the_features(sizes, stage):
    small, large = (sizes[count][stage].anonymous for count in SIZES)
    grown = 1e6 * (large - small) / (SIZES[1] - SIZES[0])
    assert grown < FEATURES / 2, f"{grown:.0f} bytes an utterance"


def two_corpora():
    return [noise_corpus(name, seed=i) for i, name in enumerate(("a", "b"))]


def test_equalised_features_need_not_be_copied_to_be_computed_with():
    pool = Pool(two_corpora(), 5, "footnote", lambda logmel, frames: (logmel, frames))
    found = towards([0], pool.logmel, pool.frames, pool.membership)
    assert found.ctypes.data % ALIGNMENT == 0


class Place:
    """What computes with features, and refers to itself as long as nobody looks for such circles."""

    def __init__(self, logmel):
        self.logmel, self.itself = logmel, self

    shape = property(lambda self: self.logmel.shape)


def test_equalised_features_are_let_go_before_the_next_are_made(monkeypatch):
    placed, alive = [], []

    def place(logmel, frames):
        placed.append(weakref.ref(logmel))
        return Place(logmel), frames

    def watched(*arguments):
        alive.append([one() is not None for one in placed])
        return towards(*arguments)

    pool = Pool(two_corpora(), 5, "footnote", place)
    monkeypatch.setattr("ser_jax.data.histogram.towards", watched)
    gc.disable()
    try:
        for train in ("a", "b"):
            pool.features("histogram", (train,))
    finally:
        gc.enable()
    assert alive == [[], [False]]
