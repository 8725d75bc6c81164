"""A prepared corpus as arrays on disk, beside its dataset: the second loading maps what the first one read.

    DATA_DIR/DATABASE/NAME/1.0.0/          the dataset
    DATA_DIR/DATABASE/NAME/cache-1.0.0/    logmel.npy   [N, T, F], mapped; its padding is holes, not blocks
                                           facts.npz    every other column
                                           key.json     of which files all this is a copy, and checksums

It may be deleted at any time. Whatever is stale or damaged is built anew (of the log-mels only the size is
looked at); where nothing can be written, the corpus is loaded without it.
"""

import contextlib
import functools
import hashlib
import io
import json
import logging
import math
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data import locks
from ser_jax.data.corpus import is_corpus

FORMAT = 1
LOGMEL, FACTS, KEY = "logmel.npy", "facts.npz", "key.json"
MAPPED = "logmel"  # the column that is mapped; the others fit into memory
DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile,
    MemoryError, OverflowError,  # a header may promise more than there is
)  # fmt: skip
HEADER = 128  # bytes, of an .npy file of three dimensions
YOUNG = 3600.0  # s; a folder just made may not be locked yet, and few locks reach from machine to machine
_log = logging.getLogger(__name__)

Columns = dict[str, np.ndarray]


class _Unwritable(BaseException):
    """An OSError of the cache's own, which no `except Exception` may take for one of the dataset's."""


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Unwritable(error.strerror or error) from error


class Rows:
    """The log-mels of a corpus while they are read, in any order.

    Written by `write`, never through a map: a full disk answers a write with an error, a map with a signal.
    """

    def __init__(self, file: io.FileIO | None, shape: tuple[int, int, int]):
        """Makes room for [N, T, F] float32, all zero: in a new file, or in memory where that is None."""
        self._place = np.zeros(shape, np.float32) if file is None else file
        self._shape = shape

    def put(self, row: int, features: np.ndarray) -> None:
        """Keeps the features [t, F] float32 of one row, t <= T; zeros follow them.

        Raises: ValueError where they do not belong into these rows.
        """
        features = np.ascontiguousarray(features)
        count, frames, bands = self._shape
        fits = features.dtype == np.float32 and features.shape == (min(len(features), frames), bands)
        if not (fits and 0 <= row < count):
            raise ValueError(
                f"{features.dtype} {features.shape} for row {row}, expected float32 {self._shape}"
            )
        if isinstance(self._place, np.ndarray):
            self._place[row, : len(features)] = features
            return
        sounding = np.flatnonzero(features.view(np.uint32).any(axis=1))
        written = features[: sounding[-1] + 1 if len(sounding) else 0].tobytes()
        with _writing():
            _write_at(self._place, HEADER + row * frames * bands * 4, memoryview(written))

    def array(self) -> np.ndarray:
        """All rows [N, T, F], read-only; mapped where they are on disk. Nothing may be put afterwards."""
        if isinstance(self._place, np.ndarray):
            self._place.flags.writeable = False
            return self._place
        header = io.BytesIO()
        facts = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(header, facts | {"shape": self._shape})
        with _writing():
            _write_at(self._place, 0, memoryview(header.getvalue()))
            self._place.truncate(HEADER + 4 * math.prod(self._shape))
            os.fsync(self._place.fileno())  # the only file without a checksum
            return np.load(self._place.name, mmap_mode="r", allow_pickle=False)


Build = Callable[[Callable[[tuple[int, int, int]], Rows]], tuple[Columns, str]]


def through(folder: Path, build: Build) -> tuple[Columns, str]:
    """Columns and fingerprint of a prepared corpus: from its cache, or built and kept for the next time.

    Args:
      folder: of the dataset, DATA_DIR/DATABASE/NAME/VERSION.
      build: reads the dataset. It is given a function that makes the `Rows` of a shape [N, T, F], calls it
        once, puts every utterance's log-mels into the row where they belong, and returns (all columns, among
        them `logmel`, which is what `Rows.array` returns, and none of them objects; the fingerprint). Where
        what it puts cannot be written, it is called once more, with rows in memory.
    Returns: what `build` returns, `logmel` read-only and usually mapped.
    Raises: what `build` raises; never because of the cache.
    """
    home = folder.with_name(f"cache-{folder.name}")
    _sweep(home)
    found = read(folder)
    if found is not None:
        return found
    try:
        return _built_and_kept(home, folder, build)
    except _Unwritable as error:
        _log.warning("%s: cannot be written (%s); loading this corpus stays slow", home, error)
    return build(functools.partial(Rows, None))


