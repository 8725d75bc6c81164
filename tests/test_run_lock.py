"""One process at a time works in a results folder."""

import json
import os
import platform
import subprocess
import sys

import pytest

from ser_jax import io
from ser_jax.errors import ResultsError
from ser_jax.experiment.lock import run_lock


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def owned(out, process, host=None):
    out.mkdir(parents=True, exist_ok=True)
    note = {"process": process, "host": host or platform.node(), "since": "2026-01-01"}
    (out / "running.json").write_text(json.dumps(note))


def refused(out, *sentences):
    with pytest.raises(ResultsError) as caught, run_lock(out):
        pass
    assert all(sentence in str(caught.value) for sentence in sentences), caught.value


def test_the_owner_is_named_and_the_folder_free_afterwards(tmp_path):
    out = tmp_path / "a" / "results"
    for _ in range(2):
        with run_lock(out):
            assert json.loads((out / "running.json").read_text())["process"] == os.getpid()
            refused(out, f"{out} is in use by process {os.getpid()} on {platform.node()} since 2")
        with pytest.raises(ZeroDivisionError), run_lock(out):
            raise ZeroDivisionError
        assert not list(out.iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path, capsys, dead):
    owned(tmp_path, os.getpid())  # its number may be another process's by now
    (tmp_path / ".table.md.0123.partial").touch()
    (tmp_path / "running.json").write_text((tmp_path / "running.json").read_text()[:-9] + '"}')
    with run_lock(tmp_path):
        assert [file.name for file in tmp_path.iterdir()] == ["running.json"]
    owned(tmp_path, dead)
    with run_lock(tmp_path):
        pass
    assert f"process {dead} was ended here; going on from what it stored" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", '{"process": ', '{"process": "x"}'])
def test_a_damaged_note_does_not_lock(tmp_path, content):
    (tmp_path / "running.json").write_text(content)
    with run_lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_without_locks_the_note_decides(tmp_path, monkeypatch, dead):
    monkeypatch.setattr(io, "fcntl", None)
    owned(tmp_path, dead)
    with run_lock(tmp_path):
        refused(tmp_path, f"in use by process {os.getpid()} on ")
    owned(tmp_path, 1)
    refused(tmp_path, "in use by process 1 on ", f"if it is long gone, delete {tmp_path / 'running.json'}")
    owned(tmp_path, dead, "another-host")
    refused(tmp_path, f"in use by process {dead} on another-host since 2026-01-01, expected one process at a")


def test_what_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is a file, expected a folder for the results")
    refused(tmp_path / "file" / "below", "cannot be made (Not a directory), expected a folder for results")
