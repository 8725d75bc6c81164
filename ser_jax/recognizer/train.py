"""Train a recogniser: several networks per task, calibrated and evaluated on held-out speakers."""

import dataclasses
import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from ser_jax import __version__, data, engine
from ser_jax.data import Corpus, standardize
from ser_jax.data.corpus import Concatenated
from ser_jax.data.folds import groups
from ser_jax.data.labels import RULES
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Machine, use_all_cores
from ser_jax.engine import RunSpec
from ser_jax.errors import UserError
from ser_jax.features import Frontend, LogMel, make
from ser_jax.io import atomic_folder
from ser_jax.metrics import labelled
from ser_jax.model import Architecture, AttentiveCNN, Tree
from ser_jax.recognizer.evaluate import card, evaluate
from ser_jax.recognizer.trained import TaskModel, Trained, write
from ser_jax.shapes import Bool
from ser_jax.tasks import TASKS, Binary, Task
from ser_jax.tasks import task as task_named
from ser_jax.train import Data, TrainConfig
from ser_jax.train import key as run_key

GROUPS = 5  # of speakers in each corpus; one of them is held out
LOGMEL, ATTENTIVE_CNN = LogMel(), AttentiveCNN()


class TrainingError(UserError):
    """Corpora that no recogniser can be trained on."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Specify how a recogniser is trained."""

    name: str
    tasks: tuple[Task, ...] = (TASKS["arousal"], TASKS["valence"])
    frontend: Frontend = LOGMEL  # that the corpora were prepared with
    network: Architecture = ATTENTIVE_CNN  # its input and output sizes follow from front end and task
    seeds: int = 5  # networks per task
    epochs: int = 50


def train(
    corpora: Sequence[str],
    out: Path,
    *,
    data_dir: Path | None = None,
    name: str | None = None,
    tasks: Sequence[str] = ("arousal", "valence"),
    features: str = "logmel",
    label_rule: str = RULES[0],
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """Train a recogniser on prepared corpora and write its folder atomically, showing a progress bar.

    On one machine the same arguments give the same bytes.

    Args:
      out: a folder that does not exist yet or is empty.
      data_dir: where the corpora were prepared; None for the usual place.
      name: of the model; by default the folder's.
      label_rule: of arousal and valence, one of `data.labels.RULES`.
      options: `seeds` and `epochs`, as in `Recipe`.
    Returns: the metrics by task, as in metrics.json.
    Raises: UserError (a subclass) if a corpus or task is unknown, corpora are unfit, or `out` is not empty.
    """
    for names in (corpora, tasks):
        if repeated := [one for one in names if names.count(one) > 1]:
            raise TrainingError(f"{repeated[0]} is named twice, expected each corpus and task once")
    name = name or out.absolute().name
    if not name.isprintable():
        raise TrainingError(f"name {name!r}, expected one printable line")
    chosen = map(task_named, tasks)
    ruled = [dataclasses.replace(one, rule=label_rule) if type(one) is Binary else one for one in chosen]
    recipe = Recipe(name, tuple(ruled), make(features), **options)
    loaded = [data.load(one, data_dir, recipe.frontend) for one in corpora]
    use_all_cores()
    with atomic_folder(out, TrainingError) as partial:  # before training: it may not be writable
        trained, metrics = fit(loaded, recipe, Machine.here())
        write(partial, trained)
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(card(trained, metrics), encoding="utf-8")
    return metrics


def fit(
    corpora: Sequence[Corpus], recipe: Recipe, machine: Machine
) -> tuple[Trained, dict[str, dict[str, Any]]]:
    """Train, calibrate and evaluate a recogniser, showing a progress bar.

    One of `GROUPS` balanced groups of speakers of each corpus is held out to calibrate and evaluate it, as in
    the folds of experiments; a corpus with fewer separate speakers has fewer groups. All others train, with
    one scaler. Utterances without a label of a task are left out of its training and evaluation.

    Returns: the recogniser; its metrics by task, JSON.
    Raises: TrainingError if corpora cannot be used together or training diverges; FoldError if a corpus has
      too few speakers.
    """
    every, held_out = divide(corpora, recipe.tasks)
    scaler = Scaler(*standardize.statistics(every.moments(), ~held_out))
    features, frames = machine.place(every.features, every.frames)
    placed = Data(features=features, frames=frames, group=np.zeros(len(held_out), np.int32))
    rows = {task.name: _labelled(every, task, ~held_out) for task in recipe.tasks}
    total, tasks = recipe.epochs * recipe.seeds * sum(map(len, rows.values())), {}
    with tqdm(desc="training", total=total, unit=" utterance-steps", unit_scale=True) as bar:
        for task in recipe.tasks:
            sizes = {"bands": recipe.frontend.dims, "frames": recipe.frontend.frames, "outputs": task.outputs}
            network = dataclasses.replace(recipe.network, **sizes)  # type: ignore[type-var]  # any dataclass
            specs = [
                RunSpec(
                    key=run_key(seed, zlib.crc32(task.name.encode()) & 0x7FFFFFFF, fold=0),
                    train=rows[task.name],
                    labels=every.labels(task).astype(np.int32 if task.class_names else np.float32),
                    scaler=Scaler(*(part[None, :] for part in scaler)),
                    seed=seed,
                )
                for seed in range(recipe.seeds)
            ]
            params: dict[int, Tree] = {}
            for results in engine.compute(
                machine, network, TrainConfig(epochs=recipe.epochs), placed, specs, loss=task.loss,
                on_epoch=bar.update,
            ):  # fmt: skip
                for seed, result in results.items():
                    params[seed] = result.params
                    if (epoch := result.stopped[0]) > 0:
                        raise TrainingError(
                            f"{task.name}, seed {seed}: numbers of epoch {epoch}, step {result.stopped[1]} "
                            "were not finite; nothing was written"
                        )
            ordered = [params[seed] for seed in range(recipe.seeds)]
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *ordered)
            tasks[task.name] = TaskModel(task, network, stacked, None)
    model = Trained(recipe.frontend, scaler, tasks, _facts(every, held_out, recipe))
    return evaluate(model, every, np.flatnonzero(held_out))


