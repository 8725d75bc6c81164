"""Checkpoints: bit for bit or refused, the last intact one taken, nothing deleted that cannot be read."""

import dataclasses
import errno
import os
import signal

import jax
import numpy as np
import pytest

from ser_jax import checkpoint
from ser_jax.checkpoint import CheckpointError, Checkpointing, DamagedError
from ser_jax.errors import Interrupted

EPOCHS = 5


def tree(number):
    """Return a tree as training has it, with tuples, integers, no dimensions and nothing."""
    return {"state": (np.full((2, 3), number, np.float32), [np.int32(number)]), "nothing": np.zeros((0, 4))}


SHAPES = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree(0))


def equal(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_a_tree_comes_back_bit_for_bit_and_saving_again_replaces_it(tmp_path):
    for number in (1, 2):
        checkpoint.save(tmp_path / "new" / "a", tree(number))
        equal(checkpoint.restore(tmp_path / "new" / "a", SHAPES), tree(number))


def test_arrays_of_another_configuration_are_named(tmp_path):
    folder = tmp_path / "a"
    with pytest.raises(CheckpointError, match=r"^no checkpoint .*/a, expected one written"):
        checkpoint.restore(folder, SHAPES)
    checkpoint.save(folder, {"bias": np.zeros((3, 4), np.float16), "more": np.ones(2)})
    bias = r"bias float16 \[3, 4\], expected float32 \[3, 4\]"
    with pytest.raises(CheckpointError, match=rf": {bias}; more float64 \[2\], expected none$"):
        checkpoint.restore(folder, {"bias": np.zeros((3, 4), np.float32)})


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


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
                    equal(checkpoint.restore(folder, SHAPES), tree(3))  # a blank of checkpoint.json
                except CheckpointError as error:
                    assert "delete it to train again" in str(error) or "another configuration" in str(error)  # noqa: PT017
                else:
                    assert file.name == "checkpoint.json"
        file.unlink()
        with pytest.raises(DamagedError):
            checkpoint.restore(folder, SHAPES)
        file.write_bytes(content)
    equal(checkpoint.restore(folder, SHAPES), tree(3))


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(CheckpointError, match=r"a checkpoint cannot be written \(.*\); earlier checkpoints"):
        checkpoint.save(tmp_path / "a" / "1", tree(1))


@dataclasses.dataclass
class Experiment:
    """The folder of a stack's checkpoints, what was printed, and how often it is saved."""

    folder: object
    interval: tuple = (3600.0, 2)
    printed: list = dataclasses.field(default_factory=list)
    signals: list = dataclasses.field(default_factory=list)

    def begin(self, jax="1", enabled=True):
        """Return the checkpoints of stacks of one run."""
        self.printed.clear()
        say, environment = self.printed.append, {"jax": jax}
        found = Checkpointing(
            self.folder, environment, EPOCHS, self.interval, "cell", self.signals, say, enabled
        )
        assert found.runs_per_stack(1) == 1
        return found

    def train(self, checkpointing, stack=0, until=EPOCHS):
        """Train a stack whose state is the number of its epochs; return the epoch it began after."""
        found = checkpointing.latest(stack, SHAPES)
        first = 0 if found is None else found[0]
        if found is not None:
            equal(found[1], tree(first))
        for epoch in range(first + 1, until + 1):
            checkpointing.save(stack, epoch, epoch == EPOCHS, lambda: tree(epoch))  # noqa: B023
        return first

    def saved(self):
        return self.begin().numbers(0)


@pytest.fixture
def experiment(tmp_path):
    return Experiment(tmp_path / "unfinished" / "host-0")


def test_a_stack_resumes_after_the_epoch_that_was_saved_last(experiment):
    begun = experiment.begin()
    assert experiment.train(begun, until=4) == 0
    again = experiment.begin()
    assert again.runs_per_stack(7) == 1
    assert experiment.train(again) == 4
    assert experiment.printed == ["cell: stack 1 goes on after epoch 4 of 5"]
    assert experiment.train(again, stack=1) == 0
    assert experiment.train(experiment.begin()) == EPOCHS
    assert experiment.printed == []


@pytest.mark.parametrize(
    ("interval", "numbers"), [((3600.0, None), [5]), ((0.0, None), [5, 4]), ((3600.0, 3), [5, 3])]
)
def test_a_stack_is_saved_by_time_or_epochs_and_at_its_end(experiment, interval, numbers):
    """The last two checkpoints are kept, and those that were half written count for nothing."""
    experiment.interval = interval
    (experiment.folder / "stack-0" / ".8.incomplete" / "arrays").mkdir(parents=True)
    experiment.folder.joinpath("stacks.json").write_text('{"runs_per_stack": 1, "environment": {"jax": "1"}}')
    experiment.train(experiment.begin())
    assert experiment.saved() == numbers


def test_of_several_hosts_the_first_one_saves(experiment):
    other = experiment.begin(enabled=False)
    assert experiment.train(other) == 0
    assert [file.name for file in experiment.folder.iterdir()] == ["stacks.json"]
    experiment.signals.append(signal.SIGINT)
    with pytest.raises(Interrupted, match="of several hosts the first one's training alone is saved"):
        experiment.train(other)


def test_another_environment_is_announced(experiment):
    experiment.begin()
    experiment.begin(jax="2")
    assert experiment.printed == [
        "the unfinished work was begun otherwise (jax: 1 there, 2 expected): results may differ by rounding"
    ]


def test_a_damaged_checkpoint_is_moved_aside_and_the_one_before_is_taken(experiment):
    experiment.interval = (3600.0, 1)
    experiment.train(experiment.begin(), until=3)
    for aside in ("3.damaged", "3.damaged-1"):
        again = experiment.begin()
        file = files(again.path(0, 3))[0]
        file.write_bytes(file.read_bytes()[:20])
        assert experiment.train(again, until=3) == 2
        damaged, how = experiment.printed
        assert damaged == f"{again.path(0, 3)} is damaged and was moved to {aside}"
        assert how == "cell: stack 1 goes on after epoch 2 of 5"
        assert again.path(0, 3).with_name(aside).exists()
    assert experiment.train(experiment.begin()) == 3


def test_what_cannot_be_read_for_another_reason_is_left_alone(experiment, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    begun = experiment.begin()
    experiment.train(begun)
    for target, name in ((checkpoint.Path, "read_bytes"), (checkpoint.ocp.Checkpointer, "restore")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            with pytest.raises(CheckpointError, match=r"cannot be read \(Input/output error\) but") as caught:
                begun.latest(0, SHAPES)
        assert not isinstance(caught.value, DamagedError)
    assert experiment.train(begun) == EPOCHS
    assert experiment.printed == []
