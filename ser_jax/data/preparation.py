"""Preparing a corpus: what is asked for, what is there already, and nothing half-built left behind."""

import contextlib
import importlib
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_jax.data import databases, labels_only, locks, store, workers
from ser_jax.data.beam import BeamError, Engine
from ser_jax.data.corpus import Facts
from ser_jax.errors import UserError

if TYPE_CHECKING:
    from ser_jax.data.builder import CorpusBuilder

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 100  # characters of a name, which names of files are made of
_log = logging.getLogger(__name__)


class PrepareError(UserError):
    """A request to prepare that cannot be met."""


def prepare(
    builder: str,
    source: Path | str,
    *,
    name: str | None = None,
    data_dir: Path | str | None = None,
    processes: int | None = None,
    skip_bad: bool = False,
    engine: Engine | None = None,
    **options: Any,
) -> Path:
    """See `ser_jax.data.prepare`, whose `workers` are the processes here."""
    name, root = _name(builder, name, options), store.data_dir_or_default(data_dir)
    processes = workers.number(processes)
    if name in (present := store.prepared(root)):
        store.check(present[name])
    with store.quiet(), _scratch():
        from ser_jax.data.builder import CorpusConfig

        module = importlib.import_module(f"ser_jax.data.{builder}.{builder}_dataset_builder")
        config = CorpusConfig(
            name=name, source=Path(source), options=options, workers=processes, skip_bad=skip_bad
        )
        corpus = module.Builder(config=config, data_dir=root)
        if name in present:
            return _reuse(present[name], corpus.notes, skip_bad)
        folder = Path(corpus.data_dir)
        if folder.exists():
            raise PrepareError(f"{folder}: not a whole corpus (no dataset_info.json); delete this folder")
        _warn(source, corpus.listing.unlabelled)
        _build(corpus, folder, engine)
    left_out = store.metadata(folder)["left_out"]
    if left_out:
        _log.warning("%s: %d utterances are left out, %s the first", folder, len(left_out), left_out[0]["id"])
    (folder.parent / labels_only.FILE).unlink(missing_ok=True)
    return folder


def prepare_labels(
    builder: str,
    source: Path | str,
    *,
    name: str | None = None,
    data_dir: Path | str | None = None,
    **options: Any,
) -> Path:
    """Reads a database's labels and keeps them, without looking at a recording.

    Returns: the file, DATA_DIR/BUILDER/NAME/labels.json; `store.facts` reads it.
    Raises: as `prepare`.
    """
    name, root = _name(builder, name, options), store.data_dir_or_default(data_dir)
    if name in (present := store.prepared(root)):
        raise PrepareError(
            f"{present[name]}: is prepared with its recordings already (ser-jax describe {name} counts its "
            "labels), expected another --name"
        )
    if name in (kept := labels_only.found(root)) and (other := kept[name].parent.parent.name) != builder:
        raise PrepareError(
            f"{kept[name]}: are labels of {other}, expected another --name for those of {builder}"
        )
    listing = databases.read(builder, source, **options)
    _warn(source, listing.unlabelled)
    folder = root / builder / name
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        return labels_only.write(folder, Facts.of(name, builder, listing))
    except OSError as error:
        _forget(absent)
        raise _not_written(folder, error) from error


def _name(builder: str, name: str | None, options: dict[str, Any]) -> str:
    databases.check(builder, options)
    name = builder if name is None else name
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


def _build(corpus: "CorpusBuilder", folder: Path, engine: Engine | None) -> None:
    import tensorflow_datasets as tfds

    corpus.notes  # noqa: B018  a source that cannot be read is found before anything is written
    configure = tfds.download.DownloadConfig if engine is None else engine.download_config
    config = configure(try_download_gcs=False)
    try:
        with _alone(folder.parent):
            corpus.download_and_prepare(
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
        raise BeamError(f"{engine.runner} failed ({_last_line(error)}), expected it to finish") from error


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


def _last_line(error: Exception) -> str:
    """Beam's errors end with what went wrong, below the traceback of the worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


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
