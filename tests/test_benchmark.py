"""The benchmarks: their workload, their clock, and reports that leave nothing out."""

import json
import math
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from ser_jax import train
from ser_jax.benchmark import QUANTILES, encoder, iemocap_seconds, programs, throughput
from ser_jax.benchmark.programs import BOUNDS, LEAST, BenchmarkError, Process, monitor
from ser_jax.benchmark.throughput import (
    TABLE2,
    Sizes,
    Timing,
    Trainer,
    Workload,
    interleaved,
    ratio,
    useful_flops,
)
from ser_jax.devices import Machine
from ser_jax.features import LogMel
from ser_jax.features.whisper import PACKAGED
from ser_jax.model import AttentiveCNN
from ser_jax.train import Procedure, TrainConfig, stack

pytestmark = pytest.mark.usefixtures("hastily")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory and cores are measured on Linux")
SMALL = AttentiveCNN(bands=4, frames=210, channels=6)
TRAINING = TrainConfig(batch=8, epochs=2)
TINY = Sizes(utterances=60, epoch=16, cell=16, products=(32,), seconds=0, rounds=3)
BARE = """
import sys
absent = "jaxtyping beartype tensorflow_datasets librosa soundfile soxr tyro jinja2 safetensors psutil"
sys.modules.update(dict.fromkeys([*absent.split(), "torch"]))
from experiments import throughput as script
from ser_jax.benchmark import throughput
from ser_jax.model import AttentiveCNN
measure, config = throughput.measure, AttentiveCNN(bands=2, frames=110, channels=3)
sizes = throughput.Sizes(utterances=20, epoch=8, cell=8, products=(32,), seconds=0)
throughput.measure = lambda _, training, own, precisions: measure(
    config, training, sizes._replace(rounds=own.rounds), precisions
)
sys.argv = ["throughput", "--rounds", "1", "--precision", "bfloat16"]
script.main()
"""


def test_lengths_are_distributed_as_iemocaps():
    seconds = iemocap_seconds(10_039)
    for share, known in QUANTILES.items():
        assert np.quantile(seconds, share) == pytest.approx(known, rel=2e-3, abs=0.02 * (share == 1) * known)
    assert np.minimum(seconds, 7.5).mean() == pytest.approx(4.05, abs=0.01)


# Throughput


@pytest.fixture(scope="module")
def workload():
    return Workload.of(SMALL, 60)


class Idle:
    """A `Trainer` that trains nothing."""

    def __init__(self, procedure, data, specs):
        self.runs = len(specs)

    def __call__(self):
        time.sleep(1e-3)
        return self.runs


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        patch.setattr(throughput, "Trainer", Idle)
        return throughput.measure(SMALL, TRAINING, TINY, ["bfloat16", "float32"])


def test_a_full_utterance_needs_its_matrix_product_twice():
    """Eight segments of 30 positions of a [260] x [260, 200] product, forward and for the gradient."""
    config, full = AttentiveCNN(), np.full(3, 750)
    assert useful_flops(config, full) == 8 * 30 * 260 * 200 * 2 * 2
    assert useful_flops(config, np.zeros(3)) == 0
    iemocap = np.minimum(100 * iemocap_seconds(10_039), 750)  # two fifths of its segments hold nothing
    assert useful_flops(config, iemocap) == pytest.approx(0.6 * useful_flops(config, full), rel=0.03)
    assert pytest.approx(51e6, rel=0.01) == TABLE2


def test_the_trainer_trains_as_users_do(workload):
    machine, specs = Machine.here(devices=1), workload.runs(5, 16)  # stacks on several are rounded otherwise
    data, runs = workload.data(machine), stack([spec.run() for spec in specs])
    expected = train.fit_runs(Procedure(SMALL, TRAINING), data, runs)[0].params
    for own in (data, workload.data(None)):  # on the devices, and streamed
        trainer = Trainer(Procedure(SMALL, TRAINING, mesh=machine.mesh), own, specs)
        assert trainer() == 2 * 5 * 16
        found = jax.tree.map(lambda leaf: leaf[:5], trainer.state.params)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_works_are_interleaved_and_those_that_fail_are_named():
    calls = []

    def fail():
        raise RuntimeError("no C++ compiler\nmore of it")

    works = {name: lambda name=name: calls.append(name) or 1.0 for name in "abc"}
    timings = interleaved(works | {"d": fail}, 4)
    assert "".join(calls) == "aabbcc" + "abc" * 4
    assert [len(timings[name].rates) for name in "abc"] == [4, 4, 4]
    assert timings["d"].failed == "RuntimeError: no C++ compiler"
    assert math.isnan(ratio(timings["a"], timings["d"]))
    # The machine was ten times slower in one round.
    assert ratio(Timing(0, [30, 3, 30]), Timing(0, [10, 1, 10])) == 3


def test_compilation_is_apart_from_the_rate(monkeypatch):
    """A clock that only the work moves: 1/64 s for a unit, and half a second more the first time."""
    now = [0.0]
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def work():
        now[0] += 3 / 64 + 0.5 * (not now[0])
        return 3.0

    assert interleaved({"a": work}, 5)["a"] == Timing(0.5, [64.0] * 5)


