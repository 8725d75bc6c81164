"""Prepare a corpus: extract the features of every utterance, and leave nothing half-built behind.

Everything that imports `ser_jax.data` imports this: tfds and the audio libraries load where they are used.
"""

import collections
import contextlib
import functools
import io
import logging
import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from ser_jax import devices
from ser_jax.data import databases, store
from ser_jax.data.catalog import Catalog, Utterance
from ser_jax.data.corpus import LABELS, Facts
from ser_jax.errors import UserError, begun
from ser_jax.features import RATE, Frontend, FrontendError, describe, pad, remove_offset, tag
from ser_jax.features.joined import parts_of
from ser_jax.io import lock_folder

if TYPE_CHECKING:
    from ser_jax.data.audio import AudioError

CHUNK = 32  # items a worker takes at a time
MOST = 1024  # workers; no machine gains by more, and each takes 200 MB
SMALL = 128  # items; below, starting processes costs more than it saves
# Else workers fight for the cores; NPROC is for XLA.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NPROC": "1"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")  # file names are made of it
_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Record = dict[str, Any]


class PrepareError(UserError):
    """A corpus that cannot be prepared as requested."""


class Flaw(NamedTuple):
    """Why the utterance `id` cannot be prepared; `finding` and `reason` as in `AudioError`."""

    id: str
    file: str
    finding: str
    reason: str

    @classmethod
    def of(cls, utterance: Utterance, error: "AudioError") -> "Flaw":
        """Return the flaw of an utterance whose recording raised `error`."""
        place = f" (asked for by {Path(utterance.place).name})" if utterance.place else ""
        return cls(utterance.id, str(error.path), error.finding, error.reason + place)


