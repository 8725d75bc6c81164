"""Evaluation on held-out speakers: whole utterances, short, louder and softer ones."""

from typing import Any, NamedTuple

import numpy as np

from ser_jax.arrays import Gathered
from ser_jax.features import logmel
from ser_jax.metrics import confusion, uar
from ser_jax.recognizer import calibration, trained
from ser_jax.recognizer.trained import Temperature, Trained
from ser_jax.statistics import interval

BATCH = 64  # windows predicted at once
CUTS = (0.5, 1.0, 2.0, 4.0)  # s, to which longer utterances are cut
LEVELS = (-10.0, 10.0)  # dB
LEAST = 10 * np.log10(logmel.FLOOR)  # dB


class Variants(NamedTuple):
    """Versions of utterances that are predicted, several of most.

    Attributes:
      row: [M] which of the N utterances.
      frames: [M] of each that are used.
      cut: [M] s that it was cut to, one of `CUTS`; infinite for whole ones.
      level: [M] dB by which it was made louder; 0 for those that were not.
    """

    row: np.ndarray
    frames: np.ndarray
    cut: np.ndarray
    level: np.ndarray

    def only(self, which: np.ndarray) -> "Variants":
        """Return those at some places: [n] int, or [M] bool."""
        return Variants(*(part[which] for part in self))


class HeldOut(NamedTuple):
    """The N held-out utterances.

    Attributes:
      labels: [N] 0 or 1; -1 without a label.
      speaker, corpus: [N] str.
    """

    labels: np.ndarray
    speaker: np.ndarray
    corpus: np.ndarray


def variants(frames: np.ndarray) -> Variants:
    """Return utterances of `frames` [N] whole, at each of `LEVELS`, and cut to each shorter of `CUTS`."""
    rows = np.arange(len(frames))
    inf = np.full(len(frames), np.inf)
    parts = [Variants(rows, frames, inf, np.full(len(rows), level)) for level in (0.0, *LEVELS)]
    for seconds in CUTS:
        most = logmel.frame_count(round(seconds * logmel.RATE))
        longer = rows[frames > most]
        one = np.ones(len(longer))
        parts.append(Variants(longer, np.full(len(longer), most), seconds * one, 0 * one))
    return Variants(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def margins(model: Trained, features: Gathered, rows: np.ndarray, wanted: Variants) -> np.ndarray:
    """Return the differences of logits [A, R, M] for variants of `features[rows]` [N, T, F]."""
    own, found = trained.weights(model), []
    for first in range(0, len(wanted.row), BATCH):
        places = np.arange(first, first + BATCH) % len(wanted.row)  # one program for all
        some = wanted.only(places)
        x = np.maximum(features[rows[some.row]] + some.level[:, None, None], LEAST).astype(np.float32)
        found.append(np.asarray(trained.margins(model.sizes, own, x, some.frames.astype(np.int32))[0]))
    return np.concatenate(found, axis=2)[:, :, : len(wanted.row)]


def measured(margin: np.ndarray, wanted: Variants, held_out: HeldOut) -> tuple[Temperature, dict[str, Any]]:
    """Calibrate and evaluate one target's networks; utterances without a label are left out.

    The probabilities of a speaker are calibrated by the temperature of the others; those of the only speaker
    by none, that is 1.

    Args:
      margin: [R, M].
      wanted: the variants.
      held_out: their utterances.
    Returns: (the temperature of all of them; JSON: fractions, null if something is not defined).
    """
    known = held_out.labels >= 0
    counted = known[wanted.row]
    margin, wanted = margin[:, counted], wanted.only(counted)
    wanted = wanted._replace(row=(np.cumsum(known) - 1)[wanted.row])
    held_out = HeldOut(*(part[known] for part in held_out))
    temperature, fair = _calibrated(margin, wanted, held_out)
    labels, corpus = held_out.labels[wanted.row], held_out.corpus[wanted.row]
    whole = (wanted.level == 0) & np.isinf(wanted.cut)

    def quality(probability: np.ndarray, which: np.ndarray) -> dict[str, Any]:
        return _quality(probability[which], labels[which])

    decided = (fair[whole] > 0.5).astype(int)
    low, high = interval("UAR", held_out.labels, decided[None, :], held_out.speaker)
    seeds = uar(held_out.labels, (margin[:, whole] > 0).astype(int))
    return temperature, {
        "utterances": len(held_out.labels),
        "speakers": len(np.unique(held_out.speaker)),
        **quality(fair, whole),
        "uar_interval": [_number(low), _number(high)],
        "uar_seeds": [_number(one) for one in seeds],
        "confusion": confusion(held_out.labels, decided).tolist(),
        "calibration_error_of_a_perfect_one": _number(calibration.least_error(fair[whole])),
        "uncalibrated": quality(calibration.probability(margin, 1.0), whole),
        "temperature": {name: _number(value) for name, value in temperature._asdict().items()},
        "corpora": {str(one): quality(fair, whole & (corpus == one)) for one in np.unique(held_out.corpus)},
        "seconds": {
            f"{cut:g}": quality(fair, wanted.cut == cut) for cut in CUTS if (wanted.cut == cut).any()
        },
        "louder": {f"{gain:+g} dB": quality(fair, wanted.level == gain) for gain in LEVELS},
    }


def _calibrated(margin: np.ndarray, wanted: Variants, held_out: HeldOut) -> tuple[Temperature, np.ndarray]:
    """Return the temperature of all, and the probabilities [M] of every speaker by that of the others."""
    labels, speaker = held_out.labels[wanted.row], held_out.speaker[wanted.row]
    share, fits = wanted.frames / logmel.FRAMES, wanted.level == 0
    members = {
        str(one): np.bincount(held_out.labels[held_out.speaker == one], minlength=2)
        for one in np.unique(held_out.speaker)
    }
    total = sum(members.values(), np.zeros(2, int))
    temperature = calibration.fitted(margin[:, fits], labels[fits], share[fits], total)
    fair = calibration.left_out(margin, labels, share, speaker, members, fits)
    return temperature, np.where(np.isnan(fair), calibration.probability(margin, 1.0), fair)


def _quality(probability: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Evaluate probabilities [M] of class 1."""
    both = len(np.unique(labels)) == 2
    return {
        "asked": len(labels),
        "uar": _number(uar(labels, (probability > 0.5).astype(int))) if both else None,
        "log_loss": _number(calibration.log_loss(probability, labels)),
        "brier": _number(calibration.brier(probability, labels)),
        "calibration_error": _number(calibration.calibration_error(probability, labels)),
    }


def _number(value: float | np.ndarray) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
