"""Prepared corpora as tables: class counts beside the published ones, and when speech starts."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data import Corpus, Facts, UnknownCorpusError, audit, facts
from ser_jax.data.labels import RULES, counts
from ser_jax.io import markdown_table
from ser_jax.report.results import marked
from ser_jax.tasks import Task

PAPER, FOOTNOTE = "Sec. 3", "footnote 1"
RELEASE = "the release"  # the paper gives no number; counted in its label files
PUBLISHED = {  # database to what is known, and its source; classes by label rule
    "iemocap": {
        "utterances": (10039, PAPER),
        "speakers": (10, RELEASE),
        **{f"session {i}": (n, RELEASE) for i, n in enumerate((1819, 1811, 2136, 2103, 2170), start=1)},
        "emotion xxx": (2507, RELEASE),
    },
    "recola": {"utterances": (1308, PAPER), "speakers": (23, PAPER)},
}
CLASSES = {  # database, rule, dimension to (low or negative, high or positive, source)
    ("iemocap", "footnote", "arousal"): (3121, 6918, FOOTNOTE),
    ("iemocap", "footnote", "valence"): (3421, 6618, FOOTNOTE),
    ("iemocap", "table1", "arousal"): (3121, 6918, FOOTNOTE),
    ("iemocap", "table1", "valence"): (5356, 4683, RELEASE),
    **{("recola", rule, "arousal"): (520, 788, FOOTNOTE) for rule in RULES},
    **{("recola", rule, "valence"): (241, 1067, FOOTNOTE) for rule in RULES},
}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def prepared(names: Sequence[str], data_dir: Path | None) -> list[Facts]:
    """Return the facts of corpora, with or without recordings.

    Args:
      names: of the corpora; if empty, the paper's that are prepared.
      data_dir: where they were prepared.
    Raises: UnknownCorpusError.
    """
    if names:
        return [facts(name, data_dir) for name in names]
    found = []
    for name in PUBLISHED:
        with contextlib.suppress(UnknownCorpusError):
            found.append(facts(name, data_dir))
    return found or [facts(next(iter(PUBLISHED)), data_dir)]


def class_counts(corpus: Facts, rule: str, tasks: Sequence[Task] = ()) -> list[dict[str, Any]]:
    """Return the counts of a corpus beside the published ones.

    Args:
      corpus: the utterances.
      rule: label rule of arousal and valence.
      tasks: further tasks whose classes are counted.
    Returns: a row per count: what, found, published (None if it is not), source, and a verdict: "equal",
      "different" or "" (not published).
    """
    found = {"utterances": len(corpus), "speakers": len(set(corpus.speaker))}
    for what, column in (("session", corpus.session), ("emotion", corpus.emotion)):
        found |= {f"{what} {name}": n for name, n in sorted(Counter(column.tolist()).items()) if name}
    known: dict[str, tuple[int, str]] = dict(PUBLISHED.get(corpus.database, {}))
    for dimension, own in counts(corpus, rule).items():
        found |= {f"{dimension} {name}": n for name, n in own.items()}
        if (corpus.database, rule, dimension) in CLASSES:
            *each, source = CLASSES[corpus.database, rule, dimension]
            known |= {f"{dimension} {name}": (int(n), str(source)) for name, n in zip(own, each, strict=True)}
    for task in tasks:
        labels = task.labels(corpus)
        if labels.ndim == 2:
            found[f"{task.name} rated"] = int(np.isfinite(labels).any(axis=1).sum())
        else:
            each_class = enumerate(task.class_names)
            found |= {f"{task.name} {name}": int((labels == k).sum()) for k, name in each_class}
    rows = []
    for what in dict.fromkeys([*found, *known]):
        expected, source = known.get(what, (None, ""))
        n = found.get(what, 0)
        verdict = "" if expected is None else "equal" if n == expected else "different"
        rows.append({"what": what, "found": n, "published": expected, "source": source, "verdict": verdict})
    return rows


def about(corpus: Facts) -> dict[str, Any]:
    """Return what a corpus is, as JSON."""
    return {
        "name": corpus.name,
        "builder": corpus.database,
        "synthetic": corpus.synthetic,
        "labels_only": not isinstance(corpus, Corpus),
        "left_out": getattr(corpus, "left_out", 0),
    }


def counts_table(corpus: Facts, rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of `class_counts` as Markdown."""
    compared = [row for row in rows if row["verdict"]]
    kept = list(rows[0]) if compared else ["what", "found"]
    fields = [[str(row[name] if row[name] is not None else "") for name in kept] for row in rows]
    equal = sum(row["verdict"] == "equal" for row in compared)
    verdict = (
        f"{equal} of {len(compared)} published counts are equal."
        if compared
        else ("Counted only: the paper has no counts of it.")
    )
    facts_ = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in about(corpus).items())
    return f"{facts_}\n\n{markdown_table([kept, *fields])}\n\n{verdict}"


def speech_onset(corpus: Corpus) -> dict[str, Any]:
    """Measure when speech starts, in a corpus of log-mels.

    Returns: by name, numbers of utterances, the seconds by which shares of them have started, and medians;
      None without speech.
    """
    found = audit.silence(corpus.features, corpus.frames)
    lead = found.lead[~np.isnan(found.lead)]
    medians = {"silent at the end, s": found.tail, "contrast, dB": found.contrast}
    return {
        "corpus": marked(corpus.name, corpus.synthetic),
        "utterances": len(corpus),
        "without speech": len(corpus) - len(lead),
        **{
            f"{100 * q:.0f} % start by, s": float(np.quantile(lead, q)) if len(lead) else None
            for q in QUANTILES
        },
        "later than 0.5 s, %": float(100 * np.mean(lead > 0.5)) if len(lead) else None,
        **{name: float(np.nanmedian(part)) if len(lead) else None for name, part in medians.items()},
    }


def onset_table(onsets: Sequence[dict[str, Any]]) -> str:
    """Return when speech starts in several corpora, as Markdown."""
    shown = [
        [
            "?" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
            for value in one.values()
        ]
        for one in onsets
    ]
    return (
        f"{markdown_table([list(onsets[0]), *shown])}\n\nSpeech: {audit.LASTING} frames in a row "
        f"that are at most {audit.BELOW:g} dB below the loud ones and {audit.ABOVE:g} dB above the quiet "
        "ones. Contrast: "
        "median level of loud over quiet frames; far below 20 dB the room is loud, and an early start "
        "means little."
    )
