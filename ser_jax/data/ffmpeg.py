"""Decode with FFmpeg, by PyAV (extra `formats`), what libsndfile does not read.

A file is given to the demuxer that its first bytes call for and to no other, so that none is taken for a
playlist. What it refers to is not opened, and pictures are not decoded.
"""

import contextlib
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data.formats import Format

WARM_UP = 0.5  # s that are decoded before a segment, since most codings depend on what precedes
MISSING = 0.1  # s by which the sound may be shorter than stated: encoders add silence, players drop it


class FFmpegFile:
    """The first sound of a file, with those attributes and methods of `soundfile.SoundFile` that are used.

    Its length in `frames` follows from the times of all packets, whatever the header states.

    Raises: ImportError without PyAV; ValueError or OSError for what cannot be read.
    """

    extra_info = ""

    def __init__(self, path: Path, form: Format):
        self._path, self._form = path, form
        self._stack = contextlib.ExitStack()
        with _errors(), self._stack:
            stream = self._open()
            codec, first, last = stream.codec_context, None, 0
            if not codec.sample_rate or not codec.channels:
                raise ValueError("it states no rate or no channels")
            self.format, self.subtype = form.name, codec.codec.canonical_name.upper()
            self.samplerate, self.channels = codec.sample_rate, codec.channels
            origin = None  # when the first decoded frame begins
            for packet in stream.container.demux(stream):
                if packet.pts is not None:
                    first = packet.pts if first is None else first
                    last = max(last, packet.pts + (packet.duration or 0))
                if origin is None and (frames := packet.decode()):
                    origin = frames[0].pts or 0
            # What precedes 0 is dropped by the decoder.
            self.frames = round((last - max(0, first or 0)) * stream.time_base * self.samplerate)
            if origin is None or self.frames <= 0:
                raise ValueError("it holds no sound")
            self._origin = origin
            stated = stream.duration and stream.duration * stream.time_base
            if stated is None and len(stream.container.streams) == 1:
                stated = stream.container.duration and stream.container.duration / 1e6
            found = self.frames / self.samplerate
            if form.counted and stated and found < stated - MISSING:
                raise ValueError(f"truncated: {found:.3f} s of the {float(stated):.3f} s its header states")

    def __enter__(self) -> "FFmpegFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def go(self, first: int) -> None:
        """Make frame `first` the next to be read."""
        self._stack.close()
        with _errors():
            self._blocks = self._decode(self._open(), first)
        self._block = np.empty((0, self.channels))

    def read(self, frames: int, **_: Any) -> np.ndarray:
        """Return the next 1 to `frames` frames as [n, channels] float64; none at the end."""
        with _errors():
            while not len(self._block):
                if (block := next(self._blocks, None)) is None:
                    return self._block
                self._block = np.ascontiguousarray(block)
        block, self._block = self._block[:frames], self._block[frames:]
        return block

    def _open(self) -> Any:
        import av

        file = self._stack.enter_context(_File(self._path))
        options = {"protocol_whitelist": "", "codec_whitelist": _decoders()}
        container = self._stack.enter_context(
            av.open(file, format=self._form.demuxer, container_options=options, metadata_errors="ignore")
        )
        if not container.streams.audio:
            raise ValueError("it holds no sound")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise ValueError("FFmpeg has no decoder of its sound")
        stream.codec_context.thread_count = 1
        return stream

    def _decode(self, stream: Any, first: int) -> Iterator[np.ndarray]:
        """Yield blocks [n, channels] from frame `first` on."""
        import av

        resampler = av.AudioResampler("dblp", stream.codec_context.layout, self.samplerate)
        place = None if first else 0
        scale = stream.time_base * self.samplerate
        begin = self._origin + (first - WARM_UP * self.samplerate) / scale
        for packet in stream.container.demux(stream):
            if packet.pts is not None and packet.pts < begin:
                continue
            for frame in packet.decode():
                if place is None:
                    place = round(((frame.pts or 0) - self._origin) * scale)
                for part in resampler.resample(frame):
                    yield part.to_ndarray().T[max(0, first - place) :]
                    place += part.samples


class _File(io.FileIO):
    """Read in small pieces, however large a header claims that a part is."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 1 << 16)) or b""


@functools.cache
def _decoders() -> str:
    """Return FFmpeg's decoders of sound, as the option `codec_whitelist` takes them."""
    import av

    found = []
    for name in sorted(av.codecs_available):
        with contextlib.suppress(av.codec.codec.UnknownCodecError):  # it is an encoder
            if av.Codec(name, "r").type == "audio":
                found.append(name)
    return ",".join(found)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn FFmpeg's errors into ValueError."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from error
