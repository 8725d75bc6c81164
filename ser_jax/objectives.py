"""Define losses, and objectives: the functions that a training step minimises.

A loss compares outputs with labels. An objective, by default the task's loss, may use all values of a step
and add parameters (heads).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ser_jax.errors import UserError
from ser_jax.model import GLOROT, Array, Output, Tree
from ser_jax.shapes import Bool, Float, Int, Key

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (outputs, labels, weights) to []
TINY = 1e-8  # keeps a ratio of sums finite


class ObjectiveError(UserError):
    """An objective that a network cannot be trained with."""


def cross_entropy(
    outputs: Float[Array, "B K"], labels: Int[Array, "B"], weights: Float[Array, "B"]
) -> Float[jax.Array, ""]:
    """Return the weighted mean cross-entropy of logits; 0 if no utterance has weight."""
    import optax  # here, since a recogniser imports tasks, and optax takes half a second

    each = optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.maximum(labels, 0))
    return jnp.sum(jnp.where(weights > 0, each * weights, 0)) / jnp.maximum(jnp.sum(weights), TINY)


def ccc_loss(
    outputs: Float[Array, "B K"], labels: Float[Array, "B K"], weights: Float[Array, "B"]
) -> Float[jax.Array, ""]:
    """Return 1 minus the concordance correlation coefficient of a batch, the mean over the dimensions.

    A label of NaN leaves an utterance out of that dimension; dimensions without utterances are left out.
    Reference: Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility" (Biometrics, 1989).
    """
    known = jnp.isfinite(labels)
    weight = jnp.where(known, weights[:, None], 0)
    truth = jnp.where(known, labels, 0)
    count = jnp.sum(weight, axis=0)
    weight = weight / jnp.maximum(count, TINY)[None, :]
    mean_x, mean_y = (jnp.sum(weight * one, axis=0, keepdims=True) for one in (outputs, truth))
    x, y = outputs - mean_x, truth - mean_y
    covariance = jnp.sum(weight * x * y, axis=0)
    spread = jnp.sum(weight * (x**2 + y**2), axis=0) + (mean_x - mean_y)[0] ** 2
    ccc = 2 * covariance / (spread + TINY)
    return jnp.sum(jnp.where(count > 0, 1 - ccc, 0)) / jnp.maximum(jnp.sum(count > 0), 1)


class Step(NamedTuple):
    """The values of a training step: B utterances, followed by U without labels if the objective uses them.

    Attributes:
      weights: 0 for utterances without a label and for padding of the batch.
      valid: False for padding of the batch.
      speaker, corpus: numbers from 0 across all corpora; None if the data have none.
      progress: the share of all epochs that is done, 0 to below 1.
    """

    output: Output
    labels: Int[jax.Array, "B+U"] | Float[jax.Array, "B+U K"]
    weights: Float[jax.Array, "B+U"]
    valid: Bool[jax.Array, "B+U"]
    speaker: Int[Array, "B+U"] | None
    corpus: Int[Array, "B+U"] | None
    progress: Float[jax.Array, ""]
    key: Key[jax.Array, ""]


class Objective(Protocol):
    """The interface of an objective: a frozen dataclass."""

    @property
    def unlabelled(self) -> bool:
        """Return whether batches also contain as many unlabelled utterances, if the run has any."""

    def __hash__(self) -> int: ...

    def heads(self, key: Key[jax.Array, ""], output: Output, corpora: int) -> Tree:
        """Draw parameters that are trained with the network's; {} for none.

        `output` holds the shapes (`jax.ShapeDtypeStruct`) of the network's output for one utterance.
        """

    def __call__(self, loss: Loss, step: Step, heads: Tree) -> Float[jax.Array, ""]:
        """Return the value to minimise, from the task's loss, the batch and the current heads."""


@dataclasses.dataclass(frozen=True)
class TaskLoss:
    """Minimise the task's loss alone."""

    unlabelled: bool = dataclasses.field(default=False, init=False)

    def heads(self, key: Key[jax.Array, ""], output: Output, corpora: int) -> Tree:
        return {}

    def __call__(self, loss: Loss, step: Step, heads: Tree) -> Float[jax.Array, ""]:
        return loss(step.output.outputs, step.labels, step.weights)


