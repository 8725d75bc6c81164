"""Your own objective: also use unlabelled speech of the tested corpus.

    python examples/own_objective.py --corpora synthetic_en synthetic_fr --data-dir results/demo/data \\
        --epochs 10

Besides the task's loss, it minimises the difference in mean and variance of the embedding between the
labelled and the unlabelled utterances of a batch (moment matching). Compare with
`python -m experiments.crosslingual`.
"""

import dataclasses
import sys

import jax.numpy as jnp

from ser_jax.experiment.command import main
from ser_jax.experiment.settings import crosslingual


@dataclasses.dataclass(frozen=True)
class MomentMatching:
    """The task's loss plus the squared difference of the embedding's first two moments.

    Attributes:
      weight: weight of this difference.
    """

    weight: float = 0.1
    unlabelled: bool = dataclasses.field(default=True, init=False)

    def heads(self, key, output, corpora):
        """Return no parameters."""
        return {}

    def __call__(self, loss, step, heads):
        """Return the loss of a step."""
        embedding, task = step.output.embedding, loss(step.output.outputs, step.labels, step.weights)
        source = (step.weights > 0).astype(jnp.float32)
        target = step.valid.astype(jnp.float32) - source
        pairs = zip(moments(embedding, source), moments(embedding, target), strict=True)
        return task + self.weight * sum(jnp.mean((one - other) ** 2) for one, other in pairs)


def moments(embedding, weights):
    """Return the weighted mean and variance [D] of an embedding [B, D]."""
    share = (weights / jnp.maximum(weights.sum(), 1))[:, None]
    mean = (share * embedding).sum(axis=0)
    return mean, (share * (embedding - mean[None, :]) ** 2).sum(axis=0)


if __name__ == "__main__":
    main(
        __doc__,
        "own_objective",
        crosslingual,
        ["--train.objective", "own_objective:MomentMatching", *sys.argv[1:]],
    )
