"""Recordings as a recogniser uses them: 16 kHz mono samples, from files or arrays of any rate and length."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np

from ser_jax.data import audio
from ser_jax.errors import UserError, one_line
from ser_jax.features import HOP, RATE, WINDOW, frame_count, logmel
from ser_jax.shapes import Float, Float32, Float64

CHANNELS = 64  # an array with more channels than this, and than samples, is probably transposed
DESCRIPTORS = Path("/proc/self/fd")  # Linux: the open files by number
_log = logging.getLogger(__name__)
Check: TypeAlias = Callable[[], None]  # raises an exception to end what calls it


class RecordingError(UserError):
    """A stream, a microphone, or samples in memory, that cannot be used as a recording."""


class Recording(NamedTuple):
    """A recording.

    Attributes:
      seconds: its duration.
      samples: 16 kHz, mono; at least 400, one frame of 25 ms.
    """

    seconds: float
    samples: Float32[np.ndarray, " n"]


def read_recording(
    sound: Any, rate: float | None = None, check: Check = lambda: None, name: str | None = None
) -> Recording:
    """Read a recording: average its channels and resample it to 16 kHz.

    An offset, a channel without sound, or channels that cancel each other are logged as warnings.

    Args:
      sound: a file (WAV, AIFF, FLAC, OGG or MP3) of any length, or samples as in `to_samples`.
      rate: sampling rate of samples, Hz; None for a file.
      check: called for each block of samples.
      name: of the recording in warnings; by default that of the file.
    Raises: AudioError, which names the file, or RecordingError for samples.
    """
    mix, (lowest, highest) = audio.Downmix(), audio.RATES
    if isinstance(sound, (str, Path)):
        if rate is not None:
            raise RecordingError(f"rate {rate} for the file {sound}, expected none: the file states its own")
        with audio.opened(sound) as file:
            recording = _resample(file.rate, map(mix, file.blocks()), check)
    elif not (isinstance(rate, (int, float, np.number)) and lowest <= rate <= highest):
        raise RecordingError(f"rate {rate!r} of samples, expected {lowest} to {highest} Hz")
    else:
        samples = to_samples(sound)
        blocks = np.split(samples, range(audio.BLOCK, len(samples), audio.BLOCK))
        recording = _resample(rate, map(mix, blocks), check)
    if len(recording.samples) < WINDOW:
        found = f"{recording.seconds:.4f} s of sound, expected at least one frame of {WINDOW / RATE} s"
        if isinstance(sound, (str, Path)):
            raise audio.AudioError(sound, "too short", found)
        raise RecordingError(found)
    for _, reason in mix.findings():
        _log.warning(
            "%s: %s", one_line(name or (str(sound) if isinstance(sound, (str, Path)) else "samples")), reason
        )
    return recording


def to_samples(samples: Any) -> Float64[np.ndarray, "n C"]:
    """Return samples of C channels as floating-point numbers from -1 to 1.

    Args:
      samples: [n] or [n, channels]; an array or list as in `audio.scaled`.
    Raises: RecordingError.
    """
    samples = np.asarray(samples)
    found = f"samples of shape {list(samples.shape)}"
    if samples.ndim not in (1, 2) or samples.shape[1:] == (0,):
        raise RecordingError(f"{found}, expected [n] or [n, channels]")
    if samples.ndim == 2 and samples.shape[1] > max(CHANNELS, len(samples)):
        raise RecordingError(f"{found}, expected [n, channels]: transpose them, samples.T")
    samples = audio.scaled(samples, lambda _, reason: RecordingError(reason))
    return samples if samples.ndim == 2 else samples[:, None]


def _resample(rate: float, blocks: Iterable[Float64[np.ndarray, " _"]], check: Check) -> Recording:
    """Resample consecutive blocks of samples to 16 kHz."""
    convert, count, parts = converter(rate), 0, []
    for block in blocks:
        check()
        count += len(block)
        parts.append(convert(block, last=False))
    parts.append(convert(np.empty(0), last=True))
    return Recording(count / rate, np.concatenate([part.astype(np.float32) for part in parts]))


def converter(rate: float) -> Callable[..., Float[np.ndarray, " m"]]:
    """Return a function that resamples consecutive blocks to 16 kHz; with `last` it returns the rest."""
    if rate == RATE:
        return lambda block, last: block
    import soxr

    stream = soxr.ResampleStream(rate, RATE, 1, dtype="float64")
    return lambda block, last: stream.resample_chunk(np.ascontiguousarray(block, np.float64), last=last)


@contextlib.contextmanager
def temporary_file() -> Iterator[tuple[IO[bytes], Path]]:
    """Yield a file to write and its path; on Linux it has no name, so that not even SIGKILL leaves it."""
    if DESCRIPTORS.is_dir():
        with tempfile.TemporaryFile() as file:
            yield file, DESCRIPTORS / str(file.fileno())
    else:
        with tempfile.NamedTemporaryFile(prefix="ser_jax-") as named:
            yield named, Path(named.name)


def overview(
    samples: Float32[np.ndarray, " n"], most: int
) -> tuple[float, Float32[np.ndarray, " C"], Float32[np.ndarray, " C"], Float[np.ndarray, "C F"]]:
    """Summarise samples at 16 kHz in at most `most` columns of whole frames, to draw them.

    Returns: (the seconds of a column; its smallest samples; its largest; its mean log-mel energies, dB).
    """
    frames = frame_count(len(samples))
    width = -(-frames // most)  # frames of a column
    starts = np.arange(0, frames, width)
    covered = samples[: len(starts) * width * HOP]
    minima, maxima = (extreme.reduceat(covered, starts * HOP) for extreme in (np.minimum, np.maximum))
    level = [logmel(samples[i * HOP : (i + width - 1) * HOP + WINDOW]).mean(axis=0) for i in starts]
    return width * HOP / RATE, minima, maxima, np.stack(level)