def read(folder: Path) -> tuple[Columns, str] | None:
    """What the cache of a prepared corpus holds; None where there is none, or not of this very dataset.

    Args:
      folder: as in `through`.
    Returns: (columns, `logmel` mapped read-only; the corpus's fingerprint).
    """
    home = folder.with_name(f"cache-{folder.name}")
    try:
        key = json.loads((home / KEY).read_text())
        if key != _key(home, folder.name, _listing(folder), key["fingerprint"]):
            return None
        with zipfile.ZipFile(home / FACTS) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                return None  # so that nothing unpacks to more than it is
        with np.load(home / FACTS, allow_pickle=False) as facts:
            columns = dict(facts)
        columns[MAPPED] = np.load(home / LOGMEL, mmap_mode="r", allow_pickle=False)
        whole = isinstance(key["fingerprint"], str) and is_corpus(columns)
    except DAMAGE:
        return None
    return (columns, key["fingerprint"]) if whole else None


def _key(home: Path, version: str, source: dict[str, list[int]], fingerprint: str) -> dict[str, Any]:
    """What the files of a cache must agree with."""
    facts = (home / FACTS).read_bytes()
    with (home / LOGMEL).open("rb") as file:
        header = file.read(HEADER)
    return {
        "format": FORMAT,
        "version": version,
        "source": source,
        "sizes": {name: (home / name).stat().st_size for name in (LOGMEL, FACTS)},
        "sha256": hashlib.sha256(fingerprint.encode() + header + facts).hexdigest(),
        "fingerprint": fingerprint,
    }


def _listing(folder: Path) -> dict[str, list[int]]:
    """Name to size and time of change, ns, of every file of a dataset."""
    found = {file.name: file.stat() for file in sorted(folder.iterdir()) if file.is_file()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in found.items()}


def _built_and_kept(home: Path, folder: Path, build: Build) -> tuple[Columns, str]:
    with contextlib.ExitStack() as stack:
        with _writing():
            source = _listing(folder)
            place = stack.enter_context(_workplace(home))
            file = stack.enter_context((place / LOGMEL).open("xb", buffering=0))
        columns, fingerprint = build(functools.partial(Rows, file))
        facts = {name: values for name, values in columns.items() if name != MAPPED}
        with _writing():
            file.close()  # may have an error to tell, too
            np.savez(place / FACTS, allow_pickle=False, **facts)
            (place / KEY).write_text(json.dumps(_key(place, folder.name, source, fingerprint), indent=2))
            _publish(place, home, folder)
    return columns, fingerprint


def _publish(place: Path, home: Path, folder: Path) -> None:
    """Puts a finished folder where readers look, unless another process was first."""
    for _ in range(10):  # others may publish in between, each once
        if read(folder) is not None:
            return
        try:
            place.rename(home)
            return
        except OSError:
            if not home.exists():
                raise
        with _workplace(home) as aside, contextlib.suppress(FileNotFoundError):
            home.rename(aside / "stale")


@contextlib.contextmanager
def _workplace(home: Path) -> Iterator[Path]:
    """A new, locked folder beside `home`, gone at the end unless published."""
    place = home.with_name(f".{home.name}.{secrets.token_hex(8)}")
    place.mkdir()
    try:
        with locks.held(place):
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sweep(home: Path) -> None:
    """Removes what killed processes left: folders that are not young and known to be nobody's."""
    for leftover in home.parent.glob(f".{home.name}.*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > YOUNG:
                with locks.held(leftover) as locked:
                    if locked:  # without locks nobody knows
                        shutil.rmtree(leftover, ignore_errors=True)


def _write_at(file: io.FileIO, place: int, content: memoryview) -> None:
    file.seek(place)
    while len(content):
        content = content[file.write(content) :]
