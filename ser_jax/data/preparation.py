"""Preparing a corpus: check the request, reuse what is there, leave nothing half-built behind."""

import contextlib
import io
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ser_jax.data import databases, store
from ser_jax.data.corpus import Facts
from ser_jax.data.labels_only import FILE, found, write
from ser_jax.data.utterance import Catalog, source_fingerprint
from ser_jax.data.workers import how_many
from ser_jax.errors import UserError, begun
from ser_jax.features import Frontend, LogMel, describe, tag
from ser_jax.io import LockedError, lock_folder

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")  # file names are made of it
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
        expected = "small letters, digits and underscores, a letter first, 100 of them at most"
        raise PrepareError(f"name {begun(name, 100)!r}, expected {expected}")
    if labels_only:
        return _prepare_labels(database, source, root / database / name, options)
    folder, workers = root / database / (name + tag(features)) / store.VERSION, how_many(workers)
    if (present := store.prepared(root).get(folder.parent.name)) is not None:
        store.check(present)
    elif folder.exists():
        raise PrepareError(f"{folder}: not a complete corpus (no dataset_info.json); delete this folder")
    catalog = _read(database, source, options)
    notes = Facts.of(name, database, catalog).metadata
    notes |= {"frontend": describe(features), "source_fingerprint": source_fingerprint(catalog)}
    if present is not None:
        _check_same(present, notes, skip_bad)
        _log.info("%s: already prepared", present)
        return present
    with _quiet(), _folder(folder.parent):
        from ser_jax.data import builder

        audit = databases.command("audit", database, source, options)
        config = builder.CorpusConfig(
            name=folder.parent.name,
            catalog=catalog,
            notes=notes,
            audit=audit,
            frontend=features,
            workers=workers,
            skip_bad=skip_bad,
        )
        builder.build(database, root, config, beam_runner, beam_options)
    if left_out := store.metadata(folder)["left_out"]:
        _log.warning("%s: %d utterances are left out, %s the first", folder, len(left_out), left_out[0]["id"])
    (root / database / name / FILE).unlink(missing_ok=True)
    return folder


def _prepare_labels(database: str, source: Path | str, folder: Path, options: dict[str, Any]) -> Path:
    name, root = folder.name, folder.parent.parent
    if present := store.prepared(root).get(name):
        raise PrepareError(
            f"{present}: is prepared with its recordings already (ser-jax describe {name} counts its "
            "labels), expected another --name"
        )
    stored = found(root).get(name, folder / FILE)
    if stored.parent != folder:
        other = stored.parent.parent.name
        raise PrepareError(
            f"{stored}: are labels of {other}, expected another --name for those of {database}"
        )
    facts = Facts.of(name, database, _read(database, source, options))
    with _folder(folder):
        return write(folder, facts)


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


def _read(database: str, source: Path | str, options: dict[str, Any]) -> Catalog:
    catalog = databases.read(database, source, **options)
    if unlabelled := catalog.unlabelled:
        sentence = "%s: %d recordings or turns without a label are left out, %s the first"
        _log.warning(sentence, source, len(unlabelled), unlabelled[0])
    return catalog


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Be alone in the folder of a corpus, which is created; leave nothing of what failed or was killed.

    Raises: PrepareError if something cannot be written, or another process is at work.
    """
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(folder):
            for leftover in folder.glob("incomplete.*"):  # of tfds
                shutil.rmtree(leftover, ignore_errors=True)
            yield
    except LockedError as error:
        raise PrepareError(
            f"{folder}: another process prepares this corpus, expected it to end first"
        ) from error
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise PrepareError(f"{folder}: {reason}, expected a data directory to write to") from error
    finally:
        with contextlib.suppress(OSError):  # which is raised if something is in them
            for place in absent or [folder, folder.parent]:
                place.rmdir()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what tfds prints, except errors, and remove the temporary folders that it forgets."""
    import absl.logging
    import tensorflow_datasets as tfds

    verbosity, before = absl.logging.get_verbosity(), tempfile.tempdir
    absl.logging.set_verbosity(absl.logging.ERROR)
    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as tempfile.tempdir:
            yield
    finally:
        tempfile.tempdir = before
        absl.logging.set_verbosity(verbosity)
        tfds.display_progress_bar(True)
