"""Reading recordings: a file to 16 kHz mono samples, or an error that names the file.

Memory never grows with what a header promises: sound is decoded in blocks, and no more of it than was
requested. Opening decodes nothing (of FLAC the last block, to see that it is there). The first 7.5 s of two
hours at 16 kHz take 3 ms (FLAC), 3 and 11 ms (MP3 of variable and constant bit rate), and 21 ms (Vorbis); a
segment after the first hour takes about as long, but of MP3 0.15 to 0.35 s.
"""

import contextlib
import dataclasses
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_jax.data import container
from ser_jax.errors import UserError
from ser_jax.features.logmel import RATE, SECONDS, WINDOW

if TYPE_CHECKING:
    from soundfile import SoundFile

SLACK = 1.0  # s by which a segment may exceed the file, where it is cut: annotations are rounded
RATES = (1_000, 768_000)  # Hz; lower rates hold no speech, no converter works at higher ones
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")  # of recordings in folders, in either case
BLOCK = 1 << 17  # samples of all channels decoded at a time, 1 MiB
MOST = 1 << 30  # samples decoded to find the length of a file that does not state it
LARGEST = float(np.finfo(np.float32).max)  # the power of larger samples overflows
_UNKNOWN = 1 << 62  # frames; libsndfile's value for an unknown length is 2^63 - 1
_PADDING = 2 * 1152  # frames an MP3 may lack, which encoders add and players drop


class AudioError(UserError):
    """Audio that is missing, unreadable, or holds no usable sound; the message is "path: reason".

    Attributes:
      path: the file.
      finding: its category in an audit: "missing", or not to be opened; "undecodable", also if it is empty,
        truncated or at odds with its own header; "non-finite" samples; "too short" for one frame of
        features; "outside", for a segment that does not lie within its file.
      reason: what was found and expected.
    """

    def __init__(self, path: Path | str, finding: str, reason: str):
        super().__init__(path, finding, reason)
        self.path, self.finding, self.reason = Path(path), finding, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclasses.dataclass(eq=False)
class Sound:
    """A segment of an open file."""

    path: Path
    rate: int  # Hz
    channels: int
    encoding: str  # container and coding of the samples, as in "WAV PCM_16"
    frames: int  # an estimate until `blocks` has come to the end if the file does not state its length
    _file: "SoundFile"
    _first: int
    _counted: bool

    @property
    def seconds(self) -> float:
        """The segment's duration, s."""
        return self.frames / self.rate

    def blocks(self, limit: float | None = None) -> Iterator[np.ndarray]:
        """Decode the segment from its beginning, at most `limit` s of it.

        Yields: [n, channels] float64, at the file's rate, n * channels <= `BLOCK`.
        Raises: AudioError.
        """
        wanted = self.frames if limit is None else min(self.frames, math.ceil(limit * self.rate))
        done = 0
        for block in _decode(self.path, self._file, self._first, wanted):
            done += len(block)
            if not np.abs(block).max() <= LARGEST:
                raise AudioError(self.path, "non-finite", "holds samples that are not finite numbers")
            yield block
        if done == wanted:
            return
        padding = _PADDING if self.encoding.startswith("MP3") else 0
        if done == 0 or (self._counted and done + padding < wanted):
            promise = f"the {wanted} frames its header promises"
            raise _undecodable(self.path, f"ends after {done} of {promise}, expected them all")
        self.frames = done


