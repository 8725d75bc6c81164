"""Prepared corpora on disk: find, check and load them.

    DATA_DIR/DATABASE/NAME/VERSION/             a tfds dataset, and `metadata.json`
    DATA_DIR/DATABASE/NAME/cache-KEY.npz        its columns but the features, and a digest of the features
    DATA_DIR/DATABASE/NAME/cache-KEY.features   its features [N, T, F], which loading maps
    DATA_DIR/DATABASE/NAME/labels.json          the labels of a corpus prepared without its recordings
    DATA_DIR/DATABASE/NAME-FRONTEND/...         the same of another front end

Of the datasets with one name, the first prepared contains the facts; the others contain only `OWN` columns
and features, and are matched by id.

Only the records and two descriptions of a dataset are read. Classes and files named in tfds's descriptions,
which may come from an untrusted source, are neither imported nor opened. KEY is a digest of the names, sizes
and times of the dataset's files. A cache may be deleted at any time. A damaged cache is rewritten (only the
size of the features is checked); if a cache cannot be written, the corpus is loaded without it.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import shlex
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data.corpus import LABELS, NUMBERS, TEXTS, Corpus, Facts, columns, is_corpus
from ser_jax.data.databases import DATABASES
from ser_jax.errors import UserError, meant, no_folder
from ser_jax.features import Frontend, LogMel, changes, describe, feature_type, pad, tag
from ser_jax.features.joined import Joined
from ser_jax.io import atomic_file, write_json

VERSION = "2.0.0"
LABELS_FILE = "labels.json"
LOGMEL = LogMel()
FLOAT32 = np.dtype(np.float32)
BATCH = 256  # records read at a time
OLD = 3600.0  # s; a younger file may be another process's
OWN = ("id", "frames")  # columns that the records of every dataset hold
# Keys of metadata.json, beside the records; and `facts`, whether these hold them, which they do by default.
NOTES = {"builder", "synthetic", "thresholds", "scales", "frontend", "source_fingerprint", "left_out"}
SOURCE = ("builder", "source_fingerprint")  # those that tell what a corpus was read from
_log = logging.getLogger(__name__)

Records = Iterator[tuple[dict[str, Any], np.ndarray]]


class UnknownCorpusError(UserError):
    """A corpus that was not prepared, or not with the requested front end."""


class DamagedCorpusError(UserError):
    """A prepared corpus that cannot be read."""


def data_dir_or_default(data_dir: Path | str | None) -> Path:
    """Return the folder of prepared corpora: as given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    place = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(os.path.expanduser(place))  # noqa: PTH111  Path's own raises an error without a home


def prepared(data_dir: Path) -> dict[str, Path]:
    """Return the folder of every corpus prepared in `data_dir`, by its name and its front end's tag."""
    return {
        info.parent.parent.name: info.parent
        for database in DATABASES
        for info in sorted(data_dir.glob(f"{database}/*/[0-9]*/dataset_info.json"))
    }


def metadata(folder: Path) -> dict[str, Any]:
    """Return what `prepare` wrote beside the records; raise DamagedCorpusError if it cannot be read."""
    if folder.name != VERSION:
        raise _damaged(folder, f"its format is {folder.name}, expected {VERSION}")
    with _reading(folder):
        notes = json.loads((folder / "metadata.json").read_text())
        if absent := NOTES - set(notes):
            raise LookupError(absent)
        return notes


def check(folder: Path) -> None:
    """Open every file of a prepared corpus; raise DamagedCorpusError if one is damaged or its facts gone."""
    _holder(folder)
    with _reading(folder):
        _source(folder)


def holder(name: str, data_dir: Path) -> Path | None:
    """Return the dataset of a name, of any front end, whose records hold the facts; None if there is none.

    Raises: DamagedCorpusError.
    """
    each = (folder for tagged, folder in prepared(data_dir).items() if tagged.partition("-")[0] == name)
    return next((folder for folder in each if metadata(folder).get("facts", True)), None)


