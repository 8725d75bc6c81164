"""An audit for people, and for programs."""

import collections
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ser_jax.data.audit.findings import ERRORS, REMARKS, WARNINGS, Audit
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.errors import one_line

SHOWN = 5  # findings of a line that the table names


def as_dict(audit: Audit) -> dict[str, Any]:
    """Everything found, as JSON has it; what is not a number there (an empty class's AUC) is null."""
    usable = [one for one in audit.heard if one.flaw is None]
    paths = [utterance.path for utterance in audit.listing.utterances]
    recordings = {
        path: one for path, one in zip(paths, audit.heard, strict=True) if one.flaw is None
    }.values()
    named = audit.by_line()
    return {
        "database": audit.facts.database,
        "source": str(audit.source),
        "synthetic": audit.facts.synthetic,
        "utterances": len(audit.heard),
        "usable": len(usable),
        "recordings": len(set(paths)),
        "speakers": len(set(audit.facts.speaker)),
        "sessions": len(set(audit.facts.session)),
        "seconds": _spread([one.seconds for one in usable]),
        "level_db": _spread([one.level for one in usable if math.isfinite(one.level)]),
        "sample_rates": _counted(one.rate for one in recordings),
        "channels": _counted(one.channels for one in recordings),
        "encodings": _counted(one.encoding for one in recordings),
        "findings": {
            line: {
                "severity": severity,
                "meaning": meaning,
                "count": len(named[line]),
                "found": [{"what": finding.what, "reason": finding.reason} for finding in named[line]],
            }
            for severity, lines in (("error", ERRORS), ("warning", WARNINGS), ("remark", REMARKS))
            for line, meaning in lines.items()
        },
        "classes": audit.classes_per_speaker(),
        "loudness": {
            target: {key: _number(getattr(found, key)) for key in ("auc", "auc_within", "uar")}
            | {"counts": list(found.counts)}
            for target, found in audit.loudness.items()
        },
        "refused": audit.refused,
    }


def table(audit: Audit) -> str:
    """The same for people; of each line the first findings only."""
    found = as_dict(audit)
    lines = [
        f"{found['database']} in {found['source']}" + ("   SYNTHETIC SPEECH" if found["synthetic"] else ""),
        *(f"  {what:<12} {found[what]:>8,}" for what in ("utterances", "recordings", "speakers", "sessions")),
    ]
    if found["usable"]:
        hours = found["seconds"]["sum"] / 3600
        lines += [
            f"  {'duration':<12} {_range(found['seconds'], 's')}, {hours:.2f} h in all",
            f"  {'level':<12} {_range(found['level_db'], 'dB of full scale')}",
        ]
    for title, key, unit in (
        ("sample rate", "sample_rates", " Hz"),
        ("channels", "channels", ""),
        ("encoding", "encodings", ""),
    ):
        counts = ", ".join(f"{value}{unit} ({count:,})" for value, count in found[key].items())
        lines.append(f"  {title:<12} {counts or 'none could be read'}")
    lines += ["", *_findings(found["findings"]), "", *_classes(found["classes"]), ""]
    lines += ["loudness alone, within this database:"]
    lines += [
        f"  {target:<8} {separation.in_words(CLASS_NAMES[target][1])}"
        for target, separation in audit.loudness.items()
    ]
    errors = sum(found["findings"][line]["count"] for line in ERRORS)
    plural = "" if errors == 1 else "s"
    verdict = f"prepare would refuse it for {errors:,} error{plural} (--skip-bad leaves out what they name)"
    return "\n".join(map(one_line, [*lines, "", verdict if audit.refused else "prepare would accept it"]))


def _findings(findings: dict[str, Any]) -> list[str]:
    lines = []
    for line, found in findings.items():
        if not found["count"]:
            continue
        lines.append(f"{found['severity']:<8} {line:<13} {found['count']:>6,}  {found['meaning']}")
        for one in found["found"][:SHOWN]:
            lines.append(f"    {one['what']}" + (f": {one['reason']}" if one["reason"] else ""))
        if found["count"] > SHOWN:
            lines.append(f"    and {found['count'] - SHOWN:,} more (--json names all)")
    return lines or ["nothing found: no errors, no warnings"]


def _classes(speakers: dict[str, Any]) -> list[str]:
    names = [(target, name) for target, pair in CLASS_NAMES.items() for name in pair]
    width = max(7, *(len(speaker) for speaker in speakers))
    lines = [f"{'speaker':<{width}} {'sex':<8}" + "".join(f"{name:>10}" for _, name in names)]
    for speaker, counts in speakers.items():
        row = "".join(f"{counts[target][name]:>10,}" for target, name in names)
        lines.append(f"{speaker:<{width}} {counts['sex']:<8}{row}")
    return lines


def _counted(values: Iterable[object]) -> dict[str, int]:
    return {str(value): count for value, count in collections.Counter(values).most_common()}


def _spread(values: list[float]) -> dict[str, float | None]:
    if not values:
        return dict.fromkeys(("sum", "mean", "std", "min", "median", "max"))
    return {
        "sum": float(np.sum(values)),
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        "min": float(np.min(values)),
        "median": float(np.median(values)),
        "max": float(np.max(values)),
    }


def _range(spread: dict[str, float | None], unit: str) -> str:
    if spread["mean"] is None:
        return "silence"
    return (
        f"{spread['mean']:.2f} ± {spread['std']:.2f} {unit}, "
        f"{spread['min']:.2f} to {spread['max']:.2f}, median {spread['median']:.2f}"
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
