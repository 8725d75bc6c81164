"""Listening to one utterance, as `prepare` would and then to its end."""

import dataclasses
import hashlib

import numpy as np

from ser_jax.data import audio
from ser_jax.data.extract import Flaw
from ser_jax.data.utterance import Utterance

FULL = 0.999  # of full scale: where samples are clipped
FULL_BY_CODING = {
    "PCM_U8": 0.99,
    "PCM_S8": 0.99,
    "ULAW": 0.98,
    "ALAW": 0.98,
}  # their largest values are smaller
RUN = 3  # samples in a row at full scale; a peak-normalised recording has one or two


@dataclasses.dataclass(frozen=True)
class Heard:
    """What listening to an utterance tells; without sound that can be used, `flaw` alone.

    Attributes:
      flaw: why `prepare` would refuse it.
      tail: what is wrong after the part that is used.
      seconds: its duration.
      rate, channels, encoding: of its file; Hz.
      level: of the part that is used, as a root mean square, dB of full scale.
      peak: of the part that is used, of full scale.
      clipped: runs of `RUN` samples at full scale, overlapping ones counted, all channels.
      digest: of all its samples.
    """

    flaw: Flaw | None = None
    tail: str = ""
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    encoding: str = ""
    level: float = -np.inf
    peak: float = 0.0
    clipped: int = 0
    digest: str = ""


def listen(utterance: Utterance) -> Heard:
    """Hears the part that features are made of, as `prepare` would, and then all of it.

    Nothing that is wrong with the sound is raised: it is said in `Heard.flaw` or `Heard.tail`.
    """
    try:
        used, _ = audio.read(utterance.path, utterance.start, utterance.stop)
    except audio.AudioError as error:
        return Heard(flaw=Flaw.of(utterance, error))
    power = float(np.mean(used**2))
    digest, clipped, tail = hashlib.blake2b(digest_size=16), 0, ""
    with audio.opened(utterance.path, utterance.start, utterance.stop) as sound:
        digest.update(f"{sound.rate} {sound.channels}".encode())
        before, full = np.zeros((0, sound.channels)), FULL_BY_CODING.get(sound.encoding.split()[-1], FULL)
        try:
            for block in sound.blocks():
                digest.update(block.data)
                clipped += _clipped(before, block, full)
                before = np.concatenate([before, block])[-RUN + 1 :]
        except audio.AudioError as error:
            tail = error.reason
    return Heard(
        tail=tail,
        seconds=sound.seconds,
        rate=sound.rate,
        channels=sound.channels,
        encoding=sound.encoding,
        level=10 * np.log10(power) if power else -np.inf,
        peak=float(np.abs(used).max()),
        clipped=clipped,
        digest=digest.hexdigest(),
    )


def _clipped(before: np.ndarray, block: np.ndarray, full: float) -> int:
    """Samples of a block that end a run of `RUN` at full scale; `before` are the samples just before it."""
    loud = np.abs(np.concatenate([before, block])) >= full
    if len(loud) < RUN or not loud.any():
        return 0
    runs = np.lib.stride_tricks.sliding_window_view(loud, RUN, axis=0).all(axis=-1)
    return int(runs.sum())
