"""Your own task: four classes of emotion, by cross-validation within a corpus.

    python examples/own_task.py --corpora synthetic_en --data-dir results/demo/data --epochs 10

Utterances of other emotions are left out. Any frozen dataclass that implements `ser_jax.tasks.Task` will do;
this one adds a score, the accuracy of telling active emotions from the others.
"""

import dataclasses
import sys

import numpy as np

from ser_jax.experiment.command import main
from ser_jax.experiment.settings import monolingual
from ser_jax.tasks import Categorical

ACTIVE = ("anger", "happiness")


@dataclasses.dataclass(frozen=True)
class FourEmotions(Categorical):
    """Anger, happiness (with IEMOCAP's excitement), neutral and sadness."""

    name: str = "four_emotions"
    class_names: tuple[str, ...] = (*ACTIVE, "neutral", "sadness")
    merged: tuple[tuple[str, str], ...] = (("excitement", "happiness"),)

    def score(self, labels, predictions):
        """Return UAR, accuracy, F1, and the accuracy of telling active emotions from the others."""
        active = np.array([name in ACTIVE for name in self.class_names])
        right = active[labels] == active[predictions]
        return {**super().score(labels, predictions), "active": float(right[labels >= 0].mean())}


if __name__ == "__main__":
    main(__doc__, "own_task", monolingual, ["--tasks", "own_task:FourEmotions", *sys.argv[1:]], fewest=1)
