"""What a recogniser knows of speakers it never heard: whole utterances, short, louder and softer ones."""

from typing import Any, NamedTuple

import numpy as np

from ser_jax.data import logmel
from ser_jax.data.joined import Joined
from ser_jax.inference import interval
from ser_jax.metrics import confusion, pooled_uar
from ser_jax.recognizer import calibration, network
from ser_jax.recognizer.trained import Temperature, Trained

BATCH = 64  # that networks are asked about at once
CUTS = (0.5, 1.0, 2.0, 4.0)  # s, to which longer utterances are cut
LEVELS = (-10.0, 10.0)  # dB
LEAST = 10 * np.log10(logmel.FLOOR)  # dB


class Variants(NamedTuple):
    """Utterances that networks are asked about, most of them several times.

    Attributes:
      row: [M] which of the N utterances.
      frames: [M] of each that are heard.
      cut: [M] s that it was cut to, one of `CUTS`; infinite of whole ones.
      level: [M] dB by which it was made louder; 0 of those that were not.
    """

    row: np.ndarray
    frames: np.ndarray
    cut: np.ndarray
    level: np.ndarray

    def only(self, which: np.ndarray) -> "Variants":
        """Those at some places: [n] int, or [M] bool."""
        return Variants(*(part[which] for part in self))


class HeldOut(NamedTuple):
    """What is known of the N held-out utterances.

    Attributes:
      labels: [N] 0 or 1.
      speaker, corpus: [N] str.
    """

    labels: np.ndarray
    speaker: np.ndarray
    corpus: np.ndarray


def variants(frames: np.ndarray) -> Variants:
    """Utterances of `frames` [N], whole, at each of `LEVELS`, and cut to each of `CUTS` that is shorter."""
    rows = np.arange(len(frames))
    inf = np.full(len(frames), np.inf)
    parts = [Variants(rows, frames, inf, np.full(len(rows), level)) for level in (0.0, *LEVELS)]
    for seconds in CUTS:
        most = logmel.frame_count(round(seconds * logmel.RATE))
        longer = rows[frames > most]
        one = np.ones(len(longer))
        parts.append(Variants(longer, np.full(len(longer), most), seconds * one, 0 * one))
    return Variants(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def margins(trained: Trained, features: Joined, rows: np.ndarray, wanted: Variants) -> np.ndarray:
    """[A, R, M] differences of logits, of what is asked of `features[rows]` [N, T, F]."""
    own, found = network.weights(trained), []
    for first in range(0, len(wanted.row), BATCH):
        places = np.arange(first, first + BATCH) % len(wanted.row)  # one program for all
        some = wanted.only(places)
        x = np.maximum(features[rows[some.row]] + some.level[:, None, None], LEAST).astype(np.float32)
        found.append(np.asarray(network.answer(trained.sizes, own, x, some.frames.astype(np.int32)).margin))
    return np.concatenate(found, axis=2)[:, :, : len(wanted.row)]


def measured(margin: np.ndarray, wanted: Variants, held_out: HeldOut) -> tuple[Temperature, dict[str, Any]]:
    """Calibrates one target's networks, and says what they know.

    What is said of a speaker is calibrated, and decided, by the temperature of the others; of a single
    speaker by none, that is 1.

    Args:
      margin: [R, M].
      wanted: what was asked.
      held_out: of whom.
    Returns: (the temperature of all of them; JSON: fractions, null where something is not defined).
    """
    temperature, fair = _calibrated(margin, wanted, held_out)
    labels, corpus = held_out.labels[wanted.row], held_out.corpus[wanted.row]
    whole = (wanted.level == 0) & np.isinf(wanted.cut)

    def quality(probability: np.ndarray, which: np.ndarray) -> dict[str, Any]:
        return _quality(probability[which], labels[which])

    decided = (fair[whole] > 0.5).astype(int)
    low, high = interval(held_out.labels, decided[None, :], held_out.speaker)
    seeds = pooled_uar(held_out.labels, (margin[:, whole] > 0).astype(int))
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
    """The temperature of all, and the probabilities [M] of every speaker by that of the others."""
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
    """How right probabilities [M] of class 1 are."""
    decided, both = (probability > 0.5).astype(int)[None, :], len(np.unique(labels)) == 2
    return {
        "asked": len(labels),
        "uar": _number(pooled_uar(labels, decided)[0]) if both else None,
        "log_loss": _number(calibration.log_loss(probability, labels)),
        "brier": _number(calibration.brier(probability, labels)),
        "calibration_error": _number(calibration.calibration_error(probability, labels)),
    }


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
