"""Read recordings: a file to 16 kHz mono samples, or an error that names the file.

libsndfile decodes most formats, FFmpeg the rest. Memory does not depend on the length that a header states:
sound is decoded in blocks, and only as much as requested. Opening a file decodes nothing, except the last
block of FLAC, to check that it exists.
"""

import contextlib
import dataclasses
import io
import logging
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import soundfile

from ser_jax.data import formats
from ser_jax.data.ffmpeg import WARM_UP, FFmpegFile
from ser_jax.errors import UserError
from ser_jax.features import OFFSET, RATE, SECONDS, WINDOW
from ser_jax.shapes import Float64, Shaped

SLACK = 1.0  # s by which a segment may exceed the file, where it is cut: annotations are rounded
RATES = (1_000, 768_000)  # Hz; lower rates hold no speech, no converter works at higher ones
BLOCK = 1 << 17  # samples of all channels decoded at a time, 1 MiB
LARGEST = float(np.finfo(np.float32).max)  # the power of larger samples overflows
FULL_SCALE = {"uint8": 128.0, "int8": 128.0, "int16": 32768.0, "int32": 2.0**31}
LOUDEST = 4.0  # times full scale; larger floating-point samples were integers, and never divided
DEAD = 1e-4  # of the power of the loudest channel: -40 dB
CANCELLED = 0.1  # of the power that the mean of uncorrelated channels keeps
QUIETEST = 1 << 16  # 16-bit samples that are kept in 32 bits lie below; 32-bit speech does not
MISSING = 128  # bytes of sound that may be missing: some writers count their own header as sound
ENDLESS = (0x7FFF0000, 0x80000000), (0xFFFF0000, 0xFFFFFFFF)  # sizes that writers to a pipe leave
UNSTATED = "its header states no length, read to the end"
MALFORMED = 3  # libsndfile's code of files that are too short for their header, among others
CHUNKS = 4096  # of a WAV file; a file of nothing but chunks would take hours
_PADDING = 2 * 1152  # frames an MP3 may lack, which encoders add and players drop
# What libsndfile logs of the file's size and of the sound's; of a cut or chained file; and of a length 0.
_SIZES = re.compile(
    r"(?m)^ *(?:RIFF|Riff size|riff|FORM|data|SSND|BODY|Data Size|Data length)"
    r" +:? *(\d+)(?: \(?should be (\d+)\)?)?$"
)
_CUT = re.compile(
    r"(?m)^(?:Ogg ?: )?(Junk after the last page|Last page lacks an end-of-stream bit"
    r"|Seems to be a truncated file)"
)
_NO_LENGTH = re.compile(r"(?m)^ *(?:data|SSND|BODY|Data Size) +: 0(?!x)|wasn't closed properly")
_BEHIND = re.compile(r"(?m)^data : 0\w*\n(\*\*\*|Have 0 marker)|^  Data Size   : 0$")
_STATES_FRAMES = re.compile(rb"(Xing|Info)\0\0\0[\1\3\5\7\x09\x0b\x0d\x0f]|VBRI")


class AudioError(UserError):
    """Audio that is missing, unreadable, or holds no usable sound; the message is "path: reason".

    Attributes:
      finding: its category in an audit: "missing", also if it cannot be opened; "undecodable", also if it is
        empty, truncated or inconsistent with its header; "non-finite" or "unscaled" samples; "too short" for
        one frame of features; "outside" for a segment that exceeds its file.
    """

    def __init__(self, path: Path | str, finding: str, reason: str):
        super().__init__(path, finding, reason)
        self.path, self.finding, self.reason = Path(path), finding, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


_log = logging.getLogger(__name__)


