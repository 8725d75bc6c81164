"""A cache that is built by several processes, killed, or has no room: the dataset is loaded all the same."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cached
import pytest
from cached import Reader, files, load, siblings


@pytest.fixture
def folder(tmp_path):
    return cached.dataset(tmp_path)


BUILDING = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import cached

def wait(i):
    if i == 20:
        Path({meeting!r}, str(os.getpid())).touch()
        while len(os.listdir({meeting!r})) < {count}:
            time.sleep(0.01)

reader = cached.Reader()
reader.on_row = wait
print(cached.load(Path({folder!r}), reader))
"""


def building(folder, meeting, count):
    """A process that builds the cache, and half way waits until `count` such processes are there."""
    meeting.mkdir(exist_ok=True)
    tests = str(Path(__file__).parent)
    code = BUILDING.format(tests=tests, meeting=str(meeting), folder=str(folder), count=count)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_processes_that_build_at_once_all_succeed(folder, tmp_path):
    processes = [building(folder, tmp_path / "meeting", 3) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["1"] * 3
    assert siblings(folder) == ["2.0.0", *sorted(file.name for file in files(folder))]
    assert load(folder) == 0


def test_a_kill_leaves_nothing_that_looks_whole(folder, tmp_path):
    with building(folder, tmp_path / "meeting", 2) as process:
        while not list((tmp_path / "meeting").iterdir()):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert len(siblings(folder)) == 2  # of the killed process
    assert [load(folder), load(folder)] == [1, 0]


def test_a_process_whose_file_is_removed_loads_all_the_same(folder, caplog):
    reader = Reader()
    left = folder.parent.glob(".cache-*")
    reader.on_row = lambda i: next(left).unlink() if (reader.calls, i) == (1, 20) else None
    assert load(folder, reader) == 2
    assert "cannot be written (No such file or directory)" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_loaded_all_the_same(folder, caplog):
    folder.parent.chmod(0o555)
    try:
        assert [load(folder), load(folder)] == [1, 1]
    finally:
        folder.parent.chmod(0o755)
    assert "cannot be written (Permission denied); loading this corpus stays slow" in caplog.text


@contextlib.contextmanager
def files_of_at_most(count):
    """Lets no file of this process grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("count", [0, 100, 3_000_000])
def test_a_disk_that_fills_up_loses_no_row(folder, caplog, count):
    with files_of_at_most(count):
        assert load(folder) == 2
    assert "cannot be written (File too large)" in caplog.text
    assert siblings(folder) == ["2.0.0"]
    assert load(folder) == 1
