"""What a file's headers promise, checked before libsndfile trusts them.

libsndfile (1.2.2) silently shortens a truncated WAV, guesses formats from a name's suffix, and never returns
from a LIST chunk whose parts have sizes that lead backwards (its issue 1118). So a container is recognised
here by its first bytes, and its chunks are walked: everything a header promises must be in the file.
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

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
    """A header that contradicts its file; the text tells how."""


class Container(NamedTuple):
    """A recognised container."""

    name: str  # "WAV", "RF64", "W64", "AIFF", "FLAC", "OGG" or "MP3"
    counted: bool = True  # whether the file states its length; libsndfile guesses that of some MP3s


class _Layout(NamedTuple):
    """How a family of containers writes a chunk's head."""

    ident: int = 4  # bytes of the name
    width: int = 4  # bytes of the size
    align: int = 2  # bytes; a chunk begins at a multiple of it
    order: Literal["little", "big"] = "little"  # of the size's bytes
    own: int = 0  # bytes of the head that the size counts


_BIG = _Layout(order="big")
_LAYOUT_W64 = _Layout(ident=16, width=8, align=8, own=24)
_RIFF = {b"RIFF": _Layout(), b"RF64": _Layout(), b"RIFX": _BIG}


def examine(path: Path) -> Container:
    """Recognise a container and check the lengths its header promises, decoding nothing.

    Raises: MalformedError; OSError.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if not size:
            raise MalformedError("it is empty")
        start = _after_tags(file)
        file.seek(start)
        head = file.read(16)
        if head[:4] in _RIFF and head[8:12] == b"WAVE" and not start:
            _check_sound(_riff_chunks(file, size, _RIFF[head[:4]]), size, b"data")
            return Container("RF64" if head[:4] == b"RF64" else "WAV")
        if head == _W64 and not start:
            _check_sound(_chunks(file, size, 40, _LAYOUT_W64), size, b"data")
            return Container("W64")
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC") and not start:
            _check_sound(_chunks(file, size, 12, _BIG), size, b"SSND")
            return Container("AIFF")
        if head[:4] == b"fLaC":
            return Container("FLAC")
        if head[:4] == b"OggS":
            _check_ogg(file, start, size)
            return Container("OGG")
        if head[:1] == b"\xff" and len(head) > 3 and head[1] >= 0xE0:
            file.seek(start)
            return Container("MP3", _counts_frames(file.read(4096)))
    if head[4:8] == b"ftyp":
        raise MalformedError("it is an MP4 or M4A, of which ffmpeg -i speech.m4a speech.wav makes a WAV")
    raise MalformedError(f"it begins with {head[:8]!r}")


@contextlib.contextmanager
def sound_file(path: Path) -> "Iterator[SoundFile]":
    """Open a file that `examine` accepted, as a `soundfile.SoundFile` to be read from front to back."""
    if os.name != "posix":
        with _forward()(path) as file:
            yield file
        return
    # By descriptor, so that neither an unusual name nor its suffix (".raw") matters.
    with path.open("rb", buffering=0) as raw, _forward()(raw.fileno(), closefd=False) as file:
        yield file


@functools.cache
def _forward() -> "type[SoundFile]":
    import soundfile

    class Forward(soundfile.SoundFile):
        """soundfile seeks to the current position after every read of a seekable file, which garbles MP3."""

        def seekable(self) -> bool:
            return False

    return Forward


def is_endless(promised: int) -> bool:
    """Return whether a writer to a pipe leaves this size: ffmpeg 2^32 - 1, sox and arecord almost 2^31."""
    return 0x7FFF0000 <= promised <= 0x80000000 or 0xFFFF0000 <= promised <= 0xFFFFFFFF


def _check_sound(chunks: Iterable[Chunk], size: int, sound: bytes) -> None:
    """Refuse a file whose sound is missing or cut, and chunks that exceed it."""
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


def _chunks(file: BinaryIO, size: int, place: int, layout: _Layout) -> Iterator[Chunk]:
    """Yield the chunks from a byte on, up to the first that has no head or no name."""
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


def _riff_chunks(file: BinaryIO, size: int, layout: _Layout) -> Iterator[Chunk]:
    """Yield a RIFF file's chunks; RF64 states the sound's size elsewhere, and lists have parts."""
    long = None
    for name, first, promised in _chunks(file, size, 12, layout):
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
    """Refuse a size that libsndfile would take for a step backwards, and loop."""
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


def _after_tags(file: BinaryIO) -> int:
    """Return where the sound's own container begins, after ID3 tags (version 2)."""
    place = 0
    for _ in range(8):
        file.seek(place)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        length = functools.reduce(lambda number, byte: number << 7 | byte & 0x7F, head[6:], 0)
        place += 10 + length + (10 if head[5] & 0x10 else 0)
    return place


def _check_ogg(file: BinaryIO, place: int, size: int) -> None:
    """Refuse a cut last page, which alone states the length, and concatenated Ogg files.

    Of the latter libsndfile reads the first (its issue 277); their serial numbers may be the same.
    """
    file.seek(max(0, size - 2 * PAGE))
    tail = file.read()
    page = tail[tail.rfind(b"OggS\0") :]
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        raise MalformedError("truncated: its last page is cut")
    for _ in range(CHUNKS):  # streams that begin together belong together
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
    """Return whether an MP3's first frame is a Xing (LAME: Info) or VBRI header with a number of frames."""
    for name in (b"Xing", b"Info"):
        place = head.find(name, 4, 64)
        if place > 0:
            return bool(int.from_bytes(head[place + 4 : place + 8], "big") & 1)
    return head.find(b"VBRI", 4, 64) > 0
