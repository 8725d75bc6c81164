"""Define tasks: what is predicted from speech, its labels, loss and scores.

A task is a frozen dataclass that meets `Task`, such as two classes of a dimension by the paper's rules, any
classes of emotion, or numbers by the concordance correlation coefficient.
"""

import dataclasses
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import metrics
from ser_jax.data.corpus import DIMENSIONS, Facts
from ser_jax.data.labels import CLASS_NAMES, EMOTIONS, canonical, classes
from ser_jax.errors import UserError, check_choices, meant
from ser_jax.model import Array
from ser_jax.objectives import ccc_loss, cross_entropy
from ser_jax.shapes import Float, Int

UNLABELLED = -1  # the class of an utterance without a label
Labels = Int[np.ndarray, "N"] | Float[np.ndarray, "N K"]  # classes, or numbers


class TaskError(UserError):
    """A task that does not exist or cannot be defined so."""


class Task(Protocol):
    """The interface of a task."""

    @property
    def name(self) -> str:
        """In tables, messages and file names."""

    @property
    def outputs(self) -> int:
        """K of the network."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names; () for numbers."""

    @property
    def metric(self) -> str:
        """Name of the headline score."""

    @property
    def chance(self) -> float:
        """Return what guessing scores."""

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
        columns = []
        for name in self.dimensions:
            low, high = corpus.scales.get(name, (np.nan, np.nan))
            columns.append((2 * getattr(corpus, name) - low - high) / (high - low))
        return np.stack(columns, axis=1).astype(np.float32)

    def predict(self, outputs: Array) -> Array:
        return outputs

    def score(self, labels: Labels, predictions: Labels) -> dict[str, float]:
        """Return the mean CCC over the dimensions that are annotated, and each dimension's."""
        each = metrics.ccc(labels, predictions)
        own = {f"CCC {name}": float(value) for name, value in zip(self.dimensions, each, strict=True)}
        known = each[np.isfinite(each)]
        return {"CCC": float(known.mean()) if len(known) else float("nan"), **own}


@dataclasses.dataclass(frozen=True)
class CorpusIdentity(_Classes):
    """Predict which corpus an utterance is from, and so its language, or the room it was recorded in."""

    class_names: tuple[str, ...]
    name: str = "language"

    def labels(self, corpus: Facts) -> Labels:
        """Return the same class for all."""
        known = corpus.name in self.class_names
        return np.full(len(corpus), self.class_names.index(corpus.name) if known else UNLABELLED)


FOUR = ("anger", "happiness", "neutral", "sadness")
TASKS: dict[str, Task] = {
    "arousal": Binary("arousal"),
    "valence": Binary("valence"),
    "emotion": Categorical("emotion", FOUR, (("excitement", "happiness"),)),
    "all": Categorical("all", tuple(EMOTIONS)),
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
