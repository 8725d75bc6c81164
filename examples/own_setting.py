"""Your own setting: train on women, and test on held-out women and men.

    python examples/own_setting.py --corpora synthetic_en --data-dir results/demo/data --epochs 10

Compare with `python -m experiments.monolingual`, which trains and tests on both.
"""

import numpy as np

from ser_jax.experiment.command import main
from ser_jax.experiment.settings import run_spec, setting


def from_women(pool, own, tested):
    """Return a run per fold and seed. A pool numbers the rows of all corpora consecutively."""
    [name] = own.train
    rows = {sex: pool.rows(name)[pool.corpora[name].sex == sex] for sex in ("female", tested)}
    parts = {"train": rows["female"], "dev": rows["female"], "test": rows[tested]}
    return [
        run_spec(
            pool, own, fold=i, seed=seed,
            **{part: np.intersect1d(getattr(fold, part), chosen) for part, chosen in parts.items()},
        )
        for i, fold in enumerate(pool.folds(name))
        for seed in range(own.seeds)
    ]  # fmt: skip


def to_women(pool, own):
    """Test on women."""
    return from_women(pool, own, "female")


def to_men(pool, own):
    """Test on men."""
    return from_women(pool, own, "male")


def by_sex(config):
    """Return the settings: name, task, training corpora, test corpora and plan of runs of each."""
    return [
        setting(config, f"women_{plan.__name__}", task, (corpus,), (corpus,), plan)
        for corpus in config.corpora
        for task in config.tasks
        for plan in (to_women, to_men)
    ]


if __name__ == "__main__":
    main(__doc__, "own_setting", by_sex, fewest=1)
