"""Arrays on disk and back."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from ser_jax import checkpoint
from ser_jax.checkpoint import CheckpointError, DamagedError, Series


def stack(runs):
    """A tree of parameters of some runs."""
    draw = np.random.default_rng(0)
    shapes = {"kernel": (4, 3, 4), "bias": (4,)}
    params = {name: draw.normal(size=(runs, *shape)).astype(np.float32) for name, shape in shapes.items()}
    return params | {"classifier": {"bias": np.zeros((runs, 2), np.float32)}}


def shapes(runs):
    return jax.eval_shape(lambda: stack(runs))


@pytest.fixture(scope="module")
def params():
    return stack(3)


def test_a_stack_comes_back_bit_for_bit(tmp_path, params):
    checkpoint.save(tmp_path / "a", params)
    back = checkpoint.restore(tmp_path / "a", shapes(3))
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_saving_again_replaces(tmp_path, params):
    checkpoint.save(tmp_path / "a", params)
    checkpoint.save(tmp_path / "a", jax.tree.map(lambda leaf: leaf + 1, params))
    back = checkpoint.restore(tmp_path / "a", shapes(3))
    np.testing.assert_array_equal(back["bias"], params["bias"] + 1)


def test_what_cannot_be_restored_is_named(tmp_path, params):
    with pytest.raises(CheckpointError, match=r"no finished checkpoint in .*nowhere, expected one written"):
        checkpoint.restore(tmp_path / "nowhere", shapes(3))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no finished checkpoint in .*empty"):
        checkpoint.restore(tmp_path / "empty", shapes(3))
    checkpoint.save(tmp_path / "a", params)
    with pytest.raises(
        CheckpointError,
        match=r"another configuration: bias float32 \[3, 4\], expected float32 \[5, 4\]; ",
    ):
        checkpoint.restore(tmp_path / "a", shapes(5))
    checkpoint.save(tmp_path / "b", {**params, "bias": params["bias"].astype(np.float16), "more": np.ones(2)})
    with pytest.raises(
        CheckpointError,
        match=r"configuration: bias float16 \[3, 4\], expected float32 \[3, 4\]; more float64 \[2\], "
        r"expected none$",
    ):
        checkpoint.restore(tmp_path / "b", shapes(3))


def at(number):
    """A tree as training has it, with tuples, integers and no dimensions."""
    return {"state": (np.full((2, 3), number, np.float32), [np.int32(number)]), "nothing": np.zeros((0, 4))}


def test_the_last_two_of_a_series_are_kept(tmp_path):
    with Series(tmp_path / "a") as series:
        for number in (1, 2, 5, 7):
            series.save(number, at(number))
    with Series(tmp_path / "a") as series:
        assert series.numbers() == [7, 5]
        number, found = series.latest(at(0), pytest.fail)
    assert number == 7
    assert jax.tree.structure(found) == jax.tree.structure(at(7))
    jax.tree.map(np.testing.assert_array_equal, found, at(7))


def test_a_series_without_any_checkpoint_has_no_latest(tmp_path):
    with Series(tmp_path / "nowhere") as series:
        assert series.latest(at(0), pytest.fail) is None
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def two(tmp_path):
    """A folder with the checkpoints 3 and 4."""
    with Series(tmp_path / "a") as series:
        for number in (3, 4):
            series.save(number, at(number))
    return tmp_path / "a"


def latest(folder):
    """The number of the last intact checkpoint, and what is said of the others."""
    said = []
    with Series(folder) as series:
        number, found = series.latest(at(0), said.append)
    jax.tree.map(np.testing.assert_array_equal, found, at(number))
    return number, said


def cut(checkpoint):
    for file in checkpoint.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:20])


def test_a_damaged_checkpoint_is_moved_aside_and_the_one_before_is_taken(two):
    for aside in ("4.damaged", "4.damaged-1"):
        cut(two / "4")
        sentence = f"{two / '4'} is damaged (its files are not as they were written) and was moved to {aside}"
        assert latest(two) == (3, [sentence])
        with Series(two) as series:
            assert series.numbers() == [3]
            series.save(4, at(4))
        assert latest(two) == (4, [])
    with Series(two) as series:
        series.save(5, at(5))
    assert sorted(place.name for place in two.iterdir()) == ["4", "4.damaged", "4.damaged-1", "5"]


def left_alone(folder, reason):
    with Series(folder) as series, pytest.raises(CheckpointError, match=reason) as caught:
        series.latest(at(0), pytest.fail)
    assert not isinstance(caught.value, DamagedError)
    assert str(folder / "4") in str(caught.value)
    assert sorted(place.name for place in folder.iterdir()) == ["3", "4"]


@pytest.mark.parametrize("part", ["restore", "item_metadata"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO)), r"cannot be read \(Input/output error\) but need not"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "Permission denied"),
        (ValueError("INTERNAL: reading [os_error_code='24' source]"), "Too many open files"),
        (AttributeError("no attribute 'arrays'\nin a new version"), r"\(no attribute 'arrays'\) but need"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_read_for_another_reason_is_left_alone(two, monkeypatch, part, error, reason):
    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.ocp.CheckpointManager, "restore", fail)
        patch.setattr(checkpoint.ocp.CheckpointManager, part, fail)
        left_alone(two, reason)
    assert latest(two) == (4, [])


def test_a_file_that_the_system_does_not_read_is_left_alone(two, monkeypatch):
    """Orbax takes what it cannot read for absent."""
    cut(two / "4")
    own = checkpoint.Path.read_bytes

    def read_bytes(path):
        if path.name == "_METADATA":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return own(path)

    monkeypatch.setattr(checkpoint.Path, "read_bytes", read_bytes)
    left_alone(two, "Permission denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_left_alone(two):
    (two / "4").chmod(0)
    left_alone(two, "Permission denied")
    (two / "4").chmod(0o755)
    assert latest(two) == (4, [])


def test_arrays_are_those_of_their_hash(tmp_path, monkeypatch):
    """A checkpoint that can be read, but holds other numbers than were written."""
    with monkeypatch.context() as patch, Series(tmp_path / "a") as series:
        patch.setattr(checkpoint, "digest", lambda tree: "0" * 64)
        series.save(1, at(1))
    with Series(tmp_path / "a") as series, pytest.raises(DamagedError, match="not those of its SHA-256"):
        series.read(1, at(0))


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "a").touch()
    with (
        pytest.raises(CheckpointError, match=r"a: a checkpoint cannot be written \(.*; what was saved"),
        Series(tmp_path / "a") as series,
    ):
        series.save(1, at(1))


DAMAGE = """
import sys
from pathlib import Path
import jax, numpy as np
sys.path.insert(0, sys.argv[2])
from test_checkpoint import shapes
from ser_jax import checkpoint
from ser_jax.checkpoint import CheckpointError

folder = Path(sys.argv[1])
intact = checkpoint.restore(folder, shapes(3))
draw = np.random.default_rng(0)
for file in [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]:
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[draw.integers(len(content))] ^= 1 << draw.integers(8)
    for damaged in (b"", content[: len(content) // 2], bytes(flipped)):
        file.write_bytes(damaged)
        try:
            jax.tree.map(np.testing.assert_array_equal, checkpoint.restore(folder, shapes(3)), intact)
            print("intact")
        except CheckpointError as error:
            known = "delete it to train again" in str(error) or "of another configuration" in str(error)
            print("refused" if known else error)
    file.write_bytes(content)
"""


def test_a_damaged_checkpoint_is_restored_bit_for_bit_or_refused(tmp_path, params):
    """Every file emptied, cut and flipped in turn; in a process of its own: Orbax leaves threads behind."""
    checkpoint.save(tmp_path / "a", params)
    command = [sys.executable, "-c", DAMAGE, str(tmp_path / "a"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split("\n")[:-1]
    assert set(answers) <= {"intact", "refused"}, answers
    assert answers.count("refused") >= 9
