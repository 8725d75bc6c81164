"""A results folder on disk: what was run, the predictions, the models, and how they were trained.

    config.json            configuration, corpora, folds, code digest, settings, tables, sessions
    predictions/*.npz      what every run of a setting predicts for a tested corpus
    models/*/              parameters of a setting's runs
    training/*.npz         losses and development scores of a setting's runs

Every file appears whole or not at all. Tables and figures follow from this folder alone.
"""

import contextlib
import dataclasses
import json
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax import checkpoint, io
from ser_jax.arrays import Tree
from ser_jax.devices import Machine
from ser_jax.engine import RunResult, RunSpec
from ser_jax.errors import ResultsError, beside
from ser_jax.experiment import provenance
from ser_jax.experiment.code import code_digest
from ser_jax.experiment.config import Config, describe, digest, own_classes
from ser_jax.experiment.pool import Pool
from ser_jax.experiment.settings import Setting, slug
from ser_jax.tasks import Task

CONFIG = "config.json"
HASHED = ("config", "corpora", "folds", "code")
NEUTRAL = ("out", "data_dir", "compute")  # parts of the tree that change no result
FOLDERS = ("predictions", "models", "training")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """What the runs of a setting predict for the utterances of a tested corpus, or several together.

    Attributes:
      setting, train, test, task: which cell of a table this is.
      metric, class_names, chance: of the task; no names for numbers.
      utterance, speaker, session: [M] str.
      fold: [M] int, the fold that tested the utterance, from 0.
      labels: [M] int true classes, or [M, K] float32 numbers (NaN if not annotated).
      seed: [R] int.
      outputs: [R, M, K] float32 logits or numbers; NaN of runs that were stopped.
      predictions: [R, M] int classes or [R, M, K] numbers, by the task.
      scores: [R, 1 + folds] the task's headline score over all utterances, then over each fold's.
    """

    setting: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    task: str
    metric: str
    class_names: tuple[str, ...]
    chance: float
    utterance: np.ndarray
    speaker: np.ndarray
    session: np.ndarray
    fold: np.ndarray
    labels: np.ndarray
    seed: np.ndarray
    outputs: np.ndarray
    predictions: np.ndarray
    scores: np.ndarray

    @property
    def slug(self) -> str:
        """The name of its file."""
        return slug(self.setting, self.train, self.test, self.task)

    def only(self, *, seeds: np.ndarray | None = None, rows: np.ndarray | None = None) -> "Predictions":
        """Return the predictions of some seeds ([R] bool) or for some utterances ([M] bool or int).

        The scores are kept, so that they are those of all utterances.
        """
        found = self
        if seeds is not None:
            parts = ("seed", "outputs", "predictions", "scores")
            found = dataclasses.replace(found, **{name: getattr(found, name)[seeds] for name in parts})
        if rows is not None:
            of_utterances = ("utterance", "speaker", "session", "fold", "labels")
            parts_: Any = {name: getattr(found, name)[rows] for name in of_utterances}
            parts_ |= {name: getattr(found, name)[:, rows] for name in ("outputs", "predictions")}
            found = dataclasses.replace(found, **parts_)
        return found


