"""From an utterance to its record: facts, features and duration.

This is what worker processes import: neither tfds nor librosa.
"""

import dataclasses
import functools
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data import audio
from ser_jax.data.corpus import LABELS
from ser_jax.data.utterance import Utterance
from ser_jax.data.workers import in_order
from ser_jax.features import Frontend, FrontendError, describe, pad

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Flaw:
    """Why the utterance `id` cannot be a record; the rest as in `AudioError`."""

    id: str
    path: Path
    finding: str
    reason: str

    @classmethod
    def of(cls, utterance: Utterance, error: audio.AudioError) -> "Flaw":
        """Return the flaw of an utterance whose recording raised `error`."""
        place = f" (asked for by {Path(utterance.place).name})" if utterance.place else ""
        return cls(utterance.id, error.path, error.finding, error.reason + place)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def record(utterance: Utterance, frontend: Frontend) -> Record | Flaw:
    """Return the facts, features and duration of an utterance, or what is wrong with its recording.

    Raises: FrontendError if the front end returns anything but [t, F].
    """
    try:
        samples, seconds = audio.read(utterance.path, utterance.start, utterance.stop, frontend.seconds)
    except audio.AudioError as error:
        return Flaw.of(utterance, error)
    features = frontend.extract(samples)
    if np.ndim(features) != 2 or not len(features) or features.shape[1] != frontend.dims:
        raise FrontendError(
            f"front end {frontend.name} returned an array {list(np.shape(features))} for {utterance.id}, "
            f"expected [t, {frontend.dims}]"
        )
    padded, frames = pad(np.asarray(features), frontend.frames)
    facts = {key: getattr(utterance, key) for key in LABELS}
    return facts | {"features": padded, "frames": frames, "seconds": seconds}


def missing(utterances: Sequence[Utterance]) -> list[Flaw]:
    """Return the flaws of utterances whose recording does not exist; opens none."""
    flaws = []
    for utterance in utterances:
        try:
            audio.check(utterance.path)
        except audio.AudioError as error:
            flaws.append(Flaw.of(utterance, error))
    return flaws


def ready(frontend: Frontend) -> Frontend:
    """Return a front end that is checked, and has computed what it caches, to be sent to other processes."""
    describe(frontend)
    frontend.extract(np.zeros(audio.RATE))
    return frontend


def records(
    utterances: Sequence[Utterance], frontend: Frontend, workers: int, label: str
) -> Generator[Record | Flaw, None, None]:
    """Return the records of utterances in their order, the same bytes for any number of workers.

    Args:
      workers: number of processes, see `workers.in_order`.
      label: of the progress bar on standard error.
    Raises: WorkerError, FrontendError.
    """
    return in_order(functools.partial(record, frontend=ready(frontend)), utterances, workers, label)
