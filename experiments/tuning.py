"""Sec. 4: kernel width and pool size, by how well the development speakers are told.

    python -m experiments.tuning                                             # IEMOCAP, RECOLA
    python -m experiments.tuning --corpora synthetic_en synthetic_fr --seeds 1 --epochs 10

The paper chose 10 frames and 30 positions and gives no figures. All runs of a combination are one stack; a
combination is a network of its own shape. Nothing here looks at test speakers.
"""

import itertools

from experiments.kinds import tuned
from experiments.main import main
from experiments.monolingual import MONOLINGUAL, jobs
from experiments.options import WITHIN, Options
from experiments.plans import Job, Plan, Setting
from experiments.pool import Pool

KERNELS = (5, 10, 20)  # frames
POOLS = (15, 30, 60)  # positions; 16, 8 and 4 segments


def plans(pool: Pool, options: Options, job: Job, target: str) -> list[Plan]:
    """The runs of the mono-lingual setting, asked about the development speakers."""
    asked = MONOLINGUAL.plans(pool, options, Job(job.train, job.train), target)
    return [Plan(p.target, p.fold, p.seed, p.train, p.dev, p.statistics) for p in asked]


TUNING = [
    Setting(tuned(kernel, size), WITHIN, jobs, plans, sizes=(("kernel", kernel), ("pool", size)))
    for kernel, size in itertools.product(KERNELS, POOLS)
]

if __name__ == "__main__":
    main(__doc__, "tuning", TUNING, fewest=1)
