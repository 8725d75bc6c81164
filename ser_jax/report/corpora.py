"""Prepared corpora as tables: class counts beside the published ones, and when speech starts."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ser_jax.data import Corpus, Facts, UnknownCorpusError, facts, onset
from ser_jax.data.labels import RULES, counts
from ser_jax.report.results import SYNTHETIC
from ser_jax.report.tables import aligned
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
        found |= _task_counts(corpus, task)
    rows = []
    for what in [*found, *(what for what in known if what not in found)]:
        expected, source = known.get(what, (None, ""))
        n = found.get(what, 0)
        verdict = "" if expected is None else "equal" if n == expected else "different"
        rows.append({"what": what, "found": n, "published": expected, "source": source, "verdict": verdict})
    return rows


def _task_counts(corpus: Facts, task: Task) -> dict[str, int]:
    labels = task.labels(corpus)
    if labels.ndim == 2:
        return {f"{task.name} rated": int(np.isfinite(labels).any(axis=1).sum())}
    return {f"{task.name} {name}": int((labels == k).sum()) for k, name in enumerate(task.class_names)}


def counts_table(corpus: Facts, rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows of `class_counts` as text."""
    kind = "" if isinstance(corpus, Corpus) else ", labels only"
    kind += ", SYNTHETIC SPEECH" if corpus.synthetic else ""
    left_out = getattr(corpus, "left_out", 0)
    kind += f", {left_out:,} utterances left out" if left_out else ""
    compared = [row for row in rows if row["verdict"]]
    lines = [
        f"{corpus.name} ({corpus.database}{kind})",
        f"  {'':<24} {'found':>8} {'published' if compared else '':>10}".rstrip(),
    ]
    for row in rows:
        expected = "" if row["published"] is None else f"{row['published']:,}"
        remark = f"{row['verdict']:<9}  {row['source']}".rstrip()
        lines.append(f"  {row['what']:<24} {row['found']:>8,} {expected:>10}  {remark}".rstrip())
    if not compared:
        return "\n".join([*lines, "  counted only: the paper has no counts of it"])
    equal = sum(row["verdict"] == "equal" for row in compared)
    return "\n".join([*lines, f"  {equal} of {len(compared)} published counts are equal"])


def counts_json(corpus: Facts, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rows of `class_counts` with the corpus, as JSON."""
    return {
        "name": corpus.name,
        "builder": corpus.database,
        "synthetic": corpus.synthetic,
        "labels_only": not isinstance(corpus, Corpus),
        "left_out": getattr(corpus, "left_out", 0),
        "counts": list(rows),
    }


class Onset(NamedTuple):
    """When speech starts in the utterances of a corpus.

    Attributes:
      corpus: its name.
      utterances, without: how many, and how many of them without speech.
      start: s, by which each share of `QUANTILES` has started; empty if there is no speech at all.
      late: share that starts later than 0.5 s.
      silent_at_the_end: s, the median.
      contrast: dB, the median.
    """

    corpus: str
    utterances: int
    without: int
    start: list[float]
    late: float | None
    silent_at_the_end: float | None
    contrast: float | None


def speech_onset(corpus: Corpus) -> Onset:
    """Measure when speech starts, in a corpus of log-mels."""
    found = onset.extent(corpus.features, corpus.frames)
    lead = found.lead[~np.isnan(found.lead)]
    made_up = corpus.synthetic and SYNTHETIC not in corpus.name
    name = f"{corpus.name} ({SYNTHETIC})" if made_up else corpus.name
    if not len(lead):
        return Onset(name, len(corpus), len(corpus), [], None, None, None)
    medians = (float(np.nanmedian(part)) for part in (found.tail, found.contrast))
    start = np.quantile(lead, QUANTILES).tolist()
    return Onset(name, len(corpus), len(corpus) - len(lead), start, float(np.mean(lead > 0.5)), *medians)


def onset_table(onsets: Sequence[Onset]) -> str:
    """Return when speech starts in several corpora, as Markdown."""
    head = ["", "utterances", *(f"{100 * q:.0f} % start by, s" for q in QUANTILES)]
    lines = [[*head, "later than 0.5 s", "silent at the end, s", "contrast, dB", "no speech found"]]
    for one in onsets:
        shown = [*(f"{value:.2f}" for value in one.start)] or ["?"] * len(QUANTILES)
        if one.late is None:
            shown += ["?"] * 3
        else:
            shown += [f"{100 * one.late:.1f} %", f"{one.silent_at_the_end:.2f}", f"{one.contrast:.0f}"]
        lines.append([one.corpus, str(one.utterances), *shown, str(one.without)])
    return (
        f"{aligned(lines)}\n\nSpeech: {onset.LASTING} frames in a row that are at most {onset.BELOW:g} dB "
        f"below the loud ones and {onset.ABOVE:g} dB above the quiet ones. Contrast: median level of loud "
        "over quiet frames; far below 20 dB the room is loud, and an early start means little."
    )  # fmt: skip
