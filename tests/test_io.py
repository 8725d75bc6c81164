"""Atomic files, folder locks, and files that are not what they should be."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ser_jax import io
from ser_jax.errors import UserError
from ser_jax.io import LockedError, atomic_file, lock_folder, move_aside, read_bytes, write_json

ROOT = Path(__file__).parents[1]
LOCKING = """
import sys
from pathlib import Path
from ser_jax.io import lock_folder

with lock_folder(Path(sys.argv[1])) as locked:
    print(locked, flush=True)
    sys.stdin.read()
"""
FORKING = """
import os, signal, sys
from pathlib import Path
from ser_jax.io import lock_folder

folder = Path(sys.argv[1])
with lock_folder(folder):
    child = os.fork()
    if not child:
        signal.pause()
try:
    with lock_folder(folder) as locked:
        print(locked)
finally:
    os.kill(child, signal.SIGKILL)
"""


@pytest.mark.parametrize("synced", [False, True])
@pytest.mark.parametrize("name", ["a", "x" * 255, "\u8bed" * 85])
def test_a_file_appears_complete_or_not_at_all(tmp_path, name, synced):
    for content in (b"first", b"second"):
        before = [file.read_bytes() for file in tmp_path.iterdir()]
        with atomic_file(tmp_path / name, synced) as stream:
            stream.write(content)
            assert [file.read_bytes() for file in tmp_path.iterdir() if file.name == name] == before
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(name, content)]
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / name) as stream:
        raise KeyboardInterrupt
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(name, b"second")]
    with pytest.raises(ValueError, match="empty name"), atomic_file("."):
        pass


def test_what_a_killed_process_leaves_can_be_removed(tmp_path):
    killed = (
        "import os, sys; from ser_jax.io import *; a = atomic_file(sys.argv[1]); a.__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(tmp_path / "a")]).returncode == 9
    (tmp_path / "b.partial").touch()
    assert len(list(tmp_path.iterdir())) == 2
    io.remove_partial_files(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["b.partial"]


def test_links_and_pipes_are_written_through(tmp_path):
    (tmp_path / "file").write_text("before, and longer")
    (tmp_path / "link").symlink_to("file")
    write_json(tmp_path / "link", {"a": 1})
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "file").read_text()) == {"a": 1}
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    write_json(tmp_path / "pipe", [2])
    assert json.loads(os.read(reader, 100)) == [2]
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 3


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", [math.nan])
    assert not list(tmp_path.iterdir())


def test_what_is_moved_aside_replaces_nothing(tmp_path):
    for content in ("1", "2", "3"):
        (tmp_path / "7").write_text(content)
        move_aside(tmp_path / "7")
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"7.damaged": "1", "7.damaged-1": "2", "7.damaged-2": "3"}


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"a")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert read_bytes(tmp_path / "labels.csv", UserError, "labels") == b"a"
    for name, found in (
        ("folder", "is a folder"),
        ("pipe", "not a regular file"),
        ("lables.csv", rf"no such file \(did you mean {tmp_path}/labels.csv\?\)"),
    ):
        with pytest.raises(UserError, match=f"^{tmp_path / name}: {found}, expected labels$"):
            read_bytes(tmp_path / name, UserError, "labels")


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("fcntl")
    place = tmp_path / "place"
    place.mkdir()
    return place


def locking(folder):
    """A process that locks a folder until its standard input is closed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", LOCKING, str(folder)], **pipes)
    assert process.stdout.readline() == "True\n"
    return process


def refused(folder):
    with (
        pytest.raises(LockedError, match=f"^{folder}: another process is at work in this folder$"),
        lock_folder(folder),
    ):
        pass


def free(folder):
    with lock_folder(folder) as locked:
        assert locked
        assert not list(folder.iterdir())
    assert not list(folder.iterdir())


@pytest.mark.parametrize("ending", ["end", "kill"])
def test_a_lock_lasts_until_its_process_ends_or_is_killed(folder, ending):
    with locking(folder) as process:
        refused(folder)
        refused(folder)  # being refused frees nothing
        if ending == "kill":
            process.kill()
        else:
            process.stdin.close()
        process.wait(timeout=30)
        free(folder)


def test_a_process_locks_a_folder_once_and_an_error_frees_it(folder):
    with lock_folder(folder):
        refused(folder)
    free(folder)
    with pytest.raises(ZeroDivisionError), lock_folder(folder):
        raise ZeroDivisionError
    free(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_keep_the_lock(folder):
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_nested_folders_have_locks_of_their_own(folder):
    (folder / "inner").mkdir()
    with lock_folder(folder), lock_folder(folder.parent):
        free(folder / "inner")


def test_a_renamed_folder_stays_locked(folder):
    with locking(folder):
        moved = folder.rename(folder.with_name("moved"))
        refused(moved)
        folder.mkdir()
        free(folder)


def test_only_folders_can_be_locked(folder):
    (folder / "file").touch()
    for name, kind in (("file", NotADirectoryError), ("gone", FileNotFoundError)):
        with pytest.raises(kind), lock_folder(folder / name):
            pass


@pytest.fixture
def just_before(monkeypatch):
    """Has something done just before the first lock is requested."""

    def setting(do):
        original = io.fcntl.flock

        def flock(descriptor, operation):
            monkeypatch.setattr(io.fcntl, "flock", original)
            do()
            original(descriptor, operation)

        monkeypatch.setattr(io.fcntl, "flock", flock)

    return setting


def test_a_folder_that_replaced_another_is_the_one_locked(folder, just_before):
    def replace():
        folder.rename(folder.with_name("aside"))
        folder.mkdir()

    just_before(replace)
    with lock_folder(folder) as locked:
        assert locked
        free(folder.with_name("aside"))
        refused(folder)


def test_a_folder_removed_meanwhile_is_not_locked(folder, just_before):
    just_before(lambda: shutil.rmtree(folder))
    with pytest.raises(FileNotFoundError), lock_folder(folder):
        pass


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "EBADF", None])
def test_without_locks_nothing_is_locked(folder, monkeypatch, name):
    def refuse(descriptor, operation):
        raise OSError(getattr(io.errno, name), "no locks")

    if name is None:
        monkeypatch.setattr(io, "fcntl", None)
    else:
        monkeypatch.setattr(io.fcntl, "flock", refuse)
    with lock_folder(folder) as outer, lock_folder(folder) as inner:
        assert (outer, inner) == (False, False)


def test_other_errors_are_raised(folder, just_before):
    def trouble():
        raise OSError(5, "Input/output error")

    just_before(trouble)
    with pytest.raises(OSError, match="Input/output error"), lock_folder(folder):
        pass
    free(folder)
