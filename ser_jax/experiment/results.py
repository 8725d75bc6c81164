"""Store the results of an experiment: configuration, predictions, models and training logs.

    config.json            configuration, corpora, folds, code digest, settings, tables, sessions
    predictions/*.npz      the predictions of a setting's runs for a tested corpus
    models/*/              parameters of a setting's runs
    training/*.npz         losses and development scores of a setting's runs

Every file is written atomically. Tables and figures follow from this folder alone.
"""

import contextlib
import dataclasses
import functools
import json
import os
import platform
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import numpy as np

from ser_jax import checkpoint, io
from ser_jax.data.labels import by_emotion
from ser_jax.devices import Machine
from ser_jax.engine import RunResult, RunSpec
from ser_jax.errors import ResultsError, beside
from ser_jax.experiment import provenance
from ser_jax.experiment.config import Config, describe, differences, digest
from ser_jax.experiment.settings import Cell, Pool, Setting, slug
from ser_jax.metrics import labelled
from ser_jax.model import Tree, shapes
from ser_jax.tasks import Regression, Task, parts

CONFIG = "config.json"
PROTOCOL = ("config", "corpora", "folds", "code")  # equal for all results of a folder
HASHED = (*PROTOCOL, "settings")
FILLED: dict[str, Any] = {"settings": {}, "missing": [], "tables": {}, "sessions": []}  # bit by bit
NEUTRAL = ("out", "data_dir", "compute")  # parts of the tree that change no result
FOLDERS = ("predictions", "models", "training")
BY_UTTERANCE = ("utterance", "speaker", "session", "cluster", "sex", "fold", "labels", "ratings")
BY_RUN = ("seed", "outputs", "predictions", "scores", "others")
NAMES = ("train", "test", "class_names", "dimensions", "raters", "other_scores")
FACTS = ("setting", "task", "metric", "chance", *NAMES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions of a setting's runs for the utterances of a tested corpus, or of several together."""

    setting: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    task: str
    metric: str  # of the task, and so are the next two
    class_names: tuple[str, ...]  # none for numbers
    dimensions: tuple[str, ...]  # names of the numbers; none for classes, or if the task names none
    chance: float
    raters: tuple[str, ...]  # names of the Q who rated the dimensions; none if each rating is not known
    other_scores: tuple[str, ...]  # names of the scores of the task beside the headline
    utterance: np.ndarray  # [M] str
    speaker: np.ndarray  # [M] str
    session: np.ndarray  # [M] str
    cluster: np.ndarray  # [M] int, of speakers who met, see `data.folds.connected_speakers`
    sex: np.ndarray  # [M] str
    fold: np.ndarray  # [M] int, that tested the utterance, from 0
    labels: np.ndarray  # [M] int true classes, or [M, K] float32 numbers (NaN if not annotated)
    ratings: np.ndarray  # [M, Q, K] float32, those of which `labels` are the consensus; NaN if not rated
    seed: np.ndarray  # [R] int
    outputs: np.ndarray  # [R, M, K] float32 logits or numbers; NaN of runs that were stopped
    predictions: np.ndarray  # [R, M] int classes or [R, M, K] numbers, by the task
    scores: np.ndarray  # [R, 1 + folds] headline over all utterances, then each fold's; NaN if not defined
    others: np.ndarray  # [R, S] the other scores over all utterances, likewise

    @property
    def slug(self) -> str:
        """The name of its file."""
        return slug(self.setting, self.train, self.test, self.task)

    def only(
        self, *, seeds: np.ndarray | slice = slice(None), rows: np.ndarray | slice = slice(None)
    ) -> "Predictions":
        """Return the predictions of some seeds ([R] bool) or for some utterances ([M] bool or int).

        The scores are kept, so that they are those of all utterances.
        """
        parts = {name: getattr(self, name)[rows] for name in BY_UTTERANCE}
        parts |= {name: getattr(self, name)[seeds] for name in BY_RUN}
        parts |= {name: parts[name][:, rows] for name in ("outputs", "predictions")}
        return dataclasses.replace(self, **parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """Record how the runs of a setting were trained; their parameters lie in `models` in the same order."""

    fold: np.ndarray  # [R] int
    seed: np.ndarray  # [R] int
    loss: np.ndarray  # [R, epochs] float32, the mean over the training utterances
    dev_epochs: np.ndarray  # [W] after how many epochs the development utterances were predicted
    dev_loss: np.ndarray  # [R, W]; NaN if there are none, or a class is missing
    dev_score: np.ndarray  # [R, W]; NaN likewise
    different: np.ndarray  # [] int, different training utterances of all folds of a seed
    stopped: np.ndarray  # [R, 2] epoch and step, from 1, in which numbers were not finite; zeros if they are


def scored(task: Task, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return a task's scores of predictions [N] or [N, K]; none if undefined or not finite."""
    if not len(labels) or not np.isfinite(predictions).all():
        return {}
    try:
        return task.score(labels, predictions)
    except ValueError:
        return {}


def headline(task: Task, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the first of the scores, NaN if there are none."""
    return float(next(iter(scored(task, labels, predictions).values()), np.nan))


def gather_predictions(
    pool: Pool,
    setting: Setting,
    test: tuple[str, ...],
    specs: Sequence[RunSpec],
    outputs: Sequence[np.ndarray],
    task: Task | None = None,
) -> Predictions:
    """Return the predictions for some corpora of runs with outputs [M, K] for their test rows.

    They are those of the setting's task, or of one of its parts: of the utterances that have a label of it.
    """
    task = setting.task if task is None else task
    columns = dict(parts(setting.task))[task]
    seeds = np.unique([spec.seed for spec in specs])
    tested = np.unique(np.concatenate([spec.test for spec in specs]))
    rows = np.intersect1d(np.concatenate([pool.rows(name) for name in test]), tested)
    rows = rows[labelled(pool.labels(task)[rows])]
    found = np.full((len(seeds), len(rows), task.outputs), np.nan, np.float32)
    fold = np.zeros(len(rows), np.int32)
    for spec, own in zip(specs, outputs, strict=True):
        wanted = np.isin(spec.test, rows)
        place = np.searchsorted(rows, spec.test[wanted])
        found[np.searchsorted(seeds, spec.seed), place] = own[wanted, columns]
        fold[place] = spec.fold
    speaker = pool.speaker_id if len(test) > 1 else pool.speaker  # corpora may share names
    every = {"utterance": pool.id, "speaker": speaker, "session": pool.session, "sex": pool.sex}
    every |= {"cluster": pool.cluster, "labels": pool.labels(task)}
    facts: dict[str, Any] = {name: column[rows] for name, column in every.items()}
    ratings = pool.ratings(task) if isinstance(task, Regression) else {}
    ratings = {rater: own[rows] for rater, own in ratings.items() if np.isfinite(own[rows]).any()}
    if ratings:
        facts |= {"raters": tuple(ratings), "ratings": np.stack([*ratings.values()], axis=1)}
    facts |= {"fold": fold, "seed": seeds}
    return make_predictions(task, name=setting.name, train=setting.train, test=test, outputs=found, **facts)


def make_predictions(task: Task, *, name: str, outputs: np.ndarray, **facts: Any) -> Predictions:
    """Return predictions of outputs [R, M, K], with the task's predictions and scores."""
    known = np.isfinite(outputs)
    predictions = np.asarray(task.predict(np.nan_to_num(outputs)))
    if predictions.ndim == 3:
        predictions = np.where(known, predictions, np.nan)
    labels, fold = facts["labels"], facts["fold"]
    whole = [scored(task, labels, run) for run in predictions]
    names = list(next(filter(None, whole), {task.metric: np.nan}))
    pooled = np.array([[one.get(name, np.nan) for name in names] for one in whole])
    each = [fold == i for i in np.unique(fold)]
    by_fold = [[headline(task, labels[own], run[own]) for own in each] for run in predictions]
    stopped = ~known.all(axis=(1, 2))[:, None]
    none: dict[str, Any] = {"raters": (), "ratings": np.zeros((len(labels), 0, task.outputs), np.float32)}
    return Predictions(
        setting=name,
        task=task.name,
        metric=task.metric,
        class_names=tuple(task.class_names),
        dimensions=tuple(getattr(task, "dimensions", ())),
        chance=float(task.chance),
        outputs=outputs,
        predictions=predictions,
        scores=np.where(stopped, np.nan, np.hstack([pooled[:, :1], by_fold])),
        other_scores=tuple(names[1:]),
        others=np.where(stopped, np.nan, pooled[:, 1:]),
        **(none | facts),
    )


def training_log(
    task: Task, specs: Sequence[RunSpec], results: Sequence[RunResult], dev_epochs: Sequence[int]
) -> TrainingLog:
    """Return how runs were trained, their development outputs scored."""
    loss, score = np.full((2, len(specs), len(dev_epochs)), np.nan)
    task_loss = jax.jit(task.loss)
    of_first_seed = [spec.train for spec in specs if spec.seed == specs[0].seed]
    for r, spec in enumerate(specs):
        labels: Any = np.asarray(spec.labels)[spec.dev]
        weights: Any = np.ones(len(labels), np.float32)
        for w, outputs in enumerate(results[r].dev_outputs):
            score[r, w] = headline(task, labels, np.asarray(task.predict(outputs)))
            if np.isfinite(score[r, w]):
                loss[r, w] = task_loss(outputs, labels, weights)
    return TrainingLog(
        fold=np.array([spec.fold for spec in specs]),
        seed=np.array([spec.seed for spec in specs]),
        loss=np.stack([one.losses for one in results]),
        dev_epochs=np.array(dev_epochs, int),
        dev_loss=loss,
        dev_score=score,
        different=np.array(len(np.unique(np.concatenate(of_first_seed)))),
        stopped=np.stack([one.stopped for one in results]),
    )


def write_predictions(out: Path, found: Predictions) -> None:
    """Store a cell's predictions."""
    facts = json.dumps({name: getattr(found, name) for name in FACTS})
    arrays = {name: getattr(found, name) for name in (*BY_UTTERANCE, *BY_RUN)}
    write_arrays(out / "predictions" / f"{found.slug}.npz", arrays | {"facts": np.array(facts)})


def read_predictions(path: Path) -> Predictions:
    """Read a cell's predictions, without the seeds of which a run was stopped.

    Raises: ResultsError if the file is missing or damaged.
    """

    def made(arrays: dict[str, Any]) -> Predictions:
        facts = json.loads(str(arrays.pop("facts")))
        facts |= {name: tuple(facts[name]) for name in NAMES}
        found = Predictions(**facts, **arrays)
        runs = {len(arrays[name]) for name in BY_RUN}
        utterances = {len(arrays[name]) for name in BY_UTTERANCE}
        utterances |= {found.outputs.shape[1], found.predictions.shape[1]}
        if len(runs) * len(utterances) > 1 or found.outputs.ndim != 3 or found.slug != path.stem:
            raise ValueError("its parts do not fit together")
        return found.only(seeds=np.isfinite(found.outputs).all(axis=(1, 2)))

    return _read_arrays(path, [*BY_UTTERANCE, *BY_RUN, "facts"], made)


def read_training(path: Path) -> TrainingLog:
    """Read how a setting's runs were trained; raise ResultsError if the file is missing or damaged."""
    names = [field.name for field in dataclasses.fields(TrainingLog)]
    return _read_arrays(path, names, lambda arrays: TrainingLog(**arrays))


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Store arrays atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.atomic_file(path, synced=True) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def _read_arrays(path: Path, names: Sequence[str], make: Callable[[dict[str, Any]], Any]) -> Any:
    """Return an object made from the arrays of these names; ResultsError if they are missing or damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return make({name: arrays[name] for name in names})
    except FileNotFoundError:
        raise ResultsError(f"no {path.parent.name} {path}, expected an experiment's results") from None
    except (ValueError, TypeError, LookupError, AttributeError, EOFError, BadZipFile, zlib.error) as error:
        raise ResultsError(
            f"{path} is not a {path.parent.name} file ({error}); delete it to compute it again"
        ) from None


def protocol(config: Config, pool: Pool) -> dict[str, Any]:
    """Return the values that two results of one experiment share, by the names of `PROTOCOL`."""
    corpora = [
        {
            "name": one.name, "builder": one.database, "synthetic": one.synthetic, "left_out": one.left_out,
            "fingerprint": one.fingerprint, "utterances": len(one), "speakers": len(np.unique(one.speaker)),
            "languages": sorted(set(one.language.tolist())), "partners": pool.partners(one.name),
            "by_emotion": by_emotion(one),
        }
        for one in pool.corpora.values()
    ]  # fmt: skip
    folds = {
        name: [{part: pool.id[getattr(fold, part)].tolist() for part in ("test", "dev")} for fold in each]
        for name, each in pool.every_fold().items()
    }
    tree = {name: value for name, value in describe(config).items() if name not in NEUTRAL}
    return {"config": tree, "corpora": corpora, "folds": folds, "code": provenance.code_digest()}


@contextlib.contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Lock the results folder `out`, created if need be, and name this process in `running.txt`.

    Raises: ResultsError if another process works in `out`, or `out` cannot be a folder.
    """
    note = out / "running.txt"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"{out} cannot be made ({error.strerror}), expected a folder for results; choose another --out"
        ) from None

    def busy() -> ResultsError:
        owner = note.read_text() if note.exists() else "another process"
        remedy = "expected one process at a time; wait for it, end it, or choose another --out"
        return ResultsError(f"{out} is in use by {owner}, {remedy}")

    with io.lock_folder(out, busy):
        note.write_text(f"process {os.getpid()} on {platform.node()}")
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def claim(
    out: Path, wanted: dict[str, Any], settings: Iterable[Setting], accept_changed_code: bool = False
) -> None:
    """Make `out` the folder of a protocol's results, or check that it is.

    Raises: ResultsError if it holds results of another protocol or setting, of other code, or of none.
    """
    if not (out / CONFIG).exists():
        if orphans := [name for name in FOLDERS if (out / name).exists()]:
            raise ResultsError(f"{out} holds {' and '.join(orphans)} but no {CONFIG}; choose another --out")
        _write(out, wanted | FILLED)
        return
    for folder in (out, *(out / name for name in FOLDERS)):
        for partial in folder.glob(f".*{io.PARTIAL}"):  # left by a killed process
            partial.unlink(missing_ok=True)
    found = read_document(out)
    described = {one.slug: one.describe() for one in settings if one.slug in found["settings"]}
    now = wanted | {"settings": described}
    before = {name: found[name] for name in PROTOCOL}
    before |= {"settings": {name: found["settings"][name] for name in described}}
    if other := list(differences(without_code(before), without_code(now))):
        raise ResultsError(
            f"{out} holds results of another experiment ({', '.join(other)}); repeat it with its own options "
            f"(--config {out / CONFIG}), or choose another --out"
        )
    if before != now:
        if not accept_changed_code:
            raise ResultsError(
                f"{out} holds results of another version of the code; choose another --out, or go on with "
                "--accept-changed-code"
            )
        _write(out, found | wanted | {"settings": found["settings"] | described})


def without_code(content: Any) -> Any:
    """Return JSON without the digests of code in it."""
    if isinstance(content, dict):
        return {name: without_code(value) for name, value in content.items() if name != "code"}
    return content


def read_document(out: Path) -> dict[str, Any]:
    """Read config.json of a results folder; raise ResultsError if it is missing, damaged or was edited."""
    path = out / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["hash"] != _hash(found):
            reason = "it was edited: its hash does not match its content"
        elif not all(re.fullmatch(r"\w+", name, re.ASCII) for name in found["tables"]):  # they become paths
            reason = "it holds tables of other names than letters, digits and underscores"
        else:
            return found
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(
            f"no {path}{beside(out)}; expected a folder that an experiment has written"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        reason = "expected a JSON object with config and hash"
    raise ResultsError(f"{path} is not an experiment's, {reason}; restore it, or compute into another folder")


def _hash(document: dict[str, Any]) -> str:
    return digest({name: document[name] for name in HASHED})


def _write(out: Path, content: dict[str, Any]) -> None:
    io.write_json(out / CONFIG, content | {"hash": _hash(content)}, synced=True)


def note(out: Path, **changes: Any) -> dict[str, Any]:
    """Add to parts of config.json; returns the whole document."""
    found = read_document(out)
    for name, value in changes.items():
        found[name] = found[name] | value if isinstance(value, dict) else value
    _write(out, found)
    return found


def note_missing(out: Path, missing: Iterable[dict[str, Any]]) -> None:
    """Note cells that cannot be computed: their setting, train, test, task and reason."""
    every = [*read_document(out)["missing"], *missing]
    known = {slug(one["setting"], one["train"], one["test"], one["task"]): one for one in every}
    note(out, missing=list(known.values()))


def store(
    pool: Pool, out: Path, setting: Setting, cells: Sequence[Cell], specs: Sequence[RunSpec],
    found: Sequence[RunResult], dev_epochs: Sequence[int],
) -> None:  # fmt: skip
    """Store the results of a setting: predictions last, so that if they exist, everything does."""
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(one.params for one in found))
    checkpoint.save(out / "models" / setting.slug, params)
    log = training_log(setting.task, specs, found, dev_epochs)
    write_arrays(out / "training" / f"{setting.slug}.npz", vars(log))
    note(out, settings={setting.slug: setting.describe()})
    outputs = [one.outputs for one in found]
    for test, task in cells:
        write_predictions(out, gather_predictions(pool, setting, test, specs, outputs, task))


def is_stored(out: Path, setting: Setting, cells: Sequence[Cell]) -> bool:
    """Return whether the results of a setting are there."""
    names = [slug(setting.name, setting.train, test, task.name) for test, task in cells]
    files = [f"predictions/{name}.npz" for name in names]
    files += [f"training/{setting.slug}.npz", f"models/{setting.slug}"]
    return all((out / file).exists() for file in files)


def read_params(out: Path, setting: Setting, runs: int) -> Tree:
    """Read the stacked parameters of all runs of a setting."""
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((runs, *leaf.shape), leaf.dtype), shapes(setting.model)
    )
    return checkpoint.restore(out / "models" / setting.slug, like)


@contextlib.contextmanager
def session(out: Path, machine: Machine) -> Iterator[Callable[[str], None]]:
    """Record in config.json what this program computes, the machine, the time and whether it finished.

    Yields: a function to call with every setting that was computed and stored.
    """
    if machine.host != 0:
        yield lambda _: None
        return
    before, earlier = time.perf_counter(), read_document(out)["sessions"]
    own: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": None, "finished": False,
        "computed": [], "devices": machine.mesh.size, "hosts": machine.hosts, "commit": provenance.commit(),
        **provenance.describe_environment(),
    }  # fmt: skip

    def computed(*labels: str) -> None:
        own["computed"] += labels
        note(out, sessions=[*earlier, own])

    computed()
    try:
        yield computed
        own["finished"] = True
    finally:
        own["seconds"] = round(time.perf_counter() - before, 1)
        computed()


def combine(
    config: Config, name: str, train: Sequence[str], test: str, task: Task, cells: Sequence[str],
    outputs: Callable[[list[Predictions]], np.ndarray],
) -> None:  # fmt: skip
    """Store a cell made of the predictions of other cells, or note why there is none.

    Args:
      name, train, test, task: of the new cell.
      cells: slugs of the others; the first has the utterances of the new cell.
      outputs: returns the outputs [R, M, K] for these utterances, given the predictions of all cells for the
        seeds that all of them have: a stopped seed cannot be combined.
    """
    paths = [config.out / "predictions" / f"{cell}.npz" for cell in cells]
    lacking = [path.stem for path in paths if not path.exists()]
    found = [] if lacking else same_seeds([read_predictions(path) for path in paths])
    if not found:
        reason = f"there is no {lacking[0]}" if lacking else f"no seed finished in all of {', '.join(cells)}"
        cell = {"setting": name, "train": tuple(train), "test": (test,), "task": task.name}
        note_missing(config.out, [cell | {"reason": reason}])
        return
    facts = {part: getattr(found[0], part) for part in (*BY_UTTERANCE, "test", "seed", "raters")}
    made = make_predictions(task, name=name, train=tuple(train), outputs=outputs(found), **facts)
    write_predictions(config.out, made)


def same_seeds(found: Sequence[Predictions]) -> list[Predictions]:
    """Return the predictions of the seeds that all of them have; nothing if there are none."""
    common = functools.reduce(np.intersect1d, [one.seed for one in found])
    return [one.only(seeds=np.isin(one.seed, common)) for one in found if len(common)]


def identified(found: Sequence[Predictions]) -> np.ndarray:
    """Return the outputs [R, M, K] of the model that a classifier chooses for each utterance.

    `found` are the predictions of every model for the same utterances of one corpus, and, last, those of the
    classifier, whose class i chooses model i, for that corpus and others together.
    """
    *models, chosen = found
    place = {key: i for i, key in enumerate(zip(chosen.speaker, chosen.utterance, strict=True))}
    speakers = np.char.add(f"{models[0].test[0]} ", models[0].speaker)
    rows = [place[key] for key in zip(speakers, models[0].utterance, strict=True)]
    outputs = np.stack([one.outputs for one in models])
    return np.take_along_axis(outputs, chosen.predictions[None, :, rows, None], axis=0)[0]
