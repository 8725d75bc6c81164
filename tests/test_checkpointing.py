"""Stacks in training on disk: saved, resumed, moved aside."""

import dataclasses
import signal

import numpy as np
import pytest

from ser_jax.checkpoint import Series
from ser_jax.errors import Interrupted
from ser_jax.experiment.resume import Checkpointing
from ser_jax.shutdown import Shutdown

EPOCHS = 5


@dataclasses.dataclass
class Experiment:
    """The folder of a stack's checkpoints, what was printed, and how often it is saved."""

    folder: object
    printed: list = dataclasses.field(default_factory=list)
    shutdown: Shutdown = dataclasses.field(default_factory=Shutdown)
    interval: tuple = (3600.0, 2)

    def begin(self, jax="1", enabled=True):
        self.printed.clear()
        say, environment = self.printed.append, {"jax": jax}
        return Checkpointing(
            self.folder, environment, EPOCHS, self.interval, "cell", self.shutdown, say, enabled
        )

    def train(self, checkpointing, stack=0, until=EPOCHS):
        """Train a stack whose state is the number of its epochs; return the epoch it began after."""
        found = checkpointing.latest(stack, {"state": np.zeros(2)})
        first = 0 if found is None else found[0]
        assert found is None or (found[1]["state"] == first).all()
        for epoch in range(first + 1, until + 1):
            checkpointing.save(stack, epoch, epoch == EPOCHS, lambda: {"state": np.full(2, float(epoch))})  # noqa: B023
        return first

    def saved(self):
        return Series(self.folder / "stack-0").numbers()


@pytest.fixture
def experiment(tmp_path):
    return Experiment(tmp_path / "unfinished" / "host-0")


def test_a_stack_resumes_after_the_epoch_that_was_saved_last(experiment):
    begun = experiment.begin()
    assert begun.runs_per_stack(4) == 4
    assert experiment.train(begun, until=4) == 0
    again = experiment.begin()
    assert again.runs_per_stack(7) == 4
    assert experiment.train(again) == 4
    assert experiment.printed == ["cell: stack 1 goes on after epoch 4 of 5"]
    assert experiment.train(again, stack=1) == 0
    assert experiment.train(experiment.begin()) == EPOCHS
    assert experiment.printed == []


@pytest.mark.parametrize(
    ("interval", "numbers"), [((3600.0, None), [5]), ((0.0, None), [5, 4]), ((3600.0, 3), [5, 3])]
)
def test_a_stack_is_saved_by_time_or_epochs_and_at_its_end(experiment, interval, numbers):
    experiment.interval = interval
    begun = experiment.begin()
    begun.runs_per_stack(1)
    experiment.train(begun)
    assert experiment.saved() == numbers


def test_a_request_to_end_is_followed_after_the_epoch_is_saved(experiment):
    begun = experiment.begin()
    begun.runs_per_stack(1)
    experiment.train(begun, until=1)
    experiment.shutdown.requested = signal.SIGTERM
    sentence = r"^ended after epoch 1 of 5 of stack 1 of cell, which is saved"
    with pytest.raises(Interrupted, match=sentence) as end:
        experiment.train(begun)
    assert end.value.status == 143
    assert experiment.saved() == [1]


def test_of_several_hosts_the_first_one_saves(experiment):
    other = experiment.begin(enabled=False)
    assert other.runs_per_stack(2) == 2
    assert experiment.train(other) == 0
    assert [file.name for file in experiment.folder.iterdir()] == ["stacks.json"]
    experiment.shutdown.requested = signal.SIGINT
    with pytest.raises(Interrupted, match="of several hosts the first one's training alone is saved"):
        experiment.train(other)


def test_another_environment_is_announced(experiment):
    experiment.begin().runs_per_stack(3)
    assert experiment.begin(jax="2").runs_per_stack(1) == 3
    assert experiment.printed == [
        "the unfinished work was begun otherwise (jax: 1 there, 2 expected): results may differ by rounding"
    ]


@pytest.mark.parametrize("content", ["", '{"runs_per_stack": {', "[]", '{"runs_per_stack": 1}', None])
def test_stacks_without_an_intact_note_are_moved_aside(experiment, content):
    begun = experiment.begin()
    begun.runs_per_stack(2)
    experiment.train(begun, until=2)
    note = experiment.folder / "stacks.json"
    note.unlink() if content is None else note.write_text(content)
    again = experiment.begin()
    assert again.runs_per_stack(1) == 1
    assert experiment.train(again) == 0
    assert "stacks.json is lost or damaged: its stacks are trained again" in experiment.printed[0]
    assert experiment.folder.with_name("host-0.damaged").exists()


def test_a_damaged_checkpoint_is_announced(experiment):
    experiment.interval = (3600.0, 1)
    begun = experiment.begin()
    begun.runs_per_stack(1)
    experiment.train(begun, until=3)
    (experiment.folder / "stack-0" / "3" / "checkpoint.json").write_text("")
    assert experiment.train(experiment.begin()) == 2
    damaged, how = experiment.printed
    assert damaged.endswith("stack-0/3 is damaged and was moved to 3.damaged")
    assert how == "cell: stack 1 goes on after epoch 2 of 5"
