"""Define tasks: the labels to predict from speech, their loss and scores.

A task is a frozen dataclass that meets `Task`, such as two classes of a dimension by the paper's rules, any
classes of emotion, numbers by the concordance correlation coefficient, or several of these at once.
"""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import metrics
from ser_jax.data.corpus import DIMENSIONS, Facts
from ser_jax.data.labels import CLASS_NAMES, EMOTIONS, canonical, classes
from ser_jax.errors import UserError, check_choices, meant
from ser_jax.model import Array
from ser_jax.objectives import Loss, ccc_loss, cross_entropy
from ser_jax.shapes import Float, Int

UNLABELLED = -1  # the class of an utterance without a label
Labels = Int[np.ndarray, "N"] | Float[np.ndarray, "N K"]  # classes, or numbers


class TaskError(UserError):
    """A task that does not exist or is ill-defined."""


class Task(Protocol):
    """The interface of a task."""

    @property
    def name(self) -> str:
        """Return the name in tables, messages and files."""

    @property
    def outputs(self) -> int:
        """Return K, the number of outputs of the network."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return K names; () for numbers."""

    @property
    def metric(self) -> str:
        """Return the name of the headline score."""

    @property
    def chance(self) -> float:
        """Return the expected score of random guesses."""

    def __hash__(self) -> int: ...

    def labels(self, corpus: Facts) -> Labels:
        """Return the labels of a corpus; -1 or NaN without one."""

    def loss(self, outputs: jax.Array, labels: jax.Array, weights: jax.Array) -> Float[jax.Array, ""]:
        """Return the mean loss of outputs [B, K], weighted by weights [B]."""

    def predict(self, outputs: Array) -> Array:
        """Return the classes [...] or numbers [..., K] of outputs [..., K]."""

    def score(self, labels: Labels, predictions: Labels) -> dict[str, float]:
        """Return scores by name, the headline first; utterances without a label are left out."""


class _Classes:
    """Common parts of classification tasks."""

    metric = "UAR"
    loss = staticmethod(cross_entropy)  # one function, so that such tasks share compiled programs

    @property
    def outputs(self: Task) -> int:
        return len(self.class_names)

    @property
    def chance(self: Task) -> float:
        return 1 / self.outputs

    def predict(self, outputs: Array) -> Array:
        """Return the likeliest classes [...] of logits [..., K]; the first of equal ones."""
        return outputs.argmax(axis=-1)

    def score(self: Task, labels: Labels, predictions: Labels) -> dict[str, float]:
        """Return UAR, accuracy and macro-averaged F1, from 0 to 1."""
        scores = {"UAR": metrics.uar, "accuracy": metrics.accuracy, "F1": metrics.macro_f1}
        return {name: float(score(labels, predictions, self.outputs)) for name, score in scores.items()}


@dataclasses.dataclass(frozen=True)
class Binary(_Classes):
    """Low or high arousal, negative or positive valence, by a rule of `data.labels.classes` (footnote 1)."""

    dimension: Literal["arousal", "valence"]
    rule: str = "footnote"

    def __post_init__(self) -> None:
        check_choices(self, TaskError)

    @property
    def name(self) -> str:
        return self.dimension

    @property
    def class_names(self) -> tuple[str, ...]:
        return CLASS_NAMES[self.dimension]

    def labels(self, corpus: Facts) -> Labels:
        """Return 0 or 1, -1 without an annotation."""
        return classes(corpus, self.dimension, self.rule)


@dataclasses.dataclass(frozen=True)
class Categorical(_Classes):
    """Classes of emotion.

    Attributes:
      class_names: K emotions as `data.labels.canonical` spells them; others are unlabelled.
      merged: pairs (emotion, class) of emotions that count as a class.
    """

    name: str
    class_names: tuple[str, ...]
    merged: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        odd = [name for _, name in self.merged if name not in self.class_names]
        if len(set(self.class_names)) < max(2, len(self.class_names)) or odd:
            found = f"{', '.join(self.class_names)} of {self.name}" + (f" without {odd[0]}" if odd else "")
            raise TaskError(f"classes {found}, expected two or more different ones")

    def labels(self, corpus: Facts) -> Labels:
        """Return classes, -1 for other emotions."""
        number = {name: i for i, name in enumerate(self.class_names)}
        number |= {emotion: number[name] for emotion, name in self.merged}
        return np.array([number.get(emotion, UNLABELLED) for emotion in canonical(corpus).tolist()], np.int64)

    def occurring(self, corpora: Iterable[Facts]) -> "Categorical":
        """Return the task with those of its classes that occur in every corpus."""
        found = [set(canonical(corpus).tolist()) for corpus in corpora]
        names = tuple(name for name in self.class_names if all(name in own for own in found))
        return dataclasses.replace(self, class_names=names)


