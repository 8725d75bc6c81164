"""The cache beside a dataset: the same arrays as without it, and never the wrong ones."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data import cache, locks
from ser_jax.data.corpus import NUMBERS, TEXTS

SHAPE = (40, 750, 26)
LONGEST = 30  # frames of all rows but one
FILES = ("logmel.npy", "facts.npz", "key.json")


def columns(seed=0):
    """What a dataset holds, sorted: rows of many lengths, one of them all zeros, one that ends in -0."""
    draw = np.random.default_rng(seed)
    frames = draw.integers(1, LONGEST + 1, SHAPE[0]).astype(np.int32)
    frames[:2] = 1, SHAPE[1]
    logmel = np.zeros(SHAPE, np.float32)
    for row, count in zip(logmel[1:], frames[1:], strict=True):
        row[:count] = draw.normal(-50, 8, (count, SHAPE[2]))
    logmel[2, -1] = -0.0
    numbers = {name: draw.uniform(1, 5, SHAPE[0]).astype(dtype) for name, dtype in NUMBERS.items()}
    texts = {name: np.array([f"é{i:03d}" for i in range(SHAPE[0])]) for name in TEXTS}
    return texts | numbers | {"frames": frames, "logmel": logmel}


class Reader:
    """Stands for the dataset's own reading, in the shuffled order of its records; counts how often."""

    def __init__(self, seed=0, order=None):
        self.held, self.calls = columns(seed), 0
        self.order = np.random.default_rng(1).permutation(SHAPE[0]) if order is None else order
        self.on_row = lambda i: None

    def __call__(self, make):
        self.calls += 1
        rows = make(SHAPE)
        for i, row in enumerate(self.order):
            self.on_row(i)
            rows.put(row, self.held["logmel"][row])
        return self.held | {"logmel": rows.array()}, "fingerprint of it"


def same(found, held):
    assert found.keys() == held.keys()
    for name, values in held.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].tobytes() == values.tobytes(), name


def load(folder, reader=None):
    """Through the cache; what comes out is right whatever way it came."""
    reader = Reader() if reader is None else reader
    found, fingerprint = cache.through(folder, reader)
    same(found, reader.held)
    assert fingerprint == "fingerprint of it"
    assert not found["logmel"].flags.writeable
    return reader.calls


@pytest.fixture
def folder(tmp_path):
    """A dataset's folder, as far as a cache looks at it."""
    place = tmp_path / "root/manifest/tiny/1.0.0"
    place.mkdir(parents=True)
    (place / "dataset_info.json").write_text("{}")
    (place / "manifest-utterances.array_record-00000-of-00001").write_bytes(bytes(100))
    return place


def home(folder):
    return folder.parent / "cache-1.0.0"


def siblings(folder):
    return sorted(path.name for path in folder.parent.iterdir())


def test_the_second_loading_gives_the_same_without_reading(folder):
    assert load(folder) == 1
    assert siblings(folder) == ["1.0.0", "cache-1.0.0"]
    assert sorted(path.name for path in home(folder).iterdir()) == sorted(FILES)
    assert load(folder) == 0
    found, fingerprint = cache.read(folder)
    same(found, columns())
    assert fingerprint == "fingerprint of it"


