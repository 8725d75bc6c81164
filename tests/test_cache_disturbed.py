"""A cache that is built by several, killed, or has no room: the dataset is loaded all the same."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cached
import numpy as np
import pytest
from cached import SHAPE, Reader, load, same, siblings

from ser_jax import io
from ser_jax.data import cache


@pytest.fixture
def folder(tmp_path):
    return cached.dataset(tmp_path)


BUILDING = """
import hashlib, os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import cached
from ser_jax.data import cache

def wait(i):
    if i == 20:
        Path({meeting!r}, str(os.getpid())).touch()
        while len(os.listdir({meeting!r})) < {count}:
            time.sleep(0.01)

reader = cached.Reader()
reader.on_row = wait
found, fingerprint = cache.through(Path({folder!r}), reader)
cached.same(found, reader.held)
print(reader.calls, fingerprint)
"""


def building(folder, meeting, count):
    """A process that builds the cache, and half way waits until `count` such processes are there."""
    meeting.mkdir(exist_ok=True)
    tests = str(Path(__file__).parent)
    code = BUILDING.format(tests=tests, meeting=str(meeting), folder=str(folder), count=count)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_processes_that_build_at_once_all_succeed(folder, tmp_path):
    processes = [building(folder, tmp_path / "meeting", 3) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [
        "1 fingerprint of it"
    ] * 3
    assert siblings(folder) == ["1.0.0", "cache-1.0.0"]
    assert load(folder) == 0


def test_a_kill_leaves_nothing_that_looks_whole(folder, tmp_path):
    with building(folder, tmp_path / "meeting", 2) as process:
        while not list((tmp_path / "meeting").iterdir()):
            assert process.poll() is None
        left = next(folder.parent.glob(".cache-1.0.0.*"))
        os.utime(left, (0, 0))
        assert cache.read(folder) is None
        assert load(folder) == 1  # beside a process at work, whose folder stays
        assert left.exists()
        process.send_signal(signal.SIGKILL)
    assert load(folder) == 0
    assert siblings(folder) == ["1.0.0", "cache-1.0.0"]


def test_where_there_are_no_locks_nobody_sweeps(folder, monkeypatch):
    monkeypatch.setattr(io, "fcntl", None)
    left = folder.parent / ".cache-1.0.0.left"
    left.mkdir()
    os.utime(left, (0, 0))
    assert [load(folder), load(folder)] == [1, 0]
    assert left.exists()


def test_a_folder_just_made_is_not_swept(folder):
    young = folder.parent / ".cache-1.0.0.young"
    young.mkdir()
    load(folder)
    assert young.exists()
    os.utime(young, (0, 0))
    load(folder)
    assert not young.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_loaded_all_the_same(folder, caplog):
    folder.parent.chmod(0o555)
    try:
        assert [load(folder), load(folder)] == [1, 1]
    finally:
        folder.parent.chmod(0o755)
    assert "cache-1.0.0: cannot be written (Permission denied); loading this corpus stays slow" in caplog.text


def test_a_file_system_that_is_read_only_is_said(folder, caplog, monkeypatch):
    def refuse(path, *rest, **options):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        assert load(folder) == 1
    assert "cache-1.0.0: cannot be written (Read-only file system)" in caplog.text
    assert siblings(folder) == ["1.0.0"]


@contextlib.contextmanager
def files_of_at_most(count):
    """Lets no file of this process grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("count", [0, 100, 60_000])
def test_a_file_that_may_not_grow_is_said_and_the_dataset_read_again(folder, caplog, count):
    with files_of_at_most(count):
        assert load(folder) == 2
    assert "cache-1.0.0: cannot be written (File too large)" in caplog.text
    assert siblings(folder) == ["1.0.0"]


def test_columns_that_may_not_be_written_are_not_lost(folder, caplog):
    reader = Reader()
    reader.held["emotion"] = np.full(SHAPE[0], "x" * 30_000)
    with files_of_at_most(4_000_000):  # enough for the log-mels
        assert load(folder, reader) == 2
    assert "cache-1.0.0: cannot be written (File too large)" in caplog.text
    assert siblings(folder) == ["1.0.0"]


@pytest.mark.parametrize("writes", [0, 1, 20, 40])
def test_a_disk_that_fills_up_half_way_loses_no_row(folder, caplog, monkeypatch, writes):
    plain, done = cache._write_at, []

    def filling(file, place, content):
        done.append(place)
        if len(done) > writes:
            plain(file, place, content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        plain(file, place, content)

    def reading(make):
        """As tfds's errors are taken for a damaged dataset, every error of its own included."""
        try:
            return reader(make)
        except Exception as error:
            raise LookupError("damaged") from error

    reader = Reader()
    monkeypatch.setattr(cache, "_write_at", filling)
    found, _ = cache.through(folder, reading)
    same(found, reader.held)
    assert reader.calls == 2
    assert "cache-1.0.0: cannot be written (No space left on device)" in caplog.text
    assert siblings(folder) == ["1.0.0"]


def test_what_cannot_be_read_is_not_said_to_be_unwritable(folder, caplog):
    def broken(make):
        make(SHAPE)
        raise PermissionError(13, "Permission denied", "of the dataset")

    with pytest.raises(PermissionError, match="of the dataset"):
        cache.through(folder, broken)
    assert not caplog.text
    assert siblings(folder) == ["1.0.0"]
