"""Score every rater as a classifier of the other raters' consensus, beside a network on the same utterances.

The raters' answers and consensus become labels as a corpus's own annotations do: means of ratings by the same
thresholds, and the category that is named most often.
"""

import collections
import json
import re
import statistics
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ser_jax.data import Facts, facts
from ser_jax.data.corpus import DIMENSIONS
from ser_jax.data.labels import noun
from ser_jax.experiment.config import Config
from ser_jax.experiment.results import Predictions
from ser_jax.experiment.settings import ExperimentError, Setting, slug, within
from ser_jax.metrics import labelled
from ser_jax.report import tables
from ser_jax.report.tables import Results, Table
from ser_jax.statistics import difference_test, holm
from ser_jax.tasks import UNLABELLED, Categorical, Labels, Task

FILE = "raters"  # OUT/raters.md
OBSERVERS = {"iemocap": r"E\d+"}  # the others rate themselves
SPELLED = {"excited": "excitement"}  # categories that IEMOCAP's raters and its labels spell differently
HEAD = ("tested", "rater", "utterances", "rater's score", "network's score", "p")
NOTE = (
    "Rater and network are scored against the consensus of the other raters, on utterances that the rater "
    "rated and on which the others agree. The network is trained on the consensus of all raters, for other "
    "speakers than it is tested on. UAR in %, CCC from -1 to 1; means over runs, with 95 % intervals for "
    "other speakers (the network's also for other seeds) but the same raters. p: test of the difference, "
    "with Holm's correction over the raters. mean: over the raters. all: the network against the consensus "
    "of all."
)


class Judgement(NamedTuple):
    """Pair what a rater says of N utterances with what the others agree on."""

    answers: Labels
    reference: Labels  # unlabelled also if the rater gave no answer


def settings(config: Config) -> list[Setting]:
    """Return (a), also adapted, where two or more raters rated; raise ExperimentError if none did."""
    each = ((one, facts(one.test[0], config.data_dir)) for one in within(config))
    own = [one for one, corpus in each if len(judgements(corpus, one.task)) > 1]
    if not own:
        names, tasks = " ".join(config.corpora), ", ".join(task.name for task in config.tasks)
        raise ExperimentError(f"no two raters of {names} rated {tasks}, expected two or more of a corpus")
    return own


def judgements(corpus: Facts, task: Task) -> dict[str, Judgement]:
    """Return the judgement of each rater who rated utterances on which others agree, by name.

    A category that is not a class of the task is a wrong answer.
    """
    rated = [json.loads(text or "{}") for text in corpus.raters.tolist()]
    known = re.compile(OBSERVERS.get(corpus.database, ".*"))
    raters = {name for one in rated for name in one if known.fullmatch(name)}
    found = {}
    for rater in sorted(raters):
        own, others = (consensus(corpus, rated, names) for names in ({rater}, raters - {rater}))
        answers, reference = task.labels(own), task.labels(others)
        if isinstance(task, Categorical):
            is_wrong = (answers == UNLABELLED) & (own.emotion != "")
            answers = np.where(is_wrong, (reference + 1) % task.outputs, answers)
        unanswered = answers == UNLABELLED if task.class_names else np.isnan(answers)
        reference = np.where(unanswered, UNLABELLED if task.class_names else np.nan, reference)
        if labelled(reference).any():
            found[rater] = Judgement(answers, reference)
    return found


def consensus(corpus: Facts, rated: list[dict[str, Mapping[str, Any]]], raters: Collection[str]) -> Facts:
    """Return the facts of a corpus with the consensus of some raters in place of its annotations.

    Numbers are means over those who gave one, emotions those named most often: "" if several are. If only one
    rated an utterance and names several, it is the first.

    Args:
      rated: [N] the annotations of each rater, see `data.catalog.ratings`.
      raters: their names.
    """
    numbers: dict[str, Any] = {name: np.full(len(corpus), np.nan) for name in DIMENSIONS}
    emotions = []
    for i, by_rater in enumerate(rated):
        each = [own for rater, own in by_rater.items() if rater in raters]
        for name in DIMENSIONS:
            if values := [own[name] for own in each if name in own]:
                numbers[name][i] = statistics.fmean(values)
        named = (noun(emotion) for own in each for emotion in own.get("emotion", ()))
        votes = collections.Counter(SPELLED.get(emotion, emotion) for emotion in named).most_common(2)
        is_tie = len(each) > 1 and len({count for _, count in votes}) < len(votes)
        emotions.append(votes[0][0] if votes and not is_tie else "")
    return replace(corpus, emotion=np.array(emotions), **numbers)


