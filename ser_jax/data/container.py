"""What a file says about itself, checked before libsndfile believes it.

libsndfile (1.2.2) quietly shortens a truncated WAV, guesses formats from a name's ending, and never returns
from a LIST chunk whose parts have sizes that lead backwards (its issue 1118). So a container is recognised
here by its first bytes, and its chunks are walked: everything a header promises must lie in the file.
"""

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

if TYPE_CHECKING:
    from soundfile import SoundFile

Chunk = tuple[bytes, int, int]  # name, first byte, bytes promised
MISSING = 128  # bytes of sound that may be missing: some writers count their own header as sound
CHUNKS = 4096  # of a file; each costs a read, and a long file of nothing but headers would cost hours
PAGE = 65307  # bytes, the longest page of Ogg (RFC 3533)
SEARCHED = 1 << 18  # bytes of Ogg at a time
_FIRST_PAGE = re.compile(rb"OggS\0[\2\6]")  # of a stream; with 6 it is also its last
_W64 = bytes.fromhex("72696666 2e91cf11 a5d628db 04c10000")


class MalformedError(ValueError):
    """A header that contradicts its file; the text says how."""


@dataclasses.dataclass(frozen=True)
class Container:
    """What `examine` found.

    Attributes:
      name: "WAV", "RF64", "W64", "AIFF", "FLAC", "OGG" or "MP3".
      counted: whether the file states how long it is; of an MP3 without a Xing header the length is only
        estimated from the first frames' bit rate, and may be wrong by any factor.
    """

    name: str
    counted: bool = True


def examine(path: Path) -> Container:
    """Recognises a container and checks the lengths its header promises.

    Reads a few kilobytes, wherever they lie (an Ogg file whole); decodes nothing.

    Raises: MalformedError; OSError.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if not size:
            raise MalformedError("it is empty")
        start = _behind_tags(file)
        file.seek(start)
        head = file.read(16)
        if head[:4] in _RIFF and head[8:12] == b"WAVE" and not start:
            _check_sound(_described(file, size, _RIFF[head[:4]]), size, b"data")
            return Container("RF64" if head[:4] == b"RF64" else "WAV")
        if head == _W64 and not start:
            _check_sound(_walk(file, size, 40, _LAYOUT_W64), size, b"data")
            return Container("W64")
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC") and not start:
            _check_sound(_walk(file, size, 12, _LAYOUT_BIG), size, b"SSND")
            return Container("AIFF")
        if head[:4] == b"fLaC":
            return Container("FLAC")
        if head[:4] == b"OggS":
            _check_last_page(file, size)
            _check_one_link(file, start)
            return Container("OGG")
        if head[:1] == b"\xff" and len(head) > 3 and head[1] >= 0xE0:
            file.seek(start)
            return Container("MP3", _counts_frames(file.read(4096)))
    if head[4:8] == b"ftyp":
        raise MalformedError("it is an MP4 or M4A, of which ffmpeg -i speech.m4a speech.wav makes a WAV")
    raise MalformedError(f"it begins with {head[:8]!r}")


@contextlib.contextmanager
def sound_file(path: Path) -> "Iterator[SoundFile]":
    """Opens a file that `examine` passed, as a `soundfile.SoundFile` for reading from front to back."""
    if os.name != "posix":
        with _forward()(path) as file:
            yield file
        return
    # Nameless, so that neither a foreign name nor its ending (".raw") can come between.
    with path.open("rb", buffering=0) as raw, _forward()(raw.fileno(), closefd=False) as file:
        yield file


@functools.cache
def _forward() -> "type[SoundFile]":
    import soundfile

    class Forward(soundfile.SoundFile):
        """soundfile seeks to where it stands after every read of a seekable file, which garbles MP3."""

        def seekable(self) -> bool:
            return False

    return Forward


@dataclasses.dataclass(frozen=True)
class _Layout:
    """How a family of containers writes a chunk's head.

    Attributes:
      ident, width: bytes of the name and of the size.
      align: what a chunk's beginning is a multiple of, bytes.
      order: of the size's bytes.
      own: bytes of the head that the size counts.
    """

    ident: int = 4
    width: int = 4
    align: int = 2
    order: Literal["little", "big"] = "little"
    own: int = 0


_LAYOUT_BIG = _Layout(order="big")
_LAYOUT_W64 = _Layout(ident=16, width=8, align=8, own=24)
_RIFF = {b"RIFF": _Layout(), b"RF64": _Layout(), b"RIFX": _LAYOUT_BIG}


def _walk(file: BinaryIO, size: int, place: int, layout: _Layout) -> Iterator[Chunk]:
    """(name, first byte, bytes promised) of each chunk, up to the first that has no head or no name."""
    for _ in range(CHUNKS):
        file.seek(place)
        head = file.read(layout.ident + layout.width)
        name = head[:4]
        if len(head) < layout.ident + layout.width or not (name.isascii() and name.decode().isprintable()):
            return
        promised = int.from_bytes(head[layout.ident :], layout.order) - layout.own
        if promised < 0:
            raise MalformedError(f"its chunk {name!r} promises {promised} bytes")
        place += len(head)
        yield name, place, promised
        place += promised
        place += -place % layout.align
        if place >= size:
            return
    raise MalformedError(f"it holds more than {CHUNKS} chunks")


def _check_sound(chunks: Iterable[Chunk], size: int, sound: bytes) -> None:
    """Refuses a file whose sound is missing or cut, and chunks that reach past it."""
    found = False
    for name, first, promised in chunks:
        left = size - first
        if name == sound and not found:
            found = True
            if promised > left + MISSING and not is_endless(promised):
                raise MalformedError(f"truncated: {left} bytes of the {promised} its header promises")
        elif promised > left and (not found or promised >= 1 << 31):
            raise MalformedError(f"its chunk {name!r} promises {promised} bytes where {left} are left")
    if not found:
        raise MalformedError(f"it has no chunk {sound!r}, which would hold the sound")


def is_endless(promised: int) -> bool:
    """Whether a size is what a writer to a pipe leaves: ffmpeg 2^32 - 1, sox and arecord almost 2^31."""
    return 0x7FFF0000 <= promised <= 0x80000000 or 0xFFFF0000 <= promised <= 0xFFFFFFFF


def _described(file: BinaryIO, size: int, layout: _Layout) -> Iterator[Chunk]:
    """A RIFF file's chunks; RF64 keeps the size of the sound elsewhere, and lists have parts of their own."""
    long = None
    for name, first, promised in _walk(file, size, 12, layout):
        file.seek(first)
        if name == b"ds64" and long is None:
            long = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"data" and promised == 0xFFFFFFFF and long is not None:
            promised = long
        elif name in (b"LIST", b"INFO"):
            _check_list(file, first, min(first + promised, size), layout)
        elif name == b"cue " and 24 * int.from_bytes(file.read(4), layout.order) > promised:
            raise MalformedError("its chunk b'cue ' counts more marks than it holds")
        yield name, first, promised


