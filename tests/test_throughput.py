"""The benchmark of training: its workload, its clock, and a report that is complete and makes nothing up."""

import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import throughput as script
from ser_jax import train
from ser_jax.benchmark import throughput
from ser_jax.benchmark.throughput import (
    IEMOCAP,
    MIN_ROUNDS,
    QUANTILES,
    TABLE2,
    Peak,
    Sizes,
    Timing,
    Trainer,
    Workload,
    iemocap_seconds,
    interleaved,
    markdown,
    matmul,
    ratio,
    triad,
    useful_bytes,
    useful_flops,
)  # fmt: skip
from ser_jax.devices import Machine
from ser_jax.model import AttentiveCNN
from ser_jax.train import Procedure, TrainConfig, stack

pytestmark = pytest.mark.usefixtures("hastily")
SMALL = AttentiveCNN(bands=4, frames=210, channels=6)
TRAINING = TrainConfig(batch=8, epochs=2)
TINY = Sizes(
    utterances=60, epoch=16, cell=16, products=(32,), triad=1, seconds=0, rounds=3, limit=0,
    runs=(5, 25), trained=(16,), lengths=(0.5, 2.1),
)  # fmt: skip
BARE = """
import sys
absent = "tensorflow_datasets librosa soundfile soxr tyro jinja2 safetensors psutil tensorflow array_record"
sys.modules.update(dict.fromkeys([*absent.split(), "torch"]))
from experiments import throughput as script
from ser_jax.benchmark import throughput
from ser_jax.model import AttentiveCNN
from ser_jax.train import TrainConfig
measure, sizes = throughput.measure, throughput.Sizes(
    utterances=20, epoch=8, cell=8, products=(32,), triad=1, seconds=0, rounds=1, limit=0, runs=(1,),
    trained=(8,), lengths=(0.5,),
)
config = AttentiveCNN(bands=2, frames=110, channels=3)
throughput.measure = lambda *_: measure(config, TrainConfig(batch=8), sizes, ["bfloat16"])
script.main(["--json", sys.argv[1]])
"""


@pytest.fixture(scope="module")
def workload():
    return Workload.of(SMALL, 60, (0.5, 2.1))


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        return throughput.measure(SMALL, TRAINING, TINY, ["bfloat16", "float32"])


def test_lengths_are_distributed_as_iemocaps():
    seconds = iemocap_seconds(10_039)
    for share, known in QUANTILES.items():
        assert np.quantile(seconds, share) == pytest.approx(known, rel=2e-3, abs=0.02 * (share == 1) * known)
    assert np.minimum(seconds, 7.5).mean() == pytest.approx(4.05, abs=0.01)
    assert abs(np.corrcoef(seconds, np.arange(10_039))[0, 1]) < 0.05


def test_utterances_have_their_length_or_that_of_the_network(workload):
    assert (workload.frames["2.1 s"] == SMALL.frames).all()
    assert (workload.frames["0.5 s"] == 50).all()
    expected = np.sort(np.minimum(iemocap_seconds(60), 2.1))
    np.testing.assert_allclose(np.sort(workload.frames[IEMOCAP]), 100 * expected, atol=0.51)
    assert (workload.features != 0).all()


def test_a_whole_utterance_needs_its_matrix_product_twice():
    """Eight segments of 30 positions of a [260] x [260, 200] product, forward and for the gradient."""
    config, whole = AttentiveCNN(), np.full(3, 750)
    assert useful_flops(config, whole) == 8 * 30 * 260 * 200 * 2 * 2
    assert useful_flops(config, whole, winners_only=True) == 8 * 31 * 260 * 200 * 2
    assert useful_flops(config, np.zeros(3)) == 0
    iemocap = np.minimum(100 * iemocap_seconds(10_039), 750)  # two fifths of its segments hold nothing
    assert useful_flops(config, iemocap) == pytest.approx(0.6 * useful_flops(config, whole), rel=0.03)
    assert useful_bytes(config, whole, 32) == 4 * (750 * 26 + 6 * 56_002 / 32)
    assert pytest.approx(51e6, rel=0.01) == TABLE2


