"""Measure training throughput compared with PyTorch, and the time and memory of whole programs."""

import numpy as np

from ser_jax.errors import UserError

# Quantiles of the lengths of IEMOCAP's turns, s.
QUANTILES = {
    0: 0.58, 0.05: 1.39, 0.1: 1.68, 0.2: 2.14, 0.3: 2.56, 0.4: 2.98, 0.5: 3.52, 0.6: 4.20, 0.7: 5.14,
    0.8: 6.41, 0.86: 7.5, 0.9: 8.45, 0.95: 10.5, 0.99: 15.1, 1: 34.1,
}  # fmt: skip
TURNS = 10_039  # of IEMOCAP
RECOLA = 1308  # utterances


class BenchmarkError(UserError):
    """A benchmark that cannot be run, or a program that failed while it was measured."""


def iemocap_seconds(count: int) -> np.ndarray:
    """Return lengths [N] s with the distribution of IEMOCAP's turns, in random order."""
    share = (np.arange(count) + 0.5) / count
    return np.random.default_rng(0).permutation(np.interp(share, list(QUANTILES), list(QUANTILES.values())))
