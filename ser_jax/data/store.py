"""Prepared corpora on disk: finding, validating and loading them."""

import contextlib
import functools
import hashlib
import io
import json
import os
import re
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
SPLIT = "utterances"
LOGMEL = LogMel()
BATCH = 256  # records read at a time
# Keys of metadata.json, beside the records.
NOTES = {"builder", "synthetic", "thresholds", "scales", "frontend", "source_fingerprint", "left_out"}
_FILES = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"  # names of a split's files
_MODULE = re.compile(r"ser_jax\.data\.[\w.]+")


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
    """Open every file of a prepared corpus and read each shard's last record.

    Raises: DamagedCorpusError.
    """
    with _reading(folder):
        validate(folder)
        source, lengths = _source(folder)
        ends = np.cumsum(lengths)[np.array(lengths) > 0]  # all of a shard may have been left out
        source.__getitems__((ends - 1).tolist())


def validate(folder: Path) -> tuple[int, int, int]:
    """Check what a dataset's files declare, and return the shape (N, T, F) of its features.

    tfds imports every class that is named as one of a record's features, and opens the files that a split
    names, wherever they are. So nothing is accepted but what `prepare` writes for the front end that the
    metadata describe.

    Raises: DamagedCorpusError.
    """
    with _reading(folder):
        frontend = metadata(folder)["frontend"]
        frames, dims = frontend["frames"], frontend["dims"]
        info = json.loads((folder / "dataset_info.json").read_text())
        (split,) = info["splits"]
        found = {key: info.get(key) for key in ("fileFormat", "features")}
        found |= {"split": split["name"], "files": split["filepathTemplate"]}
        expected = {"fileFormat": "array_record", "features": None, "split": SPLIT, "files": _FILES}
        if found != expected or info["name"] not in DATABASES or not _MODULE.fullmatch(info["moduleName"]):
            raise _damaged(folder, "its dataset_info.json is not what ser_jax writes")
        if json.loads((folder / "features.json").read_text()) != _declaration(frames, dims):
            raise _damaged(folder, "its features.json is not what ser_jax writes")
        return sum(map(int, split["shardLengths"])), frames, dims


def _declaration(frames: int, dims: int) -> dict[str, Any]:
    """Return the features.json that tfds writes for our records."""
    package = "tensorflow_datasets.core.features."

    def tensor(dtype: type[np.generic], shape: tuple[int, ...] = ()) -> dict[str, Any]:
        whole = np.issubdtype(dtype, np.integer)
        kind, encoding = ("scalar.Scalar", "none") if whole else ("tensor_feature.Tensor", "bytes")
        sizes = {"dimensions": [str(size) for size in shape]} if shape else {}
        return {
            "pythonClassName": package + kind,
            "tensor": {"dtype": np.dtype(dtype).name, "encoding": encoding, "shape": sizes},
        }

    columns = {name: {"pythonClassName": f"{package}text_feature.Text", "text": {}} for name in TEXTS}
    columns |= {name: tensor(dtype) for name, dtype in NUMBERS.items()}
    columns["features"] = tensor(np.float32, (frames, dims))
    return {"pythonClassName": f"{package}features_dict.FeaturesDict", "featuresDict": {"features": columns}}


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn errors of reading a dataset into a DamagedCorpusError; tfds, protobuf, etils have many kinds."""
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


def _source(folder: Path) -> tuple[Any, list[int]]:
    """Return tfds's data source and the number of records in each shard."""
    with quiet():
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(folder)
        return builder.as_data_source(split=SPLIT), builder.info.splits[SPLIT].shard_lengths


def _records(folder: Path, shape: tuple[int, int, int]) -> cache.Records:
    with _reading(folder):
        source, _ = _source(folder)
    for start in range(0, shape[0], BATCH):
        with _reading(folder):
            rows = source.__getitems__(range(start, min(start + BATCH, shape[0])))
            texts = [{key: row[key].decode() for key in TEXTS} for row in rows]
        for row, own in zip(rows, texts, strict=True):
            yield own | {key: row[key] for key in NUMBERS}, row["features"]


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
    try:
        return labels_only.read(name, file)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(file, type(error).__name__) from error


def _load(name: str, folder: Path) -> Corpus:
    notes, shape = metadata(folder), validate(folder)
    with _reading(folder):
        columns, features = cache.through(folder, shape, functools.partial(_records, folder, shape))
        shared = [notes["thresholds"], notes["scales"], notes["frontend"], features]
        fingerprint = hashlib.sha256(json.dumps(shared, sort_keys=True).encode())
        for key in TEXTS:
            fingerprint.update(json.dumps(columns[key].tolist()).encode())
        for key in NUMBERS:
            fingerprint.update(columns[key].data)
        return Corpus(
            name=name,
            database=notes["builder"],
            synthetic=notes["synthetic"],
            left_out=len(notes["left_out"]),
            thresholds=notes["thresholds"],
            scales={dimension: (low, high) for dimension, (low, high) in notes["scales"].items()},
            frontend=notes["frontend"],
            fingerprint=fingerprint.hexdigest(),
            **columns,
        )


def _unknown(name: str, root: Path, features: Frontend) -> str:
    """Return the sentence for a corpus that is not there."""
    present, kept = prepared(root), labels_only.found(root)
    own = {tagged: folder for tagged, folder in present.items() if tagged.partition("-")[0] == name}
    if own or name in kept:
        database = next(iter(own.values()), kept.get(name, root)).parent.parent.name
        found = ", ".join(tagged[len(name) + 1 :] or LOGMEL.name for tagged in own) or "its labels only"
        sentence = f"corpus {name!r} in {root} is prepared with {found}"
        sentence += f", expected {tag(features)[1:] or LOGMEL.name}"
        return f"{sentence}; prepare it with: {_command(database, name, root, features)}"
    suffix = tag(features)
    names = sorted(
        other.removesuffix(suffix) for other in present if other.partition("-")[0] + suffix == other
    )
    found = (", ".join(names) or "none") if root.is_dir() else no_folder(root)
    sentence = f"no corpus {name!r} in {root}, found {found}"
    if hint := meant(name, names):
        return f"{sentence}{hint}"
    if "," in name:
        return f"{sentence}, expected names separated by blanks"
    database = name if name in DATABASES else "DATABASE"
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what tfds prints, except errors; ours is the only progress bar."""
    import absl.logging
    import tensorflow_datasets as tfds

    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        absl.logging.set_verbosity(verbosity)
        tfds.display_progress_bar(True)