def _holder(folder: Path) -> Path:
    """Return the dataset that holds the facts of a dataset, which may be itself.

    Raises: DamagedCorpusError if it is gone, or was prepared from another source.
    """
    notes = metadata(folder)
    if notes.get("facts", True):
        return folder
    name = folder.parent.name.partition("-")[0]
    there = holder(name, folder.parents[2])
    if there is None:
        again = f"prepare {name} with that front end again, or delete this folder and prepare it again"
        raise DamagedCorpusError(f"{folder}: its facts, stored with another front end, are gone; {again}")
    if any(metadata(there)[key] != notes[key] for key in SOURCE):
        raise _damaged(folder, f"its facts are in {there}, of another source or prepared after it changed")
    return there


def load(name: str, data_dir: Path | str | None = None, features: Frontend = LOGMEL) -> Corpus:
    """Load a corpus, sorted by id, by the name, folder and front end that were given to `prepare`.

    From the second time on, features are memory-mapped from a cache. Features of joined front ends are joined
    in memory.

    Raises: UnknownCorpusError with the command that prepares it; DamagedCorpusError.
    """
    root = data_dir_or_default(data_dir)
    if isinstance(features, Joined):
        return _join([load(name, root, part) for part in features.parts], features)
    folder = prepared(root).get(name + tag(features))
    if folder is None:
        raise UnknownCorpusError(_unknown(name, root, features))
    if (found := metadata(folder)["frontend"]) != describe(features):
        raise _damaged(folder, f"its features are of {found}, expected {describe(features)}")
    return _load(name, folder)


def _join(parts: list[Corpus], features: Joined) -> Corpus:
    """Return a corpus with joined features, from the same corpus with those of each part."""
    first = parts[0]
    for one, part in zip(parts, features.parts, strict=True):
        if one.id.tolist() != first.id.tolist():
            both = (
                f"{len(first):,} utterances with {features.parts[0].name} and {len(one):,} with {part.name}"
            )
            again = "expected the same; delete their folders and prepare both again"
            raise DamagedCorpusError(f"{first.name} has {both}, {again}")
    x = np.zeros((len(first), features.frames, features.dims), feature_type(describe(features)))
    frames = np.zeros(len(first), np.int32)
    for row in range(len(first)):
        own = [one.features[row, : one.frames[row]] for one in parts]
        x[row], frames[row] = pad(features.join(own), features.frames)
    shared = json.dumps([describe(features), *(one.fingerprint for one in parts)])
    return dataclasses.replace(
        first,
        frontend=describe(features),
        fingerprint=hashlib.sha256(shared.encode()).hexdigest(),
        features=x,
        frames=frames,
    )


def facts(name: str, data_dir: Path | str | None = None) -> Facts:
    """Load the facts of a corpus, prepared with any front end or with labels only; see `load`."""
    root = data_dir_or_default(data_dir)
    if (folder := holder(name, root)) is not None:
        return _load(name, folder)
    file = _labels_only(root).get(name)
    if file is None:
        return load(name, data_dir)  # which raises
    with _reading(file):
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = sorted(content["utterances"], key=lambda row: row["id"])
        return Facts(name=name, **_shared(content), **columns(rows))


def write_labels(folder: Path, facts: Facts) -> Path:
    """Write the labels of a corpus into its folder, atomically, for `facts` to load; return the file."""
    rows = zip(*(getattr(facts, key).tolist() for key in LABELS), strict=True)
    utterances = [{key: None if x != x else x for key, x in zip(LABELS, row, strict=True)} for row in rows]
    write_json(folder / LABELS_FILE, facts.metadata | {"utterances": utterances})
    return folder / LABELS_FILE