@contextlib.contextmanager
def opened(path: Path | str, start: float = 0.0, stop: float | None = None) -> Iterator[Sound]:
    """Open one segment of a recording, to decode it in bounded memory.

    Args:
      path: WAV (RF64, W64), AIFF, FLAC, OGG or MP3 in any coding of libsndfile, whatever the name's suffix.
      start, stop: the segment, s; it may exceed the file by `SLACK`, and `None` is the file's end.
    Raises: AudioError.
    """
    path = Path(path)
    check(path)
    if not 0 <= start < (math.inf if stop is None else stop):
        raise AudioError(path, "outside", f"segment from {start} s to {stop} s, expected 0 <= start < end")
    with contextlib.ExitStack() as stack:
        with _decoding(path):
            kind = container.examine(path)
            file = stack.enter_context(container.sound_file(path))
        rate, total, coding = file.samplerate, file.frames, f"{file.format} {file.subtype}"
        if not RATES[0] <= rate <= RATES[1]:
            expected = f"expected {RATES[0]} to {RATES[1]}"
            raise _undecodable(path, f"its header promises {rate} samples a second, {expected}")
        if total >= _UNKNOWN:  # FLAC from a pipe
            with container.sound_file(path) as other:
                total = sum(map(len, _decode(path, other, 0, MOST // file.channels)))
            if total >= MOST // file.channels:
                raise _undecodable(path, "its header states no length, expected one for so long a file")
        elif kind.name == "FLAC" and total > 0:
            _check_end(path, file, total)
        first, last = _segment(path, rate, total, start, stop)
        yield Sound(path, rate, file.channels, coding, last - first, file, first, kind.counted)


def read(
    path: Path | str, start: float = 0.0, stop: float | None = None, limit: float = SECONDS
) -> tuple[np.ndarray, float]:
    """Read one segment of a recording.

    Args:
      path, start, stop: see `opened`; any rate within `RATES`, any number of channels, which are averaged.
      limit: at most this much of the segment is decoded and returned, s.
    Returns: (samples [n] float64 at 16 kHz, n <= limit * 16000; the whole segment's duration, s).
    Raises: AudioError.
    """
    with opened(path, start, stop) as sound:
        samples = np.concatenate([np.empty(0), *(block.mean(axis=1) for block in sound.blocks(limit))])
    if sound.rate != RATE and len(samples):
        import soxr

        samples = soxr.resample(samples, sound.rate, RATE)
    if len(samples) < WINDOW:
        what = "the file" if stop is None else f"the segment from {start} s"
        expected = f"expected at least one frame of {WINDOW / RATE} s"
        raise AudioError(path, "too short", f"{what} holds {sound.seconds:.4f} s of sound, {expected}")
    return samples[: math.ceil(limit * RATE)], sound.seconds


def check(path: Path | str) -> None:
    """Raise AudioError unless a path is a regular file's; opens nothing."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError(path, "missing", "no such audio file") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise _not_opened(path, error) from error
    if not stat.S_ISREG(mode):  # opening a FIFO would wait for its writer forever
        raise AudioError(path, "missing", "not a regular file, expected an audio file")


def _not_opened(path: Path | str, error: Exception) -> AudioError:
    return AudioError(path, "missing", f"cannot be opened ({_reason(error)}), expected an audio file")


def _undecodable(path: Path, reason: str) -> AudioError:
    return AudioError(path, "undecodable", reason)


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turn errors of containers, libsndfile and the disk into errors that name the file."""
    import soundfile

    try:
        yield
    except PermissionError as error:
        raise _not_opened(path, error) from error
    except (container.MalformedError, soundfile.SoundFileError, OSError) as error:
        reason = f"not readable as audio ({_reason(error).removeprefix('Error : ').rstrip('.')})"
        raise _undecodable(path, f"{reason}, expected WAV, AIFF, FLAC, OGG or MP3") from error


def _decode(path: Path, file: "SoundFile", first: int, wanted: int) -> Iterator[np.ndarray]:
    """Yield blocks [n, channels] from frame `first` on, `wanted` frames in all or fewer at the file's end."""
    import soundfile

    with _decoding(path):
        if soundfile.SoundFile.seekable(file):
            file.seek(first)
            first = 0
    most = max(1, BLOCK // file.channels)
    for frames, used in ((first, False), (wanted, True)):  # a few codings (G.721, DWVW) cannot seek
        while frames > 0:
            with _decoding(path):
                block = file.read(min(most, frames), dtype="float64", always_2d=True)
            if not len(block):
                return
            frames -= len(block)
            if used:
                yield block


def _check_end(path: Path, file: "SoundFile", total: int) -> None:
    """Refuse a FLAC file whose header promises more than there is; decodes its last block."""
    try:
        whole = any(map(len, _decode(path, file, total - 1, 1)))
    except AudioError:
        whole = False
    if not whole:
        promise = f"its header promises {total} frames"
        raise _undecodable(path, f"truncated, or damaged at its end: {promise}, expected them all")


def _segment(path: Path, rate: int, total: int, start: float, stop: float | None) -> tuple[int, int]:
    """Return the first frame and the end of a segment, in the file's own frames."""
    if total <= 0:
        raise _undecodable(path, "holds no samples, expected sound")
    whole = f"expected it within the file's {total / rate} s"
    if start >= total / rate or (first := round(start * rate)) >= total:
        raise AudioError(path, "outside", f"segment begins at {start} s, {whole}")
    if stop is not None and stop > total / rate + SLACK:
        raise AudioError(path, "outside", f"segment ends at {stop} s, {whole}")
    return first, total if stop is None else min(round(stop * rate), total)
