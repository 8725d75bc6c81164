"""Features of many utterances at once, in order, by as many processes as wanted.

Imports neither tfds nor librosa: this is what every worker process loads.
"""

import collections
import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from ser_jax.data import audio
from ser_jax.data.logmel import filterbank, logmel, pad
from ser_jax.data.utterance import Utterance
from ser_jax.errors import UserError

CHUNK = 32  # utterances a worker takes at a time
SMALL = 128  # utterances; below, starting processes costs more than it saves


class WorkerError(UserError):
    """A worker process that did not start, or died."""


def example(utterance: Utterance, filters) -> dict[str, Any]:
    """One record: the facts, the features and the duration of an utterance."""
    samples, seconds = audio.read(utterance.path, utterance.start, utterance.stop)
    features, frames = pad(logmel(samples, filters))
    return {
        "id": utterance.id,
        "speaker": utterance.speaker,
        "sex": utterance.sex,
        "session": utterance.session,
        "language": utterance.language,
        "logmel": features,
        "frames": frames,
        "seconds": seconds,
        "arousal": utterance.arousal,
        "valence": utterance.valence,
    }


def examples(utterances: Sequence[Utterance], workers: int, label: str) -> Iterator[dict[str, Any]]:
    """Records of all utterances in their order, the same bytes for any number of workers.

    Args:
      workers: processes; few utterances are done by this one alone.
      label: what the progress bar on standard error is called.
    Raises: AudioError naming the file; WorkerError.
    """
    do = functools.partial(example, filters=filterbank())
    with tqdm(total=len(utterances), desc=label, unit=" utt", file=sys.stderr, mininterval=0.5) as bar:
        done = (
            map(do, utterances)
            if workers == 1 or len(utterances) < SMALL
            else _pooled(do, utterances, workers)
        )
        for record in done:
            yield record
            bar.update()


def _pooled(do, utterances, workers):
    chunks = (utterances[i : i + CHUNK] for i in range(0, len(utterances), CHUNK))
    ahead = collections.deque()
    with _one_thread_each():
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))

        def submit(count):
            with _deaf_to_interrupts():
                ahead.extend(pool.submit(_chunk, do, chunk) for chunk in itertools.islice(chunks, count))

        try:
            submit(2 * workers)
            while ahead:
                yield from ahead.popleft().result()
                submit(1)
        except BrokenProcessPool as error:
            raise WorkerError(
                "a worker process died, for lack of memory or because a script does not guard its calls by "
                "`if __name__ == '__main__':`; expected it to live, or workers=1"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _chunk(do, utterances):
    return [do(utterance) for utterance in utterances]


@contextlib.contextmanager
def _deaf_to_interrupts():
    """A process started in here never hears Ctrl-C; this one hears it on leaving, and answers for all."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _one_thread_each():
    """BLAS reads these once, when a worker starts; without them the workers fight for the cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
