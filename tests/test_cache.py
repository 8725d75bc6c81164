"""The cache beside a dataset: the same arrays as without it, and never the wrong ones."""

import os
import time

import cached
import numpy as np
import pytest
from cached import SHAPE, Reader, files, load, siblings

from ser_jax.data import cache


@pytest.fixture
def folder(tmp_path):
    return cached.dataset(tmp_path)


def test_the_second_loading_gives_the_same_without_reading(folder):
    assert [load(folder), load(folder)] == [1, 0]
    assert siblings(folder) == ["2.0.0", *sorted(file.name for file in files(folder))]


def test_the_features_are_mapped_and_cannot_be_changed(folder):
    for _ in range(2):
        features = cache.through(folder, SHAPE, Reader())[0]["features"]
        assert isinstance(features, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            features[0, 0, 0] = 1


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
def test_a_dataset_prepared_again_is_read_again(folder, what):
    load(folder)
    old = files(folder)
    change(folder, what)
    for file in old:
        os.utime(file, (0, 0))
    assert [load(folder, Reader(seed=7)), load(folder, Reader(seed=7))] == [1, 0]
    assert siblings(folder) == ["2.0.0", *sorted(file.name for file in files(folder))]  # without the old ones


def test_a_dataset_that_changes_while_it_is_read_is_read_again(folder):
    reader = Reader()
    reader.on_row = lambda i: change(folder, "time") if i == 20 else None
    assert load(folder, reader) == 1
    assert [load(folder), load(folder)] == [1, 0]


def test_a_moved_data_directory_takes_its_cache_along(folder, tmp_path):
    load(folder)
    (tmp_path / "root").rename(tmp_path / "moved")
    assert load(tmp_path / "moved/manifest/tiny/2.0.0") == 0


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("left", [0, 100, -33, -1, "gone"])
def test_a_truncated_file_is_built_again(folder, number, left):
    load(folder)
    file = files(folder)[number]
    whole = file.read_bytes()
    file.unlink()
    if left != "gone":
        file.write_bytes(whole[:left])
    assert [load(folder), load(folder)] == [1, 0]


def test_a_wrong_byte_among_the_facts_is_noticed(folder):
    load(folder)
    columns = files(folder)[0]
    whole = columns.read_bytes()
    place = whole.index(np.array(["é000"]).tobytes())
    columns.write_bytes(whole[:place] + b"x" + whole[place + 1 :])
    assert [load(folder), load(folder)] == [1, 0]


def test_what_fails_is_never_taken_for_a_corpus(folder):
    def broken():
        yield from list(Reader()())[:3]
        raise LookupError("of the dataset")

    with pytest.raises(LookupError, match="of the dataset"):
        cache.through(folder, SHAPE, broken)
    assert siblings(folder) == ["2.0.0"]
    for _ in range(2):
        with pytest.raises(ValueError, match="its features are not of this size"):
            cache.through(folder, SHAPE, lambda: iter(list(Reader()())[:3]))


def test_only_old_leftovers_are_swept(folder):
    old, young = (folder.parent / f".cache-{i}.features.{i}.partial" for i in range(2))
    for file in (old, young):
        file.touch()
    os.utime(old, (0, time.time() - 2 * cache.OLD))
    load(folder)
    assert (old.exists(), young.exists()) == (False, True)
