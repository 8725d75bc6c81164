"""Prepared corpora on disk: finding, checking and loading them.

Of a dataset only its records and three descriptions of its own are read. The classes and files that tfds's
descriptions name, of which a dataset from somebody else may name any, are neither imported nor opened.
"""

import contextlib
import functools
import hashlib
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data import cache, labels_only
from ser_jax.data.corpus import NUMBERS, TEXTS, Corpus, Facts
from ser_jax.data.databases import DATABASES
from ser_jax.errors import UserError, meant, no_folder
from ser_jax.features import Frontend, LogMel, changes, describe, tag

VERSION = "2.0.0"
LOGMEL = LogMel()
BATCH = 256  # records read at a time
# Keys of metadata.json, beside the records.
NOTES = {"builder", "synthetic", "thresholds", "scales", "frontend", "source_fingerprint", "left_out"}


class UnknownCorpusError(UserError):
    """A name under which nothing was prepared, or not with the requested front end."""


class DamagedCorpusError(UserError):
    """A prepared corpus that cannot be read."""


def data_dir_or_default(data_dir: Path | str | None) -> Path:
    """Return the folder of prepared corpora: as given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    place = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    try:
        return place.expanduser()
    except RuntimeError:
        raise UnknownCorpusError(
            f"{place}: there is no such user or home, expected a folder; give --data-dir"
        ) from None


def prepared(data_dir: Path) -> dict[str, Path]:
    """Return the folder of every corpus prepared in `data_dir`, by its name and its front end's tag."""
    return {
        info.parent.parent.name: info.parent
        for database in DATABASES
        for info in sorted(data_dir.glob(f"{database}/*/[0-9]*/dataset_info.json"))
    }


def metadata(folder: Path) -> dict[str, Any]:
    """Return what `prepare` wrote beside the records.

    Raises: DamagedCorpusError.
    """
    if folder.name != VERSION:
        raise _damaged(folder, f"its format is {folder.name}, expected {VERSION}")
    with _reading(folder):
        notes = json.loads((folder / "metadata.json").read_text())
        if missing := NOTES - set(notes):
            raise LookupError(missing)
        return notes


def check(folder: Path) -> None:
    """Open every file of a prepared corpus.

    Raises: DamagedCorpusError.
    """
    metadata(folder)
    with _reading(folder):
        _source(folder)


def columns(frames: int, dims: int) -> Any:
    """Return the tfds features of a record."""
    import tensorflow_datasets as tfds

    found = {name: tfds.features.Text() for name in TEXTS}
    for name, dtype in NUMBERS.items():
        # A tf.train.Example holds single precision; a threshold can fall between a double and its rounding.
        whole = np.issubdtype(dtype, np.integer)
        as_bytes = tfds.features.Tensor(shape=(), dtype=dtype, encoding="bytes")
        found[name] = tfds.features.Scalar(dtype) if whole else as_bytes
    found["features"] = tfds.features.Tensor(shape=(frames, dims), dtype=np.float32, encoding="bytes")
    return tfds.features.FeaturesDict(found)


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn errors of reading a corpus into a DamagedCorpusError; tfds, protobuf, etils have many kinds."""
    try:
        yield
    except (MemoryError, ImportError, UserError):
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise _damaged(folder, type(error).__name__) from error
        raise DamagedCorpusError(f"{folder}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
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


def _records(folder: Path, shape: tuple[int, int, int]) -> cache.Records:
    """Yield the facts and the features of each record."""
    with _reading(folder):
        source, features = _source(folder), columns(*shape[1:])
        for start in range(0, shape[0], BATCH):
            for record in source.__getitems__(range(start, min(start + BATCH, shape[0]))):
                row = features.deserialize_example_np(record)
                texts = {key: row[key].decode() for key in TEXTS}
                yield texts | {key: row[key] for key in NUMBERS}, row["features"]


def load(name: str, data_dir: Path | str | None = None, features: Frontend = LOGMEL) -> Corpus:
    """Load a prepared corpus, sorted by id; after the first time its features are mapped from a cache.

    Args:
      name: as given to `prepare`.
      data_dir: where it was prepared; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      features: the front end it was prepared with.
    Raises: UnknownCorpusError with the command that prepares it; DamagedCorpusError.
    """
    root = data_dir_or_default(data_dir)
    folder = prepared(root).get(name + tag(features))
    if folder is None:
        raise UnknownCorpusError(_unknown(name, root, features))
    if (found := metadata(folder)["frontend"]) != describe(features):
        raise _damaged(folder, f"its features are of {found}, expected {describe(features)}")
    return _load(name, folder)


def facts(name: str, data_dir: Path | str | None = None) -> Facts:
    """Load what is known of a corpus without its features, prepared with any front end or labels only.

    Args and Raises: as `load`.
    """
    root = data_dir_or_default(data_dir)
    for tagged, folder in prepared(root).items():
        if tagged.partition("-")[0] == name:
            return _load(name, folder)
    if (file := labels_only.found(root).get(name)) is None:
        return load(name, data_dir)  # which raises
    with _reading(file):
        return labels_only.read(name, file)


def _load(name: str, folder: Path) -> Corpus:
    notes = metadata(folder)
    with _reading(folder):
        shape = (sum(_lengths(folder)), notes["frontend"]["frames"], notes["frontend"]["dims"])
        found, features = cache.through(folder, shape, functools.partial(_records, folder, shape))
        shared = [notes["thresholds"], notes["scales"], notes["frontend"], features]
        fingerprint = hashlib.sha256(json.dumps(shared, sort_keys=True).encode())
        for key in TEXTS:
            fingerprint.update(json.dumps(found[key].tolist()).encode())
        for key in NUMBERS:
            fingerprint.update(found[key].data)
        return Corpus(
            name=name,
            database=notes["builder"],
            synthetic=notes["synthetic"],
            left_out=len(notes["left_out"]),
            thresholds=notes["thresholds"],
            scales={dimension: (low, high) for dimension, (low, high) in notes["scales"].items()},
            frontend=notes["frontend"],
            fingerprint=fingerprint.hexdigest(),
            **found,
        )


def _unknown(name: str, root: Path, features: Frontend) -> str:
    """Return the sentence for a corpus that is not there."""
    present, labels = prepared(root), labels_only.found(root)
    known = {tagged.partition("-")[0]: place for tagged, place in (labels | present).items()}
    found = ", ".join(sorted([*present, *(f"{other} (labels only)" for other in labels)])) or "none"
    sentence = f"no corpus {name + tag(features)!r} in {root}, found "
    sentence += found if root.is_dir() else no_folder(root)
    if name not in known and (hint := meant(name, known)):
        return sentence + hint
    if "," in name:
        return f"{sentence}, expected names separated by blanks"
    database = name if name in DATABASES else "DATABASE"
    database = known[name].parent.parent.name if name in known else database
    return f"{sentence}; prepare it with: {_command(database, name, root, features)}"


def _command(database: str, name: str, root: Path, features: Frontend) -> str:
    """Return the command that prepares a corpus with a front end."""
    words = ["ser-jax", "prepare", database, "--source", "SOURCE"]
    words += [] if name == database else ["--name", name]
    if features != LOGMEL:
        words += ["--features", describe(features).get("class", features.name)]
    for field, value in changes(features).items():
        words += [f"--features.{field.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--data-dir", str(root)])
