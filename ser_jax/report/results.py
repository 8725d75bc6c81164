"""A results folder, read once: rows of tables, comparisons and training curves.

Everything follows from stored predictions, training logs and config.json; no class that an experiment was
configured with is imported. Of a metric that is neither UAR nor CCC only the stored scores are known.
"""

import contextlib
import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ser_jax import metrics
from ser_jax.errors import ResultsError
from ser_jax.experiment.results import (
    Predictions,
    TrainingLog,
    read_document,
    read_predictions,
    read_training,
)
from ser_jax.experiment.settings import slug
from ser_jax.statistics import chance_interval, holm, interval, paired_test

PAPER = {  # Table 2, UAR in %, by setting and the database of the test corpus
    ("monolingual", "iemocap"): {"arousal": 68.09, "valence": 62.33},
    ("monolingual", "recola"): {"arousal": 60.77, "valence": 52.30},
    ("multilingual", "iemocap"): {"arousal": 70.06, "valence": 61.73},
    ("multilingual", "recola"): {"arousal": 62.51, "valence": 49.33},
    ("crosslingual", "iemocap"): {"arousal": 59.32, "valence": 49.08},
    ("crosslingual", "recola"): {"arousal": 61.27, "valence": 47.52},
    ("finetuned", "iemocap"): {"arousal": 67.03, "valence": 50.42},
    ("finetuned", "recola"): {"arousal": 63.07, "valence": 49.81},
    ("monolingual_cut", "iemocap"): {"arousal": 68.20, "valence": 58.77},
}
TABLE2 = ("monolingual", "multilingual", "crosslingual", "finetuned")
SYNTHETIC = "synthetic"
KNOWN = ("UAR", "CCC")  # metrics of which more is known than the stored scores
NAN = float("nan")


class Row(NamedTuple):
    """One cell of a table; UAR and recalls in per cent, other metrics as they are.

    Attributes:
      setting, train, test, task: which cell.
      metric: "UAR", "CCC" or another name; "" if nothing is known of the task.
      score_mean: the mean over the test folds, of that the mean over runs.
      score_sd: its sample standard deviation over runs; NaN for a single one.
      runs, folds, speakers, utterances: numbers.
      pooled: score over all utterances at once, the mean over runs.
      low, high: 95 % interval of `pooled` by a bootstrap over speakers; NaN if there is none.
      chance: score of guessing.
      chance_low, chance_high: range of guesses with 95 %; NaN if unknown.
      by_class: pairs of class and recall, or of dimension and CCC; the means over runs.
      paper: the paper's score for this cell and its corpora; NaN if there is none.
      stopped: which runs were stopped, so that their seeds are left out; "" if none was.
      missing: why there are no numbers; "" if there are.
    """

    setting: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    task: str
    metric: str = ""
    score_mean: float = NAN
    score_sd: float = NAN
    runs: int = 0
    folds: int = 0
    speakers: int = 0
    utterances: int = 0
    pooled: float = NAN
    low: float = NAN
    high: float = NAN
    chance: float = NAN
    chance_low: float = NAN
    chance_high: float = NAN
    by_class: tuple[tuple[str, float], ...] = ()
    paper: float = NAN
    stopped: str = ""
    missing: str = ""

    @property
    def slug(self) -> str:
        """The name of its predictions file."""
        return slug(*self[:4])


class Comparison(NamedTuple):
    """Two settings that were tested on the same utterances.

    Attributes:
      test, task, metric: on what.
      one, other: labels of the settings.
      difference: pooled score of one less that of the other, in the units of `Row`.
      p: two-sided, by swapping the predictions of all utterances of a speaker.
      p_holm: corrected for the comparisons of the same corpus and task.
    """

    test: tuple[str, ...]
    task: str
    metric: str
    one: str
    other: str
    difference: float
    p: float
    p_holm: float


