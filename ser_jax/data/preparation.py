"""Preparing a corpus: check the request, reuse what is there, leave nothing half-built behind."""

import contextlib
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_jax.data import databases, labels_only, store
from ser_jax.data.corpus import Facts
from ser_jax.errors import UserError
from ser_jax.features import Frontend, LogMel, tag
from ser_jax.io import LockedError, lock_folder

if TYPE_CHECKING:
    from ser_jax.data.beam import Engine
    from ser_jax.data.builder import CorpusBuilder

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 100  # characters of a name, which file names are made of
_LOGMEL = LogMel()
_log = logging.getLogger(__name__)


class PrepareError(UserError):
    """A request to prepare that cannot be met."""


def prepare(
    database: str,
    source: Path | str,
    *,
    name: str | None = None,
    features: Frontend = _LOGMEL,
    data_dir: Path | str | None = None,
    workers: int | None = None,
    skip_bad: bool = False,
    labels_only: bool = False,
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Read a database, extract its features and store both as a tfds dataset.

    Preparing the same source again under the same name returns what is there. A corpus may be prepared with
    several front ends, whose datasets lie side by side.

    Args:
      database: one of `databases.DATABASES`, as in "iemocap" or "manifest".
      source: what that database is read from: its release folder, or the manifest (a CSV file).
      name: what `load` knows it by; the database's name by default.
      features: the front end; log-mels by default.
      data_dir: where it is stored; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      workers: processes; all cores by default. The outcome is the same to the byte.
      skip_bad: leave out utterances whose recording is missing or unusable, and note which, instead of
        refusing.
      labels_only: open no recording and store the labels alone, for `facts` to read.
      beam_runner: an Apache Beam runner, as in "FlinkRunner", that does the work in place of the workers,
        to the same bytes.
      beam_options: Beam's own, each "name=value".
      options: what the database's reader takes: `annotation_delay` (recola), `arousal_threshold`,
        `valence_threshold` and `allow_outside` (manifest); see `recola.read` and `manifest.read`.
    Returns: the dataset's folder, DATA_DIR/DATABASE/NAME/VERSION, or the file of labels beside it.
    Raises: UserError (a subclass) naming the file, and the line if there is one.
    """
    if labels_only and (skip_bad or beam_runner is not None):
        raise PrepareError("--labels-only reads no recording, expected no --skip-bad or --beam-runner")
    if beam_options and beam_runner is None:
        raise PrepareError("--beam-options without --beam-runner, expected both")
    databases.check(database, options)
    name, root = database if name is None else name, store.data_dir_or_default(data_dir)
    if not _NAME.fullmatch(name):
        raise PrepareError(f"name {name!r}, expected small letters, digits and underscores, a letter first")
    if len(name) > _LONGEST:
        raise PrepareError(f"name {name[:20]}... has {len(name)} characters, expected {_LONGEST} at most")
    if labels_only:
        return _prepare_labels(database, Path(source), name, root, options)
    from ser_jax.data.beam import Engine  # imported here, since they start processes
    from ser_jax.data.workers import how_many

    settings = {"source": Path(source), "options": options, "frontend": features, "skip_bad": skip_bad}
    settings["workers"] = how_many(workers)
    engine = None if beam_runner is None else Engine(beam_runner, tuple(beam_options))
    return _prepare_records(database, name, root, settings, engine)


def _prepare_labels(database: str, source: Path, name: str, root: Path, options: dict[str, Any]) -> Path:
    if name in (present := store.prepared(root)):
        raise PrepareError(
            f"{present[name]}: is prepared with its recordings already (ser-jax describe {name} counts its "
            "labels), expected another --name"
        )
    if name in (stored := labels_only.found(root)) and (other := stored[name].parent.parent.name) != database:
        raise PrepareError(
            f"{stored[name]}: are labels of {other}, expected another --name for those of {database}"
        )
    catalog = databases.read(database, source, **options)
    _warn(source, catalog.unlabelled)
    with _folder(root / database / name) as folder:
        return labels_only.write(folder, Facts.of(name, database, catalog))


def _prepare_records(
    database: str, name: str, root: Path, settings: dict[str, Any], engine: "Engine | None"
) -> Path:
    tagged = name + tag(settings["frontend"])
    present = store.prepared(root).get(tagged)
    if present is not None:
        store.check(present)
    with store.quiet(), _scratch():
        from ser_jax.data.builder import BUILDERS, CorpusConfig

        builder = BUILDERS[database](config=CorpusConfig(name=tagged, **settings), data_dir=root)
        folder = Path(builder.data_dir)
        if present is None and folder.exists():
            raise PrepareError(f"{folder}: not a complete corpus (no dataset_info.json); delete this folder")
        notes = builder.notes  # before anything is written, as the source may not be readable
        if present is not None:
            _check_same(present, notes, settings["skip_bad"])
            _log.info("%s: already prepared", present)
            return present
        _warn(settings["source"], builder.catalog.unlabelled)
        _build(builder, folder, engine)
    if left_out := store.metadata(folder)["left_out"]:
        _log.warning("%s: %d utterances are left out, %s the first", folder, len(left_out), left_out[0]["id"])
    (root / database / name / labels_only.FILE).unlink(missing_ok=True)
    return folder


def _check_same(folder: Path, notes: dict[str, Any], skip_bad: bool) -> None:
    """Raise PrepareError if a prepared corpus is not what was requested."""
    before = store.metadata(folder)
    if any(before[key] != notes[key] for key in ("builder", "frontend", "source_fingerprint")):
        raise PrepareError(
            f"{folder}: was prepared by {before['builder']} from another source, or from this one before it "
            "changed; delete this folder to prepare it again, or choose another --name"
        )
    if before["left_out"] and not skip_bad:
        raise PrepareError(
            f"{folder}: was prepared with --skip-bad and lacks {len(before['left_out'])} utterances, "
            f"{before['left_out'][0]['id']} the first; delete this folder to prepare it again"
        )


def _warn(source: Path, unlabelled: tuple[str, ...]) -> None:
    if unlabelled:
        sentence = "%s: %d recordings or turns without a label are left out, %s the first"
        _log.warning(sentence, source, len(unlabelled), unlabelled[0])


def _build(builder: "CorpusBuilder", folder: Path, engine: "Engine | None") -> None:
    """Run tfds's preparation, alone in the corpus's folder; leave nothing of what failed or was killed."""
    import tensorflow_datasets as tfds

    configure = tfds.download.DownloadConfig if engine is None else engine.download_config
    config = configure(try_download_gcs=False)
    with _folder(folder.parent, folder) as parent:
        try:
            with lock_folder(parent), _swept(parent):
                # Nothing is downloaded, but tfds requires a folder for it.
                builder.download_and_prepare(
                    file_format="array_record",
                    download_dir=tempfile.gettempdir(),
                    download_config=config,
                )
        except LockedError as error:
            sentence = f"{parent}: another process prepares this corpus, expected it to end first"
            raise PrepareError(sentence) from error
        except (OSError, UserError):
            raise
        except Exception as error:
            if engine is None:
                raise
            raise engine.failed(error) from error


@contextlib.contextmanager
def _folder(folder: Path, shown: Path | None = None) -> Iterator[Path]:
    """Create a folder, and remove it and its parents at the end if they are empty.

    Raises: PrepareError, naming `shown`, if something cannot be written.
    """
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise PrepareError(
            f"{shown or folder}: cannot be written ({error.strerror or error}), expected a data directory "
            "to write to"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            for place in absent or [folder, folder.parent]:
                place.rmdir()


@contextlib.contextmanager
def _swept(folder: Path) -> Iterator[None]:
    """Remove tfds's incomplete datasets before and after."""

    def sweep() -> None:
        for leftover in folder.glob("incomplete.*"):
            shutil.rmtree(leftover, ignore_errors=True)

    sweep()
    try:
        yield
    finally:
        sweep()


@contextlib.contextmanager
def _scratch() -> Iterator[None]:
    """Remove the temporary folders that tfds creates and forgets."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before
