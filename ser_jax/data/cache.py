"""A prepared corpus as one file beside its dataset, which later loading maps instead of reading records.

    DATA_DIR/DATABASE/NAME/cache-VERSION.npy
        the features [N, T, F] in NumPy's format, their padding holes rather than blocks; after them the
        other columns as an .npz, with what all this is a copy of, and a checksum of everything else

The file may be deleted at any time. If it is stale or damaged it is written again (of the features only the
size is checked); if it cannot be written, the corpus is loaded without it.
"""

import contextlib
import hashlib
import io
import json
import logging
import math
import secrets
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data.corpus import NUMBERS, TEXTS, is_corpus
from ser_jax.io import atomic_replace

FORMAT = 2
CHECKSUM = 32  # bytes of a SHA-256
YOUNG = 3600.0  # s; a partial file written to more recently may be another process's
DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile,
    MemoryError, OverflowError,  # a header may promise more than there is
)  # fmt: skip
_log = logging.getLogger(__name__)

Columns = dict[str, np.ndarray]
Shape = tuple[int, int, int]
Records = Iterator[tuple[dict[str, Any], np.ndarray]]


def through(folder: Path, shape: Shape, records: Callable[[], Records]) -> tuple[Columns, str]:
    """Return the columns of a prepared corpus, from its cache if that is up to date.

    Args:
      folder: of the dataset, DATA_DIR/DATABASE/NAME/VERSION.
      shape: (N, T, F).
      records: reads the dataset: yields, in the order of the ids, the other columns of an utterance and its
        features [T, F] float32. Raises no OSError. Called a second time if the cache cannot be written.
    Returns: (columns, of which `features` is read-only and usually mapped; digest of the features).
    Raises: what `records` raises; ValueError if the columns are not those of a corpus.
    """
    place = _place(folder)
    for leftover in place.parent.glob(f".{place.name}.*"):  # of killed processes
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > YOUNG:
                leftover.unlink()
    if (found := read(folder, shape)) is not None:
        return found
    try:
        return _write(place, folder, shape, records())
    except OSError as error:
        _log.warning(
            "%s: cannot be written (%s); loading this corpus stays slow", place, error.strerror or error
        )
    features = np.zeros(shape, np.float32)
    columns, digest = _collect(records(), features.__setitem__)
    features.flags.writeable = False
    return _checked(columns, features), digest


def read(folder: Path, shape: Shape) -> tuple[Columns, str] | None:
    """Return what `through` does if the cache holds a copy of this very dataset, else None."""
    place, header = _place(folder), _header(shape)
    try:
        if not place.is_file():
            return None
        with place.open("rb") as file:
            if file.read(len(header)) != header:
                return None
            features = np.memmap(file, np.float32, "r", len(header), shape)
            file.seek(len(header) + features.nbytes)
            tail = file.read()
        stored = tail[:-CHECKSUM]
        if tail[-CHECKSUM:] != hashlib.sha256(header + stored).digest():
            return None
        with zipfile.ZipFile(io.BytesIO(stored)) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                return None  # so that nothing unpacks to more than it is
        with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
            columns = dict(arrays)
        key = json.loads(str(columns.pop("key")))
        if key != _key(folder) | {"features": str(key["features"])}:
            return None
        return _checked(columns, features), key["features"]
    except DAMAGE:
        return None


def _place(folder: Path) -> Path:
    return folder.with_name(f"cache-{folder.name}.npy")


def _header(shape: Shape) -> bytes:
    header = io.BytesIO()
    kind = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
    np.lib.format.write_array_header_1_0(header, kind | {"shape": shape})
    return header.getvalue()


def _key(folder: Path) -> dict[str, Any]:
    """Return what must not have changed: size and time of change, ns, of every file of the dataset."""
    found = {file.name: file.stat() for file in sorted(folder.iterdir()) if file.is_file()}
    source = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in found.items()}
    return {"format": FORMAT, "version": folder.name, "source": source}


def _write(place: Path, folder: Path, shape: Shape, records: Records) -> tuple[Columns, str]:
    """Write the cache, by a file and never by a map: a full disk answers a map with a signal."""
    header, key = _header(shape), _key(folder)
    size = 4 * math.prod(shape[1:])
    partial = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    with atomic_replace(place, partial, synced=True):  # synced, since the features have no checksum
        with partial.open("xb") as file:

            def put(row: int, features: np.ndarray) -> None:
                used = np.flatnonzero(features.view(np.uint32).any(axis=1))
                file.seek(len(header) + row * size)
                file.write(features[: used[-1] + 1 if len(used) else 0].tobytes())

            columns, digest = _collect(records, put)
            tail = io.BytesIO()
            text = np.array(json.dumps(key | {"features": digest}))
            np.savez(tail, allow_pickle=False, key=text, **columns)
            file.seek(0)
            file.write(header)
            file.seek(len(header) + shape[0] * size)
            file.write(tail.getvalue() + hashlib.sha256(header + tail.getvalue()).digest())
        columns = _checked(columns, np.load(partial, mmap_mode="r", allow_pickle=False))
    return columns, digest


def _collect(records: Records, put: Callable[[int, np.ndarray], None]) -> tuple[Columns, str]:
    """Put each utterance's features into its row; return the other columns and the features' digest."""
    rows, digest = [], hashlib.sha256()
    for number, (facts, features) in enumerate(records):
        digest.update(features.data)
        put(number, features)
        rows.append(facts)
    columns = {key: np.array([row[key] for row in rows], NUMBERS.get(key)) for key in (*TEXTS, *NUMBERS)}
    return columns, digest.hexdigest()


def _checked(columns: Columns, features: np.ndarray) -> Columns:
    columns = columns | {"features": features}
    if not is_corpus(columns):
        raise ValueError("its records are not what ser_jax writes")
    return columns
