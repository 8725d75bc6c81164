"""How many utterances of the target language it takes: Sec. 4 (d) with 0, 10, ... 400 of them per fold.

    python -m experiments.learning_curve                                     # IEMOCAP, RECOLA
    python -m experiments.learning_curve --corpora synthetic_en synthetic_fr

What a user with few labels wants to know; the paper has 100 alone. Every seed draws its own, so that the
deviation holds the luck of the draw; larger draws hold the smaller ones.
"""

from functools import partial

from experiments import kinds
from experiments.crosslingual import CROSSLINGUAL
from experiments.finetuning import jobs, refined
from experiments.main import main
from experiments.options import ACROSS, Options
from experiments.plans import Job, Plan, Setting
from experiments.pool import Pool

SAMPLES = (10, 25, 50, 100, 200, 400)


def _plans(samples: int, pool: Pool, options: Options, job: Job, target: str) -> list[Plan]:
    return refined(pool, options, job, target, samples, by_seed=True)


LEARNING_CURVE = [
    CROSSLINGUAL,
    *(Setting(kinds.refined(n), ACROSS, jobs, partial(_plans, n), start=CROSSLINGUAL) for n in SAMPLES),
]

if __name__ == "__main__":
    main(__doc__, "learning_curve", LEARNING_CURVE)
