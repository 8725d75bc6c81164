"""The cache beside a dataset: the same arrays as without it, and never the wrong ones."""

import os

import cached
import numpy as np
import pytest
from cached import FILES, LONGEST, SHAPE, Reader, columns, home, load, same, siblings
from hypothesis import given
from hypothesis import strategies as st

from ser_jax.data import cache


@pytest.fixture
def folder(tmp_path):
    return cached.dataset(tmp_path)


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
