"""Corpora whose truth is known: speakers with recalls of their own, and runs that find them."""

import numpy as np


def truths(rng, speakers=10, each=100):
    """(labels [M], speaker [M] str) of a corpus in random order; everybody speaks in both classes."""
    labels = np.concatenate(
        [np.r_[0, 1, (rng.random(each - 2) < rng.uniform(0.3, 0.7)).astype(int)] for _ in range(speakers)]
    )
    names = np.array([f"s{i:03d}" for i in range(speakers)])
    order = rng.permutation(len(labels))
    return labels[order], np.repeat(names, each)[order]


RECALL = (14, 6)  # of people: beta distributed, 0.7 in the mean with a deviation of 0.1
TRUTH = 0.7


def runs(rng, labels, recall, count):
    """[count, M]: runs that find every utterance with probability `recall` [M], or that of their row."""
    right = rng.random((count, len(labels))) < recall
    return np.where(right, labels, 1 - labels)


def recalls_of_people(rng, labels, speaker):
    """[M]: everybody has a recall of their own in either class."""
    names, who = np.unique(speaker, return_inverse=True)
    return rng.beta(*RECALL, size=(len(names), 2))[who, labels]


def simulated(seed, speakers=10, each=100, count=5):
    """(labels [M], what runs said of them [R, M], speaker [M])."""
    rng = np.random.default_rng(seed)
    labels, speaker = truths(rng, speakers, each)
    return labels, runs(rng, labels, recalls_of_people(rng, labels, speaker), count), speaker
