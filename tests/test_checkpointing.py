"""Stacks in training on disk: resumed, refused, moved aside and discarded."""

import dataclasses
import json
import signal

import numpy as np
import pytest

from ser_jax.checkpoint import CheckpointError, Series
from ser_jax.errors import Interrupted
from ser_jax.experiment import resume
from ser_jax.experiment.resume import Checkpointing, differences
from ser_jax.shutdown import Shutdown

EPOCHS = 5
WORK = {"runs": [["cell", 3]], "training": {"epochs": EPOCHS, "stacking": "auto"}, "folds": (1, 2)}


@dataclasses.dataclass
class Experiment:
    """A results folder, what was said, and how often stacks are saved."""

    out: object
    said: list = dataclasses.field(default_factory=list)
    shutdown: Shutdown = dataclasses.field(default_factory=Shutdown)
    interval: tuple = (3600.0, 2)

    @property
    def folder(self):
        return self.out / "unfinished" / "cell" / "host-0"

    def begin(self, work=WORK, environment=None, enabled=True):
        environment = environment or {"jax": "1"}
        self.said.clear()
        return Checkpointing(
            self.folder, work, environment, self.interval, "cell", self.shutdown, self.said.append, enabled
        )

    def train(self, checkpointing, stack=0, until=EPOCHS):
        """Trains a stack, whose state is the number of its epochs; returns the epoch it began after."""
        found = checkpointing.latest(stack, {"state": np.zeros(2)})
        first = 0 if found is None else found[0]
        assert found is None or (found[1]["state"] == first).all()
        for epoch in range(first + 1, until + 1):
            checkpointing.save(stack, epoch, epoch == EPOCHS, lambda: {"state": np.full(2, float(epoch))})  # noqa: B023
        return first


@pytest.fixture
def experiment(tmp_path):
    return Experiment(tmp_path)


def test_a_stack_goes_on_after_the_epoch_that_was_saved_last(experiment):
    begun = experiment.begin()
    assert begun.runs_per_stack(4) == 4
    assert experiment.train(begun, until=4) == 0
    again = experiment.begin()
    assert again.runs_per_stack(7) == 4
    assert experiment.train(again) == 4
    assert experiment.said == ["cell: stack 1 goes on after epoch 4 of 5"]
    assert experiment.train(again, stack=1) == 0
    assert experiment.train(experiment.begin()) == EPOCHS
    assert experiment.said == []


def saved(experiment):
    return Series(experiment.folder / "stack-0").numbers()


@pytest.mark.parametrize(
    ("interval", "numbers"),
    [((3600.0, None), [5]), ((0.0, None), [5, 4]), ((3600.0, 3), [5, 3]), ((3600.0, 9), [5])],
)
def test_a_stack_is_saved_by_time_or_epochs_and_at_its_end(experiment, interval, numbers):
    experiment.interval = interval
    begun = experiment.begin()
    begun.runs_per_stack(1)
    experiment.train(begun)
    assert saved(experiment) == numbers
    assert experiment.shutdown.saved


def test_a_request_to_end_is_followed_after_the_epoch_is_saved(experiment):
    begun = experiment.begin()
    begun.runs_per_stack(1)
    experiment.train(begun, until=1)
    assert not experiment.shutdown.saved
    experiment.shutdown.requested = signal.SIGTERM
    with pytest.raises(
        Interrupted, match=r"^ended after epoch 1 of 5 of stack 1 of cell, which is saved"
    ) as end:
        experiment.train(begun)
    assert end.value.status == 143
    assert experiment.shutdown.saved
    assert saved(experiment) == [1]


def test_of_several_hosts_the_first_one_saves(experiment):
    other = experiment.begin(enabled=False)
    assert other.runs_per_stack(2) == 2
    assert experiment.train(other) == 0
    assert [file.name for file in experiment.folder.iterdir()] == ["stacks.json"]
    experiment.shutdown.requested = signal.SIGINT
    with pytest.raises(Interrupted, match="of several hosts the first one's training alone is saved"):
        experiment.train(other)


def test_other_work_is_refused_and_another_environment_said(experiment):
    experiment.begin().runs_per_stack(1)
    note = (experiment.folder / "stacks.json").read_text()
    other = WORK | {"training": {"epochs": EPOCHS, "stacking": "vmap"}}
    with pytest.raises(
        CheckpointError, match=r"configuration \(training stacking: auto there, vmap expected\)"
    ):
        experiment.begin(other)
    experiment.begin(environment={"jax": "2"})
    assert experiment.said == [
        "the unfinished work was begun otherwise (jax: 1 there, 2 expected): results may differ by rounding"
    ]
    assert (experiment.folder / "stacks.json").read_text() == note


@pytest.mark.parametrize("content", [None, "", '{"work": {', "[]", '{"work": {"runs": [["cell", 3]]}}'])
def test_stacks_of_unknown_work_are_moved_aside(experiment, content):
    experiment.train(experiment.begin(), until=2)
    if content is not None:
        (experiment.folder / "stacks.json").write_text(content)
    resume.discard(experiment.out, {"cell"} if content else set())
    if content is not None:
        assert saved(experiment) == [2]
    again = experiment.begin()
    assert again.runs_per_stack(1) == 1
    assert experiment.train(again) == 0
    assert saved(experiment) == [5, 4]


def test_a_damaged_checkpoint_is_said(experiment):
    experiment.interval = (3600.0, 1)
    begun = experiment.begin()
    begun.runs_per_stack(1)
    experiment.train(begun, until=3)
    (experiment.folder / "stack-0" / "3" / "checkpoint.json").write_text("")
    assert experiment.train(experiment.begin()) == 2
    damaged, how = experiment.said
    assert damaged.endswith("stack-0/3 is damaged and was moved to 3.damaged")
    assert how == "cell: stack 1 goes on after epoch 2 of 5"


def test_stacks_are_discarded_when_all_their_results_are_stored(experiment):
    experiment.begin(WORK | {"runs": [["cell", 3], ["other", 1]]}).runs_per_stack(1)
    resume.discard(experiment.out, {"cell"})
    assert (experiment.folder / "stacks.json").exists()
    resume.discard(experiment.out, {"cell", "other", "more"})
    assert not list(experiment.out.iterdir())
    resume.discard(experiment.out, set())


def test_differences_are_named():
    found = {"a": 1, "b": {"c": [1, 2], "d": {}}, "e": [{"name": "x"}], "same": 0}
    wanted = {"a": 2, "b": {"c": [3], "d": 5}, "e": [], "same": 0}
    assert list(differences(found, json.loads(json.dumps(wanted)))) == [
        "a: 1 there, 2 expected",
        "b c: 1 2 there, 3 expected",
        "other b d",
        "other e",
    ]
