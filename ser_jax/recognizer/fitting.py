"""Corpora to a recogniser: five networks a target, calibrated and measured on speakers they never heard."""

import dataclasses
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
from ser_jax.inference import interval
from ser_jax.machine import Machine
from ser_jax.metrics import confusion, pooled_uar
from ser_jax.model import ModelConfig
from ser_jax.recognizer import calibration, network
from ser_jax.recognizer.folder import Model, Target
from ser_jax.runs import PREDICTION_BATCH, Data, Runs
from ser_jax.train import TrainConfig

GROUPS = 5  # of speakers; one of them is held out, of each corpus


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
    corpora: Sequence[Corpus],
    recipe: Recipe,
    machine: Machine,
    on_epoch: Callable[[int, int], None] | None = None,
) -> tuple[Model, dict[str, Any]]:
    """Trains a recogniser.

    A fifth of each corpus's speakers (one of `GROUPS` balanced groups, as the folds of the experiments) is
    held out; everybody else trains, with one standardisation for all. The held-out speakers set the
    temperature and are what the metrics are of.

    Args:
      corpora: one or more.
      recipe: how.
      machine: what computes.
      on_epoch: called with utterance-steps done since the last call and those to do in all.
    Returns: (the recogniser, its metrics as JSON).
    Raises: FoldError where a corpus has too few speakers, TrainingError where a class is missing or training
      went wrong.
    """
    parts = divide(corpora, recipe)
    mean, scale = _standardisation(corpora, parts)
    params = _trained(parts, recipe, machine, mean, scale, on_epoch)
    uncalibrated = Model(
        sizes=ModelConfig(),
        filters=logmel.filterbank().toarray(),
        mean=mean,
        scale=scale,
        targets={target: Target(1.0, params[target]) for target in recipe.targets},
        facts=_facts(corpora, parts, recipe),
    )
    margins = dict(zip(recipe.targets, _margins(uncalibrated, parts), strict=True))
    heard = {target: parts.labels[target][parts.held_out] for target in recipe.targets}
    found = {target: calibration.temperature(margins[target], heard[target]) for target in recipe.targets}
    targets = {target: Target(found[target], params[target]) for target in recipe.targets}
    metrics = {
        target: measured(
            margins[target],
            heard[target],
            parts.speaker[parts.held_out],
            parts.corpus[parts.held_out],
            found[target],
        )
        for target in recipe.targets
    }
    return dataclasses.replace(uncalibrated, targets=targets), metrics


def divide(corpora: Sequence[Corpus], recipe: Recipe) -> Divided:
    """Joins corpora and holds speakers out of each.

    Raises: FoldError, TrainingError.
    """
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


def _standardisation(corpora: Sequence[Corpus], parts: Divided) -> tuple[np.ndarray, np.ndarray]:
    """(mean, scale), [F] each, of the training utterances' frames."""
    each = [standardize.moments(corpus.logmel, corpus.frames) for corpus in corpora]
    sums = standardize.Moments(*(np.concatenate(own) for own in zip(*each, strict=True)))
    nobody = np.zeros(len(parts.frames), int)
    member = standardize.Membership(nobody, nobody, nobody)
    mean, scale = standardize.affine("train", sums, member, np.flatnonzero(~parts.held_out))
    return mean[0], scale[0]


def _trained(parts: Divided, recipe: Recipe, machine: Machine, mean, scale, on_epoch) -> dict[str, Any]:
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
                mean=mean[None, :],
                scale=scale[None, :],
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


def _margins(trained: Model, parts: Divided) -> np.ndarray:
    """[K, R, N] of the held-out utterances, by what will be asked later on."""
    own, rows = network.weights(trained), np.flatnonzero(parts.held_out)
    found = []
    for first in range(0, len(rows), PREDICTION_BATCH):
        some = np.resize(rows[first : first + PREDICTION_BATCH], PREDICTION_BATCH)  # one program for all
        said = network.answer(trained.sizes, own, parts.logmel[some], parts.frames[some])
        found.append(np.asarray(said.margin))
    return np.concatenate(found, axis=2)[:, :, : len(rows)]


def measured(margin, labels, speaker, corpus, temperature: float) -> dict[str, Any]:
    """What a target's networks know of held-out speakers.

    Calibrated figures are of every speaker by the temperature of the others: that of all has seen them.

    Args:
      margin: [R, N].
      labels: [N] 0 or 1.
      speaker, corpus: [N] str.
      temperature: of all of them.
    Returns: JSON; fractions, null where something is not defined.
    """
    raw, fair = calibration.probability(margin, 1.0), calibration.left_out(margin, labels, speaker)
    decided = (calibration.probability(margin, temperature) > 0.5).astype(int)
    low, high = interval(labels, decided[None, :], speaker)
    return {
        "utterances": len(labels),
        "speakers": len(np.unique(speaker)),
        "uar": _uar(labels, decided),
        "uar_interval": [_number(low), _number(high)],
        "uar_seeds": [_number(one) for one in pooled_uar(labels, (margin > 0).astype(int))],
        "confusion": confusion(labels, decided).tolist(),
        "temperature": _number(temperature),
        "uncalibrated": _quality(raw, labels),
        "calibrated": _quality(fair, labels),
        "corpora": {
            str(name): {
                "utterances": int((corpus == name).sum()),
                "uar": _uar(labels[corpus == name], decided[corpus == name]),
            }
            for name in np.unique(corpus)
        },
    }


def _quality(probability, labels) -> dict[str, float | None]:
    known = np.isfinite(probability)
    judged = {
        "log_loss": calibration.log_loss,
        "brier": calibration.brier,
        "calibration_error": calibration.calibration_error,
    }
    if not known.any():
        return dict.fromkeys(judged)
    return {name: _number(judge(probability[known], labels[known])) for name, judge in judged.items()}


def _uar(labels, decided) -> float | None:
    return _number(pooled_uar(labels, decided[None, :])[0]) if len(np.unique(labels)) == 2 else None


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _facts(corpora: Sequence[Corpus], parts: Divided, recipe: Recipe) -> dict[str, Any]:
    """What the configuration says of its origin."""

    def counted(corpus: Corpus) -> dict[str, Any]:
        own = parts.corpus == corpus.name
        return {
            "name": corpus.name,
            "builder": corpus.builder,
            "synthetic": corpus.synthetic,
            "fingerprint": corpus.fingerprint,
            "languages": sorted(set(corpus.language.tolist())),
            "training": _size(own & ~parts.held_out),
            "held_out": _size(own & parts.held_out),
        }

    def _size(rows) -> dict[str, int]:
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
