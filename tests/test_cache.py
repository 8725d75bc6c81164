"""The cache beside a dataset: the same arrays as without it, and never the wrong ones."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ser_jax.data import store
from ser_jax.data.corpus import NUMBERS, TEXTS

SHAPE = (40, 750, 26)


class Records:
    """Stands for the records of a dataset; counts how often they are read, and calls `on_row` before each."""

    def __init__(self, seed=0):
        draw, self.reads, self.on_row = np.random.default_rng(seed), 0, lambda row: None
        frames = draw.integers(1, 31, SHAPE[0]).astype(np.int32)
        frames[1] = SHAPE[1]
        features = np.where(np.arange(750)[:, None] < frames[:, None, None], draw.normal(size=SHAPE), 0)
        numbers = {name: draw.uniform(1, 5, SHAPE[0]).astype(dtype) for name, dtype in NUMBERS.items()}
        texts = {name: np.array([f"é{i:03d}" for i in range(SHAPE[0])]) for name in TEXTS}
        self.columns = texts | numbers | {"frames": frames, "features": features.astype(np.float32)}

    def __call__(self):
        self.reads += 1
        for i in range(SHAPE[0]):
            self.on_row(i)
            row = {name: values[i] for name, values in self.columns.items()}
            yield row, row.pop("features")


def load(folder, records=None):
    """Load through the cache; returns how often the records were read."""
    records = Records() if records is None else records
    found, digest = store.through_cache(folder, SHAPE, records)
    assert found.keys() == records.columns.keys()
    for name, values in records.columns.items():
        assert (found[name].dtype, found[name].tobytes()) == (values.dtype, values.tobytes()), name
    assert len(digest) == 64
    assert not found["features"].flags.writeable
    return records.reads


@pytest.fixture
def folder(tmp_path):
    """A dataset's folder, as far as a cache depends on it."""
    place = tmp_path / "manifest/tiny/2.0.0"
    place.mkdir(parents=True)
    (place / "dataset_info.json").write_text("{}")
    (place / "manifest-utterances.array_record-00000-of-00001").write_bytes(bytes(100))
    return place


def files(folder):
    """The cache's columns and features."""
    (place,) = folder.parent.glob("cache-*.npz")
    return place, place.with_suffix(".features")


def siblings(folder):
    return sorted(path.name for path in folder.parent.iterdir())


def test_the_second_loading_maps_the_features_and_reads_no_record(folder):
    assert [load(folder), load(folder)] == [1, 0]
    assert siblings(folder) == ["2.0.0", *sorted(file.name for file in files(folder))]
    features = store.through_cache(folder, SHAPE, Records())[0]["features"]
    assert isinstance(features, np.memmap)
    (folder.parents[2] / "manifest").rename(folder.parents[2] / "moved")
    assert load(folder.parents[2] / "moved/tiny/2.0.0") == 0


CHANGES = {
    "time": lambda shard: os.utime(shard, ns=(0, shard.stat().st_mtime_ns + 1)),
    "size": lambda shard: shard.write_bytes(bytes(101)),
    "name": lambda shard: shard.rename(shard.with_name("another")),
    "no file": lambda shard: shard.unlink(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_dataset_prepared_again_is_read_again_and_the_old_cache_removed(folder, what):
    load(folder)
    for file in files(folder):
        os.utime(file, (0, 0))
    CHANGES[what](next(folder.glob("*array_record*")))
    assert [load(folder, Records(seed=7)), load(folder, Records(seed=7))] == [1, 0]
    assert siblings(folder) == ["2.0.0", *sorted(file.name for file in files(folder))]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("left", [0, -1])
def test_a_truncated_cache_is_written_again(folder, number, left):
    load(folder)
    file = files(folder)[number]
    content = file.read_bytes()
    file.unlink()  # it may be mapped
    file.write_bytes(content[:left])
    assert [load(folder), load(folder)] == [1, 0]


def test_records_that_cannot_be_read_leave_no_cache(folder):
    def broken():
        yield from list(Records()())[:3]
        raise LookupError("of the dataset")

    with pytest.raises(LookupError, match="of the dataset"):
        store.through_cache(folder, SHAPE, broken)
    assert siblings(folder) == ["2.0.0"]
    with pytest.raises(ValueError, match="its features are not of this size"):
        store.through_cache(folder, SHAPE, lambda: iter(list(Records()())[:3]))


def test_only_old_partial_files_are_removed(folder):
    old, young = (folder.parent / f".cache-{i}.features.{i}.partial" for i in range(2))
    for file in (old, young):
        file.touch()
    os.utime(old, (0, time.time() - 2 * store.OLD))
    load(folder)
    assert (old.exists(), young.exists()) == (False, True)


WRITING = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import Records, load

def wait(row):
    if row == 20:
        Path({meeting!r}, str(os.getpid())).touch()
        while len(os.listdir({meeting!r})) < {count}:
            time.sleep(0.01)

records = Records()
records.on_row = wait
print(load(Path({folder!r}), records))
"""


def writing(folder, meeting, count):
    """A process that writes the cache, and half way waits until `count` such processes exist."""
    meeting.mkdir(exist_ok=True)
    tests = str(Path(__file__).parent)
    code = WRITING.format(tests=tests, meeting=str(meeting), folder=str(folder), count=count)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_all_succeed(folder, tmp_path):
    processes = [writing(folder, tmp_path / "meeting", 2) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["1"] * 2
    assert siblings(folder) == ["2.0.0", *sorted(file.name for file in files(folder))]
    assert load(folder) == 0


def test_a_killed_process_leaves_no_cache(folder, tmp_path):
    with writing(folder, tmp_path / "meeting", 2) as process:
        while not list((tmp_path / "meeting").iterdir()):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert len(siblings(folder)) == 2  # of the killed process
    assert [load(folder), load(folder)] == [1, 0]


@contextlib.contextmanager
def files_of_at_most(count):
    """Let no file of this process grow beyond this number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("count", [0, 3_000_000])
def test_on_a_full_disk_the_corpus_is_loaded_without_a_cache(folder, caplog, count):
    with files_of_at_most(count):
        assert load(folder) == 2
    assert "cannot be written (File too large), so that loading this corpus stays slow" in caplog.text
    assert siblings(folder) == ["2.0.0"]
    assert load(folder) == 1
