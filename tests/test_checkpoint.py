"""Checkpoints: bit for bit or refused, the last intact one taken, nothing deleted that cannot be read."""

import errno
import os

import jax
import numpy as np
import pytest

from ser_jax import checkpoint
from ser_jax.checkpoint import CheckpointError, DamagedError, Series


def tree(number):
    """Return a tree as training has it, with tuples, integers, no dimensions and nothing."""
    return {"state": (np.full((2, 3), number, np.float32), [np.int32(number)]), "nothing": np.zeros((0, 4))}


def shapes(number=0):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree(number))


def equal(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_a_tree_comes_back_bit_for_bit_and_saving_again_replaces_it(tmp_path):
    for number in (1, 2):
        checkpoint.save(tmp_path / "new" / "a", tree(number))
        equal(checkpoint.restore(tmp_path / "new" / "a", shapes()), tree(number))


@pytest.fixture
def series(tmp_path):
    """Return a series that holds the checkpoints 5 and 7."""
    found = Series(tmp_path / "a")
    for number in (1, 2, 5, 7):
        found.save(number, tree(number))
    return found


def test_the_last_two_of_a_series_are_kept(series, tmp_path):
    (tmp_path / "a" / ".8.incomplete" / "arrays").mkdir(parents=True)  # left by a process that was killed
    assert series.numbers() == [7, 5]
    number, found = series.latest(shapes(), pytest.fail)
    assert number == 7
    equal(found, tree(7))
    series.save(8, tree(8))
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["7", "8"]
    assert Series(tmp_path / "nowhere").latest(shapes(), pytest.fail) is None


def test_arrays_of_another_configuration_are_named(tmp_path):
    folder = tmp_path / "a"
    with pytest.raises(CheckpointError, match=r"^no checkpoint .*/a, expected one written"):
        checkpoint.restore(folder, shapes())
    checkpoint.save(folder, {"bias": np.zeros((3, 4), np.float16), "more": np.ones(2)})
    bias = r"bias float16 \[3, 4\], expected float32 \[3, 4\]"
    with pytest.raises(CheckpointError, match=rf": {bias}; more float64 \[2\], expected none$"):
        checkpoint.restore(folder, {"bias": np.zeros((3, 4), np.float32)})


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_damaged_checkpoint_is_moved_aside_and_the_one_before_is_taken(series):
    said = []
    for aside in ("7.damaged", "7.damaged-1"):
        file = files(series.path(7))[0]
        file.write_bytes(file.read_bytes()[:20])
        number, found = series.latest(shapes(), said.append)
        assert (number, said.pop()) == (5, f"{series.path(7)} is damaged and was moved to {aside}")
        equal(found, tree(5))
        series.save(7, tree(7))
    assert series.latest(shapes(), pytest.fail)[0] == 7
    assert (series.path(7).parent / aside).exists()


def test_any_damage_is_found(tmp_path):
    """Every file is cut, flipped and removed in turn."""
    folder = tmp_path / "a"
    checkpoint.save(folder, tree(3))
    for file in files(folder):
        content = file.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1}:
            flipped = bytes([content[place] ^ 1]) + content[place + 1 :]
            for rest in (b"", flipped):
                file.write_bytes(content[:place] + rest)
                try:
                    equal(checkpoint.restore(folder, shapes()), tree(3))  # a blank of checkpoint.json
                except CheckpointError as error:
                    assert "delete it to train again" in str(error) or "another configuration" in str(error)  # noqa: PT017
                else:
                    assert file.name == "checkpoint.json"
        file.unlink()
        with pytest.raises(DamagedError):
            checkpoint.restore(folder, shapes())
        file.write_bytes(content)
    equal(checkpoint.restore(folder, shapes()), tree(3))


def test_what_cannot_be_read_for_another_reason_is_left_alone(series, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for target, name in ((checkpoint.Path, "read_bytes"), (checkpoint.ocp.Checkpointer, "restore")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            with pytest.raises(CheckpointError, match=r"cannot be read \(Input/output error\) but") as caught:
                series.latest(shapes(), pytest.fail)
        assert not isinstance(caught.value, DamagedError)
    assert series.latest(shapes(), pytest.fail)[0] == 7


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(CheckpointError, match=r"a checkpoint cannot be written \(.*\); what was saved"):
        Series(tmp_path / "a").save(1, tree(1))