class Results:
    """What a results folder holds.

    Attributes:
      out: the folder.
      document: its config.json.
      names, synthetic: of all corpora, and of those of synthetic speech.
      cells: predictions by slug, without the seeds of which a run was stopped.
      logs: how the runs of each setting were trained, by the setting's slug.
      metric: of each task that has cells.
      missing: rows of cells that could not be computed, by slug.
      known: both cells and missing ones, by slug.

    Raises: ResultsError if it has no config.json, or a file is damaged or of other corpora.
    """

    def __init__(self, out: Path):
        self.out, self.document = out, read_document(out)
        corpora = self.document["corpora"]
        self.names = [corpus["name"] for corpus in corpora]
        self.synthetic = [corpus["name"] for corpus in corpora if corpus["synthetic"]]
        self.cells = {path.stem: self._read(path) for path in sorted((out / "predictions").glob("*.npz"))}
        self.logs = {path.stem: read_training(path) for path in sorted((out / "training").glob("*.npz"))}
        self.metric = {cell.task: cell.metric for cell in self.cells.values()}
        self.missing: dict[str, Row] = {}
        for one in self.document["missing"]:
            cell = one["setting"], tuple(one["train"]), tuple(one["test"]), one["task"]
            row = Row(*cell, metric=self.metric.get(one["task"], ""), missing=one["reason"])
            if row.slug not in self.cells:
                self.missing[row.slug] = row
        self.known: dict[str, Row | Predictions] = {**self.missing, **self.cells}
        self._row = functools.cache(self._computed_row)
        self._compared = functools.cache(lambda one, other: compared(self.cells[one], self.cells[other]))

    def _read(self, path: Path) -> Predictions:
        found = read_predictions(path)
        if not {*found.train, *found.test} <= set(self.names):
            raise ResultsError(
                f"{path} is of {' and '.join(sorted({*found.train, *found.test}))}, expected the corpora of "
                f"its config.json ({' '.join(self.names)}); move it elsewhere"
            )
        return found

    @property
    def stopped(self) -> list[str]:
        """Slugs of the settings of which runs were stopped."""
        return [name for name, log in self.logs.items() if log.stopped[:, 0].any()]

    @property
    def settings(self) -> list[str]:
        """Names of all settings of which something is stored or missing, the paper's first."""
        there = {one.setting for one in self.known.values()}
        first = [name for name in TABLE2 if name in there]
        return [*first, *sorted(there.difference(first))]

    def title(self, corpora: Sequence[str]) -> str:
        """Return names as tables have them; that of synthetic speech is marked."""
        return "+".join(marked(name, name in self.synthetic) for name in corpora)

    def description(self, cell: Row | Predictions) -> dict[str, Any]:
        """Return what the setting of a cell is made of; empty if it follows from other settings."""
        wanted = cell.setting, list(cell.train), cell.task
        for one in self.document["settings"].values():
            found = one["name"], one["train"], one["task"]["name"]
            if found == wanted and set(cell.test) <= set(one["test"]):
                return one
        return {}

    def rows(self, settings: Sequence[str]) -> list[Row]:
        """Return every cell of some settings, stored or missing, in the order of the tables."""

        def place(cell: Row | Predictions) -> tuple[int, list[int], list[int], str]:
            test, train = (list(map(self.names.index, part)) for part in (cell.test, cell.train))
            return settings.index(cell.setting), test, train, cell.task

        shown = sorted((cell for cell in self.known.values() if cell.setting in settings), key=place)
        return [self._row(cell.slug) for cell in shown]

    def _computed_row(self, name: str) -> Row:
        if name not in self.cells:
            return self.missing[name]
        found = self.cells[name]
        about = self.description(found)
        stopped = self._stopped(found, about)
        if not len(found.seed):
            return outline(found)._replace(missing=f"no seed is complete ({stopped})")
        row = measured(found, about.get("task", {}).get("dimensions", ()))
        return row._replace(paper=self._paper(found), stopped=stopped)

    def _stopped(self, found: Predictions, about: Mapping[str, Any]) -> str:
        """Return which runs of a cell's setting were stopped, and where; "" if none was."""
        log = self.logs.get(slug(about["name"], about["train"], about["test"], found.task)) if about else None
        if log is not None and log.stopped[:, 0].any():
            each = zip(log.seed, *log.stopped.T, log.fold, strict=True)
            return ", ".join(
                f"seed {seed} in epoch {epoch}, step {step} of fold {fold + 1}"
                for seed, epoch, step, fold in each
                if epoch
            )
        lost = sorted(set(range(about.get("seeds", 0))) - set(found.seed.tolist()))
        return f"outputs of seed {', '.join(map(str, lost))} are not finite" if lost else ""

    def _paper(self, found: Predictions) -> float:
        """Return the paper's score; NaN unless the corpora are the paper's pair."""
        builders = {corpus["name"]: corpus["builder"] for corpus in self.document["corpora"]}
        if sorted(builders.values()) != ["iemocap", "recola"] or len(found.test) > 1:
            return NAN
        return PAPER.get((found.setting, builders[found.test[0]]), {}).get(found.task, NAN)

    def comparisons(self, rows: Sequence[Row]) -> list[Comparison]:
        """Compare every setting with the first of its column, and with the one before it.

        p-values are corrected for the comparisons of the same column, which belong to one question. Settings
        of a tuning are not compared, since the best is chosen among them.
        """
        found, names = [], labels(rows)
        there = [row for row in rows if not row.missing and not self.description(row).get("tuned")]
        for own in columns(there):
            neighbours = [(later, former) for former, later in itertools.pairwise(own[1:])]
            pairs = dict.fromkeys([*((row, own[0]) for row in own[1:]), *neighbours])
            values = [self._compared(one.slug, other.slug) for one, other in pairs]
            corrected = holm([p for _, p in values])
            for (one, other), (difference, p), p_holm in zip(pairs, values, corrected, strict=True):
                both = names[one.slug], names[other.slug]
                cell = one.test, one.task, one.metric
                found.append(Comparison(*cell, *both, difference, p, float(p_holm)))
        return found

    def curves(self, settings: Sequence[str]) -> dict[str, dict[str, TrainingLog]]:
        """Return how models were trained, by setting with its training corpora, and by task.

        Runs for several tested corpora are put together; those that were stopped are left out.
        """
        found: dict[str, dict[str, list[TrainingLog]]] = {}
        for name, one in self.document["settings"].items():
            if one["name"] in settings and name in self.logs:
                own = found.setdefault(f"{one['name']} {'+'.join(one['train'])}", {})
                own.setdefault(one["task"]["name"], []).append(self.logs[name])
        return {
            title: {task: _together(logs) for task, logs in sorted(own.items())}
            for title, own in found.items()
        }


