"""What the benchmark of training trains on: noise of IEMOCAP's size and lengths, and the work it means."""

import dataclasses
import math
import sys
from typing import NamedTuple

import jax
import numpy as np

from ser_jax import model
from ser_jax.devices import Machine
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, Runs, stack

# Share of IEMOCAP's turns that are shorter than this, s.
QUANTILES = {
    0: 0.58, 0.05: 1.39, 0.1: 1.68, 0.2: 2.14, 0.3: 2.56, 0.4: 2.98, 0.5: 3.52, 0.6: 4.20, 0.7: 5.14,
    0.8: 6.41, 0.86: 7.5, 0.9: 8.45, 0.95: 10.5, 0.99: 15.1, 1: 34.1,
}  # fmt: skip
SESSIONS = (1819, 1811, 2136, 2103, 2170)  # IEMOCAP's turns, by the session that tests
RECOLA = 1308  # its turns
FRAMES = 100  # a second

SEEDS, TARGETS, EPOCHS = 5, 2, 50  # Sec. 4
FINETUNE_SAMPLES, FINETUNE_EPOCHS = 100, 10


class Corpus(NamedTuple):
    """Noise in the place of speech.

    Attributes:
      logmel: [N, T, F] float32, normal and standardised, without any padding: `frames` makes it.
      frames: [N] int32 by the name of a distribution of lengths: "iemocap" and "full", 7.5 s each.
      group: [N] int32, the standardisation of every utterance.
      labels: [N] int8, by lot.
      session: [N], in IEMOCAP's proportions.
    """

    logmel: np.ndarray
    frames: dict[str, np.ndarray]
    group: np.ndarray
    labels: np.ndarray
    session: np.ndarray

    def on_host(self) -> dict[str, Data]:
        """The corpus as it is, by distribution of lengths; the features are shared."""
        return {name: Data(self.logmel, frames, self.group) for name, frames in self.frames.items()}

    def on(self, machine: Machine) -> dict[str, Data]:
        """The same where a machine computes, whatever its budget."""
        roomy = dataclasses.replace(machine, budget=sys.maxsize)
        logmel, _ = roomy.place(self.logmel, self.group)
        return {name: Data(logmel, frames, self.group) for name, frames in self.frames.items()}


def iemocap_seconds(count: int) -> np.ndarray:
    """[N] s: lengths distributed as IEMOCAP's turns, the quantiles between those known interpolated."""
    share = (np.arange(count) + 0.5) / count
    seconds = np.interp(share, list(QUANTILES), list(QUANTILES.values()))
    return np.random.default_rng(0).permutation(seconds)


def corpus(config: ModelConfig, count: int) -> Corpus:
    """Noise of `count` utterances; the same for the same arguments."""
    draw = np.random.default_rng(1)
    whole = np.full(count, config.frames, np.int32)
    heard = np.minimum(np.rint(iemocap_seconds(count) * FRAMES), config.frames).astype(np.int32)
    return Corpus(
        logmel=draw.standard_normal((count, config.frames, config.bands), dtype=np.float32),
        frames={"iemocap": heard, "full": whole},
        group=np.zeros(count, np.int32),
        labels=draw.integers(0, config.classes, count, dtype=np.int8),
        session=draw.permutation(np.repeat(np.arange(5), SESSIONS)[np.arange(count) * 10_039 // count]),
    )


def runs(corpus: Corpus, count: int, utterances: int) -> Runs:
    """A stack of runs of a cross-validation: the seeds of the first fold, then those of the next.

    Args:
      corpus: what they train on.
      count: R; beyond a cell's 25 the folds begin anew, with other seeds.
      utterances: the most a run trains on; a fold of more is cut at random.
    """
    bands = corpus.logmel.shape[2]
    draw = np.random.default_rng(2)
    own = [draw.permutation(np.flatnonzero(corpus.session != fold))[:utterances] for fold in range(5)]
    return stack(
        [
            Runs(
                key=jax.random.key(i),
                train=own[i // SEEDS % 5].astype(np.int32),
                count=np.int32(len(own[i // SEEDS % 5])),
                labels=corpus.labels,
                mean=np.zeros((1, bands), np.float32),
                scale=np.ones((1, bands), np.float32),
            )
            for i in range(count)
        ]
    )


def useful_flops(config: ModelConfig, frames: np.ndarray, winners_only: bool = False) -> float:
    """FLOP that one step on one utterance asks for, the mean over utterances.

    Forward and the gradient of the kernels, in the segments that hold sound, at the positions that a segment
    looks at; a gradient of the input nobody asks for, and what follows the pooling is a thousandth of it.

    Args:
      config: sizes.
      frames: [N] of every utterance, that hold sound.
      winners_only: whether the gradient counts as one window a segment and kernel, the one that won; else as
        the product of matrices that it is without the pooling.
    """
    live = np.minimum(np.ceil(frames / config.segment_frames), config.segments)
    product = 2 * config.kernel * config.bands * config.channels
    return float(live.mean()) * product * (config.pool + (1 if winners_only else config.pool))


def useful_bytes(config: ModelConfig, frames: np.ndarray, batch: int) -> float:
    """Bytes that one step must move per utterance, the mean over utterances.

    The frames that hold sound are read once; parameters and both of Adam's moments are read and written once
    for the whole batch.
    """
    shapes = model.shapes(config)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    return 4 * (float(frames.mean()) * config.bands + 6 * parameters / batch)


def cell_steps() -> int:
    """Utterance-steps of one target of IEMOCAP by itself: every utterance trains in four of five folds."""
    return 4 * sum(SESSIONS) * SEEDS * EPOCHS


def table2_steps() -> int:
    """Utterance-steps of all of Table 2, the development parts training as well."""
    both = sum(SESSIONS) + RECOLA
    # Alone and merged every utterance trains in four of five folds, across languages once.
    trained = (4 + 4 + 1) * both * EPOCHS
    refined = 2 * 5 * FINETUNE_SAMPLES * FINETUNE_EPOCHS
    return (trained + refined) * SEEDS * TARGETS
