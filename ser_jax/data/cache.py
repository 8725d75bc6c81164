"""The columns of a prepared corpus beside its dataset, which later loading maps instead of reading records.

    DATA_DIR/DATABASE/NAME/cache-KEY.features   the features [N, T, F], float32
    DATA_DIR/DATABASE/NAME/cache-KEY.npz        the other columns, and a digest of the features

KEY is a digest of the dataset's files, their sizes and times. Both files may be deleted at any time. They are
written again if they are damaged (of the features only the size is checked), and if they cannot be written,
the corpus is loaded without them.
"""

import contextlib
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data.corpus import NUMBERS, TEXTS, is_corpus
from ser_jax.io import atomic_file

FORMAT = 3
OLD = 3600.0  # s; what was written to more recently may be another process's
_log = logging.getLogger(__name__)

Columns = dict[str, np.ndarray]
Shape = tuple[int, int, int]
Records = Iterator[tuple[dict[str, Any], np.ndarray]]


def through(folder: Path, shape: Shape, records: Callable[[], Records]) -> tuple[Columns, str]:
    """Return the columns of a prepared corpus, from its cache if there is one.

    Args:
      folder: of the dataset, DATA_DIR/DATABASE/NAME/VERSION.
      shape: (N, T, F).
      records: reads the dataset: yields, in the order of the ids, the other columns of an utterance and its
        features [T, F] float32. Raises no OSError. Called a second time if the cache cannot be written.
    Returns: (columns, of which `features` is read-only and usually mapped; digest of the features).
    Raises: what `records` raises; ValueError if the columns are not those of a corpus.
    """
    place = _place(folder)
    with contextlib.suppress(Exception):  # whatever is wrong with it, it is written again
        return _read(place, shape)
    try:
        _write(place, records())
        return _read(place, shape)
    except OSError as error:
        sentence = "%s: cannot be written (%s); loading this corpus stays slow"
        _log.warning(sentence, place, error.strerror or error)
    features = np.empty(shape, np.float32)
    found = _collect(records(), features.__setitem__)
    features.flags.writeable = False
    return _checked(found, features)


def _place(folder: Path) -> Path:
    """Return where the cache of a dataset lies, to which suffixes are added."""
    files = {file.name: file.stat() for file in sorted(folder.iterdir()) if file.is_file()}
    key = [FORMAT, folder.name, [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files.items()]]
    return folder.with_name(f"cache-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}")


def _read(place: Path, shape: Shape) -> tuple[Columns, str]:
    with place.with_suffix(".npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in (*TEXTS, *NUMBERS, "digest")}
    features = place.with_suffix(".features")
    if features.stat().st_size != 4 * math.prod(shape):
        raise ValueError("its features are not of this size")
    return _checked(found, np.memmap(features, np.float32, "r", shape=shape))


def _write(place: Path, records: Records) -> None:
    """Write the cache, by files and never by a map: a full disk answers a map with a signal."""
    for old in place.parent.glob("*cache-*"):  # of earlier datasets, or left by killed processes
        with contextlib.suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > OLD:
                old.unlink()
    # Synced, since the features have no checksum.
    with atomic_file(place.with_suffix(".features"), synced=True) as stream:
        found = _collect(records, lambda row, features: stream.write(features.data))
    with atomic_file(place.with_suffix(".npz"), synced=True) as stream:
        np.savez(stream, allow_pickle=False, **found)


def _collect(records: Records, put: Callable[[int, np.ndarray], object]) -> Columns:
    """Put each utterance's features into its row; return the other columns and the features' digest."""
    rows, digest = [], hashlib.sha256()
    for number, (facts, features) in enumerate(records):
        digest.update(features.data)
        put(number, features)
        rows.append(facts)
    columns = {key: np.array([row[key] for row in rows], NUMBERS.get(key)) for key in (*TEXTS, *NUMBERS)}
    return columns | {"digest": np.array(digest.hexdigest())}


def _checked(found: Columns, features: np.ndarray) -> tuple[Columns, str]:
    digest = str(found.pop("digest"))
    if not is_corpus(columns := found | {"features": features}):
        raise ValueError("its records are not what ser_jax writes")
    return columns, digest
