"""Regression: predict rated arousal and valence, scored by the concordance correlation coefficient (CCC).

    python examples/own_regression.py --corpora synthetic_en synthetic_fr --data-dir results/demo/data \\
        --epochs 10

Ratings are mapped from each database's scale to -1 to 1, so corpora with different scales can be merged.
Trains within each corpus and across corpora.
"""

import sys

from ser_jax.experiment.command import main
from ser_jax.experiment.settings import crosslingual, monolingual
from ser_jax.tasks import Regression

RATINGS = Regression(dimensions=("arousal", "valence"), name="ratings")

if __name__ == "__main__":
    main(
        __doc__,
        "own_regression",
        lambda config: [*monolingual(config), *crosslingual(config)],
        ["--tasks", "own_regression:RATINGS", *sys.argv[1:]],
    )