def divide(corpora: Sequence[Corpus], tasks: Sequence[Task]) -> tuple[Concatenated, Bool[np.ndarray, " N"]]:
    """Concatenate corpora and hold speakers out of each.

    Returns: all utterances; which are of held-out speakers.
    Raises: TrainingError if speakers are in two corpora or a part lacks a class, FoldError.
    """
    for one, other in itertools.combinations(corpora, 2):
        shared = sorted(set(one.speaker) & set(other.speaker))
        # Two manifests may use the same name for different people.
        if one.fingerprint == other.fingerprint or (shared and one.database == other.database != "manifest"):
            raise TrainingError(
                f"corpora {one.name} and {other.name} hold the same speakers ({shared[0]}), expected each "
                "person in one, so that nobody is both trained on and held out"
            )
    every = Concatenated(corpora)
    held_out = np.concatenate([groups(corpus, GROUPS) == 0 for corpus in corpora])
    for task, part in itertools.product(tasks, ("training", "held-out")):
        names = task.class_names or ("numbers",)
        rows = _labelled(every, task, held_out if part == "held-out" else ~held_out)
        labels = every.labels(task)[rows] if task.class_names else np.zeros(len(rows), int)
        counts = np.bincount(labels, minlength=len(names))
        if not counts.all():
            raise TrainingError(
                f"none of the {len(rows)} {part} utterances of {' and '.join(every.names)} has {task.name} "
                f"{names[int(np.argmin(counts))]}, expected all of {', '.join(names)}"
            )
    return every, held_out


def _labelled(every: Concatenated, task: Task, which: Bool[np.ndarray, " N"]) -> np.ndarray:
    return np.flatnonzero(which & labelled(every.labels(task))).astype(np.int32)


def _facts(every: Concatenated, held_out: Bool[np.ndarray, " N"], recipe: Recipe) -> dict[str, Any]:
    """Return the model's origin as JSON."""
    corpora = []
    for number, corpus in enumerate(every.corpora.values()):
        facts = {key: getattr(corpus, key) for key in ("name", "synthetic", "fingerprint")}
        facts["languages"] = sorted(set(corpus.language.tolist()))
        for part, which in (("training", ~held_out), ("held_out", held_out)):
            speakers = every.speaker_id[which & (every.corpus == number)]
            facts[part] = {"utterances": len(speakers), "speakers": len(np.unique(speakers))}
        corpora.append(facts)
    return {
        "name": recipe.name,
        "ser_jax": __version__,
        "synthetic": any(corpus["synthetic"] for corpus in corpora),
        "seeds": recipe.seeds,
        "epochs": recipe.epochs,
        "corpora": corpora,
    }
