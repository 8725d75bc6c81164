"""A prepared corpus as arrays on disk, beside its dataset: the second loading maps what the first one read.

    DATA_DIR/BUILDER/NAME/1.0.0/          the dataset
    DATA_DIR/BUILDER/NAME/cache-1.0.0/    logmel.npy   [N, T, F], mapped; its padding is holes, not blocks
                                          facts.npz    every other column
                                          key.json     of which files all this is a copy, and checksums

It may be deleted at any time. Whatever is stale or damaged is built anew (of the log-mels only the size is
looked at); where nothing can be written, the corpus is loaded without it.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FORMAT = 1
LOGMEL, FACTS, KEY, LOCK = "logmel.npy", "facts.npz", "key.json", "lock"
MAPPED = "logmel"  # the column that is mapped; the others fit into memory
HEADER = 128  # bytes, of an .npy file of three dimensions
YOUNG = 60.0  # s; a folder just made may not be locked yet
_log = logging.getLogger(__name__)

Columns = dict[str, np.ndarray]


class Rows:
    """The log-mels of a corpus while they are read, in any order: on disk, or in memory where disk fails.

    Written by `write`, never through a map: a full disk answers a write with an error, a map with a signal.
    """

    def __init__(self, path: Path | None, shape: tuple[int, int, int]):
        """Makes room for [N, T, F] float32, all zero: in a new file, or in memory where `path` is None."""
        self.failure: OSError | None = None
        self._path, self._shape = path, shape
        self._file: io.FileIO | None = None
        self._array: np.ndarray | None = None
        if path is None:
            self._array = np.zeros(shape, np.float32)
            return
        header = io.BytesIO()
        facts = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(header, facts | {"shape": shape})
        try:
            self._file = path.open("xb+", buffering=0)
            _write_at(self._file, 0, memoryview(header.getvalue()))
            self._file.truncate(HEADER + self._bytes * shape[0])
        except OSError as error:
            self._retreat(error)

    @property
    def _bytes(self) -> int:
        return self._shape[1] * self._shape[2] * 4

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
        if self._file is not None:
            sounding = np.flatnonzero(features.view(np.uint32).any(axis=1))
            written = features[: sounding[-1] + 1 if len(sounding) else 0].tobytes()
            try:
                _write_at(self._file, HEADER + row * self._bytes, memoryview(written))
                return
            except OSError as error:
                self._retreat(error)
        self._array[row, : len(features)] = features

    def array(self) -> np.ndarray:
        """All rows [N, T, F], read-only; mapped where they are on disk. Nothing can be put afterwards."""
        if self._file is not None:
            try:
                os.fsync(self._file.fileno())
                array = np.load(self._path, mmap_mode="r", allow_pickle=False)
            except OSError as error:
                self._retreat(error)
            else:
                self.close()
                return array
        self._array.flags.writeable = False
        return self._array

    def close(self) -> None:
        """Closes the file; a map of it stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _retreat(self, error: OSError) -> None:
        """Goes on in memory, with what the file holds already."""
        self.failure = error
        self._array = np.zeros(self._shape, np.float32)
        if self._file is None:
            return
        self._file.seek(HEADER)
        rest = memoryview(self._array).cast("B")
        while len(rest) and (count := self._file.readinto(rest)):
            rest = rest[count:]
        self.close()


def through(
    folder: Path, build: Callable[[Callable[[tuple[int, int, int]], Rows]], tuple[Columns, str]]
) -> tuple[Columns, str]:
    """Columns and fingerprint of a prepared corpus: from its cache, or built and kept for the next time.

    Args:
      folder: of the dataset, DATA_DIR/BUILDER/NAME/VERSION.
      build: reads the dataset. It is given a function that makes the `Rows` of a shape [N, T, F], calls it
        once, puts every utterance's log-mels into the row where they belong, and returns (all columns, among
        them `logmel`, which is what `Rows.array` returns, and none of them objects; the fingerprint).
    Returns: what `build` returns, `logmel` read-only and usually mapped.
    Raises: what `build` raises; never because of the cache.
    """
    home = folder.with_name(f"cache-{folder.name}")
    _sweep(home)
    found = read(folder)
    if found is not None:
        return found
    source = _listing(folder)
    with _workplace(home) as place:
        made: list[Rows] = []

        def rows(shape: tuple[int, int, int]) -> Rows:
            made.append(Rows(None if place is None else place / LOGMEL, shape))
            return made[-1]

        try:
            columns, fingerprint = build(rows)
        finally:
            for one in made:
                one.close()
        if place is not None:
            try:
                if made[-1].failure is not None:
                    raise made[-1].failure
                _finish(place, columns, fingerprint, folder.name, source)
                _publish(place, home, folder)
            except OSError as error:
                _say(home, error)
    return columns, fingerprint


def read(folder: Path) -> tuple[Columns, str] | None:
    """What the cache of a prepared corpus holds; None where there is none, or not of this very dataset.

    Args:
      folder: of the dataset, DATA_DIR/BUILDER/NAME/VERSION.
    Returns: (columns, `logmel` mapped read-only; the corpus's fingerprint).
    """
    home = folder.with_name(f"cache-{folder.name}")
    try:
        key = json.loads((home / KEY).read_text())
        if key != _key(home, folder.name, _listing(folder), key["fingerprint"]):
            return None
        with np.load(home / FACTS, allow_pickle=False) as facts:
            columns = dict(facts)
        columns[MAPPED] = np.load(home / LOGMEL, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return columns, key["fingerprint"]


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


def _finish(
    place: Path, columns: Mapping[str, np.ndarray], fingerprint: str, version: str, source: dict[str, Any]
) -> None:
    """Adds what is missing beside the log-mels, the key last."""
    facts = {name: values for name, values in columns.items() if name != MAPPED}
    with (place / FACTS).open("xb") as file:
        np.savez(file, allow_pickle=False, **facts)
        file.flush()
        os.fsync(file.fileno())
    key = _key(place, version, source, fingerprint)
    with (place / KEY).open("x") as file:
        json.dump(key, file, indent=2)
        file.flush()
        os.fsync(file.fileno())


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
        aside = _beside(home)
        aside.mkdir()
        with contextlib.suppress(FileNotFoundError):
            home.rename(aside / "stale")
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _workplace(home: Path) -> Iterator[Path | None]:
    """A new, locked folder beside `home`, gone at the end unless published; None where it cannot be made."""
    place = _beside(home)
    try:
        place.mkdir()
    except OSError as error:
        _say(home, error)
        yield None
        return
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        with contextlib.suppress(OSError):  # a file system without locks: nobody will sweep there
            stack.enter_context(_locked(place))
        yield place
        with contextlib.suppress(OSError):
            (home / LOCK).unlink()


def _beside(home: Path) -> Path:
    return home.with_name(f".{home.name}.{secrets.token_hex(8)}")


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Locks a folder while this process lives.

    Raises: OSError where another process has, or it cannot be locked.
    """
    with (place / LOCK).open("ab") as file:
        if fcntl is None:
            raise OSError("no locks on this system")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _sweep(home: Path) -> None:
    """Removes what killed processes left: folders that nobody has locked and that were not just made."""
    for leftover in home.parent.glob(f".{home.name}.*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > YOUNG:
                with _locked(leftover):
                    shutil.rmtree(leftover, ignore_errors=True)


def _write_at(file: io.FileIO, place: int, content: memoryview) -> None:
    file.seek(place)
    while len(content):
        content = content[file.write(content) :]


def _say(home: Path, error: OSError) -> None:
    reason = error.strerror or error
    _log.warning("%s: cannot be written (%s); loading this corpus stays slow", home, reason)
