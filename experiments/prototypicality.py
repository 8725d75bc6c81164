"""Train on the most and the least prototypical half of the utterances of other corpora (ref. 5).

    python -m experiments.prototypicality --corpora ravdess emodb savee nemo

Schuller et al. (2011) select training utterances by their distance to the centre of their class. Here an
utterance is the mean and standard deviation of each of its features over time, in standard deviations of its
corpus; centres are means of a corpus and class, and half the utterances of each are used. `random` halves
differ by seed. Rows are (c) from all other corpora.
"""

import numpy as np

from ser_jax.engine import RunSpec
from ser_jax.experiment import start
from ser_jax.experiment.config import Config
from ser_jax.experiment.settings import Pool, Setting, from_many, other_corpora, run_spec, shared_classes
from ser_jax.metrics import labelled

HALVES = ("prototypical", "atypical", "random")


def distances(pool: Pool, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the distance of rows [M] of one corpus to the centre of their class, labels [M]; [M]."""
    count, total, square = (part[rows] for part in pool.sums)
    mean = total / count[:, None]
    spread = np.sqrt(np.maximum(square / count[:, None] - mean**2, 0))
    points = np.hstack([mean, spread])
    points = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-9)
    centres = {label: points[labels == label].mean(axis=0) for label in np.unique(labels).tolist()}
    return np.linalg.norm(points - np.stack([centres[label] for label in labels.tolist()]), axis=1)


def half(pool: Pool, own: Setting) -> list[RunSpec]:
    """Plan a run per seed: train on half of each class of each corpus, chosen as `draw` says."""
    labels, test, runs = pool.labels(own.task), pool.rows(own.test[0]), []
    for seed in range(own.seeds):
        chosen: list[np.ndarray] = []
        for rows in map(pool.rows, own.train):
            if not len(rows := pool.at_most(rows[labelled(labels[rows])], own.most)):
                continue
            far = distances(pool, rows, labels[rows]) * (-1 if own.draw == "atypical" else 1)
            order = np.random.default_rng(seed).permutation(len(rows)) if own.draw == "random" else far
            for label in np.unique(labels[rows]):
                same = np.flatnonzero(labels[rows] == label)
                chosen.append(rows[same[np.argsort(order[same])[: (len(same) + 1) // 2]]])
        train = np.sort(np.concatenate([test[:0], *chosen]))
        runs.append(run_spec(pool, own, fold=0, seed=seed, train=train, test=test))
    return runs


def prototypicality(config: Config) -> list[Setting]:
    """Return (c) from all other corpora, and from each kind of half of them."""
    whole = other_corpora(config := shared_classes(config))
    sources = {one.test[0]: one.train for one in whole}
    halves = [from_many(config, name, sources, plan=half, draw=name) for name in HALVES]
    return [*whole, *(one for each in halves for one in each)]


if __name__ == "__main__":
    start("prototypicality", __doc__, "experiments.prototypicality:prototypicality")
