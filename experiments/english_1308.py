"""Sec. 5: is it the language, or only more data? IEMOCAP cut to as many utterances as RECOLA has.

    python -m experiments.english_1308                                       # IEMOCAP cut to RECOLA's 1,308
    python -m experiments.english_1308 --corpora synthetic_en synthetic_fr

Expected: arousal 68.20, valence 58.77; whole (Table 2): 68.09, 62.33. The first corpus is cut to the size of
the smallest; which utterances stay is drawn once, whatever seed, fold and target.
"""

import dataclasses

import numpy as np

from experiments.main import main
from experiments.monolingual import MONOLINGUAL
from experiments.options import WITHIN, Options
from experiments.plans import ExperimentError, Job, Plan, Setting
from experiments.pool import Pool


def jobs(corpora: tuple[str, ...]) -> list[Job]:
    """The first corpus."""
    return [Job((corpora[0],), (corpora[0],))]


def plans(pool: Pool, options: Options, job: Job, target: str) -> list[Plan]:
    """The runs of the mono-lingual setting on what is left.

    Raises: ExperimentError where there is nothing to cut.
    """
    rows = pool.rows(job.train[0])
    smallest = min(pool.names, key=lambda name: len(pool.rows(name)))
    size = len(pool.rows(smallest))
    if len(rows) <= size:
        raise ExperimentError(f"its {len(rows)} utterances are no more than the {size} of {smallest}")
    left = np.random.default_rng(0).choice(rows, size, replace=False)
    return [
        Plan(target, i, seed, train, np.intersect1d(fold.test, left), train, np.intersect1d(fold.dev, left))
        for i, fold in enumerate(pool.folds(job.train[0]))
        for train in [np.intersect1d(fold.train, left)]
        for seed in range(options.seeds)
    ]


WHOLE = dataclasses.replace(MONOLINGUAL, jobs=jobs)
CUT = Setting("monolingual_cut", WITHIN, jobs, plans)

if __name__ == "__main__":
    main(__doc__, "english_1308", [WHOLE, CUT])