@dataclasses.dataclass(frozen=True)
class DomainAdversarial:
    """Learn an embedding from which a classifier cannot identify the corpus.

    The classifier receives the embedding through a layer that reverses the gradient. Its strength increases
    during training: strength (2 / (1 + exp(-10 progress)) - 1).
    Reference: Ganin et al., "Domain-Adversarial Training of Neural Networks" (JMLR, 2016).

    Attributes:
      strength: of the reversed gradient at the end.
      hidden: units of the corpus classifier's hidden layer.
    """

    strength: float = 0.1
    hidden: int = 64
    unlabelled: bool = dataclasses.field(default=True, init=False)

    def heads(self, key: Key[jax.Array, ""], output: Output, corpora: int) -> Tree:
        size = embedding_of(output).shape[-1]
        one, other = jax.random.split(key)
        return {
            "hidden": {"kernel": GLOROT(one, (size, self.hidden)), "bias": jnp.zeros(self.hidden)},
            "corpus": {"kernel": GLOROT(other, (self.hidden, corpora)), "bias": jnp.zeros(corpora)},
        }

    def __call__(self, loss: Loss, step: Step, heads: Tree) -> Float[jax.Array, ""]:
        if step.corpus is None:
            raise ObjectiveError("data without `corpus`, expected the corpus of every utterance")
        strength = self.strength * (2 / (1 + jnp.exp(-10 * step.progress)) - 1)
        reversed_ = reverse_gradient(embedding_of(step.output), strength)
        hidden = jax.nn.relu(_dense(heads["hidden"], reversed_))
        logits, corpus = _dense(heads["corpus"], hidden), jnp.asarray(step.corpus)
        domain = cross_entropy(logits, corpus, step.valid.astype(jnp.float32))
        return loss(step.output.outputs, step.labels, step.weights) + domain


@dataclasses.dataclass(frozen=True)
class SupervisedContrastive:
    """Also pull embeddings of the same class together, and apart from other classes. For classification.

    Reference: Khosla et al., "Supervised Contrastive Learning" (NeurIPS 2020), the sum outside the logarithm.

    Attributes:
      weight: of the contrastive loss.
      temperature: of the similarities.
    """

    weight: float = 0.1
    temperature: float = 0.1
    unlabelled: bool = dataclasses.field(default=False, init=False)

    def heads(self, key: Key[jax.Array, ""], output: Output, corpora: int) -> Tree:
        embedding_of(output)
        return {}

    def __call__(self, loss: Loss, step: Step, heads: Tree) -> Float[jax.Array, ""]:
        if step.labels.ndim != 1:
            raise ObjectiveError("a task of numbers, expected classes for supervised contrastive training")
        contrast = supervised_contrast(
            embedding_of(step.output), step.labels, step.weights > 0, self.temperature
        )
        return loss(step.output.outputs, step.labels, step.weights) + self.weight * contrast


def supervised_contrast(
    embedding: Float[Array, "B D"], labels: Int[Array, "B"], counted: Bool[Array, "B"], temperature: float
) -> Float[jax.Array, ""]:
    """Return the mean contrastive loss of counted utterances that share their class with another, or 0."""
    unit = embedding / jnp.sqrt(jnp.sum(embedding**2, axis=1, keepdims=True) + TINY)
    similarity = jnp.dot(unit, unit.T, precision="highest") / temperature
    others = counted[:, None] & counted[None, :] & ~jnp.eye(len(labels), dtype=bool)
    alike = others & (labels[:, None] == labels[None, :])
    logits = jnp.where(others, similarity, -jnp.inf)
    total = jax.nn.logsumexp(jnp.where(others.any(axis=1, keepdims=True), logits, 0), axis=1, keepdims=True)
    partners = alike.sum(axis=1)
    each = -jnp.where(alike, similarity - total, 0).sum(axis=1) / jnp.maximum(partners, 1)
    return jnp.sum(jnp.where(partners > 0, each, 0)) / jnp.maximum(jnp.sum(partners > 0), 1)


def reverse_gradient(x: Float[Array, "*S"], strength: ArrayLike) -> Float[jax.Array, "*S"]:
    """Return x, whose gradient is multiplied by -strength."""
    strength = jnp.asarray(strength)
    return (1 + strength) * jax.lax.stop_gradient(x) - strength * x


def embedding_of(output: Output) -> jax.Array:
    """Return the embedding of a network's output; ObjectiveError if it has none."""
    if output.embedding is None:
        raise ObjectiveError("a network without an embedding, expected Output(outputs, attention, embedding)")
    return output.embedding


def _dense(layer: Tree, x: jax.Array) -> jax.Array:
    return jnp.dot(x, layer["kernel"], precision="highest") + layer["bias"][None, :]


TASK_LOSS = TaskLoss()
OBJECTIVES = {"task": TaskLoss, "adversarial": DomainAdversarial, "contrastive": SupervisedContrastive}
