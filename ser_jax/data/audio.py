"""A file to 16 kHz mono samples, or an error that names the file.

Nothing here costs memory in proportion to what a header promises: sound is decoded in blocks, and no more of
it than was asked for. Opening decodes nothing (of FLAC the last block, to see that it is there). The first
7.5 s of two hours at 16 kHz take 3 ms (FLAC), 3 and 11 ms (MP3 of variable and constant bit rate), and 21 ms
(Vorbis, 17 of them for looking at every page). A segment that begins after the first hour takes about as
long, but of MP3 0.15 to 0.35 s: libsndfile then reads, not decodes, every frame's header before it.
"""

import contextlib
import dataclasses
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data import container
from ser_jax.data.logmel import RATE, SECONDS, WINDOW
from ser_jax.errors import UserError

SLACK = 1.0  # s that a segment may reach past the file's end, where it is cut: annotations are rounded
# Hz; no speech is left below, no converter works above, and 7.5 s must fit in memory
RATES = (1_000, 768_000)
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")  # looked for in folders, in either case
BLOCK = 1 << 17  # samples of all channels decoded at a time, 1 MiB
MOST = 1 << 30  # samples decoded to find the length of a file that does not state it
LARGEST = float(np.finfo(np.float32).max)  # beyond, the power of double precision samples overflows
_UNKNOWN = 1 << 62  # frames; libsndfile says 2^63 - 1 for a length it does not know
_PADDING = 2 * 1152  # frames an MP3 may lack, which encoders add and players drop


class AudioError(UserError):
    """Audio that is missing, unreadable, or holds no usable sound.

    Attributes:
      path: the file.
      reason: what was found and what was expected; the message is "path: reason".
      finding: the line of an audit that lists it.
    """

    finding = "unusable"

    def __init__(self, path: Path | str, reason: str):
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class MissingAudioError(AudioError):
    """No file, or none that may be read."""

    finding = "missing"


class UndecodableError(AudioError):
    """Not audio, or empty, header only, truncated, or at odds with its own header."""

    finding = "undecodable"


class NonFiniteError(AudioError):
    """Samples that are NaN, infinite, or beyond single precision."""

    finding = "non-finite"


class TooShortError(AudioError):
    """Less sound than one frame of features."""

    finding = "too short"


class SegmentError(AudioError):
    """A segment that does not lie within its file."""

    finding = "outside"


@dataclasses.dataclass(eq=False)
class Sound:
    """A segment of an open file.

    Attributes:
      path: the file.
      rate: Hz.
      channels: how many.
      encoding: container and coding of the samples, as in "WAV PCM_16".
      frames: the segment's length. Where a file states none (`container.Container.counted`) this is an
        estimate until `blocks` has come to the end.
    """

    path: Path
    rate: int
    channels: int
    encoding: str
    frames: int
    _file: Any
    _first: int
    _counted: bool

    @property
    def seconds(self) -> float:
        """The segment's duration, s."""
        return self.frames / self.rate

    def blocks(self, limit: float | None = None) -> Iterator[np.ndarray]:
        """Decodes the segment from its beginning.

        Args:
          limit: no more than this much of it, s.
        Yields: [n, channels] float64, at the file's rate, n * channels <= `BLOCK`.
        Raises: UndecodableError, NonFiniteError.
        """
        wanted = self.frames if limit is None else min(self.frames, math.ceil(limit * self.rate))
        done = 0
        _go_to(self.path, self._file, self._first)
        for block in _decode(self.path, self._file, wanted):
            done += len(block)
            if not np.abs(block).max() <= LARGEST:
                raise NonFiniteError(self.path, "holds samples that are not finite numbers")
            yield block
        if done == wanted:
            return
        padding = _PADDING if self.encoding.startswith("MP3") else 0
        if done == 0 or (self._counted and done + padding < wanted):
            raise UndecodableError(
                self.path, f"ends after {done} of the {wanted} frames its header promises, expected them all"
            )
        self.frames = done


@contextlib.contextmanager
def opened(path: Path | str, start: float = 0.0, stop: float | None = None) -> Iterator[Sound]:
    """Opens one segment of a recording, for reading it whole in bounded memory.

    Args:
      path: WAV (RF64, W64), AIFF, FLAC, OGG or MP3, any coding libsndfile knows, whatever the name's ending.
      start, stop: the segment, s; it is cut at the file's end, which it may pass by `SLACK`, and `None`
        is that end.
    Raises: AudioError (a subclass) naming the file.
    """
    path = Path(path)
    check(path)
    if not 0 <= start < (math.inf if stop is None else stop):
        raise SegmentError(path, f"segment from {start} s to {stop} s, expected 0 <= start < end")
    with contextlib.ExitStack() as stack:
        with _decoding(path):
            kind = container.examine(path)
            file = stack.enter_context(container.sound_file(path))
            rate, total = file.samplerate, file.frames
        if not RATES[0] <= rate <= RATES[1]:
            raise UndecodableError(
                path, f"its header promises {rate} samples a second, expected {RATES[0]} to {RATES[1]}"
            )
        if total >= _UNKNOWN:
            total = _count(path)
        elif kind.name == "FLAC" and total > 0:
            _check_end(path, file, total)
        first, last = _segment(path, rate, total, start, stop)
        yield Sound(
            path=path,
            rate=rate,
            channels=file.channels,
            encoding=f"{file.format} {file.subtype}",
            frames=last - first,
            _file=file,
            _first=first,
            _counted=kind.counted,
        )


