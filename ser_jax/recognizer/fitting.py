"""Corpora to a recogniser: five networks a target, calibrated and measured on speakers they never heard."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ser_jax import __version__, engine
from ser_jax.data import Corpus, logmel, standardize
from ser_jax.data.corpus import TARGETS, Joined
from ser_jax.data.folds import companies, groups
from ser_jax.data.labels import CLASS_NAMES, classes
from ser_jax.engine import Asked
from ser_jax.errors import UserError
from ser_jax.machine import Machine
from ser_jax.model import ModelConfig
from ser_jax.recognizer import measuring
from ser_jax.recognizer.folder import Model, Target
from ser_jax.recognizer.temperature import Temperature
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


class Divided(NamedTuple):
    """The utterances of all corpora, one after another.

    Attributes:
      logmel, frames: their features, as `Machine.place` takes them.
      labels: per target [N] int8.
      corpus: [N] str, each one's corpus.
      speaker: [N] str, with the corpus's name.
      held_out: [N] bool, of speakers whom no network hears.
    """

    logmel: Joined
    frames: np.ndarray
    labels: dict[str, np.ndarray]
    corpus: np.ndarray
    speaker: np.ndarray
    held_out: np.ndarray


def fit(
    corpora: Sequence[Corpus], recipe: Recipe, machine: Machine, on_epoch: OnEpoch | None = None
) -> tuple[Model, dict[str, Any]]:
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
    parts = divide(corpora, recipe)
    mean, scale = maps = _standardisation(corpora, parts)
    params = _trained(parts, recipe, machine, maps, on_epoch)
    uncalibrated = Model(
        sizes=ModelConfig(),
        filters=logmel.filterbank().toarray(),
        mean=mean,
        scale=scale,
        targets={target: Target(Temperature(1.0), params[target]) for target in recipe.targets},
        facts=_facts(corpora, parts, recipe),
    )
    rows, targets, metrics = np.flatnonzero(parts.held_out), {}, {}
    wanted = measuring.asked(parts.frames[rows])
    for target, margin in zip(
        recipe.targets, measuring.margins(uncalibrated, parts.logmel, rows, wanted), strict=True
    ):
        heard = measuring.Heard(parts.labels[target][rows], parts.speaker[rows], parts.corpus[rows])
        temperature, metrics[target] = measuring.measured(margin, wanted, heard)
        targets[target] = Target(temperature, params[target])
    return dataclasses.replace(uncalibrated, targets=targets), metrics


def divide(corpora: Sequence[Corpus], recipe: Recipe) -> Divided:
    """Joins corpora and holds speakers out of each.

    Raises: TrainingError.
    """
    _check(corpora)
    held_out = [groups(c, min(GROUPS, len(np.unique(companies(c))))) == 0 for c in corpora]
    parts = Divided(
        logmel=Joined([corpus.logmel for corpus in corpora]),
        frames=np.concatenate([corpus.frames for corpus in corpora]),
        labels={
            target: np.concatenate([classes(corpus, target, recipe.label_rule) for corpus in corpora])
            for target in recipe.targets
        },
        corpus=np.repeat([corpus.name for corpus in corpora], [len(corpus) for corpus in corpora]),
        speaker=np.concatenate([np.char.add(f"{c.name} ", c.speaker.astype(str)) for c in corpora]),
        held_out=np.concatenate(held_out),
    )
    for target, labels in parts.labels.items():
        for what, rows in (("training", ~parts.held_out), ("held-out", parts.held_out)):
            counts = np.bincount(labels[rows], minlength=2)
            if not counts.all():
                names = " and ".join(corpus.name for corpus in corpora)
                raise TrainingError(
                    f"none of the {counts.sum()} {what} utterances of {names} has {target} "
                    f"{CLASS_NAMES[target][int(np.argmin(counts))]}, expected both classes"
                )
    return parts


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


def _standardisation(corpora: Sequence[Corpus], parts: Divided) -> Maps:
    """Of the training utterances' frames."""
    each = [standardize.moments(corpus.logmel, corpus.frames) for corpus in corpora]
    sums = standardize.Moments(*(np.concatenate(own) for own in zip(*each, strict=True)))
    nobody = np.zeros(len(parts.frames), int)
    member = standardize.Membership(nobody, nobody, nobody)
    mean, scale = standardize.affine("train", sums, member, np.flatnonzero(~parts.held_out))
    return mean[0], scale[0]


def _trained(
    parts: Divided, recipe: Recipe, machine: Machine, maps: Maps, on_epoch: OnEpoch | None
) -> dict[str, Any]:
    """Per target the parameters of all seeds, with a leading R."""
    rows = np.flatnonzero(~parts.held_out).astype(np.int32)
    names = [(target, seed) for target in recipe.targets for seed in range(recipe.seeds)]
    total = len(rows) * len(names) * recipe.epochs
    asked = [
        Asked(
            Runs(
                # As an experiment's run of fold 0.
                key=jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), TARGETS.index(target)), 0),
                train=rows,
                count=np.int32(len(rows)),
                labels=parts.labels[target],
                mean=maps[0][None, :],
                scale=maps[1][None, :],
            ),
            engine.NOBODY,
        )
        for target, seed in names
    ]
    data = Data(*machine.place(parts.logmel, parts.frames), np.zeros(len(parts.frames), np.int32))
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


def _facts(corpora: Sequence[Corpus], parts: Divided, recipe: Recipe) -> dict[str, Any]:
    """What the configuration says of its origin."""

    def counted(corpus: Corpus) -> dict[str, Any]:
        own = parts.corpus == corpus.name
        return {
            "name": corpus.name,
            "builder": corpus.database,
            "synthetic": corpus.synthetic,
            "fingerprint": corpus.fingerprint,
            "languages": sorted(set(corpus.language.tolist())),
            "training": _size(own & ~parts.held_out),
            "held_out": _size(own & parts.held_out),
        }

    def _size(rows: np.ndarray) -> dict[str, int]:
        return {"utterances": int(rows.sum()), "speakers": len(np.unique(parts.speaker[rows]))}

    return {
        "name": recipe.name,
        "ser_jax": __version__,
        "synthetic": any(corpus.synthetic for corpus in corpora),
        "seeds": recipe.seeds,
        "epochs": recipe.epochs,
        "label_rule": recipe.label_rule,
        "corpora": [counted(corpus) for corpus in corpora],
    }
