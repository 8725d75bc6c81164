"""The devices of this host, and where features lie."""

import dataclasses

import jax
import numpy as np
import pytest

from ser_jax import devices
from ser_jax.devices import Machine, MachineError, aligned, cores, free_memory

N, T, F = 7, 5, 26


@pytest.fixture
def features():
    found = aligned((N, T, F))
    found[:] = np.random.default_rng(0).normal(size=(N, T, F))
    return found


class Rows:
    """Features that can only be gathered by rows."""

    def __init__(self, features):
        self.features, self.shape, self.dtype = features, features.shape, features.dtype

    def __getitem__(self, rows):
        return self.features[rows]


@pytest.mark.parametrize("kind", ["aligned", "unaligned", "by rows"])
def test_features_lie_flat_on_the_devices(features, monkeypatch, kind):
    monkeypatch.setattr(devices, "COPIED", 3)
    shifted = np.concatenate([[0], features.ravel()]).astype(np.float32)[1:].reshape(features.shape)
    given = {"aligned": features, "unaligned": shifted, "by rows": Rows(features)}[kind]
    placed, frames = Machine.here(budget=2 * features.nbytes).place(given, np.arange(N, dtype=np.int32))
    assert isinstance(placed, jax.Array)
    assert (placed.shape, placed.dtype) == ((N, T * F), np.float32)
    np.testing.assert_array_equal(placed.reshape(N, T, F), features)
    np.testing.assert_array_equal(frames, np.arange(N))


def test_features_that_do_not_fit_stay_on_the_host(features):
    for given in (features, Rows(features)):
        placed, frames = Machine.here(budget=2 * features.nbytes - 1).place(given, np.arange(N))
        assert placed is given
        assert isinstance(frames, np.ndarray)


def test_this_host():
    here = Machine.here()
    assert here.platform == jax.default_backend()
    assert (here.host, here.hosts, here.agreed(3)) == (0, 1, 3)
    assert 0 < here.budget < free_memory(jax.devices()[0]) * 1.1
    assert cores() >= 1
    with pytest.raises(MachineError, match=r"^1000 devices requested, found \d+ \(.*\), expected no more$"):
        Machine.here(devices=1000)
    with pytest.raises(MachineError, match="stacking 'pmap', expected one of auto, vmap, map"):
        Machine.here(stacking="pmap")
    assert dataclasses.replace(here, budget=5).budget == 5


def test_meshes_state_the_type_of_their_axis():
    """JAX has changed the default before."""
    mesh = devices.runs_mesh(jax.devices()[:1])
    assert mesh.axis_types == (jax.sharding.AxisType.Auto,)
    assert Machine.here(devices=1).mesh == mesh