def read(
    path: Path | str, start: float = 0.0, stop: float | None = None, limit: float = SECONDS
) -> tuple[np.ndarray, float]:
    """Reads one segment of a recording.

    Args:
      path, start, stop: see `opened`; any rate within `RATES`, any number of channels (their mean is taken).
      limit: no more than this much of the segment is decoded and returned, s.
    Returns: (samples [n] float64 at 16 kHz, n <= limit * 16000; the whole segment's duration, s).
    Raises: AudioError (a subclass) naming the file.
    """
    with opened(path, start, stop) as sound:
        blocks = [block.mean(axis=1) for block in sound.blocks(limit)]
    samples = _resample(np.concatenate([np.empty(0), *blocks]), sound.rate)[: math.ceil(limit * RATE)]
    if len(samples) < WINDOW:
        raise TooShortError(
            sound.path,
            f"{'the file' if stop is None else f'the segment from {start} s'} holds "
            f"{sound.seconds:.4f} s of sound, expected at least one frame of {WINDOW / RATE} s",
        )
    return samples, sound.seconds


def check(path: Path | str) -> None:
    """Refuses, as a MissingAudioError, what is no regular file or cannot be one's name; opens nothing."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingAudioError(path, "no such audio file") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise _not_opened(path, error) from error
    if not stat.S_ISREG(mode):  # a FIFO would wait for its writer forever
        raise MissingAudioError(path, "not a regular file, expected an audio file")


def _not_opened(path: Path | str, error: Exception) -> MissingAudioError:
    return MissingAudioError(path, f"cannot be opened ({_why(error)}), expected an audio file")


def _why(error: Exception) -> str:
    return str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turns what containers, libsndfile and the disk complain of into errors that name the file."""
    import soundfile

    try:
        yield
    except PermissionError as error:
        raise _not_opened(path, error) from error
    except (container.MalformedError, soundfile.SoundFileError, OSError) as error:
        reason = f"not readable as audio ({_why(error).removeprefix('Error : ').rstrip('.')})"
        raise UndecodableError(path, f"{reason}, expected WAV, AIFF, FLAC, OGG or MP3") from error


def _decode(path: Path, file: "container.SoundFile", wanted: int) -> Iterator[np.ndarray]:
    """Blocks [n, channels] from where the file stands, `wanted` frames in all or fewer at its end."""
    most = max(1, BLOCK // file.channels)
    while wanted > 0:
        with _decoding(path):
            block = file.read(min(most, wanted), dtype="float64", always_2d=True)
        if not len(block):
            return
        wanted -= len(block)
        yield block


def _go_to(path: Path, file: "container.SoundFile", frame: int) -> None:
    import soundfile

    with _decoding(path):
        if soundfile.SoundFile.seekable(file):
            file.seek(frame)
            return
    for _ in _decode(path, file, frame):  # a few codings (G.721, DWVW) know no other way
        pass


def _check_end(path: Path, file: "container.SoundFile", total: int) -> None:
    """Refuses a FLAC file whose header promises more than there is; decodes its last block."""
    try:
        _go_to(path, file, total - 1)
        whole = any(len(block) for block in _decode(path, file, 1))
    except UndecodableError:
        whole = False
    if not whole:
        raise UndecodableError(
            path, f"truncated, or damaged at its end: its header promises {total} frames, expected them all"
        )


def _count(path: Path) -> int:
    """Frames of a file that does not state them (FLAC from a pipe), by decoding it."""
    with container.sound_file(path) as file:
        total = sum(len(block) for block in _decode(path, file, MOST // file.channels))
        if total >= MOST // file.channels:
            raise UndecodableError(path, "its header states no length, expected one for so long a file")
    return total


def _segment(path: Path, rate: int, total: int, start: float, stop: float | None) -> tuple[int, int]:
    """First frame and end of a segment, in the file's own frames."""
    if total <= 0:
        raise UndecodableError(path, "holds no samples, expected sound")
    whole = f"expected it within the file's {total / rate} s"
    if start >= total / rate or (first := round(start * rate)) >= total:
        raise SegmentError(path, f"segment begins at {start} s, {whole}")
    if stop is None:
        return first, total
    if stop > total / rate + SLACK:
        raise SegmentError(path, f"segment ends at {stop} s, {whole}")
    return first, min(round(stop * rate), total)


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    if rate == RATE or not len(samples):
        return samples
    import soxr

    return soxr.resample(samples, rate, RATE)
