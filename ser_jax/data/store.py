"""Prepared corpora on disk: finding them, and reading one into arrays."""

import contextlib
import functools
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ser_jax.data import cache, labels_only
from ser_jax.data.corpus import NUMBERS, TARGETS, TEXTS, Corpus, Facts, is_corpus
from ser_jax.data.databases import DATABASES
from ser_jax.data.foreign import SPLIT, foreign_file
from ser_jax.data.logmel import BANDS, FRAMES
from ser_jax.errors import UserError, meant, no_folder

VERSION = "1.0.0"
NOTES = {"builder", "synthetic", "thresholds", "source_fingerprint", "left_out"}  # beside the records
BATCH = 256  # records read at a time


class _Records(Protocol):
    """What tfds calls a data source."""

    def __len__(self) -> int: ...

    def __getitems__(self, rows: Iterable[int]) -> Sequence[dict[str, Any]]: ...


class UnknownCorpusError(UserError):
    """A name under which nothing was prepared."""


class DamagedCorpusError(UserError):
    """A prepared corpus whose files are not all there."""


def data_dir_or_default(data_dir: Path | str | None) -> Path:
    """Where corpora live: as given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    place = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    try:
        return place.expanduser()
    except RuntimeError:
        raise UnknownCorpusError(
            f"{place}: there is no such user or home, expected a folder; give --data-dir"
        ) from None


def prepared(data_dir: Path) -> dict[str, Path]:
    """Name to folder of every corpus prepared in `data_dir`."""
    return {
        info.parent.parent.name: info.parent
        for database in DATABASES
        for info in sorted(data_dir.glob(f"{database}/*/[0-9]*/dataset_info.json"))
    }


def metadata(folder: Path) -> dict:
    """What `prepare` noted beside the records.

    Raises: DamagedCorpusError.
    """
    try:
        notes = json.loads((folder / "metadata.json").read_text())
        missing = NOTES - set(notes)
        if missing:
            raise LookupError(missing)
    except (FileNotFoundError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(folder, error) from error
    return notes


def check(folder: Path) -> None:
    """Opens every file of a prepared corpus and reads each shard's last record.

    Raises: DamagedCorpusError.
    """
    metadata(folder)
    with _records(folder) as (source, lengths):
        ends = np.cumsum(lengths)[np.array(lengths) > 0]  # all of a shard may have been left out
        source.__getitems__((ends - 1).tolist())


@contextlib.contextmanager
def _records(folder: Path) -> Iterator[tuple[_Records, list[int]]]:
    """The records in the order of the shards, and how many each shard holds."""
    with quiet():
        import tensorflow_datasets as tfds

        try:
            if (foreign := foreign_file(folder)) is not None:
                raise _unreadable(folder, f"its {foreign} is not what ser_jax writes")
            builder = tfds.builder_from_directory(folder)
            yield builder.as_data_source(split=SPLIT), builder.info.splits[SPLIT].shard_lengths
        except (MemoryError, ImportError, PermissionError, DamagedCorpusError):
            raise
        except Exception as error:  # protobuf, array_record, etils: each has errors of its own
            raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> DamagedCorpusError:
    return _unreadable(folder, type(error).__name__)


def _unreadable(folder: Path, reason: str) -> DamagedCorpusError:
    return DamagedCorpusError(f"{folder}: cannot be read ({reason}); delete this folder and prepare it again")


def load(name: str, data_dir: Path | str | None = None) -> Corpus:
    """Reads a prepared corpus into arrays, sorted by id; through a cache, which maps what was read before.

    Args:
      name: as given to `prepare`.
      data_dir: where it was prepared; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
    Raises: UnknownCorpusError naming what is there; DamagedCorpusError.
    """
    root = data_dir_or_default(data_dir)
    found = prepared(root)
    if name not in found:
        raise UnknownCorpusError(_unknown(name, root, sorted(found)))
    folder = found[name]
    notes = metadata(folder)
    columns, fingerprint = cache.through(folder, functools.partial(_read, folder, notes["thresholds"]))
    return Corpus(
        name=name,
        database=notes["builder"],
        synthetic=notes["synthetic"],
        left_out=len(notes["left_out"]),
        thresholds=notes["thresholds"],
        fingerprint=fingerprint,
        **columns,
    )


def facts(name: str, data_dir: Path | str | None = None) -> Facts:
    """Reads what is known of a corpus without listening, be it prepared whole or with labels only.

    Args and Raises: as `load`.
    """
    root = data_dir_or_default(data_dir)
    if name in prepared(root) or name not in (files := labels_only.found(root)):
        return load(name, data_dir)
    try:
        return labels_only.read(name, files[name])
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(files[name], error) from error


def _read(
    folder: Path, thresholds: Mapping[str, float], make_rows: Callable[[tuple[int, int, int]], cache.Rows]
) -> tuple[dict[str, np.ndarray], str]:
    """Every column of the records, which lie in the order of their ids, and their fingerprint."""
    with _records(folder) as (source, _):
        count = len(source)
        features = make_rows((count, FRAMES, BANDS))
        rows: list[dict[str, Any]] = []
        for start in range(0, count, BATCH):
            for row in source.__getitems__(range(start, min(start + BATCH, count))):
                features.put(len(rows), row.pop("logmel"))
                rows.append(row)
        columns = {key: np.array([row[key].decode() for row in rows]) for key in TEXTS}
        columns |= {key: np.array([row[key] for row in rows], dtype) for key, dtype in NUMBERS.items()}
        columns["logmel"] = features.array()
        if not is_corpus(columns):
            raise ValueError("its records are not what ser_jax writes")
    return columns, _fingerprint(columns, thresholds)


def _fingerprint(columns: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> str:
    digest = hashlib.sha256(json.dumps([thresholds[target] for target in TARGETS]).encode())
    for key in TEXTS:
        digest.update(json.dumps(columns[key].tolist()).encode())
    for key in (*NUMBERS, "logmel"):
        digest.update(columns[key].data)
    return digest.hexdigest()


def _unknown(name: str, root: Path, names: list[str]) -> str:
    found = (", ".join(names) or "none") if root.is_dir() else no_folder(root)
    sentence = f"no corpus {name!r} in {root}, found {found}"
    if name in (kept := labels_only.found(root)):
        return (
            f"of corpus {name!r} in {root} the labels only are kept, expected it with its recordings: "
            f"ser-jax prepare {kept[name].parent.parent.name} --source SOURCE --name {name}"
        )
    if hint := meant(name, names):
        return f"{sentence}{hint}"
    if "," in name:
        return f"{sentence}, expected names separated by blanks"
    database = name if name in DATABASES else "DATABASE"
    naming = "" if name in DATABASES else f" --name {name}"
    command = f"ser-jax prepare {database} --source SOURCE{naming} --data-dir {root}"
    return f"{sentence}; prepare it with: {command}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps tfds from talking, errors excepted; ours is the only progress bar."""
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
