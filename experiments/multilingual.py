"""Sec. 4 (b): the corpora's training folds merged, tested on each corpus's test fold.

    python -m experiments.multilingual                                       # IEMOCAP, RECOLA
    python -m experiments.multilingual --corpora synthetic_en synthetic_fr

Expected (Table 2): IEMOCAP arousal 70.06, valence 61.73; RECOLA 62.51, 49.33.
"""

import numpy as np

from experiments.main import main
from experiments.options import ACROSS, Options
from experiments.plans import Job, Plan, Setting
from experiments.pool import Pool


def jobs(corpora: tuple[str, ...]) -> list[Job]:
    """One job, trained and tested on all corpora."""
    return [Job(train=tuple(corpora), test=tuple(corpora))]


def plans(pool: Pool, options: Options, job: Job, target: str) -> list[Plan]:
    """A run per fold and seed; fold i is every corpus's fold i."""
    together = []
    for i, folds in enumerate(zip(*(pool.folds(name) for name in job.train), strict=True)):
        rows = np.concatenate([fold.train for fold in folds])
        test = np.concatenate([fold.test for fold in folds])
        dev = np.concatenate([fold.dev for fold in folds])
        together += [Plan(target, i, seed, rows, test, rows, dev) for seed in range(options.seeds)]
    return together


MULTILINGUAL = Setting("multilingual", ACROSS, jobs, plans)

if __name__ == "__main__":
    main(__doc__, "multilingual", [MULTILINGUAL])
