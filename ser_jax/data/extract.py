"""From an utterance to its record: facts, features, duration.

Imports neither tfds nor librosa: this is what every worker process loads.
"""

import dataclasses
import functools
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from ser_jax.data import audio
from ser_jax.data.corpus import LABELS
from ser_jax.data.logmel import Filters, filterbank, logmel, pad
from ser_jax.data.utterance import Utterance
from ser_jax.data.workers import in_order

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Flaw:
    """Why an utterance cannot be a record.

    Attributes:
      id: of the utterance.
      path: the recording.
      finding: the line of the audit that lists it, as `AudioError.finding`.
      reason: what was found and expected.
    """

    id: str
    path: Path
    finding: str
    reason: str

    @classmethod
    def of(cls, utterance: Utterance, error: audio.AudioError) -> "Flaw":
        """What reading an utterance's sound ended with, and where it is asked for."""
        place = f" (asked for by {Path(utterance.place).name})" if utterance.place else ""
        return cls(utterance.id, error.path, error.finding, error.reason + place)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def record(utterance: Utterance, filters: Filters) -> Record | Flaw:
    """The facts, the features and the duration of an utterance, or what is wrong with its sound."""
    try:
        samples, seconds = audio.read(utterance.path, utterance.start, utterance.stop)
    except audio.AudioError as error:
        return Flaw.of(utterance, error)
    features, frames = pad(logmel(samples, filters))
    facts = {key: getattr(utterance, key) for key in LABELS}
    return facts | {"logmel": features, "frames": frames, "seconds": seconds}


def missing(utterances: Sequence[Utterance]) -> list[Flaw]:
    """Utterances whose recording is not there; found without opening any."""
    flaws = []
    for utterance in utterances:
        try:
            audio.check(utterance.path)
        except audio.AudioError as error:
            flaws.append(Flaw.of(utterance, error))
    return flaws


def records(
    utterances: Sequence[Utterance], workers: int, label: str
) -> Generator[Record | Flaw, None, None]:
    """Records of all utterances in their order, the same bytes for any number of workers.

    Args:
      workers: processes, see `workers.in_order`.
      label: what the progress bar on standard error is called.
    Raises: WorkerError.
    """
    do = functools.partial(record, filters=filterbank())
    return in_order(do, utterances, workers, label)
