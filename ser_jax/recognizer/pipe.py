"""A WAV file that arrives through a pipe, whose writer may not know how long it becomes.

Its samples are integers of 8 bits (unsigned, as WAV has them), 16, 24 or 32, or float32 or float64, in WAV's
plain or extensible form.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from ser_jax.data.audio import RATES, is_endless
from ser_jax.errors import UserError
from ser_jax.features.logmel import RATE, WINDOW, Filters
from ser_jax.recognizer.hearing import Heard, as_sound, from_blocks

BLOCKS = 20  # per second of sound, at which it is read
SKIPPED = 1 << 24  # bytes of a header's other chunks; pictures stand there
# By WAV's format and bits.
CODINGS = {(1, 8): "u1", (1, 16): "<i2", (1, 24): "i3", (1, 32): "<i4", (3, 32): "<f4", (3, 64): "<f8"}
ENDLESS_SIZE = 1 << 62  # bytes


class StreamError(UserError):
    """A stream or a microphone that cannot be listened to."""


def hear(stream: BinaryIO, filters: Filters) -> Heard:
    """Hears a stream to its end.

    Args:
      stream: see `read_header`.
      filters: of `logmel.filterbank()`.
    Raises: StreamError, also where it ends before the size that its header states; SoundError.
    """
    coding = read_header(stream)
    heard = from_blocks(coding.rate, samples(stream, coding), filters)
    found, stated = round(heard.seconds * coding.rate), coding.size // coding.width
    if coding.size < ENDLESS_SIZE and found < stated:
        raise StreamError(
            f"the stream ends after {found} of the {stated} frames its header promises, expected them all"
        )
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
      size: bytes of sound that follow at most; `ENDLESS_SIZE` where the header states none.
    """

    rate: int
    channels: int
    kind: str
    size: int = ENDLESS_SIZE

    @property
    def width(self) -> int:
        """Bytes of a sample of all channels."""
        return self.channels * int(self.kind[-1])


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
            return coding if size == 0 or is_endless(size) else coding._replace(size=size)
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


def _usable(form: int, channels: int, rate: int, _: int, width: int, bits: int, extended: int) -> Coding:
    kind = CODINGS.get((extended if form == 0xFFFE else form, bits))
    if kind is None or not 1 <= channels <= 64 or width != channels * bits // 8:
        raise StreamError(
            f"the stream holds {channels} channels of {bits} bits in {width} bytes, WAV's format {form:#x}, "
            "expected 1 to 64 of 8, 16, 24 or 32 bits (PCM) or of float32 or float64"
        )
    return headerless(rate)._replace(channels=channels, kind=kind)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    content = b""
    while len(content) < count:
        if not (part := stream.read(count - len(content))):
            raise StreamError("the stream ends before the first sample, expected WAV with sound")
        content += part
    return content


def alone(stream: BinaryIO) -> bytes:
    """The first bytes of samples without a header.

    Raises: StreamError where there is one: it would be heard, at a rate that is not its own.
    """
    if (begun := stream.read(4)) == b"RIFF":
        raise StreamError(
            "the stream is a WAV file, which says its own rate, expected samples alone, or no --rate"
        )
    return begun


def samples(stream: BinaryIO, coding: Coding, begun: bytes = b"") -> Iterator[np.ndarray]:
    """[n] float64 as they arrive, at most a twentieth of a second at a time.

    What is left of a sample at the end is dropped.

    Args:
      stream: behind its header.
      coding: of its samples.
      begun: what was read of them already.
    Raises: SoundError where they are not finite.
    """
    read = getattr(stream, "read1", stream.read)  # what is there, not all that was asked for
    left, most, rest = coding.size, coding.rate // BLOCKS * coding.width, begun
    while block := read(min(most, left)):
        left -= len(block)
        whole = (rest + block)[: (len(rest) + len(block)) // coding.width * coding.width]
        rest = (rest + block)[len(whole) :]
        if coding.kind == "i3":  # becomes the upper three bytes of four
            found = np.pad(np.frombuffer(whole, "u1").reshape(-1, 3), ((0, 0), (1, 0))).view("<i4")
        elif coding.kind == "u1":  # silence is 128
            found = (np.frombuffer(whole, "u1") ^ 0x80).view("i1")
        else:
            found = np.frombuffer(whole, coding.kind)
        yield as_sound(found.reshape(-1, coding.channels))
