"""Atomic files and folders, folder locks, and files that are not what they should be."""

import json
import math
import os
import subprocess
import sys

import pytest

from ser_jax import io
from ser_jax.errors import UserError
from ser_jax.io import atomic_file, atomic_folder, lock_folder, read_bytes, write_json

LOCKING = """
import sys
from pathlib import Path
from ser_jax.io import lock_folder

with lock_folder(Path(sys.argv[1]), None):
    print("locked", flush=True)
    sys.stdin.read()
"""


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", ["a", "x" * 255, "\u8bed" * 85])
def test_a_file_appears_complete_or_not_at_all(tmp_path, name):
    before = {}
    for content in (b"first", b"second"):
        with atomic_file(tmp_path / name, synced=True) as stream:
            stream.write(content)
            assert {one: held for one, held in contents(tmp_path).items() if one == name} == before
        before = {name: content}
        assert contents(tmp_path) == before
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / name):
        raise KeyboardInterrupt
    assert contents(tmp_path) == before


def test_links_stay(tmp_path):
    (tmp_path / "file").write_text("before, and longer")
    (tmp_path / "link").symlink_to("file")
    write_json(tmp_path / "link", {"a": 1})
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "file").read_text()) == {"a": 1}


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", [math.nan])
    assert not contents(tmp_path)


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    out = tmp_path / "new" / "deep"
    with pytest.raises(ZeroDivisionError), atomic_folder(out, UserError):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        with atomic_folder(out, UserError) as partial:
            (partial / "a").touch()
            assert not out.exists() or not list(out.iterdir())
        assert contents(out) == {"a": b""}
        (out / "a").unlink()  # an empty folder may be filled
    assert [one.name for one in tmp_path.iterdir()] == ["new"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    for out, found in ((tmp_path, "exists and is not empty"), (tmp_path / "file" / "x", "cannot be written")):
        with pytest.raises(UserError) as refused, atomic_folder(out, UserError):
            pass
        assert str(refused.value).startswith(f"{out}: {found}")
    assert contents(tmp_path) == {"file": b""}


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


def busy():
    return UserError("busy")


@pytest.mark.parametrize("ending", ["end", "kill"])
def test_a_lock_lasts_until_its_process_ends_or_is_killed(tmp_path, ending):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", LOCKING, str(tmp_path)], **pipes) as process:
        process.stdout.readline()
        for _ in range(2):  # being refused frees nothing
            with pytest.raises(UserError, match="busy"), lock_folder(tmp_path, busy):
                pass
        process.kill() if ending == "kill" else process.stdin.close()
        process.wait(timeout=30)
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path, busy):
        raise ZeroDivisionError
    with lock_folder(tmp_path, busy):
        assert not list(tmp_path.iterdir())


def test_without_locks_nothing_is_locked(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(io.fcntl, "flock", refuse)
    with lock_folder(tmp_path, busy), lock_folder(tmp_path, busy):
        pass
