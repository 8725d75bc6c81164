"""Sec. 4 (a): cross-validation within each corpus, the baseline.

    python -m experiments.monolingual                                        # IEMOCAP, RECOLA
    python -m experiments.monolingual --corpora synthetic_en synthetic_fr

Expected (Table 2): IEMOCAP arousal 68.09, valence 62.33; RECOLA 60.77, 52.30.
"""

from experiments.main import main
from experiments.options import WITHIN, Options
from experiments.plans import Job, Plan, Setting
from experiments.pool import Pool


def jobs(corpora: tuple[str, ...]) -> list[Job]:
    """One job per corpus."""
    return [Job((name,), (name,)) for name in corpora]


def plans(pool: Pool, options: Options, job: Job, target: str) -> list[Plan]:
    """A run per fold and seed."""
    return [
        Plan(
            target,
            i,
            seed,
            train=fold.train,
            test=fold.test,
            statistics=fold.train,
            dev=fold.dev,
        )
        for i, fold in enumerate(pool.folds(job.train[0]))
        for seed in range(options.seeds)
    ]


MONOLINGUAL = Setting("monolingual", WITHIN, jobs, plans)

if __name__ == "__main__":
    main(__doc__, "monolingual", [MONOLINGUAL], fewest=1)
