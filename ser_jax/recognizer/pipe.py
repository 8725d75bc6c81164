"""A WAV file that arrives through a pipe, whose writer may not know how long it becomes."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from ser_jax.data.audio import RATES
from ser_jax.data.logmel import RATE, WINDOW
from ser_jax.errors import UserError
from ser_jax.recognizer.hearing import Heard, as_sound, gathered

BLOCKS = 20  # per second of sound, at which it is read
SKIPPED = 1 << 24  # bytes of a header's other chunks; pictures stand there
CODINGS = {(1, 16): "<i2", (1, 24): "i3", (1, 32): "<i4", (3, 32): "<f4"}  # by WAV's format and bits
# Sizes that writers to a pipe leave: some 0, sox and arecord almost 2^31, ffmpeg 2^32 - 1.
ENDLESS = (range(1), range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0x100000000))


class StreamError(UserError):
    """A stream or a microphone that cannot be listened to."""


def listen(stream: BinaryIO, filters) -> Heard:
    """Hears a stream to its end.

    Args:
      stream: see `read_header`.
      filters: of `logmel.filterbank()`.
    Raises: StreamError, SoundError.
    """
    coding = read_header(stream)
    heard = gathered(coding.rate, samples(stream, coding), filters)
    if not len(heard.logmel):
        raise StreamError(
            f"the stream holds {heard.seconds:.4f} s of sound, expected at least {WINDOW / RATE} s"
        )
    return heard


class Coding(NamedTuple):
    """How samples stand in a stream.

    Attributes:
      rate: Hz.
      channels: how many.
      kind: NumPy's type of each, or "i3" for 24 bits.
      size: bytes of sound that follow at most.
    """

    rate: int
    channels: int
    kind: str
    size: int = 1 << 62


def read_header(stream: BinaryIO) -> Coding:
    """Reads a WAV file up to its first sample.

    Raises: StreamError.
    """
    head, coding, left = _exactly(stream, 12), None, SKIPPED
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise StreamError(f"the stream begins with {head!r}, expected WAV, or samples whose rate is given")
    while True:
        name, size = struct.unpack("<4sI", _exactly(stream, 8))
        if name == b"data" and coding is not None:
            return coding if any(size in sizes for sizes in ENDLESS) else coding._replace(size=size)
        left -= 8 + size
        if name == b"data" or left < 0:
            raise StreamError(f"the stream's chunk {name!r} of {size} bytes, expected its format, then sound")
        content = _exactly(stream, size + size % 2)
        if name == b"fmt ":
            coding = _usable(*struct.unpack_from("<HHIIHH8xH", content + bytes(26)))


def headerless(rate: int) -> Coding:
    """Samples without a header: signed, 16 bits, little-endian, one channel.

    Raises: StreamError where the rate is none that speech is left at.
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise StreamError(f"{rate} samples a second, expected {RATES[0]} to {RATES[1]}")
    return Coding(rate, 1, "<i2")


def _usable(form: int, channels: int, rate: int, _, width: int, bits: int, extended: int) -> Coding:
    kind = CODINGS.get((extended if form == 0xFFFE else form, bits))
    if kind is None or not 1 <= channels <= 64 or width != channels * bits // 8:
        raise StreamError(
            f"the stream holds {channels} channels of {bits} bits in {width} bytes, WAV's format {form:#x}, "
            "expected 1 to 64 of 16, 24 or 32 bits (PCM) or of float32"
        )
    return headerless(rate)._replace(channels=channels, kind=kind)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    content = b""
    while len(content) < count:
        if not (part := stream.read(count - len(content))):
            raise StreamError("the stream ends before the first sample, expected WAV with sound")
        content += part
    return content


def samples(stream: BinaryIO, coding: Coding) -> Iterator[np.ndarray]:
    """[n] float64 as they arrive, at most a twentieth of a second at a time.

    What is left of a sample at the end is dropped.

    Raises: SoundError where they are not finite.
    """
    read = getattr(stream, "read1", stream.read)  # what is there, not all that was asked for
    width = coding.channels * int(coding.kind[-1])
    left, most, rest = coding.size, coding.rate // BLOCKS * width, b""
    while block := read(min(most, left)):
        left -= len(block)
        whole = (rest + block)[: (len(rest) + len(block)) // width * width]
        rest = (rest + block)[len(whole) :]
        if coding.kind == "i3":  # becomes the upper three bytes of four
            found = np.pad(np.frombuffer(whole, "u1").reshape(-1, 3), ((0, 0), (1, 0))).view("<i4")
        else:
            found = np.frombuffer(whole, coding.kind)
        yield as_sound(found.reshape(-1, coding.channels))