@given(st.lists(st.integers(0, SMALL.frames), min_size=1, max_size=8))
def test_segments_that_hold_sound_count(lengths):
    hop, reach = SMALL.stride * SMALL.pool, (SMALL.pool - 1) * SMALL.stride + SMALL.kernel
    valid = np.arange(SMALL.frames) < np.array(lengths)[:, None]
    live = sum(valid[:, s * hop : s * hop + reach].any(axis=1).sum() for s in range(SMALL.segments))
    each = SMALL.pool * SMALL.kernel * SMALL.bands * SMALL.channels * 4
    assert useful_flops(SMALL, np.array(lengths)) == pytest.approx(live * each / len(lengths))


@pytest.mark.parametrize("lengths", [IEMOCAP, "2.1 s"])
def test_what_is_timed_is_what_users_run(workload, lengths):
    machine, specs = Machine.here(), workload.runs(5, 16)
    mesh, data = Procedure(SMALL, TRAINING, mesh=machine.mesh), workload.data(machine)
    single, one = Procedure(SMALL, TRAINING), workload.data(Machine.here(devices=1))
    expected = train.fit_runs(SMALL, TRAINING, one[lengths], stack([each.run() for each in specs]))[0].params
    stacked, streamed = Trainer(mesh, data, specs, True), Trainer(mesh, workload.data(None), specs, True)
    alone, at_once = Trainer(single, one, specs, False), Trainer(single, one, specs, False, epochs=2)
    calls = [stacked, stacked, streamed, streamed, alone, alone, at_once]
    assert [call(lengths) for call in calls] == [80, 80, 80, 80, 80, 80, 160]
    for trainer in (stacked, streamed):
        own = jax.tree.map(lambda leaf: leaf[:5], trainer.states[0].params)
        jax.tree.map(np.testing.assert_array_equal, own, expected)
    fitted = train.fit(SMALL, TRAINING, one[lengths], specs[1].run())[0]
    for trainer in (alone, at_once):
        jax.tree.map(np.testing.assert_array_equal, trainer.states[1].params, fitted)


