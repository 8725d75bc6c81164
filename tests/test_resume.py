"""Training that is resumed goes on to the same bits; a run whose numbers are not finite is stopped alone."""

import dataclasses

import jax
import numpy as np
import pytest
from five_runs import CONFIG, COUNTS, GROUP, N, a_run, computed, data, equal, specs

from ser_jax import engine, model, train
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Machine
from ser_jax.objectives import DomainAdversarial
from ser_jax.train import Procedure, TrainConfig, schedule

EPOCHS = 4
TRAINING = TrainConfig(batch=8, epochs=EPOCHS)
pytestmark = pytest.mark.usefixtures("hastily")


class Interrupted(Exception):
    """The program was ended."""


class Memory:
    """A `Checkpointing` in memory, which ends the training after so many snapshots.

    Attributes:
      kept: by stack, the epochs done and the snapshot.
    """

    def __init__(self, patience=10**9):
        self.kept, self.patience, self.size = {}, patience, None

    def runs_per_stack(self, proposed):
        self.size = self.size or proposed
        return self.size

    def latest(self, stack, like):
        found = self.kept.get(stack)
        if found is not None:
            shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (found[1], like))
            assert shapes[0] == shapes[1]
        return found

    def save(self, stack, epoch, last, snapshot):
        assert last == (epoch == EPOCHS)
        self.patience -= 1
        self.kept[stack] = epoch, snapshot()
        if self.patience == 0:
            raise Interrupted


def machine(streamed=False, **changes):
    budget = 1000 if streamed else 10**9
    return Machine.here(devices=1, budget=budget, **({"runs_at_once": 2} | changes))


def resumed(machine, after, then=None, **options):
    """Return what is computed in two pieces, the first of which ends after so many snapshots."""
    memory = Memory(after)
    with pytest.raises(Interrupted):
        computed(machine, TRAINING, checkpointing=memory, **options)
    memory.patience = 10**9
    return computed(then or machine, TRAINING, checkpointing=memory, **options), memory


@pytest.mark.parametrize(("streamed", "stacking"), [(False, "map"), (True, "vmap")])
def test_wherever_training_ends_it_goes_on_to_the_same_bits(streamed, stacking):
    here = machine(streamed, stacking=stacking)
    wanted = computed(here, TRAINING)
    for after in (2, 4, 5):  # within a stack, at its end, in the next one
        equal(resumed(here, after)[0], wanted)


def test_fine_tuning_is_resumed_in_stacks_with_idle_places_too():
    params = [jax.tree.map(np.asarray, model.init(CONFIG, jax.random.key(seed))) for seed in range(5)]
    wanted = computed(machine(), TRAINING, specs(params=params))
    found, _ = resumed(
        machine(), 10, own=specs(params=params)
    )  # in the last stack, of one run and an idle place
    equal(found, wanted)


def test_resumed_on_another_machine_the_stacks_stay_as_they_were():
    found, memory = resumed(machine(), 6, machine(runs_at_once=5))
    equal(found, computed(machine(), TRAINING))
    assert sorted(memory.kept) == [0, 1, 2]


def test_heads_are_resumed_too():
    training = dataclasses.replace(TRAINING, objective=DomainAdversarial(hidden=3))
    here = machine(runs_at_once=1)
    speech = data(here, corpus=np.arange(N, dtype=np.int32) % 3, corpora=3)
    own = specs(unlabelled=[np.arange(9, dtype=np.int32)] * 5)[:1]

    def result(memory):
        [found] = engine.compute(here, CONFIG, training, speech, own, checkpointing=memory)
        return found

    memory = Memory(2)
    with pytest.raises(Interrupted):
        result(memory)
    assert memory.kept[0][1]["state"].heads["corpus"]["kernel"].shape == (1, 3, 3)
    memory.patience = 10**9
    equal(result(memory), result(None))


def test_only_the_stacks_that_are_needed_are_computed():
    here = machine()
    wanted = list(engine.compute(here, CONFIG, TRAINING, data(here), specs()))
    [found] = engine.compute(here, CONFIG, TRAINING, data(here), specs(), needed={3})
    assert list(found) == [2, 3]
    equal(found, wanted[1])


def poisoned(place, value):
    """Return the five runs, one of which standardizes its second group of utterances to a value."""
    own = specs()
    mean = own[place].scaler.mean.copy()
    mean[1] = value
    own[place] = dataclasses.replace(own[place], scaler=Scaler(mean, own[place].scaler.scale))
    return own


@pytest.mark.parametrize(("stacking", "value"), [("map", np.inf), ("vmap", np.nan)])
def test_a_run_that_is_not_finite_is_stopped_and_affects_no_other(stacking, value):
    here = machine(runs_at_once=5, stacking=stacking)
    bad = poisoned(3, value)
    wanted, found = computed(here, TRAINING), computed(here, TRAINING, bad)
    batches = schedule(bad[3].run(), 8, 0)
    group = GROUP[np.asarray(batches.rows)]
    step = 1 + int(np.flatnonzero(((group == 1) & np.asarray(batches.mask)).any(axis=1))[0])
    assert [one.stopped.tolist() for one in found] == [[0, 0], [0, 0], [0, 0], [1, step], [0, 0]]
    stopped = found.pop(3)
    del wanted[3]
    equal(found, wanted)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(stopped._replace(stopped=())))


def test_a_run_is_stopped_in_the_epoch_and_step_that_went_wrong():
    """Not before, and nothing is learnt after it."""
    speech, run = data(machine()), a_run(0, COUNTS[0])
    epoch = jax.jit(train.one_epoch, static_argnums=0)
    procedure = Procedure(CONFIG, TRAINING)
    state = train.start(CONFIG, TRAINING, run)
    for number in range(2):
        state, _ = epoch(procedure, speech, run, state, number)
    assert state.stopped.tolist() == [0, 0]
    broken = dataclasses.replace(run, scaler=run.scaler._replace(scale=run.scaler.scale * np.float32(np.inf)))
    state, loss = epoch(procedure, speech, broken, state, 2)
    assert state.stopped.tolist() == [3, 1]
    assert np.isnan(loss)
    later, loss = epoch(procedure, speech, run, state, 3)
    equal(later, state)
    assert np.isnan(loss)
