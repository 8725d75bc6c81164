"""Tabulate prepared corpora: class counts beside the published ones, and when speech starts."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data import Corpus, Facts, UnknownCorpusError, facts, onset
from ser_jax.data.labels import by_emotion
from ser_jax.io import markdown_table
from ser_jax.report.tables import marked
from ser_jax.tasks import Binary, Task

# Counts by database, from Sec. 3 and footnote 1. The paper does not give sessions, xxx and the valence by the
# rule of Table 1: these are counted in the label files of the release.
PUBLISHED = {
    "iemocap": {
        "utterances": 10039, "speakers": 10, "session 1": 1819, "session 2": 1811, "session 3": 2136,
        "session 4": 2103, "session 5": 2170, "emotion xxx": 2507, "arousal low": 3121, "arousal high": 6918,
        "valence negative": 3421, "valence positive": 6618,
    },
    "recola": {
        "utterances": 1308, "speakers": 23, "arousal low": 520, "arousal high": 788,
        "valence negative": 241, "valence positive": 1067,
    },
}  # fmt: skip
TABLE1 = {"iemocap": {"valence negative": 5356, "valence positive": 4683}}  # by the rule "table1"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def prepared(names: Sequence[str], data_dir: Path | None) -> list[Facts]:
    """Return the facts of corpora, prepared with or without recordings; by default the paper's, if prepared.

    Raises: UnknownCorpusError.
    """
    found = [facts(name, data_dir) for name in names]
    if not names:
        for name in PUBLISHED:
            with contextlib.suppress(UnknownCorpusError):
                found.append(facts(name, data_dir))
    return found or [facts("iemocap", data_dir)]


def class_counts(corpus: Facts, rule: str, tasks: Sequence[Task] = ()) -> list[dict[str, Any]]:
    """Return the counts of a corpus, and those of the classes of further tasks, beside the published ones.

    Returns: a row per count: what, found, published (None if it is not), and verdict, which is "equal",
      "different" or "" (not published).
    """
    found = {"utterances": len(corpus), "speakers": len(set(corpus.speaker))}
    for what, column in (("session", corpus.session), ("emotion", corpus.emotion)):
        found |= {f"{what} {name}": n for name, n in sorted(Counter(column.tolist()).items()) if name}
    for task in (Binary("arousal", rule), Binary("valence", rule), *tasks):
        labels, names = task.labels(corpus), task.class_names
        found |= {f"{task.name} {name}": int((labels == k).sum()) for k, name in enumerate(names)}
        if labels.ndim == 2:
            found[f"{task.name} rated"] = int(np.isfinite(labels).any(axis=1).sum())
    known = PUBLISHED.get(corpus.database, {}) | (TABLE1.get(corpus.database, {}) if rule == "table1" else {})
    rows = []
    for what in dict.fromkeys([*found, *known]):
        n, published = found.get(what, 0), known.get(what)
        verdict = "" if published is None else "equal" if n == published else "different"
        rows.append({"what": what, "found": n, "published": published, "verdict": verdict})
    return rows


def about(corpus: Facts) -> dict[str, Any]:
    """Return the origin of a corpus as JSON."""
    return {
        "name": corpus.name,
        "builder": corpus.database,
        "synthetic": corpus.synthetic,
        "by_emotion": by_emotion(corpus),
        "labels_only": not isinstance(corpus, Corpus),
        "left_out": getattr(corpus, "left_out", 0),
    }


def counts_table(corpus: Facts, rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of `class_counts` as Markdown."""
    verdicts = Counter(row["verdict"] for row in rows if row["verdict"])
    shown = list(rows[0]) if verdicts else ["what", "found"]
    lines = [["" if row[name] is None else str(row[name]) for name in shown] for row in rows]
    origin = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in about(corpus).items())
    equal = f"{verdicts['equal']} of {verdicts.total()} published counts are equal."
    result = equal if verdicts else "Counted only: the paper has no counts of this corpus."
    return f"{origin}\n\n{markdown_table([shown, *lines])}\n\n{result}"


def onset_table(corpora: Iterable[Corpus]) -> str:
    """Measure when speech starts in corpora of log-mels; return it as Markdown.

    Columns: numbers of utterances, the seconds by which shares of them have started, and medians; "?" without
      speech.
    """
    starts = [f"{100 * q:.0f} % start by, s" for q in QUANTILES]
    medians = ["later than 0.5 s, %", "silent at the end, s", "contrast, dB"]
    lines = [["corpus", "utterances", "without speech", *starts, *medians]]
    for corpus in corpora:
        found = onset.silence(corpus.features, corpus.frames)
        lead = found.lead[~np.isnan(found.lead)]
        sizes = str(len(corpus)), str(len(corpus) - len(lead))
        numbers = ["?"] * (len(starts) + len(medians))
        if len(lead):
            ends = np.nanmedian(found.tail), np.nanmedian(found.contrast)
            values = *np.quantile(lead, QUANTILES), 100 * np.mean(lead > 0.5), *ends
            numbers = [f"{value:.2f}" for value in values]
        lines.append([marked(corpus.name, corpus.synthetic), *sizes, *numbers])
    return (
        f"{markdown_table(lines)}\n\nSpeech: {onset.LASTING} frames in a row, at most {onset.BELOW:g} dB "
        f"below the loud frames and at least {onset.ABOVE:g} dB above the quiet ones. Contrast: median level "
        "of the loud frames above the quiet ones; if it is far below 20 dB, the room is loud, and an early "
        "start means little."
    )