def _together(logs: Sequence[TrainingLog]) -> TrainingLog:
    """Return the runs of some logs that were not stopped."""
    rows = [log.stopped[:, 0] == 0 for log in logs]
    parts = {
        name: np.concatenate([getattr(log, name)[own] for log, own in zip(logs, rows, strict=True)])
        for name in ("fold", "seed", "loss", "dev_loss", "dev_score", "stopped")
    }
    return TrainingLog(dev_epochs=logs[0].dev_epochs, **parts)


def marked(name: str, synthetic: bool) -> str:
    """Return the name of a corpus; that of synthetic speech says so."""
    return f"{name} ({SYNTHETIC})" if synthetic and SYNTHETIC not in name else name


def scale(metric: str) -> int:
    """Return the factor that a metric is shown with."""
    return 100 if metric == "UAR" else 1


def outline(found: Predictions) -> Row:
    """Return a row of what is known of a cell without its predictions."""
    cell = found.setting, found.train, found.test, found.task
    return Row(*cell, metric=found.metric, chance=scale(found.metric) * found.chance)


def fold_means(found: Predictions) -> np.ndarray:
    """Return the score of every run as tables have it [R]: the mean over the test folds."""
    return scale(found.metric) * found.scores[:, 1:].mean(axis=1)


def measured(found: Predictions, dimensions: Sequence[str] = ()) -> Row:
    """Return the numbers of a cell.

    Args:
      found: its predictions, of one run at least.
      dimensions: names of the numbers that are predicted, if they are.
    """
    each, factor = fold_means(found), scale(found.metric)
    row = outline(found)._replace(
        score_mean=float(each.mean()),
        score_sd=float(each.std(ddof=1)) if len(each) > 1 else NAN,
        runs=len(each),
        folds=len(np.unique(found.fold)),
        speakers=len(np.unique(found.speaker)),
        utterances=len(found.labels),
        pooled=float(factor * found.scores[:, 0].mean()),
    )
    if found.metric not in KNOWN:
        return row
    with contextlib.suppress(ValueError):  # a class without utterances: only the scores are known
        names, classes = found.class_names or dimensions, max(2, len(found.class_names))
        values = factor * by_class(found).mean(axis=0)
        row = row._replace(by_class=tuple(zip(names, values.tolist(), strict=False)))
        around = interval(found.metric, found.labels, found.predictions, found.speaker, classes=classes)
        guesses = chance_interval(found.metric, found.labels, classes=classes)
        row = row._replace(low=factor * around.low, high=factor * around.high)
        row = row._replace(chance_low=factor * guesses.low, chance_high=factor * guesses.high)
    return row


