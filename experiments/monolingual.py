"""Sec. 4 (a): cross-validation within each corpus, the baseline.

    python -m experiments.monolingual                                        # IEMOCAP, RECOLA
    python -m experiments.monolingual --corpora synthetic_en synthetic_fr

Expected (Table 2): IEMOCAP arousal 68.09, valence 62.33; RECOLA 60.77, 52.30.
"""

import numpy as np

from experiments.main import main
from experiments.options import WITHIN
from experiments.plans import Job, Plan, Setting


def jobs(corpora):
    """One job per corpus, asked about the others too, for `experiments.related` to compare."""
    return [Job((name,), (name, *(other for other in corpora if other != name))) for name in corpora]


def plans(pool, options, job, target):
    """A run per fold and seed, tested on fold i of every corpus."""
    return [
        Plan(
            target,
            i,
            seed,
            train=fold.train,
            test=np.concatenate([pool.folds(name)[i].test for name in job.test]),
            statistics=fold.train,
            dev=fold.dev,
        )
        for i, fold in enumerate(pool.folds(job.train[0]))
        for seed in range(options.seeds)
    ]


MONOLINGUAL = Setting("monolingual", WITHIN, jobs, plans, aside="abroad")

if __name__ == "__main__":
    main(__doc__, "monolingual", [MONOLINGUAL])
