"""The engine: however runs are divided among stacks and devices, each trains to the same result."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from five_runs import CONFIG, COUNTS, TRAINING, N, close, computed, data, saved, specs

from ser_jax import engine, model, train
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Machine
from ser_jax.model import AttentiveCNN
from ser_jax.objectives import DomainAdversarial
from ser_jax.train import Data, Procedure, TrainConfig

pytestmark = pytest.mark.usefixtures("hastily")


def machine(budget=10**9, **changes):
    return Machine.here(devices=1, budget=budget, **changes)


@pytest.fixture(scope="module")
def wanted():
    """Train every run and predict by it alone."""
    return computed(machine(runs_at_once=1))


@pytest.mark.parametrize(("at_once", "stacking"), [(3, "map"), (5, "vmap")])
def test_how_runs_are_stacked_changes_no_result(wanted, at_once, stacking):
    close(computed(machine(runs_at_once=at_once, stacking=stacking)), wanted)


def test_the_papers_network_trains_in_a_stack_as_alone():
    config = AttentiveCNN(bands=4, frames=60, channels=6, kernel=4, stride=3, pool=4)
    together, alone = (machine(runs_at_once=size, stacking="vmap") for size in (5, 1))
    close(computed(together, config=config), computed(alone, config=config))


def test_results_depend_neither_on_the_stack_nor_on_streaming_if_batches_hold_unlabelled_rows_too(
    monkeypatch,
):
    monkeypatch.setattr(train, "CHUNK", 2)  # less than the steps of an epoch
    ends = [(0, 9), (3, 41), (5, 6), (9, 20), (0, 41)]
    rows = [np.arange(first, last, dtype=np.int32) for first, last in ends]
    training = dataclasses.replace(TRAINING, objective=DomainAdversarial(hidden=3))
    corpora = {"corpus": np.arange(N, dtype=np.int32) % 3, "corpora": 3}

    def results(at_once, budget):
        here = machine(budget, runs_at_once=at_once, stacking="vmap")
        assert train.is_streamed(data(here)) == (budget == 1000)
        own = specs(unlabelled=rows)
        each = list(engine.compute(here, CONFIG, training, data(here, **corpora), own))
        return [some[i] for some in each for i in sorted(some)]

    close(results(5, 10**9), results(2, 1000))


def test_parameters_to_start_from_follow_their_run():
    params = [model.init(CONFIG, jax.random.key(seed)) for seed in range(5)]
    found = computed(machine(runs_at_once=2), TrainConfig(epochs=0), specs(params=params))
    close([one.params for one in found], params)
    assert found[0].losses.shape == (0,)


def test_the_scaler_is_fitted_once_a_run_is_computed():
    fitted = []

    def scaler(seed):
        def fit():
            fitted.append(seed)
            return plain[seed].scaler

        return fit

    plain = specs()
    here = machine(runs_at_once=2)
    first = engine.compute(here, CONFIG, TRAINING, data(here), specs(scaler=[scaler(i) for i in range(5)]))
    assert fitted == []
    next(first)
    assert fitted == [0, 1]


def test_progress_counts_every_utterance_step():
    done = []
    computed(machine(runs_at_once=2), on_epoch=done.append)
    assert sum(done) == 2 * sum(COUNTS)


def test_predictions_of_trained_runs_are_those_of_training(wanted):
    here, own = machine(runs_at_once=2), specs()
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(one.params for one in wanted))
    rows = [spec.test[: 20 - seed] for seed, spec in enumerate(own)]
    found = list(engine.predict_runs(here, CONFIG, data(here), own, params, rows))
    close([one.outputs for one in found], [one.outputs[: 20 - seed] for seed, one in enumerate(wanted)])
    assert found[0].attention.shape == (20, CONFIG.segments)


EIGHT = """
import sys
import jax
import numpy as np
from five_runs import close, computed, save
from ser_jax.devices import Machine, use_all_cores
use_all_cores()
assert len(jax.devices()) == 8
there = Machine.here(budget=10**9)
placed, _ = there.place(np.zeros(4 * 60 * 41 + 1, np.float32)[1:].reshape(41, 60, 4), np.zeros(41))
assert len({part.data.unsafe_buffer_pointer() for part in placed.addressable_shards}) == 1  # not a copy each
results = computed(Machine.here(budget=10**9, stacking="map"))
save(sys.argv[1], results)
close(computed(Machine.here(budget=10**9, stacking="vmap")), results)
close(computed(Machine.here(budget=1000)), results)
"""


def test_eight_devices_and_one_compute_the_same(tmp_path, wanted):
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path} | flags
    shell = [sys.executable, "-c", EIGHT, str(tmp_path / "found.npz")]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    close(saved(tmp_path / "found.npz"), wanted)


def accelerator(budget, **changes):
    gpu = type("Accelerator", (), {"platform": "gpu"})()
    mesh = type("Mesh", (), {"size": 2, "devices": np.array([gpu, gpu])})()
    return Machine(mesh, budget, **changes)


def test_a_stack_holds_what_fits():
    config, training = CONFIG, TrainConfig()
    host = np.broadcast_to(np.float32(0), (10039, 750, 26))
    streamed = Data(features=host, frames=np.zeros(10039), group=np.zeros(10039))
    each = engine.run_bytes(config, training, 10039, streamed=True)

    def size(budget, count, **changes):
        return engine.stack_size(accelerator(budget, **changes), config, training, streamed, count)

    for runs_that_fit in (1, 5, 25):
        assert size(each * runs_that_fit + each // 2, 1000) == 2 * runs_that_fit
    assert size(7 * each, 50) == 14  # four stacks of 13, 13, 12, 12
    assert size(10**12, 50) == 50
    assert size(1, 50) == 2
    assert size(1, 50, runs_at_once=3) == 6


def test_the_bytes_of_a_run_are_those_the_compiler_reports(optimised, monkeypatch):
    """Of the epoch of a stack, computed as on an accelerator; within a factor of two."""
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *arguments, default, **_: default(*arguments))
    monkeypatch.setattr(engine, "run_bytes", engine.run_bytes.__wrapped__)  # not what another test cached
    size, config, training = 8, AttentiveCNN(), TrainConfig()
    procedure = Procedure(config, training, stacking="vmap")

    def example():
        rows, scaler = np.zeros(64, np.int32), Scaler(*np.ones((2, 1, 26), np.float32))
        own = engine.RunSpec(key=jax.random.key(0), train=rows, labels=rows, scaler=scaler).run()
        stack = train.stack([own] * size)
        features = np.zeros((64, 750 * 26), np.float32)
        speech = jax.tree.map(jnp.asarray, Data(features=features, frames=rows, group=rows))
        return speech, stack, train.start_runs(config, training, stack)

    program = train._resident_epoch.lower(procedure, *jax.eval_shape(example), 0).compile()
    memory = program.memory_analysis()
    measured = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    measured -= 64 * 750 * 26 * 4  # all runs share the features
    assert 0.5 < measured / size / engine.run_bytes(config, training, 64) < 2