def analyse(config: Config, *_: Any) -> str:
    """Write the table of raters and network as OUT/raters.md, and return it as Markdown."""
    results = Results(config.out)
    lines = [list(HEAD)]
    for own in within(config):
        for test, task in own.cells:
            cell = results.cells.get(slug(own.name, own.train, test, task.name))
            if cell is not None and len(cell.seed):
                lines += compare(cell, facts(test[0], config.data_dir), task)
    text = tables.markdown(results.synthetic, [Table("Raters and network", lines, NOTE)])
    tables.write(config.out / f"{FILE}.md", text)
    return text.rstrip("\n")


def compare(cell: Predictions, corpus: Facts, task: Task) -> list[list[str]]:
    """Return a line per rater, of their mean, and of all raters; of numbers, these lines for each dimension.

    Raters are left out if the others agree on fewer utterances than two, or on none of some class.
    """
    place = {name: i for i, name in enumerate(corpus.id.tolist())}
    rows = [place[name] for name in cell.utterance.tolist()]
    own, least, lines = judgements(corpus, task), max(2, len(cell.class_names)), []
    for k, dimension in enumerate(cell.dimensions or ("",)):
        column: Any = (..., k) if dimension else ...
        each = {
            rater: Judgement(one.answers[rows][column], reference)
            for rater, one in own.items()
            if len(np.unique((reference := one.reference[rows][column])[labelled(reference)])) >= least
        }
        if each:
            other = "" if cell.setting == "monolingual" else f"{cell.setting}, "
            name = f"{other}{corpus.name} {dimension or task.name} ({cell.metric})"
            found = _lines(cell, cell.labels[column], cell.predictions[column], each)
            lines += [[name, *line] for line in found]
    return lines


def _lines(
    cell: Predictions, labels: np.ndarray, network: np.ndarray, each: dict[str, Judgement]
) -> list[list[str]]:
    """Return the lines of a cell's labels [M] and predictions [R, M], without what was tested."""
    answers, references = (np.stack(part) for part in zip(*each.values(), strict=True))
    shown, p = [], []
    for some in [*([i] for i in range(len(each))), [*range(len(each))]]:
        known, human, cluster, classes = together(cell, references[some], answers[some, None])
        _, machine, _, _ = together(cell, references[some], np.stack([network] * len(some)))
        shown.append([tables.scored(cell.metric, known, one, cluster, classes) for one in (human, machine)])
        p.append(difference_test(cell.metric, known, human, machine, cluster, classes=classes))
    counts = [f"{np.count_nonzero(labelled(one)):,}" for one in (*references, labels)]
    values = map(tables.p_value, [*holm(p[:-1]).tolist(), p[-1]])
    score = tables.scored(cell.metric, labels, network, cell.cluster, max(2, len(cell.class_names)))
    columns = [*each, "mean"], [*counts[:-1], ""], shown, values
    lines = [[rater, count, *both, p] for rater, count, both, p in zip(*columns, strict=True)]
    return [*lines, ["all", counts[-1], "", score, ""]]


def together(
    cell: Predictions, references: np.ndarray, predictions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return labels, predictions, clusters and number of classes, whose score is the mean over references.

    Numbers become dimensions. Each reference gets classes of its own, so that the mean of all recalls is the
    mean of the UARs.

    Args:
      references: [Q, M] classes or numbers.
      predictions: [Q, R, M].
    Returns: [M, Q], [R, M, Q] and [M] of numbers; [Q M], [R, Q M] and [Q M] of classes.
    """
    if not (classes := len(cell.class_names)):
        return references.T, np.moveaxis(predictions, 0, -1), cell.cluster, 2
    first = classes * np.arange(len(references))
    labels = np.where(references == UNLABELLED, UNLABELLED, references + first[:, None]).ravel()
    shifted = np.concatenate([*(predictions + first[:, None, None])], axis=1)
    return labels, shifted, np.tile(cell.cluster, len(first)), classes * len(first)
