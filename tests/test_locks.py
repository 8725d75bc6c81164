"""A folder for one process at a time, whatever becomes of that process."""

import os
import shutil
import subprocess
import sys

import pytest

from ser_jax.data import locks

pytest.importorskip("fcntl")

HOLDING = """
import sys, time
from pathlib import Path
from ser_jax.data import locks

with locks.held(Path(sys.argv[1])) as locked:
    print(locked, flush=True)
    sys.stdin.read()
"""
FORKING = """
import os, signal, sys
from pathlib import Path
from ser_jax.data import locks

folder = Path(sys.argv[1])
with locks.held(folder):
    child = os.fork()
    if not child:
        signal.pause()
try:
    with locks.held(folder) as locked:
        print(locked)
finally:
    os.kill(child, signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    return place


def holding(folder):
    """A process that holds a folder until its standard input is closed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(folder)], **pipes)
    assert process.stdout.readline() == "True\n"
    return process


def refused(folder):
    with (
        pytest.raises(locks.HeldError, match=f"^{folder}: another process is at work in this folder$"),
        locks.held(folder),
    ):
        pass


def free(folder):
    with locks.held(folder) as locked:
        assert locked
        assert not list(folder.iterdir())
    assert not list(folder.iterdir())


@pytest.mark.parametrize("ending", ["end", "kill"])
def test_a_folder_is_another_process_s_until_that_ends_or_is_killed(folder, ending):
    with holding(folder) as process:
        refused(folder)
        refused(folder)  # being refused frees nothing
        if ending == "kill":
            process.kill()
        else:
            process.stdin.close()
        process.wait(timeout=30)
        free(folder)


def test_a_process_holds_a_folder_once(folder):
    with locks.held(folder):
        refused(folder)
    free(folder)


def test_an_error_lets_go(folder):
    with pytest.raises(ZeroDivisionError), locks.held(folder):
        raise ZeroDivisionError
    free(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_hold_on(folder):
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_folders_do_not_hold_each_other(folder):
    (folder / "inner").mkdir()
    with locks.held(folder), locks.held(folder.parent):
        free(folder / "inner")


def test_a_renamed_folder_stays_held(folder):
    with holding(folder):
        moved = folder.rename(folder.with_name("moved"))
        refused(moved)
        folder.mkdir()
        free(folder)


def test_what_is_no_folder_cannot_be_held(folder):
    (folder / "file").touch()
    for name, kind in (("file", NotADirectoryError), ("gone", FileNotFoundError)):
        with pytest.raises(kind), locks.held(folder / name):
            pass


@pytest.fixture
def just_before(monkeypatch):
    """Has something done just before the first lock is asked for."""

    def setting(do):
        original = locks.fcntl.flock

        def flock(descriptor, operation):
            monkeypatch.setattr(locks.fcntl, "flock", original)
            do()
            original(descriptor, operation)

        monkeypatch.setattr(locks.fcntl, "flock", flock)

    return setting


def test_a_folder_that_took_another_s_place_is_the_one_held(folder, just_before):
    def replace():
        folder.rename(folder.with_name("aside"))
        folder.mkdir()

    just_before(replace)
    with locks.held(folder) as locked:
        assert locked
        free(folder.with_name("aside"))
        refused(folder)


def test_a_folder_removed_meanwhile_is_not_held(folder, just_before):
    just_before(lambda: shutil.rmtree(folder))
    with pytest.raises(FileNotFoundError), locks.held(folder):
        pass


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "EBADF"])
def test_a_file_system_without_locks_holds_nothing_and_says_so(folder, monkeypatch, name):
    def refuse(descriptor, operation):
        raise OSError(getattr(locks.errno, name), "no locks")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locks.held(folder) as outer, locks.held(folder) as inner:
        assert (outer, inner) == (False, False)


def test_a_system_without_locks_holds_nothing_and_says_so(folder, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with locks.held(folder) as outer, locks.held(folder) as inner:
        assert (outer, inner) == (False, False)


def test_other_trouble_is_not_hidden(folder, just_before):
    def trouble():
        raise OSError(5, "Input/output error")

    just_before(trouble)
    with pytest.raises(OSError, match="Input/output error"), locks.held(folder):
        pass
    free(folder)