def test_every_variant_is_reported_and_ratios_follow_from_the_rates(report, workload):
    rows, found = report["rows"], {"bfloat16": [], "float32": []}
    for row in rows:
        found[row["precision"]].append(row["variant"])
        assert (row["failed"] is None) == ("torch" not in row["variant"]) == (row["rate"] > 0)
        if not row["failed"]:
            assert 0 < row["low"] <= row["rate"] <= row["high"]
            flops = row["rate"] * useful_flops(SMALL, workload.frames)
            assert row["of_matmul"] == pytest.approx(flops / report["peak"][row["precision"]])
            assert row["table2_hours"] == pytest.approx(TABLE2 / row["rate"] / 3600)
    assert found["bfloat16"] == ["one", "five", "25", "torch eager"]
    alternatives = ["five, vmap", "five, streamed", "torch eager", "torch compile"]
    assert found["float32"] == ["one", "five", "25", *alternatives]
    assert {row["over_five"] for row in rows if row["variant"] == "five"} == {1}
    lines = throughput.markdown(report).splitlines()
    for row, line in zip(rows, lines[2:], strict=False):
        assert (f"not measured: {row['failed']}" if row["failed"] else f"{row['rate']:,.0f}") in line
    assert report["environment"]["device"] in "\n".join(lines)


def test_the_script_runs_on_a_bare_accelerator_image():
    one_device = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, env=one_device)
    assert done.returncode == 0, done.stderr
    assert "| one " in done.stdout
    assert "n = 1 interleaved rounds" in done.stdout


# Whole programs


@LINUX
def test_the_memory_of_children_and_of_mapped_files_is_told_apart(tmp_path):
    """100 MB in a process, 100 MB in one that it starts, and a mapped file of 100 MB."""
    (tmp_path / "file").write_bytes(bytes(100_000_000))
    hold = "import mmap, time; held = bytearray(b'x') * 100_000_000; time.sleep(0.5)"
    code = f"""
import mmap, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {hold!r}])
file = open(sys.argv[1], "rb")
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
total = sum(mapped[i] for i in range(0, 10**8, 4096))
{hold}; child.wait(); print("done")
"""
    process, output = monitor("-c", code, tmp_path / "file")
    assert output == "done"
    assert 200 < process.anonymous < 300 < process.peak < 400
    assert 0.5 < process.seconds < 30


def test_a_program_that_fails_is_not_measured(capfd):
    with pytest.raises(BenchmarkError, match=r"a process ended with status 3, expected 0 \(see above\)"):
        monitor("-c", "import sys; print('why', file=sys.stderr); sys.exit(3)")
    assert "why" in capfd.readouterr().err


@LINUX
def test_preparing_and_loading_keep_no_features_in_memory(tmp_path):
    """What grows with the number of utterances is far less than their features."""
    anonymous = []
    for count in (600, 2100):  # both fill a shard
        folder = tmp_path / str(count)
        manifest = programs.write_noise(folder / "noise", np.full(count, 0.1))
        prepare = ["prepare", "manifest", "--source", manifest, "--name", "noise"]
        stages = [monitor("-m", "ser_jax", *prepare, "--data-dir", folder / "data", "--workers", 1)[0]]
        stages += [monitor("-c", programs.LOAD, folder / "data")[0] for _ in range(2)]
        anonymous.append([stage.anonymous for stage in stages])
    grown = 1e6 * np.diff(anonymous, axis=0)[0] / (2100 - 600)
    assert (grown < 4 * LogMel().frames * LogMel().dims / 2).all(), f"{grown} bytes an utterance"


def test_an_experiment_goes_through_every_stage(tmp_path, monkeypatch, capsys):
    commands = []

    def monitored(*arguments):
        commands.append(arguments)
        return Process(100.0, 1.0 if len(commands) > 1 else 25_000.0), "0.1"

    monkeypatch.setattr(programs, "monitor", monitored)
    assert programs.publish(lambda folder: programs.measure_experiment(folder, LEAST)) == 1
    modules = ["ser_jax", "ser_jax", "experiments.crosslingual", "experiments.report", "experiments.verify"]
    assert [module for flag, module, *_ in commands if flag == "-m"] == modules
    printed = capsys.readouterr()
    assert all(f"| {name} " in printed.out for name in BOUNDS)
    slow = [f"{name}: 100 s, expected 60 s at most" for name in ("report", "verify")]
    assert printed.err.splitlines() == ["prepare: 25.0 GB, expected 24 GB at most", *slow]


@LINUX
def test_recognition_is_measured_on_one_core(tmp_path, monkeypatch, capsys):
    assert monitor("-c", "import os; print(len(os.sched_getaffinity(0)))", one_core=True)[1] == "1"
    monkeypatch.setattr(programs, "HOUR", 10)
    calls = []

    def monitored(*arguments, one_core):
        calls.append((arguments, one_core))
        return Process(2.0, 300.0), "[[0.01, 0.02, 0.06], 5.0]"

    monkeypatch.setattr(programs, "monitor", monitored)
    table = programs.markdown(*programs.measure_recognition(tmp_path, "small"))
    seconds = [line.split("|")[2].strip() for line in table.splitlines()[2:6]]
    assert seconds == ["0.02", "2", "2", "5"]
    assert [one_core for _, one_core in calls].count(False) == programs.STARTS
    monkeypatch.setattr(sys, "argv", list(map(str, ["-c", *calls[0][0][2:4], 2, *calls[0][0][5:]])))
    exec(programs.PREDICT, {})
    measured, hour = json.loads(capsys.readouterr().out)
    assert len(measured) == 2
    assert hour > 0


@pytest.mark.slow
def test_every_stage_stays_within_its_bounds_with_100_000_utterances():
    assert subprocess.run([sys.executable, "-m", "experiments.scaling"]).returncode == 0


def test_the_encoder_is_compared_with_ctranslate2():
    pytest.importorskip("ctranslate2")
    lines = encoder.compare(PACKAGED, 1, (1, 2)).splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["1", "2"]


def test_the_encoder_is_not_compared_without_ctranslate2(monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(encoder.BenchmarkError, match=r"no CTranslate2 .*, expected: pip install ctranslate2"):
        encoder.compare(PACKAGED, 1, (1,))