@dataclasses.dataclass(frozen=True)
class Regression:
    """Ratings of several dimensions, from -1 to 1, by the concordance correlation coefficient (CCC)."""

    dimensions: tuple[str, ...] = DIMENSIONS
    name: str = "dimensions"

    metric = "CCC"
    chance = 0.0
    class_names = ()
    loss = staticmethod(ccc_loss)

    def __post_init__(self) -> None:
        odd = [name for name in self.dimensions if name not in DIMENSIONS]
        if odd or not self.dimensions:
            found = " ".join(self.dimensions)
            raise TaskError(f"dimensions {found}, expected some of {', '.join(DIMENSIONS)}")

    @property
    def outputs(self) -> int:
        return len(self.dimensions)

    def labels(self, corpus: Facts) -> Labels:
        """Return ratings from -1 to 1; NaN if a database has no ratings of a dimension."""
        return self._scaled(corpus, np.stack([getattr(corpus, name) for name in self.dimensions], axis=1))

    def ratings(self, corpus: Facts) -> dict[str, Float[np.ndarray, "N K"]]:
        """Return every rater's own ratings, scaled as `labels`; NaN where a rater gave none."""
        found: dict[str, np.ndarray] = {}
        for i, text in enumerate(corpus.raters.tolist()):
            for rater, own in json.loads(text or "{}").items():
                each = found.setdefault(rater, np.full((len(corpus), self.outputs), np.nan))
                each[i] = [own.get(name, np.nan) for name in self.dimensions]
        scaled = {rater: self._scaled(corpus, each) for rater, each in found.items()}
        return {rater: each for rater, each in scaled.items() if np.isfinite(each).any()}

    def _scaled(self, corpus: Facts, ratings: np.ndarray) -> np.ndarray:
        unknown = np.nan, np.nan
        low, high = np.array([corpus.scales.get(name, unknown) for name in self.dimensions]).T
        return ((2 * ratings - low - high) / (high - low)).astype(np.float32)

    def predict(self, outputs: Array) -> Array:
        return outputs

    def score(self, labels: Labels, predictions: Labels) -> dict[str, float]:
        """Return CCC, Pearson's r and RMSE, means over the annotated dimensions, and each dimension's CCC."""
        scores = {"CCC": metrics.ccc, "Pearson": metrics.pearson, "RMSE": metrics.rmse}
        each = {name: score(labels, predictions) for name, score in scores.items()}
        own = {f"CCC {name}": float(value) for name, value in zip(self.dimensions, each["CCC"], strict=True)}
        known = {name: values[np.isfinite(values)] for name, values in each.items()}
        means = {name: float(v.mean()) if len(v) else float("nan") for name, v in known.items()}
        return means | own


@dataclasses.dataclass(frozen=True)
class Language(_Classes):
    """Predict the language of an utterance, among those of `class_names`, as corpora spell them."""

    class_names: tuple[str, ...]
    name: str = "language"

    def labels(self, corpus: Facts) -> Labels:
        """Return classes, -1 for other languages."""
        number = {name: i for i, name in enumerate(self.class_names)}
        return np.array([number.get(name, UNLABELLED) for name in corpus.language.tolist()], np.int64)


@dataclasses.dataclass(frozen=True)
class JointLoss:
    """The weighted mean of several losses, each of its own outputs and labels.

    Attributes:
      parts: loss, number of outputs and whether its labels are classes, of every part.
      weights: of the parts.
    """

    parts: tuple[tuple[Loss, int, bool], ...]
    weights: tuple[float, ...]

    def __call__(
        self,
        outputs: Float[jax.Array, "B K"],
        labels: Float[jax.Array, "B K"],
        weights: Float[jax.Array, "B"],
    ) -> Float[jax.Array, ""]:
        """Return the loss; an utterance has no weight in parts for which it has no label."""
        total, first = jnp.zeros(()), 0
        for (loss, size, are_classes), share in zip(self.parts, self.weights, strict=True):
            own = slice(first, first := first + size)
            known = jnp.isfinite(labels[:, own]).any(axis=1)
            of_part = _of_part(labels[:, own], are_classes)
            total += share * loss(outputs[:, own], of_part, jnp.where(known, weights, 0))
        return total / sum(self.weights)