class _SoundFile(soundfile.SoundFile):
    """soundfile seeks to the current position after every read of a seekable file, which garbles MP3."""

    def seekable(self) -> bool:
        return False

    def go(self, first: int) -> None:
        """Make frame `first` the next to be read."""
        can_seek, start = super().seekable(), first
        if not can_seek or self.subtype.startswith("DWVW"):
            start = 0
        elif self.subtype.startswith("MPEG"):  # whose decoder is silent until it has what precedes
            start = max(0, first - round(WARM_UP * self.samplerate))
        if can_seek:
            self.seek(start)
        while start < first and (count := len(self.read(min(BLOCK // self.channels, first - start)))):
            start += count


class _Unclosed(io.FileIO):
    """A file whose header states a length of 0, read to its end: it seems to begin with `head`."""

    def __init__(self, path: Path, head: bytes):
        super().__init__(path)
        if head[:4] in (b".snd", b"dns."):
            self._head = head[:8] + b"\xff" * 4
        else:
            self._head = b"RIFX\0\0\0\x08" if head[:4] == b"RIFX" else b"RIFF\x08\0\0\0"

    def readinto(self, buffer: Any) -> int:
        place, count = self.tell(), super().readinto(buffer)
        part = self._head[place : place + count]
        buffer[: len(part)] = part
        return count


@dataclasses.dataclass(eq=False)
class Sound:
    """A segment of an open file."""

    path: Path
    rate: int  # Hz
    channels: int
    encoding: str  # container and coding of the samples, as in "WAV PCM_16"
    unstated: bool  # whether its header states no length, so that it is read to its end
    frames: int  # an estimate until `blocks` has come to the end if the file does not state its length
    _file: _SoundFile | FFmpegFile
    _first: int
    _counted: bool

    @property
    def seconds(self) -> float:
        """The segment's duration, s."""
        return self.frames / self.rate

    def blocks(self, limit: float | None = None) -> Iterator[np.ndarray]:
        """Yield at most `limit` s of the segment: [n, channels] float64 at the file's rate, in small blocks.

        Raises: AudioError.
        """
        wanted = self.frames if limit is None else min(self.frames, math.ceil(limit * self.rate))
        done, peak, error = 0, 0.0, partial(AudioError, self.path)
        is_int32 = self.encoding.split()[-1] == "PCM_32"
        for block in _decode(self.path, self._file, self._first, wanted):
            done += len(block)
            peak = max(peak, np.abs(block).max()) if is_int32 else 0.0
            yield scaled(block, error)
        if 0 < peak * FULL_SCALE["int32"] < QUIETEST:
            scaled(np.array([peak * FULL_SCALE["int32"]], np.int32), error)
        if done == wanted:
            return
        padding = _PADDING if "MPEG_LAYER" in self.encoding else 0
        if done == 0 or (self._counted and done + padding < wanted):
            promise = f"the {wanted} frames its header states"
            raise AudioError(self.path, "undecodable", f"ends after {done} of {promise}, expected them all")
        self.frames = done


@contextlib.contextmanager
def opened(path: Path | str, start: float = 0.0, stop: float | None = None) -> Iterator[Sound]:
    """Open one segment of a recording, to decode it in bounded memory; raise AudioError if it is unusable.

    Args:
      path: a file in one of `formats.FORMATS`, whatever its name's suffix.
      start, stop: the segment, s; it may exceed the file by `SLACK`, and `None` is the file's end.
    """
    path = Path(path)
    check(path)
    if not 0 <= start < (math.inf if stop is None else stop):
        raise AudioError(path, "outside", f"segment from {start} s to {stop} s, expected 0 <= start < end")
    with contextlib.ExitStack() as stack:
        with _decoding(path):
            form, head, counted = _check_header(path)
            file = stack.enter_context(_open(path, form))
            unstated = _NO_LENGTH.search(file.extra_info)
            if file.frames == 0 and (unstated := _BEHIND.search(file.extra_info)):
                file = stack.enter_context(_SoundFile(stack.enter_context(_Unclosed(path, head))))
            _check_sizes(file, head)
        rate, total = file.samplerate, file.frames
        if not RATES[0] <= rate <= RATES[1]:
            found = f"its header states {rate} samples a second, expected {RATES[0]} to {RATES[1]}"
            raise AudioError(path, "undecodable", found)
        if not 0 < total < 1 << 62:  # FLAC from a pipe states no length
            found = "states no length, expected one, as ffmpeg -i old.flac new.flac gives it"
            raise AudioError(path, "undecodable", found if total > 0 else "holds no samples, expected sound")
        seconds, first = total / rate, round(min(start, total / rate) * rate)
        expected = f"expected it within the file's {seconds} s"
        if first >= total:
            raise AudioError(path, "outside", f"segment begins at {start} s, {expected}")
        if stop is not None and stop > seconds + SLACK:
            raise AudioError(path, "outside", f"segment ends at {stop} s, {expected}")
        last = total if stop is None else min(round(stop * rate), total)
        if file.format == "FLAC":  # libsndfile does not compare its header with its size
            promise = f"its header states {total} frames, expected them all"
            try:
                complete = any(map(len, _decode(path, file, total - 1, 1)))
            except AudioError:
                complete = False
            if not complete:
                raise AudioError(path, "undecodable", f"truncated, or damaged at its end: {promise}")
        encoding = f"{file.format} {file.subtype}"
        counted = counted and isinstance(file, _SoundFile)
        yield Sound(path, rate, file.channels, encoding, bool(unstated), last - first, file, first, counted)


def scaled(
    samples: Shaped[np.ndarray, "..."], error: Callable[[str, str], UserError]
) -> Float64[np.ndarray, "..."]:
    """Return samples as floating-point numbers, full scale from -1 to 1; every input is scaled so.

    Signed integers of 8, 16 and 32 bits are divided by the magnitude of their lowest value; unsigned ones of
    8 bits, as in WAV files, first become signed. Floating-point numbers are returned as they are.

    Args:
      error: returns what to raise for a finding and its reason, as in `AudioError`.
    Raises: `error` for integers of other types (such as a Python list), which have no full scale; for 32-bit
      integers that use at most 16 bits; for floating-point numbers that are not finite, or above `LOUDEST`.
    """
    name, found = samples.dtype.name, f"{samples.dtype.name} samples"
    if (full := 1.0 if samples.dtype.kind == "f" else FULL_SCALE.get(name)) is not None:
        with np.errstate(invalid="ignore"):  # a signalling NaN
            values = samples.astype(np.float64) - (full if name == "uint8" else 0.0)
        peak = np.abs(values).max(initial=0.0)
        if not peak <= LARGEST:
            raise error("non-finite", f"{found} that are not finite, expected -1 to 1")
        if peak <= LOUDEST * full and not (name == "int32" and 0 < peak < QUIETEST):
            return values / full
        found += f" of up to {peak:g}"
    raise error("unscaled", f"{found} have no full scale, expected -1 to 1: give int16, or divide by 32768")


class Downmix:
    """Average the channels of consecutive blocks, and detect problems."""

    def __init__(self) -> None:
        self._count, self._sums, self._squares = 0, np.zeros(1), np.zeros(1)  # of the channels and their mean

    def __call__(self, block: Float64[np.ndarray, "n C"]) -> Float64[np.ndarray, " n"]:
        """Return the mean of the channels."""
        mono = block.mean(axis=1)
        every = np.column_stack([block, mono])
        self._count += len(block)
        self._sums, self._squares = self._sums + every.sum(axis=0), self._squares + (every**2).sum(axis=0)
        return mono

    def findings(self) -> list[tuple[str, str]]:
        """Return the problems of all blocks so far: lines of an audit, and reasons."""
        if not self._count:
            return []
        mean, square = self._sums / self._count, self._squares / self._count
        *power, mono = (square - mean**2).clip(0)
        dead = [str(i) for i, own in enumerate(power, 1) if own < DEAD * max(power)]
        found = []
        if abs(mean[-1]) > OFFSET * math.sqrt(square.max()):
            found.append(("offset", f"a constant offset of {mean[-1]:.2g} of full scale, which is removed"))
        if dead:
            which = f"channel{'s' * (len(dead) > 1)} {', '.join(dead)} of {len(power)}"
            found.append(
                ("dead channel", f"no sound in {which}, which makes the mean of the channels softer")
            )
        if mono * len(power) < CANCELLED * np.mean(power):
            left = f"{mono / np.mean(power):.1%} of their power is left in their mean"
            found.append(("cancelling", f"channels of opposite polarity cancel each other, {left}"))
        return found


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
    if sound.unstated:
        _log.warning("%s: %s", path, UNSTATED)
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
        reason = formats.IS_URL if formats.URL.match(str(path)) else "no such audio file"
        raise AudioError(path, "missing", reason) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise _not_opened(path, error) from error
    if not stat.S_ISREG(mode):  # opening a FIFO would wait for its writer forever
        raise AudioError(path, "missing", "not a regular file, expected an audio file")


def _not_opened(path: Path | str, error: Exception) -> AudioError:
    reason = getattr(error, "strerror", None) or error
    return AudioError(path, "missing", f"cannot be opened ({reason}), expected an audio file")


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turn errors of the checks below, of libsndfile and of the disk into errors that name the file."""
    try:
        yield
    except PermissionError as error:
        raise _not_opened(path, error) from error
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        text = str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)
        reason = f"not readable as audio ({text.removeprefix('Error : ').rstrip('.')})"
        raise AudioError(path, "undecodable", f"{reason}, {formats.EXPECTED}") from error


def _open(path: Path, form: formats.Format) -> _SoundFile | FFmpegFile:
    """Open a file by libsndfile, or by FFmpeg if libsndfile does not read its format or its coding.

    Raises: AudioError if FFmpeg is not installed; ValueError, OSError, SoundFileError.
    """
    refused: soundfile.LibsndfileError | None = None
    if form.libsndfile:
        try:  # by descriptor, so that neither an unusual name nor its suffix (".raw") matters
            return _SoundFile(os.open(path, os.O_RDONLY) if os.name == "posix" else path)
        except soundfile.LibsndfileError as error:
            if not form.demuxer or error.code == MALFORMED:
                raise
            refused = error
    try:
        return FFmpegFile(path, form)
    except ImportError as error:
        found = (
            f"not readable as audio ({refused.error_string.rstrip('.')})" if refused else f"is {form.name}"
        )
        expected = f"{formats.EXPECTED}; other formats need {formats.EXTRA}"
        raise AudioError(path, "undecodable", f"{found}, {expected}") from error
    except (ValueError, OSError) as error:
        raise refused or error from error


def _decode(path: Path, file: _SoundFile | FFmpegFile, first: int, wanted: int) -> Iterator[np.ndarray]:
    """Yield blocks [n, channels] from frame `first` on, `wanted` frames in all or fewer at the file's end."""
    with _decoding(path):
        file.go(first)
        while wanted > 0:
            block = file.read(min(BLOCK // file.channels, wanted), dtype="float64", always_2d=True)
            if not len(block):
                return
            wanted -= len(block)
            yield block


def _check_header(path: Path) -> tuple[formats.Format, bytes, bool]:
    """Return the format, the first bytes, and whether they state the length; refuse what must not be opened.

    Raises: AudioError; ValueError for what libsndfile must not open.
    """
    with path.open("rb") as file:
        head = file.read(formats.HEAD)
        form = formats.recognize(head)
        if form is None:
            raise AudioError(path, "undecodable", formats.stranger(head))
        if head[:2] in (b"RI", b"RF") and form.name == "WAV":
            _check_lists(file, "big" if head[:4] == b"RIFX" else "little")
        if form.name != "MP3":
            return form, head, form.counted
        tags = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        file.seek(tags if head[:3] == b"ID3" else 0)
        sound = file.read(4096)
        form = formats.recognize(sound) or form  # of what follows the tags
        return form, head, form.counted or _STATES_FRAMES.search(sound) is not None


def _check_lists(file: BinaryIO, order: Literal["little", "big"]) -> None:
    """Raise ValueError if a WAV file's list leads backwards, for which libsndfile hangs (its issue 1118)."""
    place, end = 12, 0  # of a chunk or a list's part; of the list
    for _ in range(CHUNKS):
        file.seek(place)
        name, size = file.read(4), int.from_bytes(file.read(4), order)
        if not name:
            return
        if place < end and name in (b"INFO", b"adtl"):
            place += 4
        elif place < end and name in (b"data", b"exif", bytes(4)):
            place = end
        elif place < end and size >= 1 << 31:
            raise ValueError(f"a part {name!r} of its list states {size} bytes")
        elif place >= end and name in (b"LIST", b"INFO"):
            place, end = place + 8, place + 8 + size + size % 2
        else:
            place += 8 + size + size % 2
    raise ValueError(f"it holds more than {CHUNKS} chunks")


def _check_sizes(file: _SoundFile | FFmpegFile, head: bytes) -> None:
    """Raise ValueError if a file ends before its sound, which libsndfile says in its log at most."""
    if (stated := re.search(rb"sample_count -i (\d+)", head)) and int(stated[1]) > file.frames:  # NIST
        raise ValueError(f"truncated: {file.frames} of the {int(stated[1])} frames its header states")
    if cut := _CUT.search(file.extra_info):
        raise ValueError(f"truncated, or several files in one: {cut[1].lower()}")
    if sizes := _SIZES.findall(file.extra_info):
        promised, found = sizes[0 if file.format == "W64" else -1]
        endless = any(low <= int(promised) <= high for low, high in ENDLESS)
        if found and int(promised) > int(found) + MISSING and not endless:
            raise ValueError(f"truncated: {found} bytes of the {promised} its header states")
