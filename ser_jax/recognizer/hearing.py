"""A recording of any length to its log-mels, block by block, and to the outline of its samples."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ser_jax.data import audio
from ser_jax.errors import UserError
from ser_jax.features.logmel import HOP, RATE, WINDOW, Filters, frame_count, logmel

HEADROOM = 8.0  # times full scale: floating-point recordings pass it by a little, unscaled integers by far
CHANNELS = 64  # more of them than samples are samples where channels should be


class SoundError(UserError):
    """Samples that cannot be listened to."""


class Heard(NamedTuple):
    """What is kept of a recording: 37 MB an hour of log-mels, 3 of the outline.

    Attributes:
      seconds: its duration.
      logmel: [t, F] float32, dB, 10 ms apart, t >= 1.
      outline: [t, 2] float32, the least and the largest sample in each frame's first 10 ms.
    """

    seconds: float
    logmel: np.ndarray
    outline: np.ndarray


class Ear:
    """Log-mels of samples that arrive in pieces: the same as of all at once.

    Args:
      rate: of the samples, Hz.
      filters: of `logmel.filterbank()`.
    """

    def __init__(self, rate: int, filters: Filters):
        self._filters = filters
        self._rest = np.empty(0)
        self._resampler = None
        if rate != RATE:
            import soxr

            self._resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float64")

    def feed(self, samples: np.ndarray, last: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Take the next samples [n] and return the frames that they complete.

        Args:
          samples: [n] float64.
          last: whether none will follow.
        Returns: (log-mels [t, F] float32 dB, outline [t, 2] float32); t may be 0.
        """
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(np.ascontiguousarray(samples, np.float64), last=last)
        self._rest = np.concatenate([self._rest, samples])
        count = 0 if len(self._rest) < WINDOW else frame_count(len(self._rest))
        if not count:
            return np.empty((0, self._filters.shape[0]), np.float32), np.empty((0, 2), np.float32)
        features = logmel(self._rest[: (count - 1) * HOP + WINDOW], self._filters)
        steps = self._rest[: count * HOP].reshape(count, HOP)
        self._rest = self._rest[count * HOP :]
        outline = np.stack([steps.min(axis=1), steps.max(axis=1)], axis=1)
        return features.astype(np.float32), outline.astype(np.float32)


def from_sound(sound: audio.Sound, filters: Filters, check: Callable[[], None] | None = None) -> Heard:
    """Read a file of any length, format, rate and number of channels (their mean is taken).

    Args:
      sound: what `audio.opened` gave.
      filters: of `logmel.filterbank()`.
      check: called block by block; what it raises ends it.
    Raises: audio.AudioError naming the file.
    """
    heard = from_blocks(sound.rate, _mono(sound, check), filters)
    if not len(heard.logmel):
        found = f"the file holds {sound.seconds:.4f} s of sound"
        raise audio.AudioError(
            sound.path, "too short", f"{found}, expected at least one frame of {WINDOW / RATE} s"
        )
    return heard


def _mono(sound: audio.Sound, check: Callable[[], None] | None) -> Iterator[np.ndarray]:
    for block in sound.blocks():
        if check is not None:
            check()
        yield block.mean(axis=1)


def from_samples(samples: np.ndarray, rate: int, filters: Filters) -> Heard:
    """Compute the same of samples in memory.

    Args:
      samples: [n] or [n, channels]; floating-point from -1 to 1, with headroom up to `HEADROOM`, or signed
        integers, see `as_sound`.
      rate: Hz.
      filters: of `logmel.filterbank()`.
    Raises: SoundError naming what is wrong with them.
    """
    given = np.asarray(samples)
    samples = as_sound(given)
    if given.dtype.kind == "f" and given.size and (peak := float(np.abs(given).max())) > HEADROOM:
        raise SoundError(f"floating-point samples of up to {peak:g}, expected -1 to 1")
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer, np.floating)):
        raise SoundError(f"rate {rate!r}, expected a number of Hz")
    if not audio.RATES[0] <= rate <= audio.RATES[1]:
        raise SoundError(f"{rate} samples a second, expected {audio.RATES[0]} to {audio.RATES[1]}")
    size = audio.BLOCK
    heard = from_blocks(int(rate), (samples[i : i + size] for i in range(0, len(samples), size)), filters)
    if not len(heard.logmel):
        raise SoundError(
            f"{len(samples)} samples at {rate} Hz, expected at least one frame of {WINDOW / RATE} s"
        )
    return heard


def as_sound(samples: ArrayLike) -> np.ndarray:
    """Return [n] float64 samples of one channel: the mean of several.

    Integers of b bits are divided by 2^(b - 1), the magnitude of their least value, which becomes -1.

    Args:
      samples: [n] or [n, channels].
    Raises: SoundError.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu" or samples.shape[1:] == (0,):
        raise SoundError(
            f"samples of shape {list(samples.shape)} and type {samples.dtype}, expected numbers [n] or "
            "[n, channels]"
        )
    if samples.ndim == 2 and samples.shape[1] > max(CHANNELS, len(samples)):
        raise SoundError(
            f"samples of shape {list(samples.shape)}, expected [n, channels]: transpose them, samples.T"
        )
    if samples.dtype.kind == "u":
        raise SoundError(f"samples of type {samples.dtype}, expected floating-point or signed integers")
    with np.errstate(invalid="ignore"):  # a signalling NaN; it is refused below
        whole = samples.astype(np.float64)
    if samples.dtype.kind == "i":
        whole /= -float(np.iinfo(samples.dtype).min)
    if whole.ndim == 2:
        whole = whole.mean(axis=1)
    if len(whole) and not np.abs(whole).max() <= audio.LARGEST:
        raise SoundError("samples that are not finite numbers, expected sound")
    return whole


def from_blocks(rate: int, blocks: Iterable[np.ndarray], filters: Filters) -> Heard:
    """All of a sound that comes in blocks [n] float64; less than a frame of it has no features."""
    ear, count, parts = Ear(rate, filters), 0, []
    for block in blocks:
        count += len(block)
        parts.append(ear.feed(block))
    parts.append(ear.feed(np.empty(0), last=True))
    features, outlines = zip(*parts, strict=True)
    return Heard(count / rate, np.concatenate(features), np.concatenate(outlines))