def prepare(
    database: str,
    source: Path | str,
    *,
    name: str | None = None,
    features: Frontend = store.LOGMEL,
    data_dir: Path | str | None = None,
    workers: int | None = None,
    skip_bad: bool = False,
    labels_only: bool = False,
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Read a database, extract its features and store both as a tfds dataset.

    Preparing the same source again under the same name returns the existing dataset. A corpus may be prepared
    with several front ends, whose datasets lie side by side; the first holds the facts of all. Joined front
    ends have no dataset of their own: the corpus is prepared with each part.

    Args:
      database: one of `databases.DATABASES`, as in "iemocap" or "manifest".
      source: what that database is read from: its release folder, or the manifest (a CSV file).
      name: the name for `load`; the database's name by default.
      features: the front end; log-mels by default.
      data_dir: where the dataset is stored; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      workers: number of processes; all cores by default. It changes no byte of the dataset, except the last
        digit of features that JAX computes, such as `whisper`. On an accelerator, one process computes these.
      skip_bad: leave out utterances whose recording is missing or unusable, and note which, instead of
        refusing.
      labels_only: store the labels alone, for `facts` to read, without opening a recording.
      beam_runner: an Apache Beam runner, as in "FlinkRunner", that replaces the workers.
      beam_options: options of Beam, each "name=value".
      options: what the database's reader takes: `annotation_delay` (recola), `arousal_threshold`,
        `valence_threshold` and `allow_outside` (manifest); see `recola.read` and `manifest.read`.
    Returns: the dataset's folder, DATA_DIR/DATABASE/NAME/VERSION, of joined front ends the first part's; or
      the file of labels beside it.
    Raises: UserError (a subclass) naming the file, and the line if there is one.
    """
    if labels_only and (skip_bad or beam_runner is not None):
        raise PrepareError("--labels-only with --skip-bad or --beam-runner, expected neither")
    if beam_options and beam_runner is None:
        raise PrepareError("--beam-options without --beam-runner, expected both")
    databases.check(database, options)
    name, root = database if name is None else name, store.data_dir_or_default(data_dir)
    workers = worker_count(workers)
    if not _NAME.fullmatch(name):
        expected = "small letters, digits and underscores, a letter first, 100 of them at most"
        raise PrepareError(f"name {begun(name, 100)!r}, expected {expected}")
    holder = store.holder(name, root)
    if labels_only and holder is not None:
        raise PrepareError(f"{holder}: is prepared with its recordings already, expected another --name")
    folders = {}
    for part in parts_of(features):
        folder = root / database / (name + tag(part)) / store.VERSION
        if (present := store.prepared(root).get(folder.parent.name)) is not None:
            store.check(present)
        elif folder.exists():
            raise PrepareError(f"{folder}: not a complete corpus (no dataset_info.json); delete this folder")
        folders[folder] = part
    catalog = databases.read(database, source, **options)
    if unlabelled := catalog.unlabelled:
        sentence = "%s: %d recordings or turns without a label are left out, %s the first"
        _log.warning(sentence, source, len(unlabelled), unlabelled[0])
    if labels_only:
        with _locked(root / database / name) as place:
            return store.write_labels(place, Facts.of(name, database, catalog))
    for folder, part in folders.items():
        present, holder = store.prepared(root).get(folder.parent.name), store.holder(name, root)
        if (there := present or holder) is not None:
            keys = store.SOURCE if present is None else (*store.SOURCE, "frontend")
            _check_same(there, notes(database, catalog, part), keys, skip_bad)
        if present is not None:
            _log.info("%s: already prepared", present)
            continue
        with _locked(folder.parent):
            from ser_jax.data import beam

            config = beam.CorpusConfig(
                name=folder.parent.name,
                catalog=catalog,
                frontend=part,
                workers=workers,
                skip_bad=skip_bad,
                holder=holder,
            )
            beam.build(database, root, config, beam_runner, beam_options)
        if left_out := store.metadata(folder)["left_out"]:
            first = left_out[0]["id"]
            _log.warning("%s: %d utterances are left out, %s the first", folder, len(left_out), first)
    (root / database / name / store.LABELS_FILE).unlink(missing_ok=True)
    return next(iter(folders))


def notes(database: str, catalog: Catalog, features: Frontend) -> dict[str, Any]:
    """Return the metadata that are stored beside the records of a catalog."""
    shared = Facts.of("", database, catalog).metadata
    return shared | {"frontend": describe(features), "source_fingerprint": catalog.fingerprint()}


def _check_same(folder: Path, notes: dict[str, Any], keys: Sequence[str], skip_bad: bool) -> None:
    """Raise PrepareError if a prepared corpus differs from the requested one in one of the keys."""
    before = store.metadata(folder)
    if any(before[key] != notes[key] for key in keys):
        raise PrepareError(
            f"{folder}: was prepared by {before['builder']} from another source, or from this one before it "
            "changed; delete this folder to prepare it again, or choose another --name"
        )
    if before["left_out"] and not skip_bad:
        raise PrepareError(
            f"{folder}: was prepared with --skip-bad and lacks {len(before['left_out'])} utterances, "
            f"{before['left_out'][0]['id']} the first; delete this folder to prepare it again"
        )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Create and lock the folder of a corpus; remove what is empty in the end, and raise PrepareError."""

    def busy() -> PrepareError:
        return PrepareError(
            f"{folder}: another process is preparing this corpus, expected it to finish first"
        )

    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(folder, busy), contextlib.redirect_stdout(io.StringIO()):  # tfds prints
            for leftover in folder.glob("incomplete.*"):  # of a killed process
                shutil.rmtree(leftover, ignore_errors=True)
            yield folder
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise PrepareError(f"{folder}: {reason}, expected a data directory to write to") from error
    finally:
        with contextlib.suppress(OSError):  # raised by folders that are not empty
            for place in absent or [folder, folder.parent]:
                place.rmdir()


def records(utterances: Sequence[Utterance], frontend: Frontend) -> list[Record | Flaw]:
    """Return the facts, features and duration of each utterance, or the flaw of its recording.

    Raises: FrontendError.
    """
    from ser_jax.data import audio

    found: list[Any] = []
    recordings = {}  # samples by the place in `found`
    for utterance in utterances:
        try:
            samples, seconds = audio.read(utterance.path, utterance.start, utterance.stop, frontend.seconds)
        except audio.AudioError as error:
            found.append(Flaw.of(utterance, error))
        else:
            recordings[len(found)] = remove_offset(samples)
            found.append({key: getattr(utterance, key) for key in LABELS} | {"seconds": seconds})
    names = [utterances[i].embedding or utterances[i].id for i in recordings]
    if hasattr(frontend, "find"):
        each: Any = map(frontend.find, names)
    elif hasattr(frontend, "extract_batch"):
        each = frontend.extract_batch(list(recordings.values()))
    else:
        each = map(frontend.extract, recordings.values())
    for i, features in zip(recordings, each, strict=True):
        if np.ndim(features) != 2 or not len(features) or features.shape[1] != frontend.dims:
            raise FrontendError(
                f"front end {frontend.name} returned an array {list(np.shape(features))} for "
                f"{utterances[i].id}, expected [t, {frontend.dims}]"
            )
        padded, frames = pad(np.asarray(features), frontend.frames)
        found[i] |= {"features": padded, "frames": frames}
    return found


def recorder(frontend: Frontend) -> Callable[[Sequence[Utterance]], list[Record | Flaw]]:
    """Return `records` with a front end that is checked and has computed what it caches, to be pickled."""
    describe(frontend)
    if not hasattr(frontend, "find"):
        frontend.extract(np.zeros(RATE))
    return functools.partial(records, frontend=frontend)


def worker_count(requested: int | None) -> int:
    """Return the number of workers, by default of cores; raise PrepareError if it is out of range."""
    count = devices.cores() if requested is None else requested
    if not 1 <= count <= MOST:
        raise PrepareError(f"{count} workers, expected {'at least 1' if count < 1 else f'{MOST:,} at most'}")
    return count


def in_order(
    do: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], workers: int, label: str
) -> Generator[Result, None, None]:
    """Yield the results of `do([item, ...])` in order, and show a labelled progress bar on standard error.

    Few items are processed in this process; `do` is sent to each other process once.

    Raises: what `do` raises; PrepareError if a process dies.
    """
    with tqdm(total=len(items), desc=label, unit=" utt", file=sys.stderr, mininterval=0.5) as bar:
        chunks = [items[first : first + CHUNK] for first in range(0, len(items), CHUNK)]
        alone = workers == 1 or len(items) < SMALL
        for results in map(do, chunks) if alone else _pooled(do, chunks, workers):
            for result in results:
                yield result
                bar.update()


