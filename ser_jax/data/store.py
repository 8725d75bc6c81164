"""Prepared corpora on disk: finding them, and reading one into arrays."""

import contextlib
import difflib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ser_jax.data.corpus import TARGETS, Corpus
from ser_jax.data.logmel import BANDS, FRAMES
from ser_jax.errors import UserError

BUILDERS = ("iemocap", "recola", "manifest")
SPLIT = "utterances"
TEXTS = ("id", "speaker", "session", "sex", "language")
NUMBERS = {"seconds": np.float64, "frames": np.int32, "arousal": np.float64, "valence": np.float64}
BATCH = 256  # records read at a time


class UnknownCorpusError(UserError):
    """A name under which nothing was prepared."""


class DamagedCorpusError(UserError):
    """A prepared corpus whose files are not all there."""


def data_dir_or_default(data_dir: Path | str | None) -> Path:
    """Where corpora live: as given, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared(data_dir: Path) -> dict[str, Path]:
    """Name to folder of every corpus prepared in `data_dir`."""
    return {
        info.parent.parent.name: info.parent
        for builder in BUILDERS
        for info in sorted(data_dir.glob(f"{builder}/*/[0-9]*/dataset_info.json"))
    }


def metadata(folder: Path) -> dict:
    """What `prepare` noted beside the records.

    Raises: DamagedCorpusError.
    """
    try:
        notes = json.loads((folder / "metadata.json").read_text())
        missing = {"builder", "synthetic", "thresholds", "source_fingerprint"} - set(notes)
        if missing:
            raise LookupError(missing)
    except (FileNotFoundError, LookupError, TypeError, ValueError) as error:
        raise _damaged(folder, error) from error
    return notes


def check(folder: Path) -> None:
    """Opens every file of a prepared corpus and reads each shard's last record.

    Raises: DamagedCorpusError.
    """
    metadata(folder)
    with _records(folder) as (source, lengths):
        source.__getitems__([int(end) - 1 for end in np.cumsum(lengths)])


@contextlib.contextmanager
def _records(folder: Path) -> Iterator[tuple[Sequence[dict], list[int]]]:
    """The records in the order of the shards, and how many each shard holds."""
    with quiet():
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder_from_directory(folder)
            yield builder.as_data_source(split=SPLIT), builder.info.splits[SPLIT].shard_lengths
        except (MemoryError, ImportError, PermissionError):
            raise
        except Exception as error:  # protobuf, array_record, etils: each has errors of its own
            raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> DamagedCorpusError:
    return DamagedCorpusError(
        f"{folder}: cannot be read ({type(error).__name__}); delete this folder and prepare it again"
    )


def load(name: str, data_dir: Path | str | None = None) -> Corpus:
    """Reads a prepared corpus into arrays, sorted by id.

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
    columns = _columns(folder)
    order = np.argsort(columns["id"], kind="stable")
    columns = {key: values[order] for key, values in columns.items()}
    return Corpus(
        name=name,
        builder=notes["builder"],
        synthetic=notes["synthetic"],
        thresholds=notes["thresholds"],
        fingerprint=_fingerprint(columns, notes["thresholds"]),
        **columns,
    )


def _columns(folder: Path) -> dict[str, np.ndarray]:
    """Every column of the records, in the order of the shards."""
    with _records(folder) as (source, _):
        count = len(source)
        logmel = np.empty((count, FRAMES, BANDS), np.float32)
        rows = []
        for start in range(0, count, BATCH):
            for row in source.__getitems__(range(start, min(start + BATCH, count))):
                logmel[len(rows)] = row.pop("logmel")
                rows.append(row)
    columns = {key: np.array([row[key].decode() for row in rows]) for key in TEXTS}
    columns |= {key: np.array([row[key] for row in rows], dtype) for key, dtype in NUMBERS.items()}
    return columns | {"logmel": logmel}


def _fingerprint(columns: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> str:
    digest = hashlib.sha256(json.dumps([thresholds[target] for target in TARGETS]).encode())
    for key in TEXTS:
        digest.update(json.dumps(columns[key].tolist()).encode())
    for key in (*NUMBERS, "logmel"):
        digest.update(columns[key].data)
    return digest.hexdigest()


def _unknown(name: str, root: Path, names: list[str]) -> str:
    found = (", ".join(names) or "none") if root.is_dir() else "no such folder"
    sentence = f"no corpus {name!r} in {root}, found {found}"
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"{sentence}; did you mean {close[0]!r}?"
    command = f"ser-jax prepare {'|'.join(BUILDERS)} --source SOURCE --name {name} --data-dir {root}"
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
