"""What runs predict, as it is stored: the product of an experiment, from which all tables follow."""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax import io
from ser_jax.engine import RunResult, RunSpec
from ser_jax.errors import ResultsError
from ser_jax.experiment.pool import Pool
from ser_jax.experiment.settings import Setting, slug
from ser_jax.tasks import Task

BY_UTTERANCE = ("utterance", "speaker", "session", "fold", "labels")
BY_RUN = ("seed", "outputs", "predictions", "scores")
FACTS = ("setting", "train", "test", "task", "metric", "class_names", "chance")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """What the runs of a setting predict for the utterances of a tested corpus, or several together."""

    setting: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    task: str
    metric: str  # of the task, and so are the next two
    class_names: tuple[str, ...]  # none for numbers
    chance: float
    utterance: np.ndarray  # [M] str
    speaker: np.ndarray  # [M] str
    session: np.ndarray  # [M] str
    fold: np.ndarray  # [M] int, that tested the utterance, from 0
    labels: np.ndarray  # [M] int true classes, or [M, K] float32 numbers (NaN if not annotated)
    seed: np.ndarray  # [R] int
    outputs: np.ndarray  # [R, M, K] float32 logits or numbers; NaN of runs that were stopped
    predictions: np.ndarray  # [R, M] int classes or [R, M, K] numbers, by the task
    scores: np.ndarray  # [R, 1 + folds] headline over all utterances, then each fold's; NaN if not defined

    @property
    def slug(self) -> str:
        """The name of its file."""
        return slug(self.setting, self.train, self.test, self.task)

    def only(self, *, seeds: np.ndarray | None = None, rows: np.ndarray | None = None) -> "Predictions":
        """Return the predictions of some seeds ([R] bool) or for some utterances ([M] bool or int).

        The scores are kept, so that they are those of all utterances.
        """
        parts: dict[str, Any] = {name: getattr(self, name) for name in (*BY_UTTERANCE, *BY_RUN)}
        if seeds is not None:
            parts |= {name: parts[name][seeds] for name in BY_RUN}
        if rows is not None:
            parts |= {name: parts[name][rows] for name in BY_UTTERANCE}
            parts |= {name: parts[name][:, rows] for name in ("outputs", "predictions")}
        return dataclasses.replace(self, **parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """How the runs of a setting were trained; their parameters lie in `models` in the same order."""

    fold: np.ndarray  # [R] int
    seed: np.ndarray  # [R] int
    loss: np.ndarray  # [R, epochs] float32, the mean over the training utterances
    dev_epochs: np.ndarray  # [W] after how many epochs the development utterances were predicted
    dev_loss: np.ndarray  # [R, W]; NaN if there are none, or a class is missing
    dev_score: np.ndarray  # [R, W]; NaN likewise
    stopped: np.ndarray  # [R, 2] epoch and step, from 1, in which numbers were not finite; zeros if they are


def headline(task: Task, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return a task's headline score of predictions [N] or [N, K]; NaN if undefined or not finite."""
    if not len(labels) or not np.isfinite(predictions).all():
        return float("nan")
    try:
        return float(next(iter(task.score(labels, predictions).values())))
    except ValueError:
        return float("nan")


def gather_predictions(
    pool: Pool,
    setting: Setting,
    test: tuple[str, ...],
    specs: Sequence[RunSpec],
    outputs: Sequence[np.ndarray],
) -> Predictions:
    """Collect predictions for some corpora of runs with outputs [M, K] for their test rows."""
    seeds = np.unique([spec.seed for spec in specs])
    tested = np.unique(np.concatenate([spec.test for spec in specs]))
    rows = np.intersect1d(np.concatenate([pool.rows(name) for name in test]), tested)
    found = np.full((len(seeds), len(rows), setting.task.outputs), np.nan, np.float32)
    fold = np.zeros(len(rows), np.int32)
    for spec, own in zip(specs, outputs, strict=True):
        wanted = np.isin(spec.test, rows)
        place = np.searchsorted(rows, spec.test[wanted])
        found[np.searchsorted(seeds, spec.seed), place] = own[wanted]
        fold[place] = spec.fold
    return cell(
        setting.task,
        name=setting.name,
        train=setting.train,
        test=test,
        utterance=pool.id[rows],
        speaker=pool.speaker_id[rows]
        if len(test) > 1
        else pool.speaker[rows],  # of two corpora some are namesakes
        session=pool.session[rows],
        fold=fold,
        labels=pool.labels(setting.task)[rows],
        seed=seeds,
        outputs=found,
    )


def cell(task: Task, *, name: str, outputs: np.ndarray, **facts: Any) -> Predictions:
    """Return predictions of outputs [R, M, K], with the task's predictions and scores."""
    known = np.isfinite(outputs)
    predictions = np.asarray(task.predict(np.nan_to_num(outputs)))
    if predictions.ndim == 3:
        predictions = np.where(known, predictions, np.nan)
    labels, fold = facts["labels"], facts["fold"]
    parts = [np.ones(len(fold), bool), *(fold == i for i in np.unique(fold))]
    scores = np.array([[headline(task, labels[own], run[own]) for own in parts] for run in predictions])
    return Predictions(
        setting=name,
        task=task.name,
        metric=task.metric,
        class_names=tuple(task.class_names),
        chance=float(task.chance),
        outputs=outputs,
        predictions=predictions,
        scores=np.where(known.all(axis=(1, 2))[:, None], scores, np.nan),
        **facts,
    )


def training_log(
    task: Task, specs: Sequence[RunSpec], results: Sequence[RunResult], dev_epochs: Sequence[int]
) -> TrainingLog:
    """Return how runs were trained, their development outputs scored."""
    dev = [_development(task, spec, one.dev_outputs) for spec, one in zip(specs, results, strict=True)]
    return TrainingLog(
        fold=np.array([spec.fold for spec in specs]),
        seed=np.array([spec.seed for spec in specs]),
        loss=np.stack([one.losses for one in results]),
        dev_epochs=np.array(dev_epochs, int),
        dev_loss=np.array([loss for loss, _ in dev]),
        dev_score=np.array([score for _, score in dev]),
        stopped=np.stack([one.stopped for one in results]),
    )


def _development(task: Task, spec: RunSpec, outputs: np.ndarray) -> tuple[list[float], list[float]]:
    """Return loss and score of the development rows after each of W epochs."""
    labels: Any = np.asarray(spec.labels)[spec.dev]
    weights: Any = np.ones(len(labels), np.float32)
    score = [headline(task, labels, np.asarray(task.predict(one))) for one in outputs]
    each = zip(outputs, np.isfinite(score), strict=True)
    return [float(task.loss(one, labels, weights)) if defined else np.nan for one, defined in each], score


def predictions_file(out: Path, setting: Setting, test: tuple[str, ...]) -> Path:
    """Return where a cell's predictions are stored."""
    return out / "predictions" / f"{slug(setting.name, setting.train, test, setting.task.name)}.npz"


def write_predictions(out: Path, found: Predictions) -> None:
    """Store a cell's predictions."""
    facts = json.dumps({name: getattr(found, name) for name in FACTS})
    arrays = {name: getattr(found, name) for name in (*BY_UTTERANCE, *BY_RUN)}
    write_arrays(out / "predictions" / f"{found.slug}.npz", arrays | {"facts": np.array(facts)})


def read_predictions(path: Path) -> Predictions:
    """Read a cell's predictions, without the seeds of which a run was stopped.

    Raises: ResultsError if the file is missing or damaged.
    """
    arrays: dict[str, Any] = read_arrays(path, [*BY_UTTERANCE, *BY_RUN, "facts"])
    try:
        facts = json.loads(str(arrays.pop("facts")))
        facts |= {name: tuple(facts[name]) for name in ("train", "test", "class_names")}
        found = Predictions(**facts, **arrays)
        utterances, runs = found.utterance.shape, found.seed.shape
        fits = all(arrays[name].shape[:1] == utterances for name in BY_UTTERANCE)
        fits &= all(arrays[name].shape[:1] == runs for name in BY_RUN)
        fits &= found.outputs.shape[1:2] == found.predictions.shape[1:2] == utterances
        if not fits or found.outputs.ndim != 3 or found.slug != path.stem:
            raise ValueError("its parts do not fit together")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResultsError(
            f"{path} is not a predictions file ({error}); delete it to compute it again"
        ) from None
    return found.only(seeds=np.isfinite(found.outputs).all(axis=(1, 2)))


def read_training(path: Path) -> TrainingLog:
    """Read how a setting's runs were trained.

    Raises: ResultsError if the file is missing or damaged.
    """
    return TrainingLog(**read_arrays(path, [field.name for field in dataclasses.fields(TrainingLog)]))


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Store arrays, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.atomic_file(path, synced=True) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read arrays of these names.

    Raises: ResultsError if they are not there or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except FileNotFoundError:
        raise ResultsError(f"no {path.parent.name} {path}, expected an experiment's results") from None
    except (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ResultsError(
            f"{path} is not a {path.parent.name} file ({error}); delete it to compute it again"
        ) from None