def _pooled(
    do: Callable[[Sequence[Item]], Sequence[Result]], chunks: Sequence[Sequence[Item]], workers: int
) -> Iterator[Sequence[Result]]:
    ahead: collections.deque[Future[Sequence[Result]]] = collections.deque()
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_initialize, initargs=(do,))
    try:
        for chunk in chunks:
            with _deferring_interrupts():
                ahead.append(pool.submit(_call, chunk))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool as error:
        raise PrepareError(
            "a worker process died, for lack of memory or because a script does not guard its calls by "
            "`if __name__ == '__main__':`; expected it to live, or workers=1"
        ) from error
    finally:
        with _deferring_interrupts():  # a second Ctrl-C would leave workers running
            pool.shutdown(wait=True, cancel_futures=True)


_do: Callable[[Any], Any]  # of this worker process


def _initialize(do: Callable[[Any], Any]) -> None:
    global _do
    _do = do


def _call(items: Sequence[Any]) -> Any:
    return _do(items)


@contextlib.contextmanager
def _deferring_interrupts() -> Iterator[None]:
    """Defer Ctrl-C; processes started here ignore it, and use one thread each.

    They inherit the mask. The handler is replaced as well, since Python also calls it if another thread, such
    as that of a progress bar, has received the signal.
    """
    received: list[bool] = []
    main = threading.current_thread() is threading.main_thread()  # no other thread may set handlers
    handler = signal.signal(signal.SIGINT, lambda *_: received.append(True)) if main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = {name: os.environ[name] for name in ONE_THREAD if name in os.environ}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name in ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if main:
            signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
        if received:
            signal.raise_signal(signal.SIGINT)