def record_features(frontend: dict[str, Any] | None, names: Collection[str] = (*TEXTS, *NUMBERS)) -> Any:
    """Return the tfds features of a record.

    Args:
      frontend: the front end of its features, as `describe` described it; None for a record without.
      names: its other columns.
    """
    import tensorflow_datasets as tfds

    found = {name: tfds.features.Text() for name in TEXTS if name in names}
    for name, dtype in NUMBERS.items():
        if name not in names:
            continue
        # A tf.train.Example holds single precision; a threshold can fall between a double and its rounding.
        as_bytes = tfds.features.Tensor(shape=(), dtype=dtype, encoding="bytes")
        found[name] = tfds.features.Scalar(dtype) if np.issubdtype(dtype, np.integer) else as_bytes
    if frontend is not None:
        shape = frontend["frames"], frontend["dims"]
        found["features"] = tfds.features.Tensor(shape=shape, dtype=feature_type(frontend), encoding="bytes")
    return tfds.features.FeaturesDict(found)


def through_cache(
    folder: Path,
    shape: tuple[int, int, int],
    records: Callable[[], Records],
    dtype: np.dtype = FLOAT32,
) -> tuple[dict[str, Any], str]:
    """Return the columns of a prepared corpus, with features of shape (N, T, F), from its cache if possible.

    Args:
      records: reads the dataset: yields, in the order of the ids, the other columns of an utterance and its
        features [T, F] `dtype`. Raises no OSError. Called a second time if the cache cannot be written.
    Returns: (columns, of which `features` is read-only and usually mapped; digest of the features).
    Raises: what `records` raises; ValueError if the columns are not those of a corpus.
    """
    files = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    key = [3, folder.name, [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]]
    place = folder.with_name(f"cache-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}")
    mapped = place.with_suffix(".features")

    def read() -> tuple[dict[str, np.ndarray], str]:
        with place.with_suffix(".npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in (*TEXTS, *NUMBERS, "digest")}
        if mapped.stat().st_size != dtype.itemsize * math.prod(shape):
            raise ValueError("its features are not of this size")
        return _checked(found, np.memmap(mapped, dtype, "r", shape=shape))

    with contextlib.suppress(Exception):  # it is written again if anything is wrong with it
        return read()
    try:
        for old in folder.parent.glob("*cache-*"):  # of earlier datasets, or left by killed processes
            if time.time() - old.stat().st_mtime > OLD:
                old.unlink()
        # Written as files and not through a map, since a full disk kills who writes to a map.
        with atomic_file(mapped, synced=True) as stream:
            found = _collect(records(), lambda row, features: stream.write(features.data))
        with atomic_file(place.with_suffix(".npz"), synced=True) as stream:
            np.savez(stream, allow_pickle=False, **found)
        return read()
    except OSError as error:
        sentence = "%s: cannot be written (%s), so that loading this corpus stays slow"
        _log.warning(sentence, place, error.strerror or error)
    features = np.empty(shape, dtype)
    found = _collect(records(), features.__setitem__)
    features.flags.writeable = False
    return _checked(found, features)


def _collect(records: Records, put: Callable[[int, np.ndarray], object]) -> dict[str, np.ndarray]:
    """Put each utterance's features into its row; return the other columns and the features' digest."""
    rows, digest = [], hashlib.sha256()
    for number, (row, features) in enumerate(records):
        digest.update(features.data)
        put(number, features)
        rows.append(row)
    return columns(rows, (*TEXTS, *NUMBERS)) | {"digest": np.array(digest.hexdigest())}


def _checked(found: dict[str, np.ndarray], features: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    digest = str(found.pop("digest"))
    if not is_corpus(corpus := found | {"features": features}):
        raise ValueError("its records are not what ser_jax writes")
    return corpus, digest


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn errors of reading a corpus into a DamagedCorpusError; tfds, protobuf and etils have many kinds."""
    try:
        yield
    except (MemoryError, ImportError, UserError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise DamagedCorpusError(f"{folder}: cannot be read ({error.strerror or error})") from error
        raise _damaged(folder, type(error).__name__) from error


def _damaged(folder: Path, reason: str) -> DamagedCorpusError:
    return DamagedCorpusError(f"{folder}: cannot be read ({reason}); delete this folder and prepare it again")


def _lengths(folder: Path) -> list[int]:
    """Return the number of records in each shard."""
    (split,) = json.loads((folder / "dataset_info.json").read_text())["splits"]
    return [int(length) for length in split["shardLengths"]]


def _source(folder: Path) -> Any:
    """Open all shards, as a sequence of serialised records."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    files, lengths = sorted(folder.glob("*.array_record-*")), _lengths(folder)
    source = ArrayRecordDataSource(files)
    if len(files) != len(lengths) or len(source) != sum(lengths):
        raise LookupError("records")
    return source


def _rows(folder: Path, features: Any) -> Iterator[dict[str, Any]]:
    """Yield the columns of every record that the tfds features name."""
    source = _source(folder)
    for start in range(0, len(source), BATCH):
        for record in source.__getitems__(range(start, min(start + BATCH, len(source)))):
            yield features.deserialize_example_np(record)


def _load(name: str, folder: Path) -> Corpus:
    there = _holder(folder)
    notes = metadata(there) | {key: metadata(folder)[key] for key in ("frontend", "left_out")}
    with _reading(folder):
        shape = (sum(_lengths(folder)), notes["frontend"]["frames"], notes["frontend"]["dims"])

        def records() -> Records:
            facts: dict[bytes, dict[str, Any]] = {}
            if there != folder:
                with _reading(there):
                    facts = {row["id"]: row for row in _rows(there, record_features(None))}
            with _reading(folder):
                names = OWN if facts else (*TEXTS, *NUMBERS)
                for row in _rows(folder, record_features(notes["frontend"], names)):
                    if facts:
                        row = facts[row["id"]] | row
                    texts = {key: row[key].decode() for key in TEXTS}
                    yield texts | {key: row[key] for key in NUMBERS}, row["features"]

        found, features = through_cache(folder, shape, records, feature_type(notes["frontend"]))
        shared = [notes["thresholds"], notes["scales"], notes["frontend"], features]
        fingerprint = hashlib.sha256(json.dumps(shared, sort_keys=True).encode())
        for key in TEXTS:
            fingerprint.update(json.dumps(found[key].tolist()).encode())
        for key in NUMBERS:
            fingerprint.update(found[key].data)
        return Corpus(
            name=name,
            left_out=len(notes["left_out"]),
            frontend=notes["frontend"],
            fingerprint=fingerprint.hexdigest(),
            **_shared(notes),
            **found,
        )


def _shared(notes: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `Facts` that all utterances share, from what `Facts.metadata` stored."""
    scales = {dimension: (low, high) for dimension, (low, high) in notes["scales"].items()}
    shared = {key: notes[key] for key in ("synthetic", "thresholds")}
    return {"database": notes["builder"], **shared, "scales": scales}


def _labels_only(data_dir: Path) -> dict[str, Path]:
    """Return name to file of every corpus of which only the labels are stored."""
    files = (file for database in DATABASES for file in data_dir.glob(f"{database}/*/{LABELS_FILE}"))
    return {file.parent.name: file for file in files}


def _unknown(name: str, root: Path, features: Frontend) -> str:
    """Return the message for a corpus that does not exist, with the command that prepares it if possible."""
    present, labels = prepared(root), _labels_only(root)
    known = {tagged.partition("-")[0]: place for tagged, place in (labels | present).items()}
    found = ", ".join(sorted([*present, *(f"{other} (labels only)" for other in labels)])) or "none"
    sentence = f"no corpus {name + tag(features)!r} in {root}, found "
    sentence += found if root.is_dir() else no_folder(root)
    if name not in known and (hint := meant(name, known)):
        return sentence + hint
    if "," in name:
        return f"{sentence}, expected names separated by spaces"
    database = name if name in DATABASES else "DATABASE"
    database = known[name].parent.parent.name if name in known else database
    words = ["ser-jax", "prepare", database, "--source", "SOURCE"]
    words += [] if name == database else ["--name", name]
    if features != LOGMEL:
        words += ["--features", describe(features).get("class", features.name)]
    for field, value in changes(features).items():
        words.append(f"--features.{field.replace('_', '-')}")
        words += map(str, value if isinstance(value, list | tuple) else [value])
    return f"{sentence}; prepare it with: {shlex.join([*words, '--data-dir', str(root)])}"
