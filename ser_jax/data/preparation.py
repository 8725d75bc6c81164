"""Preparing a corpus: what is asked for, what is there already, and nothing half-built left behind."""

import contextlib
import importlib
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_jax.data import databases, labels_only, locks, store
from ser_jax.data.corpus import Facts
from ser_jax.errors import UserError

if TYPE_CHECKING:
    from ser_jax.data.beam import Engine
    from ser_jax.data.builder import CorpusBuilder

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 100  # characters of a name, which names of files are made of
_log = logging.getLogger(__name__)


class PrepareError(UserError):
    """A request to prepare that cannot be met."""


def prepare(
    database: str,
    source: Path | str,
    *,
    name: str | None = None,
    data_dir: Path | str | None = None,
    workers: int | None = None,
    skip_bad: bool = False,
    labels_only: bool = False,
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Reads a database, extracts its features and keeps both as a tfds dataset.

    Preparing the same source again under the same name returns what is there.

    Args:
      database: one of `databases.DATABASES`, as in "iemocap" or "manifest".
      source: what that database is read from: its release folder, or the manifest (a CSV file).
      name: what `load` knows it by; the database's name by default.
      data_dir: where it is kept; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      workers: processes; all cores by default. The outcome is the same to the byte.
      skip_bad: leave out utterances whose sound is missing or cannot be used, and note which, instead of
        refusing.
      labels_only: look at no recording and keep the labels alone, for `facts` to read.
      beam_runner: an Apache Beam runner, as in "FlinkRunner", that does the work in place of the workers,
        to the same bytes.
      beam_options: Beam's own, each "name=value".
      options: what the database's reader takes: `annotation_delay` (recola), `arousal_threshold`,
        `valence_threshold` and `allow_outside` (manifest); see `recola.read` and `manifest.read`.
    Returns: the dataset's folder, DATA_DIR/DATABASE/NAME/VERSION, or the file of labels beside it.
    Raises: UserError (a subclass) naming the file, and the line where there is one.
    """
    if labels_only and (skip_bad or beam_runner is not None):
        raise PrepareError("--labels-only reads no recording, expected no --skip-bad or --beam-runner")
    if beam_options and beam_runner is None:
        raise PrepareError("--beam-options without --beam-runner, expected both")
    databases.check(database, options)
    name, root = _checked(database if name is None else name), store.data_dir_or_default(data_dir)
    if labels_only:
        return _labels(database, source, name, root, options)
    from ser_jax.data.beam import Engine  # here, as they bring what starts processes
    from ser_jax.data.workers import how_many

    engine = None if beam_runner is None else Engine(beam_runner, tuple(beam_options))
    return _records(database, source, name, root, how_many(workers), skip_bad, engine, options)


def _labels(database: str, source: Path | str, name: str, root: Path, options: dict[str, Any]) -> Path:
    """Keeps what the database's reader says, without looking at a recording."""
    if name in (present := store.prepared(root)):
        raise PrepareError(
            f"{present[name]}: is prepared with its recordings already (ser-jax describe {name} counts its "
            "labels), expected another --name"
        )
    if name in (kept := labels_only.found(root)) and (other := kept[name].parent.parent.name) != database:
        raise PrepareError(
            f"{kept[name]}: are labels of {other}, expected another --name for those of {database}"
        )
    listing = databases.read(database, source, **options)
    _warn(source, listing.unlabelled)
    folder = root / database / name
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        return labels_only.write(folder, Facts.of(name, database, listing))
    except OSError as error:
        _forget(absent)
        raise _not_written(folder, error) from error


def _records(
    database: str,
    source: Path | str,
    name: str,
    root: Path,
    workers: int,
    skip_bad: bool,
    engine: "Engine | None",
    options: dict[str, Any],
) -> Path:
    """Keeps facts and features of every recording, unless they are there already."""
    if name in (present := store.prepared(root)):
        store.check(present[name])
    with store.quiet(), _scratch():
        from ser_jax.data.builder import CorpusConfig

        module = importlib.import_module(f"ser_jax.data.{database}.{database}_dataset_builder")
        config = CorpusConfig(
            name=name, source=Path(source), options=options, workers=workers, skip_bad=skip_bad
        )
        builder = module.Builder(config=config, data_dir=root)
        folder = Path(builder.data_dir)
        if name not in present and folder.exists():
            raise PrepareError(f"{folder}: not a whole corpus (no dataset_info.json); delete this folder")
        notes = builder.notes  # before anything is written, as the source may not be readable
        if name in present:
            return _reuse(present[name], notes, skip_bad)
        _warn(source, builder.listing.unlabelled)
        _build(builder, folder, engine)
    left_out = store.metadata(folder)["left_out"]
    if left_out:
        _log.warning("%s: %d utterances are left out, %s the first", folder, len(left_out), left_out[0]["id"])
    (folder.parent / labels_only.FILE).unlink(missing_ok=True)
    return folder


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise PrepareError(f"name {name!r}, expected small letters, digits and underscores, a letter first")
    if len(name) > _LONGEST:
        raise PrepareError(f"name {name[:20]}... has {len(name)} characters, expected {_LONGEST} at most")
    return name


def _warn(source: Path | str, unlabelled: tuple[str, ...]) -> None:
    if unlabelled:
        _log.warning(
            "%s: %d recordings or turns without a label are left out, %s the first",
            source,
            len(unlabelled),
            unlabelled[0],
        )


def _build(builder: "CorpusBuilder", folder: Path, engine: "Engine | None") -> None:
    import tensorflow_datasets as tfds

    configure = tfds.download.DownloadConfig if engine is None else engine.download_config
    config = configure(try_download_gcs=False)
    try:
        with _alone(folder.parent):
            builder.download_and_prepare(
                file_format="array_record",
                download_dir=tempfile.gettempdir(),  # nothing is downloaded, but tfds insists
                download_config=config,
            )
    except OSError as error:
        raise _not_written(folder, error) from error
    except UserError:
        raise
    except Exception as error:
        if engine is None:
            raise
        raise engine.failed(error) from error


@contextlib.contextmanager
def _scratch() -> Iterator[None]:
    """Takes with it the temporary folders that tfds makes and forgets."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from preparing the same corpus; leaves nothing of what failed or was killed."""
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.held(folder):
            try:
                _sweep(folder)
                yield
            finally:
                _sweep(folder)
    except locks.HeldError as error:
        raise PrepareError(
            f"{folder}: another process prepares this corpus, expected it to end first"
        ) from error
    finally:
        _forget(absent or [folder, folder.parent])


def _forget(folders: list[Path]) -> None:
    """Removes folders, the innermost first, up to one that holds something."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _not_written(folder: Path, error: OSError) -> PrepareError:
    return PrepareError(
        f"{folder}: cannot be written ({error.strerror or error}), expected a data directory to write to"
    )


def _reuse(folder: Path, notes: dict[str, Any], skip_bad: bool) -> Path:
    before = store.metadata(folder)
    if any(before[key] != notes[key] for key in ("builder", "source_fingerprint")):
        raise PrepareError(
            f"{folder}: was prepared by {before['builder']} from another source, or from this one before it "
            "changed; delete this folder to prepare it again, or choose another --name"
        )
    if before["left_out"] and not skip_bad:
        raise PrepareError(
            f"{folder}: was prepared with --skip-bad and lacks {len(before['left_out'])} utterances, "
            f"{before['left_out'][0]['id']} the first; delete this folder to prepare it again"
        )
    _log.info("%s: already prepared", folder)
    return folder


def _sweep(folder: Path) -> None:
    for leftover in folder.glob("incomplete.*"):
        shutil.rmtree(leftover, ignore_errors=True)
