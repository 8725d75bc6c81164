"""Train on every combination of three and of seven corpora, and test each other corpus (refs. 1 and 3).

    python -m experiments.combinations --corpora ravdess emodb savee nemo --adapted corpus speaker
    python -m experiments.combinations --corpora ravdess emodb savee nemo --features egemaps --model probe

Schuller et al. (2010) and Eyben et al. (2010) train on several corpora and test another. The runs of a row
are its combinations, so ± and intervals are over combinations as well. Rows named _corpus and _speaker
standardize each corpus or speaker by their own statistics. Standardizing speakers and then corpora, as
Schuller et al. also do, equals standardizing speakers alone, which leaves mean 0 and deviation 1 to corpora.
"""

import itertools
import math

import numpy as np

from ser_jax.engine import RunSpec
from ser_jax.experiment import start
from ser_jax.experiment.config import Config
from ser_jax.experiment.settings import ExperimentError, Pool, Setting, from_many, run_spec
from ser_jax.metrics import labelled

SIZES = (3, 7)


def combined(pool: Pool, own: Setting) -> list[RunSpec]:
    """Plan a run per seed and combination of `draw` corpora."""
    for name in own.train:
        if not labelled(pool.labels(own.task)[pool.rows(name)]).any():
            raise ExperimentError(f"{name} has no labels of {own.task.name}, expected some of all corpora")
    each = [*itertools.combinations(map(pool.rows, own.train), int(own.draw))]
    train = [np.concatenate(rows) for rows in each for _ in range(own.seeds // len(each))]
    test = pool.rows(own.test[0])
    return [run_spec(pool, own, fold=0, seed=i, train=rows, test=test) for i, rows in enumerate(train)]


def combinations(config: Config) -> list[Setting]:
    """Return the settings, and a copy of them for each mode of `--adapted`."""
    others = {one: tuple(other for other in config.corpora if other != one) for one in config.corpora}
    found = []
    for size in (size for size in SIZES if size < len(others)):
        runs = math.comb(len(others) - 1, size) * config.protocol.seeds
        plan = {"plan": combined, "draw": str(size), "seeds": runs}
        name = f"{size}_corpora"
        found += from_many(config, name, others, **plan)
        for mode in config.protocol.adapted:
            found += from_many(config, f"{name}_{mode}", others, standardize=mode, beside=name, **plan)
    return found


if __name__ == "__main__":
    start("combinations", __doc__, "experiments.combinations:combinations", fewest=4)
