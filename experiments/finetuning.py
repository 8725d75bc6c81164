"""Sec. 4 (d): the models of (c), refined on a few utterances of the target language.

    python -m experiments.finetuning                                         # IEMOCAP, RECOLA
    python -m experiments.finetuning --corpora synthetic_en synthetic_fr --finetune-samples 50

Expected (Table 2): IEMOCAP arousal 67.03, valence 50.42; RECOLA 63.07, 49.81.
"""

import numpy as np

from experiments.crosslingual import CROSSLINGUAL, jobs
from experiments.harness import ExperimentError, Plan, Setting
from experiments.main import main
from experiments.options import ACROSS


def plans(pool, options, job, target):
    """A run per fold and seed, from the cross-lingual run of that seed.

    The utterances are drawn at random from the split's training part, once per split: the paper's 500 in
    all are the same for every seed and target.

    Raises: ExperimentError where a fold's training part has fewer.
    """
    source, language = job.train[0], job.test[0]
    refined = []
    for i, fold in enumerate(pool.folds(language)):
        if len(fold.train) < options.finetune_samples:
            raise ExperimentError(
                f"finetuned {language}, fold {i + 1}: {len(fold.train)} training utterances, fewer than "
                f"--finetune-samples {options.finetune_samples}"
            )
        draw = np.random.default_rng(i).choice(fold.train, options.finetune_samples, replace=False)
        refined += [
            Plan(target, i, seed, np.sort(draw), fold.test, statistics=pool.rows(source))
            for seed in range(options.seeds)
        ]
    return refined


FINETUNED = Setting("finetuned", ACROSS, jobs, plans, start=CROSSLINGUAL)

if __name__ == "__main__":
    main(__doc__, "finetuning", [FINETUNED])
