"""Corpora to a recogniser: five networks a target, calibrated and measured on speakers they never heard."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ser_jax import __version__, engine, runs
from ser_jax.data import Corpus, logmel, standardize
from ser_jax.data.corpus import TARGETS
from ser_jax.data.folds import companies, groups
from ser_jax.data.joined import Together
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.devices import Machine
from ser_jax.engine import Asked
from ser_jax.errors import UserError
from ser_jax.model import ModelConfig
from ser_jax.recognizer import measuring
from ser_jax.recognizer.trained import Target, Temperature, Trained
from ser_jax.runs import Data, Runs
from ser_jax.train import TrainConfig

GROUPS = 5  # of speakers; one of them is held out, of each corpus
OnEpoch = Callable[[int, int], None]
Maps = tuple[np.ndarray, np.ndarray]  # mean [F] and scale [F] of the standardisation


class TrainingError(UserError):
    """Corpora that no recogniser can be trained on."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a recogniser is trained.

    Attributes:
      name: what it is called.
      targets: of `corpus.TARGETS`, in that order.
      seeds: networks a target.
      epochs: passes over the training utterances.
      label_rule: one of `labels.RULES`.
    """

    name: str
    targets: tuple[str, ...] = TARGETS
    seeds: int = 5
    epochs: int = 50
    label_rule: str = "footnote"


def fit(
    corpora: Sequence[Corpus], recipe: Recipe, machine: Machine, on_epoch: OnEpoch | None = None
) -> tuple[Trained, dict[str, Any]]:
    """Trains a recogniser.

    Of each corpus one of `GROUPS` balanced groups of speakers is held out, as the folds of the experiments;
    where fewer than five met separately, one of as many as there are. Everybody else trains, with one
    standardisation for all. The held-out speakers set the temperature, and are what the metrics are of.

    Args:
      corpora: one or more.
      recipe: how.
      machine: what computes.
      on_epoch: called with utterance-steps done since the last call and those to do in all.
    Returns: (the recogniser, its metrics as JSON).
    Raises: TrainingError where a corpus has too few speakers, speakers or content of another, or lacks a
      class, or where training went wrong.
    """
    every, held_out = divide(corpora, recipe)
    mean, scale = maps = standardize.statistics(every.moments(), ~held_out)
    params = _trained(every, held_out, recipe, machine, maps, on_epoch)
    uncalibrated = Trained(
        sizes=ModelConfig(),
        filters=logmel.filterbank().toarray(),
        mean=mean,
        scale=scale,
        targets={target: Target(Temperature(1.0), params[target]) for target in recipe.targets},
        facts=_facts(every, held_out, recipe),
    )
    rows, targets, metrics = np.flatnonzero(held_out), {}, {}
    wanted, names = measuring.variants(every.frames[rows]), np.array(every.names)[every.corpus[rows]]
    margins = measuring.margins(uncalibrated, every.logmel, rows, wanted)
    for target, margin in zip(recipe.targets, margins, strict=True):
        held = measuring.HeldOut(every.labels(target)[rows], every.voice[rows], names)
        temperature, metrics[target] = measuring.measured(margin, wanted, held)
        targets[target] = Target(temperature, params[target])
    return dataclasses.replace(uncalibrated, targets=targets), metrics


def divide(corpora: Sequence[Corpus], recipe: Recipe) -> tuple[Together, np.ndarray]:
    """Joins corpora and holds speakers out of each.

    Returns: (all utterances, [N] bool: of speakers whom no network hears).
    Raises: TrainingError.
    """
    _check(corpora)
    every = Together(corpora, recipe.label_rule)
    held_out = np.concatenate([groups(c, min(GROUPS, len(np.unique(companies(c))))) == 0 for c in corpora])
    labels = {target: every.labels(target) for target in recipe.targets}
    for target, own in labels.items():
        for what, rows in (("training", ~held_out), ("held-out", held_out)):
            counts = np.bincount(own[rows], minlength=2)
            if not counts.all():
                names = " and ".join(every.names)
                raise TrainingError(
                    f"none of the {counts.sum()} {what} utterances of {names} has {target} "
                    f"{CLASS_NAMES[target][int(np.argmin(counts))]}, expected both classes"
                )
    return every, held_out


def _check(corpora: Sequence[Corpus]) -> None:
    """Refuses what would let somebody train and be held out as well.

    Raises: TrainingError.
    """
    for corpus in corpora:
        if len(np.unique(companies(corpus))) < 2:
            raise TrainingError(
                f"corpus {corpus.name} has one speaker, or people who all met, expected two at least who did "
                "not: one is held out"
            )
    for one, other in itertools.combinations(corpora, 2):
        shared = sorted(set(one.speaker) & set(other.speaker))
        # What a manifest calls its speakers, another may call other people.
        if one.fingerprint == other.fingerprint or (shared and one.database == other.database != "manifest"):
            raise TrainingError(
                f"corpora {one.name} and {other.name} hold the same speakers ({shared[0]}), expected each "
                "person in one: else who trains would be held out as well"
            )


def _trained(
    every: Together,
    held_out: np.ndarray,
    recipe: Recipe,
    machine: Machine,
    maps: Maps,
    on_epoch: OnEpoch | None,
) -> dict[str, Any]:
    """Per target the parameters of all seeds, with a leading R."""
    rows = np.flatnonzero(~held_out).astype(np.int32)
    names = [(target, seed) for target in recipe.targets for seed in range(recipe.seeds)]
    total = len(rows) * len(names) * recipe.epochs
    asked = [
        Asked(
            Runs(
                key=runs.key(seed, TARGETS.index(target), fold=0),
                train=rows,
                count=np.int32(len(rows)),
                labels=every.labels(target),
                mean=maps[0][None, :],
                scale=maps[1][None, :],
            ),
            engine.NOBODY,
        )
        for target, seed in names
    ]
    data = Data(*machine.place(every.logmel, every.frames), np.zeros(len(held_out), np.int32))
    found: list[Any] = [None] * len(names)
    tell = None if on_epoch is None else lambda steps, _: on_epoch(steps, total)
    for done in engine.compute(
        machine, ModelConfig(), TrainConfig(epochs=recipe.epochs), data, asked, on_epoch=tell
    ):
        for place, number in enumerate(done.runs):
            epoch, step = done.stopped[place].tolist()
            if epoch:
                target, seed = names[number]
                raise TrainingError(
                    f"{target}, seed {seed}: the numbers of epoch {epoch}, step {step} were not finite, "
                    "expected finite ones; nothing was written"
                )
            found[number] = jax.tree.map(lambda leaf: np.asarray(leaf[place]), done.params)  # noqa: B023
    return {
        target: jax.tree.map(
            lambda *leaves: np.stack(leaves),
            *(params for (name, _), params in zip(names, found, strict=True) if name == target),
        )
        for target in recipe.targets
    }


def _facts(every: Together, held_out: np.ndarray, recipe: Recipe) -> dict[str, Any]:
    """What the configuration says of its origin."""

    def counted(number: int, corpus: Corpus) -> dict[str, Any]:
        own = every.corpus == number
        return {
            "name": corpus.name,
            "builder": corpus.database,
            "synthetic": corpus.synthetic,
            "fingerprint": corpus.fingerprint,
            "languages": sorted(set(corpus.language.tolist())),
            "training": _size(own & ~held_out),
            "held_out": _size(own & held_out),
        }

    def _size(rows: np.ndarray) -> dict[str, int]:
        return {"utterances": int(rows.sum()), "speakers": len(np.unique(every.voice[rows]))}

    return {
        "name": recipe.name,
        "ser_jax": __version__,
        "synthetic": any(corpus.synthetic for corpus in every.corpora.values()),
        "seeds": recipe.seeds,
        "epochs": recipe.epochs,
        "label_rule": recipe.label_rule,
        "corpora": [counted(number, corpus) for number, corpus in enumerate(every.corpora.values())],
    }
