"""Unite corpora, or let one model of each vote, to recognise emotions in another corpus (ref. 4).

    python -m experiments.unite_or_vote --corpora ravdess emodb savee nemo

Schuller et al. (2011) compare one model of all other corpora (`other_corpora`) with the majority of models of
one corpus each (`majority`; ties are decided by the mean probability) and with the mean of their
probabilities (`averaged`). None of them has seen the tested corpus.
"""

import itertools

import numpy as np

from ser_jax.experiment import start
from ser_jax.experiment.config import Config
from ser_jax.experiment.results import Predictions, combine
from ser_jax.experiment.settings import Setting, crosslingual, other_corpora, shared_classes, slug
from ser_jax.tasks import average, probabilities

SHOWN = ("other_corpora", "averaged", "majority", "crosslingual")


def unite_or_vote(config: Config) -> list[Setting]:
    """Return (c) from all other corpora, and from each."""
    config = shared_classes(config, numbers=True)
    return [*other_corpora(config), *crosslingual(config)]


def vote(config: Config, *_: object) -> None:
    """Store the combined predictions of the models of one corpus each."""
    config = shared_classes(config, numbers=True)
    for task, test in itertools.product(config.tasks, config.corpora):
        others = tuple(one for one in config.corpora if one != test)
        cells = [slug("crosslingual", (one,), (test,), task.name) for one in others]

        def averaged(found: list[Predictions]) -> np.ndarray:
            return average(task, np.stack([one.outputs for one in found]))  # noqa: B023  called at once

        def majority(found: list[Predictions]) -> np.ndarray:
            votes = np.stack([one.predictions for one in found])[..., None] == np.arange(task.outputs)  # noqa: B023
            share = probabilities(task, np.stack([one.outputs for one in found]))  # noqa: B023
            return votes.sum(axis=0) + np.asarray(share).mean(axis=0) / 2  # less than a vote

        combine(config, "averaged", others, test, task, cells, averaged)
        if task.class_names:
            combine(config, "majority", others, test, task, cells, majority)


if __name__ == "__main__":
    module = "experiments.unite_or_vote"
    start("unite_or_vote", __doc__, f"{module}:unite_or_vote", f"{module}:vote", shown=SHOWN, fewest=3)
