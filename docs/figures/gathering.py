"""From stored results to the values of docs/measured.json: numbers, by name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from experiments import protocol, summary
from experiments.kinds import TABLE2, refined, tuned
from experiments.learning_curve import SAMPLES
from experiments.related import LANGUAGE, SHOWN
from experiments.results import Results
from experiments.speech_onset import QUANTILES
from experiments.tuning import KERNELS, POOLS
from ser_jax.attention import over_runs
from ser_jax.errors import UserError

DIGITS = 6  # of the decimals, of what is in % or s


class GatheringError(UserError):
    """Results that lack what was to be measured."""


def rounded(value: Any) -> Any:
    """With as many digits as mean something."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value


def sessions(out: Path) -> dict[str, Any]:
    """Where and when the experiments of a results folder computed what is in it."""
    computed = [one for one in protocol.document(out)["sessions"] if one["computed"]]
    if not computed:
        raise GatheringError(f"{out / 'protocol.json'} names no session that computed anything, expected one")
    last = computed[-1]
    told = {key: last[key] for key in ("commit", "device", "cores", "jax")}
    return {"date": last["started"][:10], **told}


def cells(out: Path, settings: Sequence[str], names: tuple[str, ...]) -> dict[str, Any]:
    """By setting, corpus and target, what `names` says of a row; not what could not be computed."""
    found: dict[str, Any] = {}
    for row in Results(out).rows(settings):
        if not row.missing:
            own = found.setdefault(row.setting, {}).setdefault(row.test, {})
            own[row.target] = {name: getattr(row, ROW[name]) for name in names}
    lost = [name for name in settings if name not in found]
    if lost:
        raise GatheringError(f"{out} holds no predictions of {', '.join(lost)}")
    return found


ROW = {
    "mean": "uar_mean", "deviation": "uar_std", "n": "runs", "pooled": "uar_pooled", "low": "low",
    "high": "high", "paper": "paper_uar",
}  # fmt: skip
SPREAD = ("mean", "deviation", "n")


def differences(out: Path, settings: Sequence[str], pairs: tuple[str, ...] = ()) -> dict[str, Any]:
    """By "one-other", corpus and target: the difference and p by Holm; of some pairs if they are named."""
    found: dict[str, Any] = {}
    results = Results(out)
    for one in results.comparisons(results.rows(settings)):
        name = f"{one.one}-{one.other}"
        if not pairs or name in pairs:
            own = found.setdefault(name, {}).setdefault(one.test, {})
            own[one.target] = {"difference": one.difference, "p": one.p_holm}
    return found


def demo(out: Path) -> dict[str, Any]:
    """Of `make demo`, and what one doubtful cell says of itself."""
    every = Results(out).rows(TABLE2)
    [row] = [one for one in every if one[:4] == ("crosslingual", "synthetic_en", "synthetic_fr", "valence")]
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {
        "cells": cells(out, TABLE2, (*SPREAD, "paper")),
        "doubtful": {
            "pooled": row.uar_pooled, "low": row.low, "high": row.high, "guessing_low": row.chance_low,
            "guessing_high": row.chance_high, "speakers": row.speakers, "utterances": row.utterances,
        },
        "megabytes": size / 1e6,
    }  # fmt: skip


def acted(out: Path) -> dict[str, Any]:
    """Of everything that was trained on acted speech by default."""
    guessing: dict[str, Any] = {}
    for row in Results(out).rows(["monolingual"]):
        guessing.setdefault(row.test, {})[row.target] = {"low": row.chance_low, "high": row.chance_high}
    by_count = cells(out, [refined(count) for count in SAMPLES], SPREAD)
    related = [name for name in SHOWN if name not in TABLE2]
    pairs = (
        "identified-monolingual", "voted-monolingual", "multilingual-voted",
        "multilingual_histogram-multilingual", "crosslingual_histogram-crosslingual",
    )  # fmt: skip
    systems = cells(out, related, SPREAD)
    [told_apart] = systems.pop(LANGUAGE).values()
    return {
        "cells": cells(out, TABLE2, (*SPREAD, "pooled", "low", "high")),
        "guessing": guessing,
        "differences": differences(out, TABLE2),
        "cut": _cut(out),
        "learning_curve": {str(count): by_count[refined(count)] for count in SAMPLES},
        "related": systems | {LANGUAGE: told_apart[LANGUAGE]},
        "related_differences": differences(out, SHOWN, pairs),
        "attention": _attention(json.loads((out / "attention.json").read_text())),
        "onset": {
            one["corpus"]: {"median_start": one["start"][QUANTILES.index(0.5)]}
            for one in json.loads((out / "onset.json").read_text())
        },
    }


def _cut(out: Path) -> dict[str, Any]:
    [own] = cells(out, ["monolingual_cut"], SPREAD)["monolingual_cut"].values()
    pair = differences(out, ["monolingual", "monolingual_cut"])["monolingual_cut-monolingual"]
    [against] = pair.values()
    return {target: own[target] | against[target] for target in own}


def _attention(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix(", training"): {
            "all": _segments(one["shares"]),
            "sound": _segments(one["among"]),
            "chance": {f"segment_{i}": 100 * share for i, share in enumerate(one["expected"], 1)},
            "padding_weight": _share(one["padding_weight"]),
            "padding_wins": _share(one["padding_wins"]),
            "decided": _share(one["decided"]),
            "decided_among_sound": _share(one["decided_among"]),
        }
        for name, one in found.items()
        if name.endswith(", training")
    }


def _segments(shares: list[list[float]]) -> dict[str, Any]:
    return {f"segment_{i}": _share(column) for i, column in enumerate(np.array(shares, float).T, 1)}


def _share(by_run) -> dict[str, float]:
    """In %."""
    seen = over_runs(np.array(by_run, float))
    return {"mean": 100 * float(seen.mean), "deviation": 100 * float(seen.deviation)}


def standardize(out: Path) -> dict[str, Any]:
    """Of Table 2 by one mode throughout."""
    return {"cells": cells(out, TABLE2, SPREAD)}


def bfloat16(out: Path) -> dict[str, Any]:
    """How far the means are from those of float32, and how many cells differ, paired by seed."""
    plain, results, moved, p = Results(out.parent / "acted"), Results(out), [], []
    for cell in results.cells(TABLE2):
        one, other = results.said(cell), plain.said(cell)
        if one.seed.tolist() != other.seed.tolist():
            raise GatheringError(f"{out} and {plain.out} hold other seeds of {cell}, expected the same")
        pair = [summary.fold_mean_uar(said) for said in (one, other)]
        moved.append(float(np.mean(pair[0] - pair[1])))
        p.append(float(scipy.stats.ttest_rel(*pair).pvalue))
    return {
        "rms": float(np.sqrt(np.mean(np.square(moved)))),
        "mean": float(np.mean(moved)),
        "most": max(map(abs, moved)),
        "significant": sum(value < 0.05 for value in p),
    }


def tuning(out: Path) -> dict[str, Any]:
    """UAR of development speakers, by kernel, pool, corpus and target."""
    found = cells(out, [tuned(kernel, pool) for kernel in KERNELS for pool in POOLS], ("mean",))
    plain = {
        name: {
            corpus: {target: cell["mean"] for target, cell in targets.items()}
            for corpus, targets in own.items()
        }
        for name, own in found.items()
    }
    return {
        "cells": {
            f"k{kernel}": {f"p{pool}": plain[tuned(kernel, pool)] for pool in POOLS} for kernel in KERNELS
        }
    }
