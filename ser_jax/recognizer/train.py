"""Train a recogniser: several networks per target, calibrated and evaluated on held-out speakers."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from ser_jax import __version__, data, engine, runs
from ser_jax.data import Corpus, standardize
from ser_jax.data.corpus import Concatenated
from ser_jax.data.folds import connected_speakers, groups
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Machine, use_all_cores
from ser_jax.engine import RunSpec
from ser_jax.errors import UserError
from ser_jax.features import LogMel, describe, logmel
from ser_jax.io import atomic_folder
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import evaluation
from ser_jax.recognizer.card import card
from ser_jax.recognizer.trained import TARGETS, Target, Temperature, Trained, write
from ser_jax.runs import Data
from ser_jax.tasks import Binary
from ser_jax.train import TrainConfig

GROUPS = 5  # of speakers; one of them is held out, of each corpus
OnEpoch = Callable[[int, int], None]


class TrainingError(UserError):
    """Corpora that no recogniser can be trained on."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a recogniser is trained.

    Attributes:
      name: of the model.
      targets: some of `TARGETS`, in that order.
      seeds: networks per target.
      epochs: passes over the training utterances.
      label_rule: one of `labels.RULES`.
    """

    name: str
    targets: tuple[str, ...] = tuple(TARGETS)
    seeds: int = 5
    epochs: int = 50
    label_rule: str = "footnote"


def train(
    corpora: list[str], out: Path, data_dir: Path | None = None, name: str | None = None, **recipe: Any
) -> dict[str, Any]:
    """Train a recogniser on prepared corpora and write its folder, atomically; show a progress bar.

    On one machine the same corpora and recipe give the same bytes.

    Args:
      corpora: names of prepared corpora, one or more.
      out: a folder that does not exist yet or is empty.
      data_dir: where they were prepared; None for the usual place.
      name: of the model; by default the folder's.
      recipe: other fields of `Recipe`.
    Returns: the metrics, as JSON.
    Raises: UserError (a subclass) if a corpus is unknown or unfit, `out` holds something, or the name has
      line breaks.
    """
    twice = sorted({one for one in corpora if corpora.count(one) > 1})
    if twice:
        raise TrainingError(f"corpus {twice[0]} is named twice, expected each once")
    name = name or out.absolute().name
    if not name.isprintable():
        raise TrainingError(f"name {name!r}, expected one line that can be printed")
    with atomic_folder(out, TrainingError) as partial:  # fails before an hour of training if not writable
        try:
            loaded = [data.load(one, data_dir) for one in corpora]
        except OSError as error:  # would be taken for one of writing the model
            raise TrainingError(
                f"{error.filename or 'a corpus'}: {error.strerror or error}, expected a corpus that can be "
                "read"
            ) from error
        use_all_cores()
        # Until `delay` has passed, errors are printed without an empty bar above them.
        with tqdm(desc="training", unit=" utterance-steps", unit_scale=True, delay=1e-3) as bar:

            def on_epoch(steps: int, total: int) -> None:
                bar.total = total
                bar.update(steps)

            trained, metrics = fit(loaded, Recipe(name, **recipe), Machine.here(), on_epoch)
        write(partial, trained)
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(card(trained, metrics), encoding="utf-8")
    return metrics


def fit(
    corpora: Sequence[Corpus], recipe: Recipe, machine: Machine, on_epoch: OnEpoch | None = None
) -> tuple[Trained, dict[str, Any]]:
    """Train a recogniser.

    One of `GROUPS` balanced groups of speakers of each corpus is held out, as in the folds of experiments; of
    a corpus with fewer separate speakers one of as many groups. All others train, with one scaler for all.
    The held-out speakers set the temperature and are what the metrics are measured on. Utterances without
    a label of a target are left out of its training and of its metrics.

    Args:
      corpora: one or more.
      recipe: how.
      machine: what computes.
      on_epoch: called with utterance-steps done since the last call and the number of all.
    Returns: (the recogniser, its metrics as JSON).
    Raises: TrainingError if a corpus has too few speakers, speakers or content of another, or lacks a
      class, or if training diverged.
    """
    every, held_out = divide(corpora, recipe)
    scaler = standardize.statistics(every.moments(), ~held_out)
    params = _train_networks(every, held_out, recipe, machine, Scaler(*scaler), on_epoch)
    uncalibrated = Trained(
        sizes=AttentiveCNN(),
        filters=logmel.filterbank().toarray(),
        mean=scaler.mean,
        scale=scaler.scale,
        targets={target: Target(Temperature(1.0), params[target]) for target in recipe.targets},
        facts=_facts(every, held_out, recipe),
    )
    rows, targets, metrics = np.flatnonzero(held_out), {}, {}
    variants, names = evaluation.variants(every.frames[rows]), np.array(every.names)[every.corpus[rows]]
    margins = evaluation.margins(uncalibrated, every.features, rows, variants)
    for target, margin in zip(recipe.targets, margins, strict=True):
        held = evaluation.HeldOut(_labels(every, target, recipe)[rows], every.speaker_id[rows], names)
        temperature, metrics[target] = evaluation.measured(margin, variants, held)
        targets[target] = Target(temperature, params[target])
    return dataclasses.replace(uncalibrated, targets=targets), metrics


def divide(corpora: Sequence[Corpus], recipe: Recipe) -> tuple[Concatenated, np.ndarray]:
    """Concatenate corpora and hold speakers out of each.

    Returns: (all utterances, [N] bool, those of the held-out speakers).
    Raises: TrainingError.
    """
    _check(corpora)
    every = Concatenated(corpora)
    held_out = np.concatenate([groups(corpus, GROUPS) == 0 for corpus in corpora])
    for target in recipe.targets:
        labels = _labels(every, target, recipe)
        for part, rows in (("training", ~held_out), ("held-out", held_out)):
            counts = np.bincount(labels[rows & (labels >= 0)], minlength=2)
            if not counts.all():
                raise TrainingError(
                    f"none of the {counts.sum()} {part} utterances of {' and '.join(every.names)} has "
                    f"{target} {TARGETS[target].class_names[int(np.argmin(counts))]}, expected both classes"
                )
    return every, held_out


def _labels(every: Concatenated, target: str, recipe: Recipe) -> np.ndarray:
    return every.labels(Binary(target, recipe.label_rule))


def _check(corpora: Sequence[Corpus]) -> None:
    """Refuse features of another front end, and what would let someone train and be held out as well.

    Raises: TrainingError.
    """
    for corpus in corpora:
        if corpus.frontend != describe(LogMel()):
            raise TrainingError(
                f"corpus {corpus.name} has features of {corpus.frontend}, expected those of logmel"
            )
        if len(np.unique(connected_speakers(corpus))) < 2:
            raise TrainingError(
                f"corpus {corpus.name} has one speaker, or people who all met, expected two at least who did "
                "not: one is held out"
            )
    for one, other in itertools.combinations(corpora, 2):
        shared = sorted(set(one.speaker) & set(other.speaker))
        # Two manifests may use the same name for different people.
        if one.fingerprint == other.fingerprint or (shared and one.database == other.database != "manifest"):
            raise TrainingError(
                f"corpora {one.name} and {other.name} hold the same speakers ({shared[0]}), expected each "
                "person in one: otherwise people who train would be held out as well"
            )


def _train_networks(
    every: Concatenated,
    held_out: np.ndarray,
    recipe: Recipe,
    machine: Machine,
    scaler: Scaler,
    on_epoch: OnEpoch | None,
) -> dict[str, Any]:
    """Return per target the parameters of all seeds, with a leading R."""
    specs = []
    for target, seed in itertools.product(recipe.targets, range(recipe.seeds)):
        labels = _labels(every, target, recipe)
        specs.append(
            RunSpec(
                key=runs.key(seed, list(TARGETS).index(target), fold=0),
                train=np.flatnonzero(~held_out & (labels >= 0)).astype(np.int32),
                labels=labels.astype(np.int32),
                scaler=Scaler(*(part[None, :] for part in scaler)),
                seed=seed,
            )
        )
    total = recipe.epochs * sum(len(spec.train) for spec in specs)
    features, frames = machine.place(every.features, every.frames)
    placed = Data(features=features, frames=frames, group=np.zeros(len(held_out), np.int32))
    found = [None] * len(specs)
    progress = None if on_epoch is None else lambda steps, _: on_epoch(steps, total)
    for results in engine.compute(
        machine, AttentiveCNN(), TrainConfig(epochs=recipe.epochs), placed, specs, on_epoch=progress
    ):
        for number, result in results.items():
            if result.stopped[0]:
                raise TrainingError(
                    f"{recipe.targets[number // recipe.seeds]}, seed {specs[number].seed}: the numbers of "
                    f"epoch {result.stopped[0]}, step {result.stopped[1]} were not finite, expected finite "
                    "ones; nothing was written"
                )
            found[number] = result.params
    return {
        target: jax.tree.map(
            lambda *leaves: np.stack(leaves), *found[i * recipe.seeds : (i + 1) * recipe.seeds]
        )
        for i, target in enumerate(recipe.targets)
    }


def _facts(every: Concatenated, held_out: np.ndarray, recipe: Recipe) -> dict[str, Any]:
    """Return what the configuration tells about its origin."""

    def size(rows: np.ndarray) -> dict[str, int]:
        return {"utterances": int(rows.sum()), "speakers": len(np.unique(every.speaker_id[rows]))}

    corpora = [
        {
            "name": corpus.name,
            "builder": corpus.database,
            "synthetic": corpus.synthetic,
            "fingerprint": corpus.fingerprint,
            "languages": sorted(set(corpus.language.tolist())),
            "training": size((every.corpus == number) & ~held_out),
            "held_out": size((every.corpus == number) & held_out),
        }
        for number, corpus in enumerate(every.corpora.values())
    ]
    return {
        "name": recipe.name,
        "ser_jax": __version__,
        "synthetic": any(corpus["synthetic"] for corpus in corpora),
        "seeds": recipe.seeds,
        "epochs": recipe.epochs,
        "label_rule": recipe.label_rule,
        "corpora": corpora,
    }
