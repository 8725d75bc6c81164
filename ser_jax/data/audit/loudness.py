"""How well the level of a recording alone gives its class away.

Shouting is loud, so some of it is emotion. But where everybody's distance from the microphone is the same, a
network needs to learn nothing else, and fails on the next corpus, whose recordings were normalised.
"""

import dataclasses

import numpy as np

TRAP = 0.75  # UAR


@dataclasses.dataclass(frozen=True)
class Separation:
    """Two classes parted by level.

    Attributes:
      auc: the probability that an utterance of class 1 is louder than one of class 0, ties by half; NaN
        where a class is empty.
      auc_within: the same after taking each speaker's mean level away.
      uar: the UAR of the best threshold, in whichever direction, found on these very utterances.
      counts: utterances of class 0 and of class 1.
    """

    auc: float
    auc_within: float
    uar: float
    counts: tuple[int, int]

    @property
    def chance(self) -> float:
        """The UAR that a level without meaning stays below 99 times of 100 (Kolmogorov-Smirnov)."""
        low, high = self.counts
        return 0.5 + 1.63 / 2 * np.sqrt((low + high) / (low * high)) if low and high else np.inf

    @property
    def trap(self) -> bool:
        """Whether a network could do well by level alone."""
        return bool(self.uar >= max(TRAP, self.chance))

    def in_words(self, second: str) -> str:
        """As a sentence has it, the second class by its name."""
        if not all(self.counts):
            return "one class only"
        return (
            f"UAR {self.uar:.1%} by the best threshold, {second} being "
            f"{'louder' if self.auc > 0.5 else 'quieter'} "
            f"(AUC {self.auc:.2f}, within speakers {self.auc_within:.2f})"
        )


def separation(level: np.ndarray, classes: np.ndarray, speaker: np.ndarray) -> Separation:
    """How well `level` separates the classes.

    Args:
      level: [N] finite, dB.
      classes: [N] 0 or 1.
      speaker: [N] who speaks.
    Returns: NaN throughout where one class is empty.
    """
    counts = (int((classes == 0).sum()), int((classes == 1).sum()))
    if not all(counts):
        return Separation(np.nan, np.nan, np.nan, counts)
    who = np.unique(speaker, return_inverse=True)[1]
    mean = np.bincount(who, level) / np.bincount(who)
    within = _auc(level - mean[who], classes)
    return Separation(_auc(level, classes), within, _best_uar(level, classes), counts)


def _auc(level: np.ndarray, classes: np.ndarray) -> float:
    low, high = np.sort(level[classes == 0]), level[classes == 1]
    below = (np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")) / 2
    return float(below.mean() / len(low))


def _best_uar(level: np.ndarray, classes: np.ndarray) -> float:
    low, high = np.sort(level[classes == 0]), np.sort(level[classes == 1])
    below = (np.searchsorted(values, level, "left") / len(values) for values in (low, high))
    return float(0.5 + np.abs(np.subtract(*below)).max() / 2)
