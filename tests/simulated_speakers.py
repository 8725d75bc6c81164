"""Corpora whose truth is known: every speaker has a recall of their own in either class."""

import numpy as np

RECALL = (14, 6)  # of people: beta distributed, 0.7 in the mean with a deviation of 0.1
TRUTH = 0.7


def simulated(seed, speakers=10, each=100, count=5, seed_effect=0.0, gain=0.0):
    """Return labels [M], predictions [R, M] and speakers [M]; everybody has utterances of both classes.

    A run's recalls are higher or lower for everybody by a normal `seed_effect`. With a `gain`, of one run or
    [R], they are higher by that.
    """
    rng = np.random.default_rng(seed)
    labels = np.concatenate(
        [np.r_[0, 1, (rng.random(each - 2) < rng.uniform(0.3, 0.7)).astype(int)] for _ in range(speakers)]
    )
    order = rng.permutation(len(labels))
    labels, who = labels[order], np.repeat(np.arange(speakers), each)[order]
    recall = rng.beta(*RECALL, size=(speakers, 2))[who, labels] + np.resize(gain, (count, 1))
    if seed_effect:
        recall = recall + rng.normal(0, seed_effect, (count, 1))
    right = rng.random((count, len(labels))) < recall
    return labels, np.where(right, labels, 1 - labels), np.array([f"s{i:03d}" for i in who])