def test_runs_share_their_utterances_five_by_five(workload):
    runs = workload.runs(26, 1000)
    assert len({tuple(jax.random.key_data(one.key).tolist()) for one in runs}) == 26
    for i, one in enumerate(runs):
        assert len(set(one.train.tolist())) == 48
        np.testing.assert_array_equal(one.train, runs[i // 5 % 5 * 5].train)
    assert all(len(one.train) == 10 for one in workload.runs(3, 10))


def test_things_are_interleaved_after_two_calls_to_warm_up():
    calls = []
    things = {name: lambda name=name: calls.append(name) or 1.0 for name in "abc"}
    timings = interleaved(things | {"d": "absent"}, 4, 60)
    assert "".join(calls) == "aabbcc" + "abc" * 4
    assert [len(timings[name].rates) for name in "abc"] == [4, 4, 4]
    assert timings["d"].failed == "ImportError: absent"
    assert len(interleaved({"a": lambda: 1.0}, 100, 0)["a"].rates) == MIN_ROUNDS


@pytest.fixture
def now(monkeypatch):
    """A clock, [s], that only the work moves."""
    clock = [0.0]
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    return clock


def test_a_rate_is_units_per_second_and_compilation_is_apart(now):
    """1/64 s for a unit, and half a second more the first time."""

    def work():
        now[0] += 3 / 64 + 0.5 * (not now[0])
        return 3.0

    found = interleaved({"a": work}, 5, 60)["a"]
    assert found.rate == max(found.rates) == 64
    assert found.compilation == 0.5


def test_the_median_is_of_ratios_within_a_round():
    """A machine that is ten times slower in one round slows both."""
    fast, slow = Timing(0, [30, 3, 30]), Timing(0, [10, 1, 10])
    assert ratio(fast, slow) == 3
    assert math.isnan(ratio(fast, Timing(math.nan, [math.nan], "no compiler")))


def test_what_may_fail_is_left_out_with_its_reason():
    def fail():
        raise RuntimeError("no C++ compiler\nmore of it")

    timings = interleaved({"a": fail, "b": lambda: 1.0}, 3, 0, lambda name: name == "a")
    assert timings["a"].failed == "RuntimeError: no C++ compiler"
    assert math.isnan(timings["a"].rate)
    assert len(timings["b"].rates) == 3
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler"):
        interleaved({"a": fail}, 3, 0)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_peaks_count_what_they_do(precision):
    assert matmul(8, precision, 0)() == 8 * 8 * (8 + 8)
    assert triad(2, 0)() == triad(1, 0)() * 2


def test_a_peak_is_the_fastest_moment(now):
    """1/8 s for a unit, except once, then 1/64 s."""

    def work():
        now[0] += 1 / 8 if now[0] else 1 / 64

    peak = Peak(work, 1, 0.3)
    assert peak() == 4  # begun after 0, 1/64, 9/64 and 17/64 s
    assert peak() == 3
    assert peak.rate == 64


def test_accelerators_and_full_measurements_do_more():
    cpu, full, gpu = Sizes.of("cpu", False), Sizes.of("cpu", True), Sizes.of("gpu", False)
    assert cpu.epoch < full.epoch < gpu.epoch == 10_039
    assert cpu.rounds < full.rounds
    assert gpu.rounds < Sizes.of("gpu", True).rounds


def test_a_report_is_complete_and_what_was_not_measured_is_null(report):
    rows = json.loads(json.dumps(report, allow_nan=False))["rows"]
    ours = [row for row in rows if "torch" not in row["variant"]]
    main = ["one", "five sequential", "five", "cell"]
    costs = [("runs", 5), ("runs", 25), ("utterances", 16), ("length", 0.5), ("length", 2.1)]
    assert [(row["variant"], row["value"]) for row in ours if row["precision"] == "bfloat16"] == [
        *((name, 0) for name in main for _ in range(2)), *costs,
    ]  # fmt: skip
    found = {row["variant"] for row in ours if row["precision"] == "float32"}
    assert found == {*main, "five vmap", "five streamed"}
    assert all(0 < row["low"] <= row["rate"] <= row["high"] <= row["best"] for row in ours)
    theirs = [row for row in rows if "torch" in row["variant"]]
    assert len(theirs) == 2 * (3 + 1)
    assert all("torch" in row["failed"] for row in theirs)
    assert {row["rate"] for row in theirs} == {row["over_torch"] for row in rows} == {None}


def test_shares_and_ratios_follow_from_the_rates(report, workload):
    for row in report["rows"]:
        if row["failed"] is None:
            assert row["flops"] == useful_flops(SMALL, workload.frames[row["lengths"]])
            peak = report["peak"][row["precision"]]
            assert row["of_matmul"] == pytest.approx(row["rate"] * row["flops"] / peak)
            assert row["of_memory"] == pytest.approx(row["rate"] * row["bytes"] / report["bandwidth"])
            assert row["table2_hours"] == pytest.approx(TABLE2 / row["rate"] / 3600)
    assert {row["over_five"] for row in report["rows"] if row["variant"] == "five"} == {1}


def test_the_table_holds_every_rate(report):
    lines = markdown(report).splitlines()
    for row, line in zip(report["rows"], lines[2:], strict=False):
        expected = f"{row['rate']:,.0f}" if row["failed"] is None else f"not measured: {row['failed']}"
        assert expected in line
    text = "\n".join(lines)
    assert report["environment"]["device"] in text
    for load, told in (([1.7, 2.0], True), ([0.1, 2.0], False)):
        assert ("Other load distorts rates" in markdown(report | {"load": load})) == told
    assert "load average ? before" in markdown(report | {"load": [None, None]})


def test_the_script_prints_the_table_and_writes_numbers_and_figure(report, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(throughput, "measure", lambda *arguments: asked.append(arguments) or report)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    with pytest.raises(SystemExit) as end:
        script.main(["--json", str(tmp_path / "speed.json"), "--precision", "bfloat16", "--full"])
    assert end.value.code == 0
    assert capsys.readouterr().out == markdown(report) + "\n"
    assert asked[0][3:] == (["bfloat16"], True)
    assert json.loads((tmp_path / "speed.json").read_text()) == json.loads(json.dumps(report))
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"  # what the user chose


@pytest.mark.parametrize(
    "flags", [["--precision", "float16"], ["--json", "{}/absent/speed.json"], ["--fulll"]]
)
def test_wrong_flags_end_with_status_2_and_are_named(tmp_path, capsys, flags):
    with pytest.raises(SystemExit) as end:
        script.main([flag.format(tmp_path) for flag in flags])
    assert end.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_the_script_runs_on_a_bare_accelerator_image(tmp_path):
    command = [sys.executable, "-c", BARE, tmp_path / "speed.json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "| one " in done.stdout
    assert (tmp_path / "speed.json").exists()
