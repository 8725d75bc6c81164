"""The benchmark of training: it times what users run, counts what is useful, and makes nothing up."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import throughput, timing, workload
from experiments.rates import Found, Key, Timed
from experiments.throughput_report import as_dict, draw, markdown
from experiments.timing import FEWEST, Peak, Timing, by_turns, product, ratio, triad
from experiments.ways import CPU, Noise, OneAfterAnother, Stack, sizes
from ser_jax import model, train
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, Runs, inputs
from ser_jax.train import TrainConfig

pytestmark = pytest.mark.usefixtures("hastily")
SMALL = ModelConfig(bands=4, frames=210, channels=6)
TRAINING = TrainConfig(batch=8, epochs=2)
TINY = dataclasses.replace(  # few shapes, each of which is compiled
    CPU, utterances=60, epoch=16, cell=16, products=(32,), triad=1, peak=0, rounds=3, limit=0,
    runs=(5, 25), trained=(16,), heard=(0.5, 2.1), swept=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def noise():
    return workload.corpus(SMALL, TINY.utterances)


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        return throughput.measure(SMALL, TRAINING, TINY, ["float32"])


def test_the_lengths_are_those_of_iemocap():
    seconds = workload.iemocap_seconds(10_039)
    for share, known in workload.QUANTILES.items():
        assert np.quantile(seconds, share) == pytest.approx(known, rel=2e-3, abs=0.02 * (share == 1) * known)
    assert np.minimum(seconds, 7.5).mean() == pytest.approx(4.05, abs=0.01)
    assert abs(np.corrcoef(seconds, np.arange(10_039))[0, 1]) < 0.05


def test_utterances_are_heard_for_their_length_and_no_longer_than_the_network_hears(noise):
    assert (noise.frames["full"] == SMALL.frames).all()
    heard = np.sort(np.minimum(workload.iemocap_seconds(TINY.utterances), 2.1))
    np.testing.assert_allclose(np.sort(noise.frames["iemocap"]), 100 * heard, atol=0.51)
    assert (noise.logmel != 0).all()


def test_a_whole_utterance_asks_for_its_products_twice():
    """Eight segments of 30 positions of a [260] x [260, 200] product, forward and for the gradient."""
    whole = np.full(3, 750)
    assert workload.useful_flops(ModelConfig(), whole) == 8 * 30 * 260 * 200 * 2 * 2
    assert workload.useful_flops(ModelConfig(), whole, winners_only=True) == 8 * 31 * 260 * 200 * 2
    assert workload.useful_flops(ModelConfig(), np.zeros(3)) == 0


def test_two_fifths_of_iemocaps_segments_hold_nothing():
    """The share that the specification of the speed states."""
    noise = np.minimum(100 * workload.iemocap_seconds(10_039), 750)
    share = workload.useful_flops(ModelConfig(), noise) / workload.useful_flops(
        ModelConfig(), np.full(1, 750)
    )
    assert share == pytest.approx(0.6, abs=0.02)


@given(st.lists(st.integers(0, SMALL.frames), min_size=1, max_size=8))
def test_segments_that_hold_sound_count(lengths):
    hop, reach = SMALL.stride * SMALL.pool, (SMALL.pool - 1) * SMALL.stride + SMALL.kernel
    sounding = np.arange(SMALL.frames) < np.array(lengths)[:, None]
    live = sum(sounding[:, s * hop : s * hop + reach].any(axis=1).sum() for s in range(SMALL.segments))
    each = SMALL.pool * SMALL.kernel * SMALL.bands * SMALL.channels * 4
    assert workload.useful_flops(SMALL, np.array(lengths)) == pytest.approx(live * each / len(lengths))


def test_parameters_and_moments_move_once_a_step():
    full = workload.useful_bytes(ModelConfig(), np.full(2, 750), 32)
    assert full == 4 * (750 * 26 + 6 * 56_002 / 32)


def test_a_cell_and_the_table_are_as_long_as_the_paper_says():
    noise = workload.corpus(ModelConfig(bands=1, channels=1), 10_039)
    runs = workload.runs(noise, 25, 10_039)
    assert int(np.sum(runs.count)) * 50 == workload.cell_steps()
    assert workload.table2_steps() == pytest.approx(51e6, rel=0.01)


def test_runs_are_the_seeds_of_one_fold_after_another(noise):
    runs = workload.runs(noise, 26, 1000)
    keys = np.asarray(jax.random.key_data(runs.key))
    assert len(np.unique(keys, axis=0)) == 26
    for i in range(26):
        rows = np.asarray(runs.train[i, : runs.count[i]])
        expected = np.flatnonzero(noise.session != i // 5 % 5)
        np.testing.assert_array_equal(np.sort(rows), expected)
    assert (np.asarray(workload.runs(noise, 3, 10).count) == 10).all()


@pytest.mark.parametrize("lengths", ["iemocap", "full"])
def test_what_is_timed_is_what_users_run(noise, lengths):
    placed = Noise.of(noise)
    data, runs = placed.on_mesh[lengths], workload.runs(noise, 5, 16)
    expected = train.fit_runs(SMALL, TRAINING, data, runs).state.params
    stack = Stack(SMALL, TRAINING, placed, 5, 16)
    streamed = Stack(SMALL, TRAINING, placed, 5, 16, streamed=True)
    alone = OneAfterAnother(SMALL, TRAINING, placed, 5, 16)
    at_once = OneAfterAnother(SMALL, TRAINING, placed, 5, 16, epochs=2)
    calls = [stack, stack, streamed, streamed, alone, alone, at_once]
    assert [call(lengths) for call in calls] == [80, 80, 80, 80, 80, 80, 160]
    jax.tree.map(np.testing.assert_array_equal, stack.state.params, expected)
    jax.tree.map(np.testing.assert_array_equal, streamed.state.params, expected)
    one = train.fit(SMALL, TRAINING, data, jax.tree.map(lambda leaf: leaf[1], runs))[0]
    jax.tree.map(np.testing.assert_array_equal, alone.states[1].params, one)
    jax.tree.map(np.testing.assert_array_equal, at_once.states[1].params, one)


def test_things_take_turns_after_two_calls_to_warm_up():
    calls = []
    things = {name: lambda name=name: calls.append(name) or 1.0 for name in "abc"}
    timings = by_turns(things, 4, 60)
    assert "".join(calls) == "aabbcc" + "abc" * 4
    assert [len(timing.seconds) for timing in timings.values()] == [4, 4, 4]


def test_time_ends_the_rounds_but_some_are_made():
    assert len(by_turns({"a": lambda: 1.0}, 100, 0)["a"].seconds) == FEWEST
    assert len(by_turns({"a": lambda: 1.0}, 100, 60)["a"].seconds) == 100


@pytest.fixture
def now(monkeypatch):
    """A clock, [s], that only the work moves."""
    clock = [0.0]
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    return clock


def test_a_rate_is_units_a_second_and_compilation_stands_apart(now):
    """1/64 s for a unit, and half a second more the first time."""

    def work():
        now[0] += 3 / 64 + 0.5 * (not now[0])
        return 3.0

    found = by_turns({"a": work}, 5, 60)["a"]
    assert found.rate == found.best == 64
    assert found.compilation == 0.5


def test_the_median_is_of_ratios_within_a_round():
    """A machine that is ten times slower in one round slows both."""
    fast, slow = Timing(0, 0, [1, 10, 1], [30, 30, 30]), Timing(0, 0, [1, 10, 1], [10, 10, 10])
    assert ratio(fast, slow) == 3
    assert math.isnan(ratio(fast, Timing.absent("no compiler")))


def test_what_may_fail_is_left_out_with_its_reason():
    def fail():
        raise RuntimeError("no C++ compiler\nmore of it")

    timings = by_turns({"a": fail, "b": lambda: 1.0}, 3, 0, lambda name: name == "a")
    assert timings["a"].failed == "RuntimeError: no C++ compiler"
    assert timings["a"].seconds == []
    assert math.isnan(timings["a"].rate)
    assert len(timings["b"].seconds) == 3
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler"):
        by_turns({"a": fail}, 3, 0)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_peaks_count_what_they_do(precision):
    assert product(8, precision, 0)() == 8 * 8 * (8 + 8)
    assert triad(2, 0)() == triad(1, 0)() * 2


def test_a_peak_is_the_fastest_moment(now):
    """1/8 s for a unit, except once, then 1/64 s."""

    def work():
        now[0] += 1 / 8 if now[0] else 1 / 64

    peak = Peak(work, 1, 0.3)
    assert peak() == 4  # begun after 0, 1/64, 9/64 and 17/64 s
    assert peak.rate == 64
    assert peak() == 3
    assert peak.rate == 64


def test_more_is_done_where_more_is_asked_for_and_there_is_more_to_do_it_with():
    assert sizes("cpu", False) == CPU
    assert sizes("cpu", True).epoch > CPU.epoch
    assert sizes("cpu", True).rounds > CPU.rounds
    assert sizes("gpu", False).epoch == sizes("gpu", False).cell == 10_039
    assert sizes("gpu", True).rounds > sizes("gpu", False).rounds


def test_a_report_is_complete_and_what_was_not_measured_is_null(report):
    said = json.loads(json.dumps(as_dict(report), allow_nan=False))
    ours = [row for row in said["rows"] if not row["way"].startswith("torch")]
    assert [(row["way"], row["lengths"]) for row in ours] == [
        (way, lengths)
        for lengths in ("iemocap", "full")
        for way in ("one", "five_after_another", "five_engine", "cell_engine", "five_vmap", "five_streamed")
    ]
    assert all(0 < row["low"] <= row["rate"] <= row["high"] <= row["best"] for row in ours)
    theirs = [row for row in said["rows"] if row["way"].startswith("torch")]
    assert {row["failed"] for row in theirs} == {"PyTorch is not installed"}
    assert {row["rate"] for row in theirs} == {None}
    assert len({row["way"] for row in theirs}) == 3
    assert said["ratios"]["engine_over_torch_eager"] is None
    assert said["ratios"]["useful_matmul_share_bfloat16"] is None
    assert 0 < said["ratios"]["five_runs_over_one_run_time"] < 100
    assert said["ratios"].keys() == said["best_ratios"].keys()
    assert {name: len(points) for name, points in said["costs"].items()} == {
        "runs": 2, "trained": 1, "heard": 2,
    }  # fmt: skip


def test_ratios_compare_precisions_where_both_were_measured():
    def timings(precision, one, five, cell, eager, peak):
        rates = {"one": one, "five_engine": five, "cell_engine": cell, "torch_eager": eager}
        some = {
            Key(precision, way, "iemocap"): Timing(1, rate, [1, 1, 2], [rate, rate, rate])
            for way, rate in rates.items()
        }
        return Timed(some, peak, 1e9)

    noise = workload.corpus(SMALL, 10)
    measured = {
        "float32": timings("float32", 10, 12, 13, 2, 1e6),
        "bfloat16": timings("bfloat16", 20, 24, 26, 3, 2e6),
    }
    found = Found(SMALL, TRAINING, noise, measured)
    ratios = found.ratios(ratio, lambda timing: timing.rate)
    assert ratios["engine_over_torch_eager"] == 6
    assert ratios["engine_bfloat16_over_torch_eager_float32"] == 12
    assert ratios["cell_bfloat16_over_torch_eager_float32"] == 13
    assert ratios["five_runs_over_one_run_time"] == pytest.approx(5 * 10 / 12)
    assert ratios["useful_matmul_share"] == pytest.approx(12 * found.flops("iemocap") / 1e6)
    assert ratios["useful_matmul_share_bfloat16"] == pytest.approx(24 * found.flops("iemocap") / 2e6)
    assert math.isnan(ratios["engine_over_torch_compile"])


def test_shares_and_extrapolations_follow_from_the_rates(report):
    five = next(row for row in report.rows if row.way == "five_engine")
    assert (five.precision, five.lengths) == ("float32", "iemocap")
    share = five.rate * report.useful["iemocap"]["flops"] / report.peak["float32"]
    assert report.ratios["useful_matmul_share"] == pytest.approx(share) == five.product_share
    moved = five.rate * report.useful["iemocap"]["bytes"] / report.bandwidth
    assert report.ratios["useful_bandwidth_share"] == pytest.approx(moved) == five.bandwidth_share
    cell = next(row for row in report.rows if row.way == "cell_engine")
    seconds = report.seconds["cell_engine float32"]
    assert seconds["table2"] == pytest.approx(report.steps["table2"] / cell.rate)
    assert seconds["cell"] == pytest.approx(report.steps["cell"] / cell.rate)


def test_the_table_holds_every_number(report):
    text = markdown(report)
    for row in report.rows:
        assert (
            f"{row.rate:,.0f}" if row.failed is None else "not measured: PyTorch is not installed"
        ) in text
    for points in report.costs.values():
        assert all(f"| {point.value:g} " in text for point in points)
    for name, value in report.ratios.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
        assert (f"{value:,.3f}" if math.isfinite(value) else "| ? ") in line
    assert report.machine["device"] in text
    assert "a full cell, 10.0 million utterance-steps" in text
    assert "Table 2, 51.2 million" in text


def test_a_machine_with_other_work_is_told(report):
    warning = "only the fastest rounds mean something"
    assert warning in markdown(dataclasses.replace(report, load=(1.7, 2.0)))
    assert warning not in markdown(dataclasses.replace(report, load=(0.1, 2.0)))
    assert "Load average ? before" in markdown(dataclasses.replace(report, load=(None, None)))


def test_the_command_prints_the_table_and_keeps_numbers_and_figure(report, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(throughput, "measure", lambda *arguments: asked.append(arguments) or report)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    with pytest.raises(SystemExit) as end:
        throughput.main(["--json", str(tmp_path / "speed.json"), "--precision", "bfloat16", "--full"])
    assert end.value.code == 0
    assert capsys.readouterr().out == markdown(report) + "\n"
    assert asked[0][3:] == (["bfloat16"], True)
    assert json.loads((tmp_path / "speed.json").read_text()) == json.loads(json.dumps(as_dict(report)))
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"  # what the user said stays


def test_a_machine_without_matplotlib_gets_its_numbers(report, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "measure", lambda *arguments: report)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit) as end:
        throughput.main(["--json", str(tmp_path / "speed.json")])
    assert end.value.code == 0
    assert "no figure, since matplotlib is not installed" in capsys.readouterr().err
    assert (tmp_path / "speed.json").exists()


def test_a_figure_shows_ways_that_failed_beside_ways_that_did_not(report, tmp_path):
    assert {row.failed is None for row in report.rows} == {True, False}
    draw(report, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_wrong_flags_end_with_status_2_before_anything_is_measured(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        throughput.main(["--precision", "float16"])
    assert end.value.code == 2
    with pytest.raises(SystemExit) as end:
        throughput.main(["--json", str(tmp_path / "absent" / "speed.json")])
    assert end.value.code == 2
    assert "absent is no folder, expected one for speed.json" in capsys.readouterr().err


def test_the_benchmark_imports_on_a_bare_machine():
    absent = (
        "librosa", "soundfile", "soxr", "tensorflow", "tensorflow_datasets", "array_record", "orbax", "tqdm",
        "matplotlib", "torch",
    )  # fmt: skip
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import experiments.throughput"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def pair():
    """The same utterances, of several lengths, and the same parameters for both: (ours, PyTorch's)."""
    torch = pytest.importorskip("torch")
    from experiments import torch_model

    draw = np.random.default_rng(0)
    config, count = ModelConfig(), 8
    logmel = draw.normal(-40, 9, (count, 750, 26)).astype(np.float32)
    frames = np.array([750, 748, 91, 90, 58, 300, 500, 1], np.int32)
    mean, scale = draw.normal(-40, 3, 26), draw.uniform(0.05, 0.2, 26)
    labels = draw.integers(0, 2, count, dtype=np.int8)
    run = Runs(
        jax.random.key(0), np.arange(count), count, labels, *(np.float32(a)[None] for a in (mean, scale))
    )
    data = Data(jnp.asarray(logmel), jnp.asarray(frames), jnp.zeros(count, jnp.int32))
    theirs = torch_model.Data(
        torch.from_numpy(logmel).transpose(1, 2).contiguous(),
        torch.from_numpy(frames),
        torch.from_numpy(labels).long(),
        *(torch.from_numpy(np.float32(a)) for a in (mean, scale)),
    )
    params = [model.init(config, jax.random.key(seed)) for seed in range(2)]
    params = [
        jax.tree.map(lambda leaf: leaf + draw.normal(0, 0.02, leaf.shape).astype(np.float32), one)
        for one in params
    ]
    return (config, data, run, params), theirs


def our_gradient(config, params, x, labels):
    def loss(params):
        logits = model.apply(config, params, x).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.grad(loss)(params)


def test_pytorch_computes_the_same_logits_and_gradient(pair):
    import torch

    from experiments import torch_model

    (config, data, run, params), theirs = pair
    rows = np.array([3, 5, 1, 0, 7, 4])
    x = inputs(data, run, jnp.asarray(rows))
    np.testing.assert_allclose(
        theirs.inputs(torch.from_numpy(rows)).transpose(1, 2), np.asarray(x), rtol=1e-6, atol=1e-6
    )
    network = torch_model.AttentiveCNN(config).eval()
    network.load_state_dict(torch_model.converted(params[0]))
    logits = network(theirs.inputs(torch.from_numpy(rows)))
    np.testing.assert_allclose(
        logits.detach().numpy(), np.asarray(model.apply(config, params[0], x).logits), rtol=1e-4, atol=1e-5
    )
    torch.nn.functional.cross_entropy(logits, theirs.labels[torch.from_numpy(rows)]).backward()
    ours = torch_model.converted(our_gradient(config, params[0], x, jnp.asarray(run.labels[rows], int)))
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(parameter.grad, ours[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_pytorchs_stack_computes_what_each_of_its_models_would(pair):
    import torch
    from torch.func import grad, vmap

    from experiments import torch_model

    (config, data, run, params), theirs = pair
    rows = np.array([[3, 5, 1], [0, 7, 2]])
    network = torch_model.AttentiveCNN(config).eval()
    each = [torch_model.converted(one) for one in params]
    stacked = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    chosen = torch.from_numpy(rows)
    loss = torch_model.loss_of
    found = vmap(grad(lambda *one: loss(network, *one)))(
        stacked, theirs.inputs(chosen), theirs.labels[chosen]
    )
    for i, one in enumerate(params):
        x = inputs(data, run, jnp.asarray(rows[i]))
        ours = torch_model.converted(our_gradient(config, one, x, jnp.asarray(run.labels[rows[i]], int)))
        for name, gradient in found.items():
            np.testing.assert_allclose(gradient[i], ours[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pytorch_learns(pair, precision):
    """Both of its ways fit a handful of utterances."""
    import torch

    from experiments import torch_model

    (config, *_), theirs = pair
    config = dataclasses.replace(config, precision=precision)
    torch_model.allow(precision)
    for runs, make in (
        (0, lambda: torch_model.train_one(config, 1e-3, "cpu", compiled=False)),
        (2, lambda: torch_model.train_stack(config, 1e-3, "cpu", 2)),
    ):
        torch.manual_seed(0)
        rows, step = torch.arange(8).expand(*([runs] if runs else []), 8), make()
        losses = [float(step(theirs, rows)) for _ in range(30)]
        assert losses[-1] < 0.5 * losses[0]
