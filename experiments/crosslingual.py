"""Sec. 4 (c): train on all of one corpus, test on all of the other.

    python -m experiments.crosslingual                                       # IEMOCAP, RECOLA
    python -m experiments.crosslingual --corpora synthetic_en synthetic_fr

Expected (Table 2): IEMOCAP arousal 59.32, valence 49.08; RECOLA 61.27, 47.52.
"""

import numpy as np

from experiments.main import main
from experiments.options import ACROSS, Options
from experiments.plans import Job, Plan, Setting
from experiments.pool import Pool


def jobs(corpora: tuple[str, ...]) -> list[Job]:
    """One job per corpus, asked about all others."""
    return [Job((name,), tuple(other for other in corpora if other != name)) for name in corpora]


def plans(pool: Pool, options: Options, job: Job, target: str) -> list[Plan]:
    """A run per seed."""
    rows = pool.rows(job.train[0])
    test = np.concatenate([pool.rows(name) for name in job.test])
    return [Plan(target, 0, seed, rows, test, statistics=rows) for seed in range(options.seeds)]


CROSSLINGUAL = Setting("crosslingual", ACROSS, jobs, plans)

if __name__ == "__main__":
    main(__doc__, "crosslingual", [CROSSLINGUAL])
