"""The cache beside a dataset: the same arrays as without it, and never the wrong ones."""

import hashlib
import os

import cached
import numpy as np
import pytest
from cached import SHAPE, Reader, columns, file, load, same, siblings

from ser_jax.data import cache

BEGIN = 128 + 4 * int(np.prod(SHAPE))  # of what follows the features


@pytest.fixture
def folder(tmp_path):
    return cached.dataset(tmp_path)


def test_the_second_loading_gives_the_same_without_reading(folder):
    assert load(folder) == 1
    assert siblings(folder) == ["2.0.0", "cache-2.0.0.npy"]
    assert load(folder) == 0
    found, digest = cache.read(folder, SHAPE)
    same(found, columns())
    assert digest == hashlib.sha256(columns()["features"].tobytes()).hexdigest()


def test_the_features_are_mapped_and_cannot_be_changed(folder):
    for _ in range(2):
        features = cache.through(folder, SHAPE, Reader())[0]["features"]
        assert isinstance(features, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            features[0, 0, 0] = 1
    np.testing.assert_array_equal(np.load(file(folder), mmap_mode="r"), columns()["features"])


def test_padding_is_holes_of_a_sparse_file(folder):
    probe = folder / "probe"
    with probe.open("wb") as stream:
        stream.truncate(1 << 20)
    if probe.stat().st_blocks:
        pytest.skip("a file system without sparse files")
    load(folder)
    assert file(folder).stat().st_size > BEGIN
    assert file(folder).stat().st_blocks * 512 < BEGIN / 4


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
    change(folder, what)
    assert cache.read(folder, SHAPE) is None
    assert load(folder, Reader(seed=7)) == 1
    assert load(folder, Reader(seed=7)) == 0
    assert siblings(folder) == ["2.0.0", "cache-2.0.0.npy"]


def test_a_dataset_that_changes_while_it_is_read_is_read_again(folder):
    reader = Reader()
    reader.on_row = lambda i: change(folder, "time") if i == 20 else None
    assert load(folder, reader) == 1
    assert [load(folder), load(folder)] == [1, 0]


def test_a_moved_data_directory_takes_its_cache_along(folder, tmp_path):
    load(folder)
    (tmp_path / "root").rename(tmp_path / "moved")
    assert load(tmp_path / "moved/manifest/tiny/2.0.0") == 0


def test_another_format_version_or_shape_is_built_again(folder, monkeypatch):
    load(folder)
    assert cache.read(folder, (SHAPE[0], SHAPE[2], SHAPE[1])) is None
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert [load(folder), load(folder)] == [1, 0]
    later = folder.rename(folder.with_name("2.1.0"))
    file(folder).rename(folder.parent / "cache-2.1.0.npy")
    assert load(later) == 1  # the files are the same, the version in the key is not


@pytest.mark.parametrize("left", [0, 100, 1000, BEGIN, BEGIN + 500, -33, -1, "one byte more", "gone"])
def test_a_truncated_file_is_built_again(folder, left):
    load(folder)
    whole = file(folder).read_bytes()
    if left == "gone":
        file(folder).unlink()
    else:
        file(folder).write_bytes(whole + b"x" if left == "one byte more" else whole[:left])
    assert cache.read(folder, SHAPE) is None
    assert [load(folder), load(folder)] == [1, 0]
    assert siblings(folder) == ["2.0.0", "cache-2.0.0.npy"]


def test_a_wrong_byte_outside_the_features_is_noticed(folder):
    load(folder)
    size = file(folder).stat().st_size
    with file(folder).open("r+b", buffering=0) as stream:
        for position in [*range(0, 128, 7), *range(BEGIN, size, 43), size - 1]:
            stream.seek(position)
            (byte,) = stream.read(1)
            for value in (byte ^ 1, byte):
                stream.seek(position)
                stream.write(bytes([value]))
                assert (cache.read(folder, SHAPE) is None) == (value != byte), position


def test_a_link_is_replaced_and_never_written_through(folder, tmp_path):
    (tmp_path / "precious").write_text("precious")
    file(folder).symlink_to(tmp_path / "precious")
    assert [load(folder), load(folder)] == [1, 0]
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_fails_leaves_nothing(folder):
    def broken():
        yield from list(Reader()())[:3]
        raise LookupError("of the dataset")

    with pytest.raises(LookupError, match="of the dataset"):
        cache.through(folder, SHAPE, broken)
    with pytest.raises(ValueError, match="its records are not what ser_jax writes"):
        cache.through(folder, SHAPE, lambda: iter(list(Reader()())[:3]))
    assert siblings(folder) == ["2.0.0"]