def _check_list(file: BinaryIO, place: int, end: int, layout: _Layout) -> None:
    """Refuses a size that libsndfile would take for a step backwards, and walk in circles."""
    for _ in range(CHUNKS):
        file.seek(place)
        name, number = file.read(4), file.read(4)
        if place + 8 > end or name in (b"data", b"exif", bytes(4)):
            return
        if name in (b"INFO", b"adtl"):
            place += 4
            continue
        promised = int.from_bytes(number, layout.order)
        if promised >= 1 << 31:
            raise MalformedError(f"a part {name!r} of its list promises {promised} bytes")
        place += 8 + promised + promised % 2
    raise MalformedError(f"a list of it holds more than {CHUNKS} parts")


def _behind_tags(file: BinaryIO) -> int:
    """Where the sound's own container begins, behind ID3 tags (version 2)."""
    place = 0
    for _ in range(8):
        file.seek(place)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        length = functools.reduce(lambda number, byte: number << 7 | byte & 0x7F, head[6:], 0)
        place += 10 + length + (10 if head[5] & 0x10 else 0)
    return place


def _check_last_page(file: BinaryIO, size: int) -> None:
    """An Ogg file's length is written on its last page alone, so a cut page means a cut file."""
    file.seek(max(0, size - 2 * PAGE))
    tail = file.read()
    page = tail[tail.rfind(b"OggS\0") :]
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        raise MalformedError("truncated: its last page is cut")


def _check_one_link(file: BinaryIO, place: int) -> None:
    """Refuses Ogg files put one behind the other, of which libsndfile reads the first (its issue 277).

    Every page is looked at: files written in the same second may bear the same serial number.
    """
    for _ in range(CHUNKS):  # streams that begin together are heard together
        file.seek(place)
        head = file.read(27)
        if len(head) < 27 or not _FIRST_PAGE.match(head):
            break
        place += 27 + head[26] + sum(file.read(head[26]))
    file.seek(place)
    seen = b""
    while block := file.read(SEARCHED):
        seen = seen[-5:] + block
        if found := _FIRST_PAGE.search(seen):
            begins = file.tell() - len(seen) + found.start()
            raise MalformedError(f"another Ogg file begins in it at byte {begins}")


def _counts_frames(head: bytes) -> bool:
    """Whether an MP3's first frame is a Xing (LAME: Info) or VBRI header with a number of frames."""
    for name in (b"Xing", b"Info"):
        place = head.find(name, 4, 64)
        if place > 0:
            return bool(int.from_bytes(head[place + 4 : place + 8], "big") & 1)
    return head.find(b"VBRI", 4, 64) > 0
