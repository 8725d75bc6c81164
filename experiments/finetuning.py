"""Sec. 4 (d): the models of (c), refined on a few utterances of the target language.

    python -m experiments.finetuning                                         # IEMOCAP, RECOLA
    python -m experiments.finetuning --corpora synthetic_en synthetic_fr --finetune-samples 50

Expected (Table 2): IEMOCAP arousal 67.03, valence 50.42; RECOLA 63.07, 49.81.
"""

import numpy as np

from experiments.crosslingual import CROSSLINGUAL
from experiments.main import main
from experiments.options import ACROSS, Options
from experiments.plans import ExperimentError, Job, Plan, Setting
from experiments.pool import Pool


def jobs(corpora: tuple[str, ...]) -> list[Job]:
    """One job per ordered pair of different corpora."""
    return [Job((source,), (target,)) for source in corpora for target in corpora if source != target]


def plans(pool: Pool, options: Options, job: Job, target: str) -> list[Plan]:
    """A run per fold and seed, from the cross-lingual run of that seed."""
    return refined(pool, options, job, target, options.finetune_samples)


def refined(
    pool: Pool, options: Options, job: Job, target: str, samples: int, by_seed: bool = False
) -> list[Plan]:
    """The same on so many utterances of each fold.

    They are drawn at random from the split's training part, once per split: the paper's 500 in all are the
    same for every seed and target; or, `by_seed`, anew for every seed. A larger draw holds the smaller ones.

    Raises: ExperimentError where a fold's training part has fewer.
    """
    source, language = job.train[0], job.test[0]
    found = []
    for i, fold in enumerate(pool.folds(language)):
        if len(fold.train) < samples:
            raise ExperimentError(
                f"fold {i + 1}: {len(fold.train)} training utterances of {language}, fewer than the "
                f"{samples} to refine on (--finetune-samples)"
            )
        for seed in range(options.seeds):
            drawn = np.random.default_rng((i, seed) if by_seed else i).permutation(fold.train)
            train = np.sort(drawn[:samples])
            found.append(Plan(target, i, seed, train, fold.test, statistics=pool.rows(source), dev=fold.dev))
    return found


FINETUNED = Setting("finetuned", ACROSS, jobs, plans, start=CROSSLINGUAL)

if __name__ == "__main__":
    main(__doc__, "finetuning", [FINETUNED])
