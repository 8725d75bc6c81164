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
from ser_jax.experiment.results import Predictions, read_predictions
from ser_jax.experiment.settings import slug
from ser_jax.report import tables
from ser_jax.report.tables import Table
from ser_jax.shapes import Float
from ser_jax.statistics import difference_test, interval

NOTE = (
    "UAR: over all utterances, %, with a 95 % interval for other seeds and other speakers. EER: equal error "
    "rate of the second of two classes, %, mean over runs. p: test of the difference in UAR from the fusion."
)


def analyse(config: Config, folders: Sequence[Path]) -> str:
    """Write the table of several detectors and their fusion as OUT/fusion.md, and return it as Markdown.

    Each folder holds the settings "monolingual" and "development" of a detector.

    Raises: ResultsError if a cell is missing, detectors tested different utterances, or the development
      speakers of a fold lack a class.
    """
    lines = [["tested", "detector", "UAR [95 %]", "EER", "p"]]
    for name, task in itertools.product(config.corpora, config.tasks):
        file = f"{slug('{}', (name,), (name,), task.name)}.npz"
        dev, test = (
            [read_predictions(folder / "predictions" / file.format(setting)) for folder in folders]
            for setting in ("development", "monolingual")
        )
        fused = fuse(dev, test)
        labels, cluster, classes = test[0].labels, test[0].cluster, task.outputs
        every = {folder.name: one.outputs for folder, one in zip(folders, test, strict=True)}
        for detector, outputs in (every | {"fusion": fused}).items():
            own = outputs.argmax(axis=2)
            score = metrics.uar(labels, own, classes).mean()
            ends = interval("UAR", labels, own, cluster, classes=classes)
            p = difference_test("UAR", labels, own, fused.argmax(axis=2), cluster, classes=classes)
            rate = metrics.eer(labels, outputs[..., 1] - outputs[..., 0]).mean() if classes == 2 else np.nan
            shown = tables.p_value(p) if detector != "fusion" else ""
            score, low, high, rate = (f"{100 * value:.1f}" for value in (score, *ends, rate))
            lines.append([f"{name} {task.name}", detector, f"{score} [{low}, {high}]", rate, shown])
    text = tables.markdown([], [Table("Detectors and their fusion", lines, NOTE)])
    tables.write(config.out / "fusion.md", text)
    return text.rstrip("\n")


def fuse(dev: Sequence[Predictions], test: Sequence[Predictions]) -> Float[np.ndarray, "R M K"]:
    """Return the log-probabilities of a logistic regression of several detectors' log-probabilities.

    It is fitted for each run and fold to the fold's development utterances.

    Args:
      dev, test: predictions of each detector, for development and test utterances.
    Raises: ResultsError, see `analyse`.
    """
    for one, first in itertools.chain(*([(one, part[0]) for one in part] for part in (dev, test))):
        if one.utterance.tolist() != first.utterance.tolist() or one.seed.tolist() != test[0].seed.tolist():
            raise ResultsError(
                f"{one.slug} of other utterances or seeds than {first.slug}, expected the same"
            )
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
