"""What a page says of where its numbers come from: corpora, protocol, and what there is not."""

import datetime
from typing import Any

import numpy as np

from experiments.markup import Section, paragraph, table
from experiments.predictions import Cell
from experiments.results import Results
from experiments.summary import Row
from ser_jax.data.labels import CLASS_NAMES


def corpora(results: Results, rows: list[Row]) -> Section:
    """Every corpus with what is known of it: from the protocol, and from the cells that it is tested in."""
    targets = [target for target in CLASS_NAMES if target in results.chosen["targets"]]
    lines = [["corpus", "database", "speech", "utterances", "speakers", *targets, "left out", "fingerprint"]]
    for corpus in results.chosen["corpora"]:
        tested = [row for row in rows if row.test == corpus["name"] and not row.missing]
        whole = {}
        for row in sorted(tested, key=lambda row: row.utterances):
            whole[row.target] = row
        largest = max((row for row in whole.values()), key=lambda row: row.utterances, default=None)
        counts = []
        for target in targets:
            label: np.ndarray | list[int] = results.said(whole[target].cell).label if target in whole else []
            sizes = [int(np.sum(np.equal(label, k))) for k in range(2)]
            counts.append(", ".join(f"{n:,} {k}" for n, k in zip(sizes, CLASS_NAMES[target], strict=True)))
        size = ["not known"] * 2 if largest is None else [f"{largest.utterances:,}", f"{largest.speakers}"]
        lines.append(
            [
                corpus["name"],
                corpus["builder"],
                "synthetic" if corpus["synthetic"] else "recorded",
                *size,
                *counts,
                f"{corpus['left_out']}",
                f"`{corpus['fingerprint'][:12]}`",
            ]
        )
    return Section("The corpora", table(lines, "What was trained and tested on", "prose"))


def protocol(kept: dict[str, Any]) -> Section:
    """What is in `protocol.json`: hash, options, and the sessions that computed it."""
    chosen = {key: value for key, value in kept["protocol"].items() if key not in ("corpora", "fold_hashes")}
    options = [["option", "value"], *_flat(chosen)]
    for name, hashes in kept["protocol"].get("fold_hashes", {}).items():
        options.append([f"folds of {name}", " ".join(f"`{one[:12]}`" for one in hashes)])
    head = ["started", "took, h:min:s", "finished", "on", "with", "source", "computed"]
    sessions = [head, *(_session(one) for one in kept["sessions"])]
    body = paragraph(f"Protocol `{kept['hash']}`: results of the same one may stand in one table.")
    body += table(sessions, "Sessions", "prose") if kept["sessions"] else ""
    return Section("How it was computed", body + table(options, "Options", "prose"))


def _flat(options: dict[str, Any], before: str = "") -> list[list[str]]:
    """One line per option, of options within options too."""
    lines = []
    for key, value in options.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, dict):
            lines += _flat(value, f"{name}: ")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append([name, "default" if shown is None else str(shown)])
    return lines


def _session(one: dict[str, Any]) -> list[str]:
    versions = ("python", "jax", "jaxlib", "flax", "optax", "numpy")
    device = f"{one.get('device', '?')}, {one.get('devices', '?')} x {one.get('backend', '?')}"
    return [
        one["started"].replace("T", " ").replace("+00:00", " UTC"),
        "?" if one["seconds"] is None else str(datetime.timedelta(seconds=round(one["seconds"]))),
        "yes" if one["finished"] else "no",
        device + (f", {one['hosts']} hosts" if one.get("hosts", 1) > 1 else ""),
        ", ".join(f"{name} {one[name]}" for name in versions if one.get(name)),
        f"`{one['commit'][:12]}{'+' if one['commit'].endswith('+') else ''}`" if one.get("commit") else "?",
        ", ".join(one["computed"]),
    ]


def missing(known: dict[Cell, str]) -> Section:
    """The cells without numbers, and why; empty where there are none."""
    lines = [["setting", "trained on", "tested on", "target", "reason"]]
    lines += [[*cell, reason] for cell, reason in sorted(known.items())]
    heading = "What could not be computed"
    return Section(heading, table(lines, heading, "prose") if known else "")