def by_class(found: Predictions) -> np.ndarray:
    """Return the recall of each class or the CCC of each dimension, [R, K]; NaN without labels."""
    if found.metric == "UAR":
        return metrics.recalls(found.labels, found.predictions, max(2, len(found.class_names)))
    return metrics.ccc(found.labels, found.predictions)


def compared(one: Predictions, other: Predictions) -> tuple[float, float]:
    """Return the difference of the pooled scores and its p, over the utterances that both were tested on.

    Both are NaN for metrics other than UAR and CCC, or if they are not defined on these utterances.
    """
    if one.metric != other.metric or one.metric not in KNOWN:
        return NAN, NAN
    names = [list(zip(part.utterance.tolist(), part.speaker.tolist(), strict=True)) for part in (one, other)]
    shared = set(names[0]) & set(names[1])
    one, other = (
        part.only(rows=np.array([name in shared for name in own], bool))
        for part, own in zip((one, other), names, strict=True)
    )
    try:
        classes = max(2, len(one.class_names))
        p = paired_test(
            one.metric, one.labels, one.predictions, other.predictions, one.speaker, classes=classes
        )
    except ValueError:
        return NAN, NAN
    if np.isnan(p):
        return NAN, NAN
    return scale(one.metric) * float(np.nanmean(by_class(one)) - np.nanmean(by_class(other))), p


def confusion(found: Predictions) -> np.ndarray:
    """Return the utterances by true and predicted class [K, K], the mean over runs."""
    return metrics.confusion(found.labels, found.predictions, len(found.class_names)).mean(axis=0)


def labels(rows: Sequence[Row]) -> dict[str, str]:
    """Return the names of rows in tables, by slug: the setting, and its training corpora if needed."""
    alike = Counter((row.setting, row.test, row.task) for row in rows)
    return {
        row.slug: row.setting
        if alike[row.setting, row.test, row.task] == 1
        else f"{row.setting} from {'+'.join(row.train)}"
        for row in rows
    }


def columns(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each column of a table, a test corpus and task, in order."""
    tests = list(dict.fromkeys(row.test for row in rows))
    found: dict[Any, list[Row]] = {}
    for row in sorted(rows, key=lambda row: tests.index(row.test)):
        found.setdefault((row.test, row.task), []).append(row)
    return list(found.values())
