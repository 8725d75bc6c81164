"""Training that is taken up again goes on to the same bits; a run whose numbers go wrong is stopped alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from five_runs import CONFIG, N, a_run, computed, features
from ser_jax.schedule import schedule

from ser_jax import engine, runs, train
from ser_jax.devices import Machine
from ser_jax.engine import Asked
from ser_jax.runs import Data
from ser_jax.train import TrainConfig

EPOCHS = 4
pytestmark = pytest.mark.usefixtures("hastily")


class Gone(Exception):
    """The program was ended."""


class Memory:
    """Keeps what it is offered; ends the training after so many offers.

    Attributes:
      kept: by stack, the epochs done and the snapshot.
    """

    def __init__(self, patience=10**9, runs_a_stack=None):
        self.kept, self.patience, self._runs_a_stack = {}, patience, runs_a_stack

    def runs_a_stack(self, proposed):
        self._runs_a_stack = self._runs_a_stack or proposed
        return self._runs_a_stack

    def latest(self, stack, like):
        found = self.kept.get(stack)
        if found is not None:
            shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (found[1], like))
            assert shapes[0] == shapes[1]
        return found

    def offer(self, stack, epoch, last, snapshot):
        assert last == (epoch == EPOCHS)
        self.patience -= 1
        self.kept[stack] = epoch, snapshot()
        if self.patience == 0:
            raise Gone


def machine(streamed=False, at_once=2):
    return Machine.here(devices=1, budget=1000 if streamed else 10**9, runs_at_once=at_once)


def equal(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("streamed", [False, True], ids=["resident", "streamed"])
@pytest.mark.parametrize("stacking", ["map", "vmap"])
def test_wherever_training_ends_it_goes_on_to_the_same_bits(streamed, stacking):
    training = TrainConfig(batch=8, epochs=EPOCHS, stacking=stacking)
    wanted = computed(machine(streamed), training)
    for after in (2, 4, 5):  # within a stack, at its end, in the next one
        memory = Memory(after)
        with pytest.raises(Gone):
            computed(machine(streamed), training, keep=memory)
        memory.patience = 10**9
        equal(computed(machine(streamed), training, keep=memory), wanted)


def test_fine_tuning_goes_on_in_stacks_with_idle_places_too():
    training = TrainConfig(batch=8, epochs=EPOCHS)
    first = [train.start(CONFIG, training, a_run(seed, 5)).params for seed in range(5)]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *first)
    wanted = computed(machine(), training, params=params)
    memory = Memory(10)  # in the last stack, of one run and an idle place
    with pytest.raises(Gone):
        computed(machine(), training, params=params, keep=memory)
    memory.patience = 10**9
    equal(computed(machine(), training, params=params, keep=memory), wanted)


def test_taken_up_on_another_machine_the_stacks_stay_as_they_were():
    training = TrainConfig(batch=8, epochs=EPOCHS)
    memory = Memory(6)
    with pytest.raises(Gone):
        computed(machine(at_once=2), training, keep=memory)
    memory.patience = 10**9
    equal(computed(machine(at_once=5), training, keep=memory), computed(machine(at_once=2), training))
    assert sorted(memory.kept) == [0, 1, 2]


def test_only_the_stacks_of_what_is_needed_are_computed():
    training = TrainConfig(batch=8, epochs=EPOCHS)
    data, asked = all_asked()
    wanted = list(engine.compute(machine(), CONFIG, training, data, asked))
    [found] = engine.compute(machine(), CONFIG, training, data, asked, needed={3})
    assert found.runs == [2, 3]
    equal(found, wanted[1])


def all_asked(**poisoned):
    """Five runs; those poisoned standardise their second group of utterances to this."""
    each = [a_run(seed, count) for seed, count in enumerate((30, 41, 5, 17, 23))]
    for name, value in poisoned.items():
        place = int(name[-1])
        each[place] = each[place]._replace(mean=each[place].mean.at[1].set(value))
    logmel, frames = machine().place(*features())
    data = Data(logmel, frames, np.arange(N, dtype=np.int32) % 2)
    rows = np.arange(20, dtype=np.int32)
    return data, [Asked(run, rows, rows[:7]) for run in each]


def results(asked, data, epochs=EPOCHS, at_once=5, stacking="map"):
    training = TrainConfig(batch=8, epochs=epochs, stacking=stacking)
    [done] = engine.compute(machine(at_once=at_once), CONFIG, training, data, asked, watch=(1, 3))
    return done


@pytest.mark.parametrize("stacking", ["map", "vmap"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_poisoned_run_is_stopped_and_no_other_sees_it(stacking, value):
    data, clean = all_asked()
    _, poisoned = all_asked(run3=value)
    wanted, found = results(clean, data, stacking=stacking), results(poisoned, data, stacking=stacking)
    bad = poisoned[3].run
    batches = schedule(bad, 8, 0)
    group = np.asarray(data.group)[np.asarray(batches.rows)]
    step = 1 + int(np.flatnonzero(((group == 1) & np.asarray(batches.mask)).any(axis=1))[0])
    assert found.stopped.tolist() == [[0, 0], [0, 0], [0, 0], [1, step], [0, 0]]
    for place in range(5):
        mine = jax.tree.map(
            lambda leaf: leaf[place],  # noqa: B023
            (found.params, found.losses, found.said, found.watched),
            is_leaf=lambda leaf: isinstance(leaf, list),
        )
        if place == 3:
            params, losses, said, watched = mine
            assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves((params, losses, said)))
            assert np.isnan(watched).all()
        else:
            others = (wanted.params, wanted.losses, wanted.said, wanted.watched)
            equal(mine, jax.tree.map(lambda leaf: leaf[place], others, is_leaf=lambda x: isinstance(x, list)))  # noqa: B023
    assert not wanted.stopped.any()


def test_a_run_is_stopped_in_the_epoch_and_step_that_went_wrong():
    """Not before, and nothing is learnt after it."""
    data, asked = all_asked()
    run = asked[0].run
    fit = jax.jit(train.one_epoch, static_argnums=(0, 1))
    training = TrainConfig(batch=8)
    state = train.start(CONFIG, training, run)
    for number in range(2):
        state, _ = fit(CONFIG, training, data, run, state, number)
    assert state.stopped.tolist() == [0, 0]
    broken = run._replace(scale=run.scale * jnp.float32(np.inf))
    state, loss = fit(CONFIG, training, data, broken, state, 2)
    assert state.stopped.tolist() == [3, 1]
    assert np.isnan(loss)
    later, loss = fit(CONFIG, training, data, run, state, 3)
    equal(later, state)
    assert np.isnan(loss)


def test_weights_that_go_wrong_in_the_last_step_are_seen():
    """The loss is finite, and only what is learnt from it is not."""
    data, asked = all_asked()
    run = asked[0].run
    training = TrainConfig(batch=N, learning_rate=1e38)
    state = train.start(CONFIG, training, run)
    huge = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3e38), state.params)
    one = schedule(run, N, 0)
    batch = jax.tree.map(lambda leaf: leaf[0], one)
    heard = runs.gather(data, batch.rows)
    step = jax.jit(train.step, static_argnums=(0, 1))
    after, loss = step(CONFIG, training, heard, run, state, batch)
    assert np.isfinite(loss)
    assert after.stopped.tolist() == [0, 0]
    moments = jax.tree.map(lambda leaf: jnp.full_like(leaf, -1e38), state.params)
    scale = state.optimiser[0]._replace(mu=moments, count=jnp.int32(10**6))
    state = state._replace(params=huge, optimiser=(scale, *state.optimiser[1:]))
    after, _ = step(CONFIG, training, heard, run, state, batch)
    assert after.stopped.tolist() == [1, 1]


def test_what_a_stopped_run_is_asked_is_not_a_number():
    _, asked = all_asked(run0=np.nan)
    data, _ = all_asked()
    done = results(asked[:1], data, epochs=1, at_once=1)
    assert np.isnan(done.said[0]).all()
    assert np.isnan(done.losses).all()


def test_order_dropout_and_first_weights_depend_on_the_run_alone():
    """Wherever in whichever stack, padded to whichever length, and whenever it is taken up."""
    training = TrainConfig(batch=8)
    own = [a_run(seed, count) for seed, count in enumerate((30, 41, 5))]
    stack = runs.stack(own)
    first = train.start_runs(CONFIG, training, stack).params
    for place, run in enumerate(own):
        equal(jax.tree.map(lambda leaf: leaf[place], first), train.start(CONFIG, training, run).params)  # noqa: B023
        for number in (0, 7):
            alone = schedule(run, 8, number)
            within = schedule(jax.tree.map(lambda leaf: leaf[place], stack), 8, number)  # noqa: B023
            steps = len(alone.rows)
            mask = np.asarray(alone.mask)
            equal(within.mask[:steps], mask)
            assert not within.mask[steps:].any()
            equal(np.where(mask, within.rows[:steps], -1), np.where(mask, alone.rows, -1))
            equal(jax.random.key_data(within.key[:steps]), jax.random.key_data(alone.key))
            equal(within.number[:steps], alone.number)
            assert alone.number[0].tolist() == [number + 1, 1]
