"""Convert files or arrays of any rate and length to 16 kHz mono samples for a recogniser."""

import contextlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np

from ser_jax.data import audio, formats
from ser_jax.errors import UserError, one_line
from ser_jax.features import HOP, RATE, WINDOW, frame_count, logmel
from ser_jax.shapes import Float, Float32, Float64

CHANNELS = 8  # at most, of an array whose channels come first; no recording has so few samples
NUMBER = (int, float, np.number)
SHORTEST = 25  # frames
SMOOTHED = 5  # frames, so that the level of steady noise hardly varies
VARIATION = 3.0  # dB, of the level of speech at least
DESCRIPTORS = Path("/proc/self/fd")  # Linux: the open files by number
_log = logging.getLogger(__name__)
Check: TypeAlias = Callable[[], None]  # raises an exception to end what calls it


class RecordingError(UserError):
    """A stream, microphone or array of samples that cannot be used as a recording."""


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

    An offset, a channel without sound, channels that cancel each other, or a header that states no length are
    logged as warnings.

    Args:
      sound: a file of any length in a format of `data.formats`: its path, where ~ is the home folder, its
        bytes, or a binary file to read them from. Or samples as in `to_samples`; with their rate also as a
        pair in any order, as a dictionary of "array" (or "raw") and "sampling_rate", as of Hugging Face, or
        as a decoder of TorchCodec.
      rate: sampling rate of samples, Hz; None if `sound` states its own.
      check: called for each block of samples.
      name: of the recording in warnings and errors; by default that of the file.
    Raises: AudioError, which names the file, or RecordingError.
    """
    sound, rate = _with_rate(sound, rate)
    if isinstance(sound, (bytes, bytearray, memoryview)):
        sound = io.BytesIO(sound)
    if hasattr(sound, "read"):
        return _read_open(sound, rate, check, name or str(getattr(sound, "name", "the file")))
    mix, (lowest, highest), path, found = audio.Downmix(), audio.RATES, None, []
    if isinstance(sound, (str, os.PathLike)):
        path = Path(os.path.expanduser(os.fsdecode(sound)))  # noqa: PTH111  Path's own refuses ~x.wav
        if rate is not None:
            raise RecordingError(f"rate {rate} for the file {path}, expected none: the file states its own")
        if formats.URL.match(str(sound)) and not path.exists():
            raise RecordingError(f"{sound}: {formats.IS_URL}")
        with audio.opened(path) as file:
            found += [audio.UNSTATED] if file.unstated else []
            recording = _resample(file.rate, map(mix, file.blocks()), check)
    elif not (isinstance(rate, NUMBER) and lowest <= rate <= highest):
        raise RecordingError(f"rate {rate!r} of samples, expected {lowest} to {highest} Hz")
    else:
        samples = to_samples(sound)
        blocks = np.split(samples, range(audio.BLOCK, len(samples), audio.BLOCK))
        recording = _resample(rate, map(mix, blocks), check)
    if len(recording.samples) < WINDOW:
        short = f"{recording.seconds:.4f} s of sound, expected at least one frame of {WINDOW / RATE} s"
        raise RecordingError(short) if path is None else audio.AudioError(path, "too short", short)
    for reason in [*found, *(reason for _, reason in mix.findings())]:
        _log.warning("%s: %s", one_line(name or str(path or "samples")), reason)
    return recording


def _with_rate(sound: Any, rate: float | None) -> tuple[Any, float | None]:
    """Split an object with samples and their rate; return anything else unchanged, with `rate`."""
    if hasattr(sound, "get_all_samples"):
        decoded = sound.get_all_samples()
        found = decoded.data, decoded.sample_rate
    elif isinstance(sound, dict) and "sampling_rate" in sound:
        found = sound.get("array", sound.get("raw")), sound["sampling_rate"]
    elif isinstance(sound, dict) and "bytes" in sound:  # of Hugging Face, not decoded
        return sound["bytes"] or sound["path"], rate
    elif isinstance(sound, tuple) and len(sound) == 2 and any(isinstance(one, NUMBER) for one in sound):
        found = sound if isinstance(sound[1], NUMBER) else sound[::-1]
    else:
        return sound, rate
    if rate is not None:
        raise RecordingError(f"rate {rate} and samples with a rate of {found[1]}, expected one rate")
    return found


def _read_open(sound: IO[bytes], rate: float | None, check: Check, name: str) -> Recording:
    """Read a recording from a binary file, which need not be seekable."""
    with temporary_file() as (file, path):
        try:
            shutil.copyfileobj(sound, file)
        except (TypeError, UnicodeDecodeError) as error:
            raise RecordingError(f'{name}: opened as text, expected open(path, "rb")') from error
        file.flush()
        try:
            return read_recording(path, rate, check, name)
        except audio.AudioError as error:
            raise RecordingError(f"{name}: {error.reason}") from error


def to_samples(samples: Any) -> Float64[np.ndarray, "n C"]:
    """Return samples of C channels as floating-point numbers from -1 to 1.

    Args:
      samples: an array, list or tensor [n], [n, channels] or, of few channels, [channels, n], as in
        `audio.scaled`.
    Raises: RecordingError.
    """
    if hasattr(samples, "detach"):  # of PyTorch, perhaps on another device
        samples = samples.detach().cpu()
    try:
        samples = np.asarray(samples)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"samples are not an array ({one_line(str(error))}), expected one") from error
    found = f"samples of shape {list(samples.shape)}"
    if samples.ndim not in (1, 2) or samples.shape[1:] == (0,):
        raise RecordingError(f"{found}, expected [n] or [n, channels]")
    if samples.ndim == 2 and len(samples) <= CHANNELS:
        samples = samples.T
    if samples.ndim == 2 and samples.shape[1] > len(samples):
        raise RecordingError(f"{found}, expected a single recording [n, channels]")
    return scaled(samples if samples.ndim == 2 else samples[:, None])


def scaled(samples: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Return samples as in `audio.scaled`; raise RecordingError."""
    return audio.scaled(samples, lambda _, reason: RecordingError(reason))


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


def has_speech(samples: Float[np.ndarray, " n"]) -> bool:
    """Return whether the level of samples at 16 kHz varies as that of speech, unlike silence or steady noise.

    The level is the mean of the log-mel energies in dB, averaged over 50 ms. Its 95th percentile must exceed
    its 5th by 3 dB. It does in all of 9,286 recordings of eight corpora, and if white noise is added to them
    at a signal-to-noise ratio of 5 dB (240 recordings of four corpora, at least 3.5 dB); and in none of 1,200
    silences, hums, and white, pink, brown and band-limited noises of 0.3 to 7.5 s. Music counts as speech:
    its level varies too. So do samples of less than 0.27 s, of which too little can be told.
    """
    level = logmel(samples).mean(axis=1)
    if len(level) < SHORTEST:
        return True
    smooth = np.convolve(level, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
    return bool(np.ptp(np.quantile(smooth, (0.05, 0.95))) > VARIATION)


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
