"""A file to 16 kHz mono samples, or an error that names the file."""

import math
from pathlib import Path

import numpy as np

from ser_jax.data.logmel import RATE, SECONDS, WINDOW
from ser_jax.errors import UserError

SLACK = 1.0  # s that a segment may reach past the file's end, where it is cut: annotations are rounded


class AudioError(UserError):
    """Audio that is missing, unreadable, or holds no usable sound."""


def read(
    path: Path | str, start: float = 0.0, stop: float | None = None, limit: float = SECONDS
) -> tuple[np.ndarray, float]:
    """Reads one segment of a recording.

    Args:
      path: any format libsndfile knows, any rate, any number of channels (their mean is taken).
      start, stop: the segment, s; it is cut at the file's end, which it may pass by `SLACK`, and `None`
        is that end.
      limit: no more than this much of the segment is decoded and returned, s.
    Returns: (samples [n] float64 at 16 kHz, n <= limit * 16000; the whole segment's duration, s).
    Raises: AudioError naming the file.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: no such audio file")
    if not 0 <= start < (math.inf if stop is None else stop):
        raise AudioError(f"{path}: segment from {start} s to {stop} s, expected 0 <= start < end")
    try:
        with soundfile.SoundFile(path) as file:
            rate, total = file.samplerate, file.frames
            first, last = _segment(path, rate, total, start, stop)
            wanted = min(last - first, math.ceil(limit * rate))
            file.seek(first)
            samples = file.read(wanted, dtype="float64", always_2d=True).mean(axis=1)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless formats, by their suffix
        reason = str(error).rstrip(".").rpartition(": ")[2]
        raise AudioError(
            f"{path}: not readable as audio ({reason}), expected WAV, FLAC, OGG or MP3"
        ) from error
    if len(samples) < wanted:
        raise AudioError(f"{path}: ends after {len(samples)} of the {wanted} frames its header promises")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds samples that are not finite numbers")
    samples = _resample(samples, rate)[: math.ceil(limit * RATE)]
    if len(samples) < WINDOW:
        raise AudioError(
            f"{path}: {'the file' if stop is None else f'the segment from {start} s'} holds "
            f"{(last - first) / rate:.4f} s of sound, expected at least one frame of {WINDOW / RATE} s"
        )
    return samples, (last - first) / rate


def _segment(path, rate, total, start, stop) -> tuple[int, int]:
    """First frame and end of a segment, in the file's own frames."""
    if total <= 0:
        raise AudioError(f"{path}: holds no samples, expected sound")
    first = round(start * rate)
    if first >= total:
        raise AudioError(
            f"{path}: segment begins at {start} s, expected it within the file's {total / rate} s"
        )
    if stop is None:
        return first, total
    if stop > total / rate + SLACK:
        raise AudioError(f"{path}: segment ends at {stop} s, expected it within the file's {total / rate} s")
    return first, min(round(stop * rate), total)


def _resample(samples, rate):
    if rate == RATE or not len(samples):
        return samples
    import soxr

    return soxr.resample(samples, rate, RATE)