def test_the_log_mels_are_mapped_and_cannot_be_changed(folder):
    for _ in range(2):
        logmel = cache.through(folder, Reader())[0]["logmel"]
        assert isinstance(logmel, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            logmel[0, 0, 0] = 1


def new_file(place):
    return (place / "logmel.npy").open("xb", buffering=0)


@given(order=st.permutations(range(SHAPE[0])))
def test_rows_may_come_in_any_order(tmp_path_factory, order):
    place = tmp_path_factory.mktemp("rows")
    held = columns()["logmel"][:, :LONGEST]
    with new_file(place) as file:
        for rows in (cache.Rows(file, held.shape), cache.Rows(None, held.shape)):
            for row in order:
                rows.put(row, held[row])
            assert rows.array().tobytes() == held.tobytes()


@pytest.fixture(params=["on disk", "in memory"])
def rows(request, tmp_path):
    if request.param == "in memory":
        yield cache.Rows(None, SHAPE)
        return
    with new_file(tmp_path) as file:
        yield cache.Rows(file, SHAPE)


def test_a_row_may_come_without_its_padding(rows):
    held = columns()
    for row, count in enumerate(held["frames"]):
        if row != 2:
            rows.put(row, held["logmel"][row, :count])
    rows.put(2, held["logmel"][2])
    assert rows.array().tobytes() == held["logmel"].tobytes()


@pytest.mark.parametrize(
    ("row", "features"),
    [
        (0, np.zeros((751, 26), np.float32)),
        (0, np.zeros((750, 25), np.float32)),
        (0, np.zeros((750, 26))),
        (40, np.zeros((750, 26), np.float32)),
        (-1, np.zeros((750, 26), np.float32)),
    ],
)
def test_what_does_not_fit_is_refused(rows, row, features):
    with pytest.raises(ValueError, match=rf"for row {row}, expected float32 \(40, 750, 26\)"):
        rows.put(row, features)


def test_padding_is_holes_of_a_sparse_file(tmp_path):
    probe = tmp_path / "probe"
    with probe.open("wb") as file:
        file.truncate(1 << 20)
    if probe.stat().st_blocks:
        pytest.skip("a file system without sparse files")
    short = np.full((75, 26), -40, np.float32)
    with new_file(tmp_path) as file:
        rows = cache.Rows(file, (50, 750, 26))
        for row in range(50):
            rows.put(row, np.concatenate([short, np.zeros((675, 26), np.float32)]))
        assert rows.array().nbytes == 50 * 78_000
    assert (tmp_path / "logmel.npy").stat().st_blocks * 512 < 50 * 78_000 / 4


def change(folder, what):
    shard = next(folder.glob("*array_record*"))
    if what == "time":
        os.utime(shard, ns=(0, shard.stat().st_mtime_ns + 1))
    elif what == "size":
        stat = shard.stat()
        shard.write_bytes(bytes(101))
        os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif what == "new file":
        (folder / "another.json").touch()
    elif what == "name":
        shard.rename(folder / "another-name")
    else:
        shard.unlink()


@pytest.mark.parametrize("what", ["time", "size", "new file", "name", "no file"])
def test_a_dataset_prepared_anew_is_read_anew(folder, what):
    load(folder)
    change(folder, what)
    assert cache.read(folder) is None
    anew = Reader(seed=7)
    assert load(folder, anew) == 1
    assert load(folder, Reader(seed=7)) == 0
    assert siblings(folder) == ["1.0.0", "cache-1.0.0"]


def test_a_dataset_that_changes_while_it_is_read_is_read_again(folder):
    reader = Reader()
    reader.on_row = lambda i: change(folder, "time") if i == 20 else None
    assert load(folder, reader) == 1
    assert load(folder) == 1
    assert load(folder) == 0


def test_a_moved_data_directory_takes_its_cache_along(folder, tmp_path):
    load(folder)
    (tmp_path / "root").rename(tmp_path / "moved")
    assert load(tmp_path / "moved/manifest/tiny/1.0.0") == 0


def test_another_format_is_built_anew(folder, monkeypatch):
    load(folder)
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert load(folder) == 1
    assert load(folder) == 0


def test_every_version_has_its_own(folder):
    load(folder)
    later = folder.rename(folder.with_name("1.1.0"))
    assert load(later) == 1
    home(folder).rename(folder.parent / "kept")
    (folder.parent / "cache-1.1.0").rename(home(folder))
    later.rename(folder)
    assert load(folder) == 1  # the files are the same, the version in the key is not


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("left", ["nothing", "half", "all but a byte", "one byte more", "gone"])
def test_a_truncated_file_is_built_anew(folder, file, left):
    load(folder)
    path = home(folder) / file
    whole = path.read_bytes()
    if left == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"nothing": b"", "half": whole[: len(whole) // 2], "all but a byte": whole[:-1]}.get(
                left, whole + b"x"
            )
        )
    assert cache.read(folder) is None
    assert load(folder) == 1
    assert load(folder) == 0
    assert siblings(folder) == ["1.0.0", "cache-1.0.0"]


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "3", '{"fingerprint": 3}', '{"fingerprint": []}', "\x00", "[" * 10000]
)
def test_an_unreadable_key_is_built_anew(folder, text):
    load(folder)
    (home(folder) / "key.json").write_text(text)
    assert load(folder) == 1
    assert load(folder) == 0


@pytest.mark.parametrize("file", FILES)
def test_a_wrong_byte_outside_the_log_mels_is_noticed(folder, file):
    load(folder)
    path = home(folder) / file
    whole = path.read_bytes()
    for position in range(0, 128 if file == "logmel.npy" else len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert cache.read(folder) is None, position
    path.write_bytes(whole)
    assert cache.read(folder) is not None


@pytest.mark.parametrize("kind", ["file", "empty folder", "folder"])
def test_what_stands_in_the_way_is_replaced(folder, kind):
    if kind == "file":
        home(folder).write_text("in the way")
    else:
        home(folder).mkdir()
        if kind == "folder":
            (home(folder) / "something").touch()
    assert load(folder) == 1
    assert load(folder) == 0


def test_what_fails_leaves_nothing(folder):
    def broken(make):
        make(SHAPE)
        raise LookupError("of the dataset")

    with pytest.raises(LookupError, match="of the dataset"):
        cache.through(folder, broken)
    assert siblings(folder) == ["1.0.0"]


BUILDING = """
import hashlib, os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_cache
from ser_jax.data import cache

def wait(i):
    if i == 20:
        Path({meeting!r}, str(os.getpid())).touch()
        while len(os.listdir({meeting!r})) < {count}:
            time.sleep(0.01)

reader = test_cache.Reader()
reader.on_row = wait
found, fingerprint = cache.through(Path({folder!r}), reader)
test_cache.same(found, reader.held)
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
    monkeypatch.setattr(locks, "fcntl", None)
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
