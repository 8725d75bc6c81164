"""The benchmark of training: its report is whole, and makes nothing up."""

import dataclasses
import json
import math
import os
import subprocess
import sys

import pytest

from experiments import throughput, workload
from experiments.rates import Found, Key, Timed
from experiments.throughput_report import as_dict, draw, markdown
from experiments.timing import Timing, ratio
from experiments.ways import CPU, sizes
from ser_jax.model import ModelConfig
from ser_jax.train import TrainConfig

pytestmark = pytest.mark.usefixtures("hastily")
SMALL = ModelConfig(bands=4, frames=210, channels=6)
TRAINING = TrainConfig(batch=8, epochs=2)
TINY = dataclasses.replace(  # few shapes, each of which is compiled
    CPU, utterances=60, epoch=16, cell=16, products=(32,), triad=1, peak=0, rounds=3, limit=0,
    runs=(5, 25), trained=(16,), heard=(0.5, 2.1), swept=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        return throughput.measure(SMALL, TRAINING, TINY, ["float32"])


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
