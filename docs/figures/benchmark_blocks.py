"""The tables of benchmarks, of a recogniser and of an audit (see docs/places.py)."""

from collections.abc import Callable
from typing import Any

from experiments.markdown import aligned
from figures.origin import origin
from ser_jax.data.corpus import TARGETS

WAYS = {
    "one": "one run",
    "five_engine": "five runs as a stack",
    "five_vmap": "the same under `vmap`",
    "five_streamed": "the same, features streamed from the host",
    "cell_engine": "a full cell, 25 runs",
    "torch_eager": "PyTorch, eager",
    "torch_compile": "PyTorch, torch.compile",
    "torch_stacked": "PyTorch, torch.func, five stacked",
}
STAGES = {
    "prepare": "prepare",
    "load_first": "load, the first time",
    "load_second": "load, the second time",
    "train": "train one epoch, cross-lingual, one seed",
    "report": "report",
    "verify": "verify",
}


def recognizer(known, found) -> str:
    one = known["recognizer"]
    lines = {
        "UAR, % [95 % over speakers]": lambda of: f"{of['uar']:.1f} [{of['low']:.1f}, {of['high']:.1f}]",
        "log loss": lambda of: f"{of['log_loss']:.3f}",
        "log loss, not calibrated": lambda of: f"{of['uncalibrated_log_loss']:.3f}",
        "calibration error": lambda of: f"{of['calibration_error']:.3f}",
    }
    for key, words in (("half_a_second", "0.5 s"), ("one_second", "1 s"), ("two_seconds", "2 s")):
        lines[f"of the first {words}: UAR, %; log loss"] = _after(key)
    for key, words in (("louder", "10 dB louder"), ("softer", "10 dB softer")):
        lines[f"{words}: UAR, %"] = lambda of, key=key: f"{of[key]:.1f}"
    rows = [[name, *(said(one[target]) for target in TARGETS)] for name, said in lines.items()]
    return f"{aligned([['', *TARGETS], *rows])}\n\n{origin(found, 'recognizer')}"


def _after(key: str) -> Callable[[Any], str]:
    return lambda of: f"{of[key]['uar']:.1f}; {of[key]['log_loss']:.2f}"


def throughput(known, found) -> str:
    rates, precisions = known["throughput"]["rates"], ("float32", "bfloat16")
    rows = [
        [words, *(_rate(rates[way][one]) if one in rates[way] else "" for one in precisions)]
        for way, words in WAYS.items()
    ]
    return f"{aligned([['', *precisions], *rows])}\n\n{origin(found, 'throughput')}"


def _rate(of) -> str:
    return f"{of['rate']:,.0f} [{of['low']:,.0f}, {of['high']:,.0f}]"


def recognition(known, found) -> str:
    one = known["recognition"]
    rows = [
        ["7.5 s of samples to the answer, warm, one core", f"{1000 * one['utterance']:.1f} ms"],
        ["95 % of these within", f"{1000 * one['utterance_95']:.1f} ms"],
        ["`ser-jax predict` on 3 s, from start to end, all cores", f"{one['start']:.1f} s"],
        ["the same on one core", f"{one['start_alone']:.1f} s"],
        ["an hour of speech in a file, one core", f"{one['hour']:.1f} s, in {one['memory']:.0f} MB"],
    ]
    counts = f"Medians of {one['calls']} calls and {one['starts']} starts, the hour once. "
    return f"{aligned([['', 'measured'], *rows])}\n\n{counts}{origin(found, 'recognition')}"


def preparation(known, found) -> str:
    one = known["preparation"]
    rows = []
    for step, key, words in (
        ("prepare", "one", "prepare, 1 worker"),
        ("prepare", "two", "prepare, 2 workers"),
        ("load", "first", "load, first time"),
        ("load", "second", "load, second time"),
    ):
        said = one[step][key]
        rate = f"{one['utterances'] / said['seconds']:,.0f}" if key != "second" else ""
        digits = 1 if step == "prepare" else 2
        rows.append([words, f"{said['seconds']:.{digits}f} s", rate, f"{said['memory']:.0f} MB"])
    text = aligned([["", "time", "utterances/s", "peak memory"], *rows])
    return f"{text}\n\n{origin(found, 'preparation')}"


def bounds(known, found) -> str:
    rows = []
    for key, words in STAGES.items():
        one = known["bounds"][key]
        digits = 0 if one["seconds"] >= 10 else 1
        memory = (f"{one[kind] / 1000:.1f} GB" for kind in ("peak", "anonymous"))
        rows.append([words, f"{one['seconds']:.{digits}f} s", f"{one['bound']:.0f} s", *memory])
    text = aligned([["stage", "time", "bound", "peak memory", "without mapped files"], *rows])
    return f"{text}\n\n{origin(found, 'bounds')}"


def audit(known, found) -> str:
    names = {"ravdess": "RAVDESS", "emodb": "EmoDB"}
    rows = []
    for corpus, words in names.items():
        one = known["audit"][corpus]
        auc = (f"{one[kind]:.2f}" for kind in ("auc", "auc_within"))
        rows.append([f"{words} (n = {one['n']})", f"{one['uar']:.1f} %", *auc])
    head = ["", "arousal: UAR of the best threshold", "AUC: louder is higher", "AUC within speakers"]
    return f"{aligned([head, *rows])}\n\n{origin(found, 'audit')}"


BLOCKS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "recognizer": recognizer,
    "throughput": throughput,
    "recognition": recognition,
    "preparation": preparation,
    "bounds": bounds,
    "audit": audit,
}