def _of_part(labels: Float[Array, "N K"], are_classes: bool) -> Int[jax.Array, "N"] | Float[jax.Array, "N K"]:
    """Return the labels of a task from its columns of those of a `Joint`."""
    labels = jnp.asarray(labels)
    return jnp.nan_to_num(labels[:, 0], nan=UNLABELLED).astype(jnp.int32) if are_classes else labels


@dataclasses.dataclass(frozen=True)
class Joint:
    """Several tasks at once, predicted by one network with concatenated outputs (ref. 10 of the paper).

    Each task is stored, scored and reported separately. Labels are [N, K] numbers, with as many columns per
    task as it has outputs; a class is in the first of them.

    Attributes:
      parts: the tasks.
      weights: weights of their losses in the mean that is minimised; equal by default.
    """

    parts: tuple[Any, ...]  # tasks; tyro cannot match a protocol
    weights: tuple[float, ...] = ()

    metric = "mean"  # of the tasks' headline scores
    class_names = ()

    def __post_init__(self) -> None:
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.parts))
        if len({part.name for part in self.parts}) < len(self.parts):
            raise TaskError(f"tasks {self.name} at once, expected different ones")
        if len(self.weights) != len(self.parts) or not min(self.weights) > 0:
            found = " ".join(f"{weight:g}" for weight in self.weights)
            raise TaskError(f"weights {found} of tasks {self.name}, expected one above 0 for each")

    @property
    def name(self) -> str:
        return "+".join(part.name for part in self.parts)

    @property
    def outputs(self) -> int:
        return sum(part.outputs for part in self.parts)

    @property
    def chance(self) -> float:
        return float(np.mean([part.chance for part in self.parts]))

    @property
    def loss(self) -> JointLoss:
        each = tuple((part.loss, part.outputs, bool(part.class_names)) for part in self.parts)
        return JointLoss(each, self.weights)

    def labels(self, corpus: Facts) -> Labels:
        """Return the tasks' labels side by side, NaN where there is none."""
        found = np.full((len(corpus), self.outputs), np.nan, np.float32)
        for part, own in parts(self):
            labels = part.labels(corpus)
            if part.class_names:
                found[:, own.start] = np.where(metrics.labelled(labels), labels, np.nan)
            else:
                found[:, own] = labels
        return found

    def predict(self, outputs: Array) -> Array:
        return outputs

    def score(self, labels: Labels, predictions: Labels) -> dict[str, float]:
        """Return the mean of the tasks' headline scores."""
        found = []
        for part, own in parts(self):
            of_part = np.asarray(_of_part(labels[:, own], bool(part.class_names)))
            scores = part.score(of_part, np.asarray(part.predict(predictions[:, own])))
            found.append(next(iter(scores.values())))
        return {self.metric: float(np.mean(found))}


def parts(task: Task) -> list[tuple[Task, slice]]:
    """Return the tasks that a `Joint` consists of, or any other task itself, each with its outputs."""
    each: tuple[Task, ...] = task.parts if isinstance(task, Joint) else (task,)
    ends = np.cumsum([part.outputs for part in each]).tolist()
    return [(part, slice(end - part.outputs, end)) for part, end in zip(each, ends, strict=True)]


FOUR = ("anger", "happiness", "neutral", "sadness")
TASKS: dict[str, Task] = {
    "arousal": Binary("arousal"),
    "valence": Binary("valence"),
    "emotion": Categorical("emotion", FOUR, (("excitement", "happiness"),)),
    "all": Categorical("all", tuple(EMOTIONS)),
    "categories": Categorical("categories", tuple(EMOTIONS)),
    "dimensions": Regression(),
}


def task(name: str) -> Task:
    """Return the task of a name; TaskError if there is none."""
    if name not in TASKS:
        raise TaskError(f"no task {name!r}, expected one of {', '.join(TASKS)}{meant(name, TASKS)}")
    return TASKS[name]


def probabilities(task: Task, outputs: Array) -> Array:
    """Return the softmax [..., K] of a classification's logits; a regression's outputs as they are."""
    return jax.nn.softmax(jnp.asarray(outputs)) if task.class_names else outputs


def average(task: Task, outputs: np.ndarray) -> np.ndarray:
    """Average the outputs [Q, ..., K] of Q models to [..., K]: their probabilities, as logits; or numbers."""
    mean = np.asarray(probabilities(task, outputs)).mean(axis=0)
    return np.log(np.maximum(mean, np.finfo(mean.dtype).tiny)) if task.class_names else mean
