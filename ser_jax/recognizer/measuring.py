"""What a recogniser knows of speakers it never heard: whole utterances, short, louder and softer ones."""

from typing import Any, NamedTuple

import numpy as np

from ser_jax.data import logmel
from ser_jax.data.joined import Joined
from ser_jax.inference import interval
from ser_jax.metrics import confusion, pooled_uar
from ser_jax.recognizer import calibration, network
from ser_jax.recognizer.folder import Model
from ser_jax.recognizer.temperature import Temperature

BATCH = 64  # that networks are asked about at once
CUTS = (0.5, 1.0, 2.0, 4.0)  # s, to which longer utterances are cut
LEVELS = (-10.0, 10.0)  # dB
LEAST = 10 * np.log10(logmel.FLOOR)  # dB


class Asked(NamedTuple):
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

    def only(self, which: np.ndarray) -> "Asked":
        """Those at some places: [L] int, or [M] bool."""
        return Asked(*(part[which] for part in self))


class Heard(NamedTuple):
    """What is known of the N held-out utterances.

    Attributes:
      labels: [N] 0 or 1.
      speaker, corpus: [N] str.
    """

    labels: np.ndarray
    speaker: np.ndarray
    corpus: np.ndarray


def asked(frames: np.ndarray) -> Asked:
    """Utterances of `frames` [N], whole, at each of `LEVELS`, and cut to each of `CUTS` that is shorter."""
    rows = np.arange(len(frames))
    parts = [Asked(rows, frames, np.full(len(rows), np.inf), np.full(len(rows), g)) for g in (0.0, *LEVELS)]
    for seconds in CUTS:
        most = logmel.frame_count(round(seconds * logmel.RATE))
        longer = rows[frames > most]
        one = np.ones(len(longer))
        parts.append(Asked(longer, np.full(len(longer), most), seconds * one, 0 * one))
    return Asked(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def margins(trained: Model, features: Joined, rows: np.ndarray, wanted: Asked) -> np.ndarray:
    """[K, R, M] differences of logits, of what is asked of `features[rows]` [N, T, F]."""
    own, found = network.weights(trained), []
    for first in range(0, len(wanted.row), BATCH):
        places = np.arange(first, first + BATCH) % len(wanted.row)  # one program for all
        some = wanted.only(places)
        x = np.maximum(features[rows[some.row]] + some.level[:, None, None], LEAST).astype(np.float32)
        found.append(np.asarray(network.answer(trained.sizes, own, x, some.frames.astype(np.int32)).margin))
    return np.concatenate(found, axis=2)[:, :, : len(wanted.row)]


def measured(margin: np.ndarray, wanted: Asked, heard: Heard) -> tuple[Temperature, dict[str, Any]]:
    """Calibrates one target's networks, and says what they know.

    What is said of a speaker is calibrated, and decided, by the temperature of the others; of a single
    speaker by none, that is 1.

    Args:
      margin: [R, M].
      wanted: what was asked.
      heard: of whom.
    Returns: (the temperature of all of them; JSON: fractions, null where something is not defined).
    """
    labels, speaker, share = (
        heard.labels[wanted.row],
        heard.speaker[wanted.row],
        wanted.frames / logmel.FRAMES,
    )
    fits, whole = wanted.level == 0, (wanted.level == 0) & np.isinf(wanted.cut)
    members = {
        str(one): np.bincount(heard.labels[heard.speaker == one], minlength=2)
        for one in np.unique(heard.speaker)
    }
    temperature = calibration.fitted(
        margin[:, fits], labels[fits], share[fits], sum(members.values(), np.zeros(2, int))
    )
    fair = calibration.left_out(margin, labels, share, speaker, members, fits)
    fair = np.where(np.isnan(fair), calibration.probability(margin, 1.0), fair)

    def quality(probability: np.ndarray, which: np.ndarray) -> dict[str, Any]:
        return _quality(probability[which], labels[which])

    decided = (fair[whole] > 0.5).astype(int)
    low, high = interval(heard.labels, decided[None, :], heard.speaker)
    return temperature, {
        "utterances": len(heard.labels),
        "speakers": len(members),
        **quality(fair, whole),
        "uar_interval": [_number(low), _number(high)],
        "uar_seeds": [_number(one) for one in pooled_uar(heard.labels, (margin[:, whole] > 0).astype(int))],
        "confusion": confusion(heard.labels, decided).tolist(),
        "calibration_error_of_a_perfect_one": _number(calibration.least_error(fair[whole])),
        "uncalibrated": quality(calibration.probability(margin, 1.0), whole),
        "temperature": {name: _number(value) for name, value in temperature._asdict().items()},
        "corpora": {
            str(name): quality(fair, whole & (heard.corpus[wanted.row] == name))
            for name in np.unique(heard.corpus)
        },
        "seconds": {
            f"{cut:g}": quality(fair, wanted.cut == cut) for cut in CUTS if (wanted.cut == cut).any()
        },
        "louder": {f"{gain:+g} dB": quality(fair, wanted.level == gain) for gain in LEVELS},
    }


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
