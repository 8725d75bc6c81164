"""From what benchmarks, a recogniser and an audit wrote as JSON to the values of docs/measured.json."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bounds import BOUNDS
from figures.gathering import GatheringError

WAYS = {
    "one": ("float32", "bfloat16"),
    "five_engine": ("float32", "bfloat16"),
    "five_vmap": ("float32",),
    "five_streamed": ("float32",),
    "cell_engine": ("float32", "bfloat16"),
    "torch_eager": ("float32", "bfloat16"),
    "torch_compile": ("float32",),
    "torch_stacked": ("float32",),
}
RATIOS = (
    "engine_over_torch_eager", "engine_bfloat16_over_torch_eager_float32", "five_runs_over_one_run_time",
    "useful_matmul_share", "useful_matmul_share_winners_only",
)  # fmt: skip
STAGES = ("prepare", "load_first", "load_second", "train", "report", "verify")


def recognizer(out: Path) -> dict[str, Any]:
    """What the model knows of the speakers held out."""
    metrics = json.loads((out / "model" / "metrics.json").read_text())
    any_target = next(iter(metrics.values()))
    counts = {name: any_target[name] for name in ("speakers", "utterances")}
    return counts | {target: _recognised(one) for target, one in metrics.items()}


def _recognised(one: dict[str, Any]) -> dict[str, Any]:
    seconds = {"half_a_second": "0.5", "one_second": "1", "two_seconds": "2"}
    low, high = one["uar_interval"]
    return {
        "uar": 100 * one["uar"],
        "low": 100 * low,
        "high": 100 * high,
        "log_loss": one["log_loss"],
        "uncalibrated_log_loss": one["uncalibrated"]["log_loss"],
        "calibration_error": one["calibration_error"],
        **{
            name: {"uar": 100 * one["seconds"][key]["uar"], "log_loss": one["seconds"][key]["log_loss"]}
            for name, key in seconds.items()
        },
        "louder": 100 * one["louder"]["+10 dB"]["uar"],
        "softer": 100 * one["louder"]["-10 dB"]["uar"],
    }


def throughput(out: Path) -> dict[str, Any]:
    """Rates at IEMOCAP's lengths, and what follows from them."""
    found = json.loads((out / "report.json").read_text())
    rows = {(row["way"], row["precision"]): row for row in found["rows"] if row["lengths"] == "iemocap"}
    rates: dict[str, Any] = {}
    for way, precisions in WAYS.items():
        for precision in precisions:
            row = rows.get((way, precision), {"rate": None, "failed": "nobody tried"})
            if row["rate"] is None:
                raise GatheringError(f"{way} in {precision} was not timed: {row['failed']}")
            rates.setdefault(way, {})[precision] = {name: row[name] for name in ("rate", "low", "high")}
    hours = {name: found["seconds"][f"cell_engine {name}"]["table2"] for name in ("float32", "bfloat16")}
    return {
        "rates": rates,
        "rounds": rows["five_engine", "float32"]["rounds"],
        "product": found["peak"]["float32"],
        "table2": hours,
        **{name: found["ratios"][name] for name in RATIOS},
    }


def recognition(out: Path) -> dict[str, Any]:
    """s, and MB."""
    found = json.loads((out / "report.json").read_text())
    call, slow = np.percentile(found["utterance"], [50, 95])
    return {
        "utterance": float(call),
        "utterance_95": float(slow),
        "start": statistics.median(found["start"]),
        "start_alone": statistics.median(found["start_alone"]),
        "hour": found["hour"],
        "memory": found["memory"],
        "calls": len(found["utterance"]),
        "starts": len(found["start"]),
    }


def preparation(out: Path) -> dict[str, Any]:
    """s, and MB."""
    found = json.loads((out / "report.json").read_text())
    if found["different"]:
        raise GatheringError(
            f"the datasets differ in {', '.join(found['different'])}, expected the same bytes"
        )
    prepared, loading = found["prepared"], zip(found["loaded"], found["loading"], strict=True)
    loads = [{"seconds": seconds, "memory": process["peak"]} for seconds, process in loading]
    return {
        "utterances": found["utterances"],
        "megabytes": found["megabytes"],
        "prepare": {
            name: {"seconds": prepared[count]["seconds"], "memory": prepared[count]["peak"]}
            for name, count in (("one", "1"), ("two", "2"))
        },
        "load": dict(zip(("first", "second"), loads, strict=True)),
    }


def bounds(out: Path) -> dict[str, Any]:
    """s, and MB, by stage."""
    stages = json.loads((out / "report.json").read_text())["stages"]
    return {
        name: {"bound": stage.seconds}
        | {key: stages[stage.name][key] for key in ("seconds", "peak", "anonymous")}
        for name, stage in zip(STAGES, BOUNDS, strict=True)
    }


def audit(out: Path) -> dict[str, Any]:
    """How far the level alone tells high from low arousal."""
    found = {name: json.loads((out / f"{name}.json").read_text()) for name in ("ravdess", "emodb")}
    return {
        name: {
            "n": one["utterances"],
            "uar": 100 * one["loudness"]["arousal"]["uar"],
            "auc": one["loudness"]["arousal"]["auc"],
            "auc_within": one["loudness"]["arousal"]["auc_within"],
        }
        for name, one in found.items()
    }
