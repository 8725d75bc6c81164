"""The engine: however runs are divided among stacks, devices and hosts, each trains to the same result."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from five_runs import CONFIG, computed, features

from ser_jax import runs, stacks, train
from ser_jax.devices import Machine, MachineError
from ser_jax.runs import Data
from ser_jax.train import TrainConfig

PRELUDE = """
import sys
import jax
import numpy as np
from five_runs import a_run, computed, keep
from ser_jax import devices, runs, stacks
from ser_jax.devices import Machine, join, use_all_cores
from ser_jax.runs import Data
from ser_jax.schedule import schedule
from ser_jax.train import TrainConfig
"""


pytestmark = pytest.mark.usefixtures("hastily")


def machine(**changes):
    return Machine.here(devices=1, budget=10**9, **changes)


@pytest.fixture(scope="module")
def wanted():
    """Every run trained and asked by itself."""
    return computed(machine(runs_at_once=1))


def same(found, wanted):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("at_once", "stacking"), [(2, "vmap"), (3, "map"), (5, "vmap")])
def test_how_runs_are_stacked_changes_no_result(wanted, at_once, stacking):
    training = TrainConfig(batch=8, epochs=2, stacking=stacking)
    same(computed(machine(runs_at_once=at_once), training), wanted)


def test_features_that_do_not_fit_are_streamed_to_the_same_result(wanted):
    small = Machine.here(devices=1, budget=1000)
    assert runs.is_streamed(Data(*small.place(*features()), None))
    assert not runs.is_streamed(Data(*machine().place(*features()), None))
    same(computed(small), wanted)


def test_where_to_start_follows_the_runs():
    params = jax.vmap(lambda key: train.model.init(CONFIG, key))(jax.random.split(jax.random.key(9), 5))
    params = jax.tree.map(np.asarray, params)
    training = TrainConfig(epochs=0)
    trained, losses, *_ = computed(machine(runs_at_once=2), training, params=params)
    same(trained, params)
    assert losses.shape == (5, 0)


def test_progress_counts_every_utterance_step():
    done = []
    computed(machine(runs_at_once=2), on_epoch=lambda steps, _: done.append(steps))
    assert sum(done) == 2 * (30 + 41 + 5 + 17 + 23)


def files(tmp_path, code, number, **environment):
    """Runs the same code in several processes; what each kept, by its number."""
    script = PRELUDE + code
    shells = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / f"{i}.npz"), str(i)],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parent)} | environment,
            stderr=subprocess.PIPE,
        )
        for i in range(number)
    ]
    for shell in shells:
        _, err = shell.communicate(timeout=300)
        assert shell.returncode == 0, err.decode()[-3000:]
    return [np.load(tmp_path / f"{i}.npz") for i in range(number)]


def matches(kept, wanted):
    params, losses, said, watched = wanted
    same([kept["losses"], kept["said"], kept["watched"]], [losses, np.stack(said), np.stack(watched)])
    same([kept["kernel_"], kept["bias"]], [params["kernel"], params["classifier"]["bias"]])


def test_eight_devices_and_one_compute_the_same(tmp_path, wanted):
    code = """
use_all_cores()
assert len(jax.devices()) == 8
there = Machine.here(budget=10**9)
logmel, _ = there.place(np.zeros(4 * 60 * 41 + 1, np.float32)[1:].reshape(41, 60, 4), np.zeros(41))
assert len({part.data.unsafe_buffer_pointer() for part in logmel.addressable_shards}) == 1  # not a copy each
for stacking in ("map", "vmap"):
    result = computed(Machine.here(budget=10**9), TrainConfig(batch=8, epochs=2, stacking=stacking))
    keep(sys.argv[1] if stacking == "map" else sys.argv[1].replace("0.npz", "vmap.npz"), result)
each = [a_run(seed, count) for seed, count in enumerate((30, 41, 5, 17, 23))]
stack = runs.fill(runs.stack(each), 8)
shared_out = lambda stack: runs.each_run(lambda _, run: schedule(run, 8, 3), (), stack, mesh=there.mesh)
batches = jax.jit(shared_out)(stack)
for place, run in enumerate(each):
    alone = schedule(run, 8, 3)
    mine = jax.tree.map(lambda leaf: leaf[place, : len(alone.rows)], batches)
    np.testing.assert_array_equal(np.where(alone.mask, mine.rows, -1), np.where(alone.mask, alone.rows, -1))
    np.testing.assert_array_equal(jax.random.key_data(mine.key), jax.random.key_data(alone.key))
streamed = computed(Machine.here(budget=1000))
np.testing.assert_allclose(streamed[1], result[1], rtol=1e-3)
"""
    (kept,) = files(tmp_path, code, 1, XLA_FLAGS="--xla_force_host_platform_device_count=8")
    matches(kept, wanted)
    matches(np.load(tmp_path / "vmap.npz"), wanted)


def test_two_hosts_compute_what_one_does(tmp_path, wanted):
    code = """
use_all_cores()
join("localhost:%d", 2, int(sys.argv[2]))
assert jax.local_device_count() == devices.cores()
here = Machine.here(budget=10**9)
assert (here.hosts, here.host) == (2, int(sys.argv[2]))
keep(sys.argv[1], computed(here))
here.wait("end")
"""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for kept in files(tmp_path, code % port, 2):
        matches(kept, wanted)


def test_more_devices_than_there_are_are_refused():
    found = len(jax.devices())  # another test may have asked for one for each core
    with pytest.raises(MachineError, match=rf"99 devices asked for, found {found} \(cpu\), expected no more"):
        Machine.here(devices=99)


def test_a_stack_holds_what_fits():
    class Accelerator:
        platform = "gpu"

    config, training = CONFIG, TrainConfig()
    each = stacks.run_bytes(config, training, 10039)
    data = Data(np.broadcast_to(np.float32(0), (10039, 750, 26)), np.zeros(10039), np.zeros(10039))
    mesh = type("Mesh", (), {"size": 2, "devices": np.array([Accelerator()] * 2)})()
    for runs_that_fit in (1, 5, 25):
        there = Machine(mesh, each * runs_that_fit + each // 2)
        assert stacks.size(there, config, training, data, 1000) == 2 * runs_that_fit
    seven = Machine(mesh, 7 * each)
    assert stacks.size(seven, config, training, data, 50) == 14  # four stacks of 13, 13, 12, 12
    assert stacks.size(Machine(mesh, 10**12), config, training, data, 50) == 50
    assert stacks.size(Machine(mesh, 1), config, training, data, 50) == 2
    assert stacks.size(Machine(mesh, 1, runs_at_once=3), config, training, data, 50) == 6