ARRAYS = tuple(f.name for f in dataclasses.fields(Predictions) if f.type in (np.ndarray, "np.ndarray"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """How the runs of a setting were trained; their parameters lie in `models` in the same order.

    Attributes:
      fold, seed: [R] int.
      loss: [R, epochs] float32, the mean over the training utterances.
      dev_epochs: [W] after how many epochs the development utterances were predicted.
      dev_loss, dev_score: [R, W]; NaN if there are none, or a class is missing.
      stopped: [R, 2] epoch and step, from 1, in which a run's numbers were not finite; zeros if they are.
    """

    fold: np.ndarray
    seed: np.ndarray
    loss: np.ndarray
    dev_epochs: np.ndarray
    dev_loss: np.ndarray
    dev_score: np.ndarray
    stopped: np.ndarray


def scored(task: Task, labels: np.ndarray, predictions: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return the headline score of every run [R, 1 + folds], over all utterances and over each fold's.

    A score that is not defined, since a class has no utterance, is NaN.
    """
    parts = [np.ones(len(fold), bool), *(fold == i for i in np.unique(fold))]
    return np.array([[headline(task, labels[own], run[own]) for own in parts] for run in predictions])


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
    """Collect one cell's predictions from a setting's runs: seeds by utterances, in the pool's order.

    Args:
      pool, setting: the corpora and the setting.
      test: the corpora of the cell.
      specs: the runs.
      outputs: per run [M, K], for its test rows.
    """
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
    # Speakers of different corpora may have the same name.
    speaker = pool.speaker_id[rows] if len(test) > 1 else pool.speaker[rows]
    return cell(
        setting.task,
        name=setting.name,
        train=setting.train,
        test=test,
        utterance=pool.id[rows],
        speaker=speaker,
        session=pool.session[rows],
        fold=fold,
        labels=pool.labels(setting.task)[rows],
        seed=seeds,
        outputs=found,
    )


def cell(task: Task, *, name: str, outputs: np.ndarray, **facts: Any) -> Predictions:
    """Return predictions of outputs [R, M, K], with the task's predictions and scores."""
    predictions = np.asarray(task.predict(np.nan_to_num(outputs)))
    if predictions.ndim == 3:
        predictions = np.where(np.isfinite(outputs), predictions, np.nan)
    stopped = ~np.isfinite(outputs).all(axis=(1, 2))
    scores = scored(task, facts["labels"], predictions, facts["fold"])
    return Predictions(
        setting=name,
        task=task.name,
        metric=task.metric,
        class_names=tuple(task.class_names),
        chance=float(task.chance),
        outputs=outputs,
        predictions=predictions,
        scores=np.where(stopped[:, None], np.nan, scores),
        **facts,
    )


def write_predictions(out: Path, found: Predictions) -> None:
    """Store a cell's predictions."""
    facts = {f.name: getattr(found, f.name) for f in dataclasses.fields(Predictions) if f.name not in ARRAYS}
    arrays = {name: getattr(found, name) for name in ARRAYS}
    write_arrays(out / "predictions" / f"{found.slug}.npz", arrays | {"facts": np.array(json.dumps(facts))})


def read_predictions(path: Path) -> Predictions:
    """Read a cell's predictions, without the seeds of which a run was stopped.

    Raises: ResultsError if the file is missing or damaged.
    """
    arrays: dict[str, Any] = read_arrays(path, [*ARRAYS, "facts"])
    try:
        facts = json.loads(str(arrays.pop("facts")))
        for name in ("train", "test", "class_names"):
            facts[name] = tuple(facts[name])
        found = Predictions(**facts, **arrays)
        count, seeds = len(found.utterance), len(found.seed)
        sizes = {found.speaker.shape, found.session.shape, found.fold.shape, found.labels.shape[:1]}
        whole = sizes == {(count,)} and found.outputs.shape[:2] == found.predictions.shape[:2] == (
            seeds,
            count,
        )
        if not whole or found.scores.shape[0] != seeds or found.slug != path.stem:
            raise ValueError("its parts do not fit together")
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ResultsError(
            f"{path} is not a predictions file ({error}); delete it to compute it again"
        ) from None
    return found.only(seeds=np.isfinite(found.outputs).all(axis=(1, 2)))


def write_training(
    out: Path,
    setting: Setting,
    specs: Sequence[RunSpec],
    found: Sequence[RunResult],
    dev_epochs: Sequence[int],
) -> None:
    """Store how a setting's runs were trained."""
    judged = [
        _development(setting.task, spec, one.dev_outputs) for spec, one in zip(specs, found, strict=True)
    ]
    log = TrainingLog(
        fold=np.array([spec.fold for spec in specs]),
        seed=np.array([spec.seed for spec in specs]),
        loss=np.stack([one.losses for one in found]),
        dev_epochs=np.array(dev_epochs, int),
        dev_loss=np.array([own[0] for own in judged]),
        dev_score=np.array([own[1] for own in judged]),
        stopped=np.stack([one.stopped for one in found]),
    )
    write_arrays(out / "training" / f"{setting.slug}.npz", vars(log))


def _development(task: Task, spec: RunSpec, outputs: np.ndarray) -> tuple[list[float], list[float]]:
    """Return loss and score of the development rows after each of W epochs."""
    labels: Any = np.asarray(spec.labels)[spec.dev]
    score = [headline(task, labels, np.asarray(task.predict(one))) for one in outputs]
    weights: Any = np.ones(len(labels), np.float32)
    usable = [np.isfinite(value) for value in score]
    each = zip(outputs, usable, strict=True)
    return [float(task.loss(one, labels, weights)) if there else np.nan for one, there in each], score


def read_training(path: Path) -> TrainingLog:
    """Read how a setting's runs were trained.

    Raises: ResultsError if the file is missing or damaged.
    """
    return TrainingLog(**read_arrays(path, [field.name for field in dataclasses.fields(TrainingLog)]))


def store(
    pool: Pool,
    out: Path,
    setting: Setting,
    cells: Sequence[tuple[str, ...]],
    specs: Sequence[RunSpec],
    found: Sequence[RunResult],
    dev_epochs: Sequence[int],
) -> None:
    """Store the results of a setting: models first, predictions last; if these are there, everything is."""
    import jax

    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(one.params for one in found))
    checkpoint.save(out / "models" / setting.slug, params)
    write_training(out, setting, specs, found, dev_epochs)
    note(out, settings={setting.slug: setting.describe()})
    for test in cells:
        write_predictions(out, gather_predictions(pool, setting, test, specs, [one.outputs for one in found]))


def predictions_file(out: Path, setting: Setting, test: tuple[str, ...]) -> Path:
    """Return where a cell's predictions are stored."""
    return out / "predictions" / f"{slug(setting.name, setting.train, test, setting.task.name)}.npz"


def is_stored(out: Path, setting: Setting, cells: Sequence[tuple[str, ...]]) -> bool:
    """Return whether the results of a setting are there."""
    files = [predictions_file(out, setting, test) for test in cells]
    files.append(out / "training" / f"{setting.slug}.npz")
    return all(file.exists() for file in files) and checkpoint.exists(out / "models" / setting.slug)


def read_params(out: Path, setting: Setting, like: Tree) -> Tree:
    """Read the stacked parameters of a setting's runs; `like` is a tree of their shapes."""
    return checkpoint.restore(out / "models" / setting.slug, like)


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
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ResultsError(
            f"{path} is not a {path.parent.name} file ({error}); delete it to compute it again"
        ) from None


def protocol(config: Config, pool: Pool) -> dict[str, Any]:
    """Return what must be equal for two results to be of one experiment, and its hash."""
    tree = {name: value for name, value in describe(config).items() if name not in NEUTRAL}
    corpora = [
        {
            "name": corpus.name,
            "builder": corpus.database,
            "synthetic": corpus.synthetic,
            "left_out": corpus.left_out,
            "fingerprint": corpus.fingerprint,
            "utterances": len(corpus),
            "speakers": len(np.unique(corpus.speaker)),
            "languages": sorted(set(corpus.language.tolist())),
        }
        for corpus in pool.corpora.values()
    ]
    folds = {name: [_fold(pool, fold) for fold in pool_folds(pool, name)] for name in pool.names}
    found = {"config": tree, "corpora": corpora, "folds": folds, "code": code_digest(own_classes(config))}
    found = json.loads(json.dumps(found))
    return {"hash": digest(found), **found}


def pool_folds(pool: Pool, name: str) -> list:
    """Return the folds of a corpus; none if it cannot be divided, which stops only settings with folds."""
    from ser_jax.data.folds import FoldError

    try:
        return pool.folds(name)
    except FoldError:
        return []


def _fold(pool: Pool, fold: Any) -> dict[str, list[str]]:
    return {part: pool.id[getattr(fold, part)].tolist() for part in ("test", "dev")}


def claim(out: Path, wanted: dict[str, Any], accept_changed_code: bool = False) -> None:
    """Make `out` the folder of a protocol's results, or check that it is.

    Args:
      out: the folder.
      wanted: from `protocol`.
      accept_changed_code: whether results of other code are continued.
    Raises: ResultsError if it holds results of another protocol, of other code, or of none.
    """
    if not (out / CONFIG).exists():
        orphans = [name for name in FOLDERS if (out / name).exists()]
        if orphans:
            raise ResultsError(
                f"{out} holds {' and '.join(orphans)} without the {CONFIG} that says of what; choose another "
                "--out"
            )
        _write(out, wanted | {"settings": {}, "missing": [], "tables": {}, "sessions": []})
        return
    for folder in (out, *(out / name for name in FOLDERS)):
        io.remove_partial_files(folder)
    found = read_document(out)
    parts = [name for name in HASHED if name != "code"]
    other = list(differences({name: found[name] for name in parts}, {name: wanted[name] for name in parts}))
    if other:
        raise ResultsError(
            f"{out} holds results of another experiment ({', '.join(other)}); repeat it with its own options "
            f"(--config {out / CONFIG}), or choose another --out"
        )
    if found["code"] != wanted["code"]:
        if not accept_changed_code:
            raise ResultsError(
                f"{out} holds results of other code: what they depend on was changed since; choose another "
                "--out, or go on with --accept-changed-code"
            )
        _write(out, found | {"code": wanted["code"], "hash": wanted["hash"]})


def differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Yield what differs by name, one dict within another, with both values if they are short."""
    if found == wanted:
        return
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            inner = "" if key == "config" else key
            yield from differences(found.get(key), wanted.get(key), f"{name} {inner}".strip())
        return
    there, asked = (_short(value) for value in (found, wanted))
    yield (
        f"{name}: {there} there, {asked} asked for" if there and asked and there != asked else f"other {name}"
    )


def _short(value: Any) -> str:
    if isinstance(value, list):
        words = [
            str(one.get("name", one.get("dimension", ""))) if isinstance(one, dict) else str(one)
            for one in value
        ]
        return " ".join(words) if len(" ".join(words)) <= 80 else ""
    return "" if isinstance(value, dict) else str(value)


def read_document(out: Path) -> dict[str, Any]:
    """Read config.json of a results folder.

    Raises: ResultsError if it is missing, damaged or was edited.
    """
    path = out / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["hash"] != digest({name: found[name] for name in HASHED}):
            reason = "it was changed since it was written: its hash is of something else"
        elif not _complete(found):
            reason = "it lacks what every experiment notes"
        else:
            return found
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(
            f"no {path}{beside(out)}; expected a folder that an experiment has written"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        reason = "expected a JSON object with config and hash"
    raise ResultsError(f"{path} is not an experiment's, {reason}; restore it, or compute into another folder")


def _complete(found: dict[str, Any]) -> bool:
    kinds = {"config": dict, "corpora": list, "folds": dict, "settings": dict, "missing": list,
             "tables": dict, "sessions": list}  # fmt: skip
    names = all(
        name.replace("_", "").isalnum() and name.isascii() for name in found["tables"]
    )  # become paths
    facts = all({"name", "builder", "synthetic", "left_out"} <= one.keys() for one in found["corpora"])
    facts &= all({"settings", "figure", "cells"} <= one.keys() for one in found["tables"].values())
    facts &= all({"setting", "train", "test", "task", "reason"} <= one.keys() for one in found["missing"])
    return names and facts and all(isinstance(found[name], kind) for name, kind in kinds.items())


def note(out: Path, **changes: Any) -> dict[str, Any]:
    """Add to parts of config.json that are not hashed; returns the whole document."""
    found = read_document(out)
    for name, value in changes.items():
        found[name] = found[name] | value if isinstance(value, dict) else value
    _write(out, found)
    return found


def check_settings(out: Path, settings: Sequence[Setting]) -> None:
    """Check that stored settings were made of what they are made of now.

    Raises: ResultsError naming one that was not.
    """
    known = read_document(out)["settings"]
    for setting in settings:
        description = json.loads(json.dumps(setting.describe()))
        found = known.get(setting.slug, description)
        if found != description:
            raise ResultsError(
                f"{out} holds {setting.name} of another make ({', '.join(differences(found, description))}); "
                "choose another --out"
            )


def note_missing(out: Path, missing: Sequence[dict[str, Any]]) -> None:
    """Note cells that cannot be computed, with the reason, beside those noted before."""
    known = {_cell_key(one): one for one in [*read_document(out)["missing"], *missing]}
    note(out, missing=list(known.values()))


def _cell_key(one: dict[str, Any]) -> str:
    return slug(one["setting"], one["train"], one["test"], one["task"])


@contextlib.contextmanager
def session(out: Path, machine: Machine) -> Iterator[Callable[[str], None]]:
    """Note in config.json what this program computes, on what, and how long it takes.

    A session that was killed stays noted as not finished.

    Yields: a function to call with every setting that was computed and stored.
    """
    if machine.host != 0:
        yield lambda _: None
        return
    before, earlier = time.perf_counter(), read_document(out)["sessions"]
    own: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": None,
        "finished": False,
        "computed": [],
        "devices": machine.mesh.size,
        "hosts": machine.hosts,
        "commit": provenance.commit(),
        **provenance.describe_environment(),
    }

    def computed(label: str | None = None) -> None:
        own["computed"] += [] if label is None else [label]
        note(out, sessions=[*earlier, own])

    computed()
    try:
        yield computed
        own["finished"] = True
    finally:
        own["seconds"] = round(time.perf_counter() - before, 1)
        computed()


def _write(out: Path, content: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with io.atomic_file(out / CONFIG, synced=True) as stream:
        stream.write((json.dumps(content, indent=1) + "\n").encode())
