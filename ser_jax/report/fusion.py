"""Fuse the predictions of several results folders, and compare them by UAR and equal error rate."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from ser_jax import metrics
from ser_jax.errors import ResultsError
from ser_jax.experiment.config import Config
from ser_jax.experiment.results import Predictions, read_predictions, same_seeds
from ser_jax.experiment.settings import slug
from ser_jax.report import tables
from ser_jax.report.tables import Results, Table
from ser_jax.shapes import Float
from ser_jax.statistics import difference_test, holm
from ser_jax.tasks import Task

NOTE = (
    "UAR: over all utterances, %, with a 95 % interval for other seeds and other speakers. EER: equal error "
    "rate of the second of two classes, %, mean over runs. p: test of the difference in UAR from the fusion, "
    "with Holm's correction over the detectors."
)


def analyse(config: Config, folders: Sequence[Path]) -> str:
    """Write the table of several detectors and their fusion as OUT/fusion.md, and return it as Markdown.

    Cells that cannot be computed have the reason.

    Args:
      folders: of the detectors, with settings "monolingual" and "development".
    """
    lines = [["tested", "detector", "UAR [95 %]", "EER", "p"]]
    for name, task in itertools.product(config.corpora, config.tasks):
        tested = f"{name} {task.name}"
        try:
            lines += [[tested, *line] for line in compare(folders, name, task)]
        except ResultsError as error:
            lines.append([tested, f"not computed: {error}", "", "", ""])
    synthetic = Results(folders[0]).synthetic
    text = tables.markdown(synthetic, [Table("Detectors and their fusion", lines, NOTE)])
    tables.write(config.out / "fusion.md", text)
    return text.rstrip("\n")


def compare(folders: Sequence[Path], name: str, task: Task) -> list[list[str]]:
    """Return a line of each detector and of their fusion, within a corpus.

    Raises: ResultsError if a cell is missing or no seed is in all, or see `fuse`.
    """
    file = f"{slug('{}', (name,), (name,), task.name)}.npz"
    each = same_seeds(
        [
            read_predictions(folder / "predictions" / file.format(setting))
            for setting in ("development", "monolingual")
            for folder in folders
        ]
    )
    if not each:
        raise ResultsError(f"no seed finished in all of {', '.join(folder.name for folder in folders)}")
    dev, test = each[: len(folders)], each[len(folders) :]
    fused, classes = fuse(dev, test), task.outputs
    labels, cluster, best = test[0].labels, test[0].cluster, fused.argmax(axis=2)
    p = holm(
        [difference_test("UAR", labels, one.predictions, best, cluster, classes=classes) for one in test]
    )
    shown = [*map(tables.p_value, p.tolist()), ""]
    every = {folder.name: one.outputs for folder, one in zip(folders, test, strict=True)} | {"fusion": fused}
    lines = []
    for (detector, outputs), value in zip(every.items(), shown, strict=True):
        score = tables.scored("UAR", labels, outputs.argmax(axis=2), cluster, classes)
        margin = outputs[..., 1] - outputs[..., 0]
        rate = f"{100 * metrics.eer(labels, margin).mean():.1f}" if classes == 2 else ""
        lines.append([detector, score, rate, value])
    return lines


def fuse(dev: Sequence[Predictions], test: Sequence[Predictions]) -> Float[np.ndarray, "R M K"]:
    """Return the log-probabilities of a logistic regression of several detectors' log-probabilities.

    It is fitted for each run and fold to the fold's development utterances.

    Args:
      dev, test: predictions of each detector, for development and test utterances.
    Raises: ResultsError if detectors tested different utterances, or the development speakers of a fold lack
      a class.
    """
    for part in (dev, test):
        if len({tuple(one.utterance.tolist()) for one in part}) > 1:
            raise ResultsError(f"{part[0].slug} of different utterances, expected the same of all detectors")
    x, y = (
        np.concatenate([log_softmax(one.outputs, axis=2) for one in part], axis=2) for part in (dev, test)
    )
    found, classes = np.empty(test[0].outputs.shape), len(test[0].class_names)
    for fold, run in itertools.product(np.unique(test[0].fold), range(len(found))):
        rows, tested = dev[0].fold == fold, test[0].fold == fold
        labels = dev[0].labels[rows]
        if len(np.unique(labels)) < classes:
            who = f"development speakers of fold {fold + 1} of {'+'.join(dev[0].test)}"
            raise ResultsError(f"the {who} lack a class of {dev[0].task}, expected all classes")
        fitted = LogisticRegression(max_iter=1000).fit(x[run, rows], labels)
        margin = fitted.decision_function(y[run, tested])  # of class 1 alone if there are two
        found[run, tested] = margin if classes > 2 else np.stack([np.zeros_like(margin), margin], axis=1)
    return log_softmax(found, axis=2)
