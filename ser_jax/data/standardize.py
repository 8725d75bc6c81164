"""Per-band standardisation of log-mels: whose mean and deviation are taken.

    none     the features as they are
    train    those of the run's training utterances, for everything
    corpus   each corpus its own: from the run's training utterances where it trains on that corpus, else,
             without labels, from the corpus's speakers outside the utterance's own fold
    speaker  each speaker their own, from all they say, without labels
    histogram  those of the run's training utterances, after `histogram.towards` has brought every corpus to
             the distribution of those that train

Only `speaker` looks at speech of the person under test, and, where several corpora train or utterances of the
tested one are refined on, `histogram` in mapping those that train. Statistics are over frames that hold
sound, never over padding.
"""

from typing import NamedTuple

import numpy as np

from ser_jax.errors import UserError

MODES = ("none", "train", "corpus", "speaker", "histogram")
SMALLEST = 1e-3  # dB; a band that varies less says nothing and is only centred
CHUNK = 256  # utterances converted to float64 at once


class StandardizationError(UserError):
    """Features that have no mean."""


class Moments(NamedTuple):
    """Sums over the frames of every utterance, from which the statistics of any subset follow.

    Attributes:
      count: [N] frames that hold sound.
      total: [N, F] dB.
      square: [N, F] dB^2.
    """

    count: np.ndarray  # type: ignore[assignment]  # the field hides a method of tuples that nobody calls
    total: np.ndarray
    square: np.ndarray


class Membership(NamedTuple):
    """Where every utterance belongs.

    Attributes:
      corpus, fold, speaker: [N] int, numbered from 0; speakers of different corpora differ.
    """

    corpus: np.ndarray
    fold: np.ndarray
    speaker: np.ndarray


def moments(logmel: np.ndarray, frames: np.ndarray) -> Moments:
    """Sums [N, T, F] log-mels, zero from `frames` [N] on, in float64."""
    total, square = (np.empty((len(logmel), logmel.shape[2])) for _ in range(2))
    for i in range(0, len(logmel), CHUNK):
        x = logmel[i : i + CHUNK].astype(np.float64)
        total[i : i + CHUNK] = x.sum(axis=1)
        square[i : i + CHUNK] = np.einsum("ntf,ntf->nf", x, x)
    return Moments(frames.astype(np.int64), total, square)


def grouping(mode: str, member: Membership) -> np.ndarray:
    """Numbers the groups of utterances that share one mean and deviation: [N] int32 from 0.

    >>> member = Membership(corpus=np.array([0, 0, 1]), fold=np.array([0, 1, 0]), speaker=np.array([0, 1, 2]))
    >>> grouping("train", member).tolist(), grouping("corpus", member).tolist()
    ([0, 0, 0], [0, 1, 2])
    """
    keys = {
        "none": np.zeros_like(member.corpus)[:, None],
        "train": np.zeros_like(member.corpus)[:, None],
        "histogram": np.zeros_like(member.corpus)[:, None],
        "corpus": np.stack([member.corpus, member.fold], axis=1),
        "speaker": member.speaker[:, None],
    }[mode]
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)


def affine(mode: str, sums: Moments, member: Membership, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map (x - mean) * scale of every group, for one run.

    Args:
      mode: one of `MODES`.
      sums: of every utterance.
      member: of every utterance.
      seen: [M] int, rows that the run trains on.
    Returns: (mean [G, F] dB, scale [G, F] 1 / dB), float32.
    Raises: StandardizationError where a feature is NaN or infinite.
    """
    group = grouping(mode, member)
    trains = np.zeros(len(group), bool)
    trains[seen] = True
    maps = []
    for g in range(group.max() + 1):
        own = group == g
        if mode == "none":
            bands = sums.total.shape[1]
            maps.append((np.zeros(bands, np.float32), np.ones(bands, np.float32)))
            continue
        if mode in ("train", "histogram"):
            rows = trains
        elif mode == "speaker":
            rows = own
        else:
            first = np.argmax(own)
            corpus = member.corpus == member.corpus[first]
            rows = trains & corpus
            if not rows.any():
                rows = corpus & (member.fold != member.fold[first])
        maps.append(statistics(sums, rows))
    mean, scale = (np.stack(parts) for parts in zip(*maps, strict=True))
    return mean, scale


def statistics(sums: Moments, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map (x - mean) * scale that takes the frames of some utterances to mean 0 and deviation 1.

    Args:
      sums: of every utterance.
      rows: [M] int or [N] bool, which.
    Returns: (mean [F] dB, scale [F] 1 / dB), float32.
    Raises: StandardizationError where a feature is NaN or infinite.
    """
    frames = sums.count[rows]
    count = frames.sum()
    mean = sums.total[rows].sum(axis=0) / count
    if not np.isfinite(mean).all():
        # A network compiled for a CPU would not notice: its maximum of NaN and a number is the number.
        raise StandardizationError(
            f"features that are not finite numbers among {len(frames)} utterances, expected dB; prepare "
            "them anew"
        )
    deviation = np.sqrt(np.maximum(sums.square[rows].sum(axis=0) / count - mean**2, 0))
    scale = np.where(deviation > SMALLEST, 1 / np.maximum(deviation, SMALLEST), 1.0)
    return mean.astype(np.float32), scale.astype(np.float32)
