"""A setting of one's own: train on the speakers of one sex, and test on each sex of held-out speakers.

python examples/own_setting.py --corpora synthetic_en --data-dir results/demo/data --epochs 10
"""

import dataclasses

import numpy as np

from ser_jax.experiment.command import main
from ser_jax.experiment.settings import cross_validation, setting


def plan(pool, own, trained="female", tested="female"):
    """Return a run per fold and seed. A pool numbers the rows of all corpora one after another."""
    [name] = own.train
    rows = {sex: pool.rows(name)[pool.corpora[name].sex == sex] for sex in ("female", "male")}
    return [
        dataclasses.replace(
            spec,
            train=np.intersect1d(spec.train, rows[trained]),
            test=np.intersect1d(spec.test, rows[tested]),
        )
        for spec in cross_validation(pool, own)
    ]


def women(pool, own):
    """Test on women."""
    return plan(pool, own, tested="female")


def men(pool, own):
    """Test on men."""
    return plan(pool, own, tested="male")


def by_sex(config):
    """Return the settings: a name, a task, what trains, what is tested, and a plan of runs for each."""
    return [
        setting(config, f"women_to_{test.__name__}", task, (corpus,), (corpus,), test)
        for corpus in config.corpora
        for task in config.tasks
        for test in (women, men)
    ]


if __name__ == "__main__":
    main(__doc__, "own_setting", by_sex, fewest=1)
