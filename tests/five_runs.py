"""Small runs of unequal folds, for tests of training and of how runs are divided, and for their processes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import engine
from ser_jax.data.standardize import Scaler
from ser_jax.engine import RunSpec
from ser_jax.model import Probe
from ser_jax.train import Data, TrainConfig

CONFIG = Probe(bands=4, frames=60, dropout=0.5)  # compiled in a fraction of the time of the paper's
N = 41
COUNTS = (30, 41, 5, 17, 23)
TRAINING = TrainConfig(batch=8, epochs=2)
GROUP = np.arange(N, dtype=np.int32) % 2


def features():
    """Return noise [N, T, F], in the padding as well, and frames [N]."""
    draw = np.random.default_rng(0)
    frames = draw.integers(5, CONFIG.frames + 1, N).astype(np.int32)
    return draw.normal(-40, 10, (N, CONFIG.frames, CONFIG.bands)).astype(np.float32), frames


def data(machine, **changes):
    """Return the utterances as a machine holds them."""
    placed, frames = machine.place(*features())
    return dataclasses.replace(Data(features=placed, frames=frames, group=GROUP), **changes)


def spec(seed, count, **changes):
    draw = np.random.default_rng(seed)
    rows = np.arange(seed, 20 + seed, dtype=np.int32)
    own = RunSpec(
        key=jax.random.key(seed),
        train=draw.permutation(N)[:count].astype(np.int32),
        labels=draw.integers(0, 2, N),
        scaler=Scaler(
            draw.normal(-40, 1, (2, CONFIG.bands)).astype(np.float32),
            np.full((2, CONFIG.bands), 0.1, np.float32),
        ),
        test=rows,
        dev=rows[:7],
    )
    return dataclasses.replace(own, **changes)


def a_run(seed, count, **changes):
    return jax.tree.map(jnp.asarray, spec(seed, count, **changes).run())


def specs(**changes):
    """Return the five runs; each of `changes` holds a value for every run."""
    return [
        spec(seed, count, **{name: each[seed] for name, each in changes.items()})
        for seed, count in enumerate(COUNTS)
    ]


def computed(machine, training=TRAINING, own=None, config=CONFIG, **options):
    """Return the results of the five runs in order."""
    found = {}
    own = specs() if own is None else own
    for some in engine.compute(machine, config, training, data(machine), own, dev_epochs=(1, 2), **options):
        assert not found.keys() & some.keys()
        found |= some
    return [found[i] for i in range(len(own))]


def close(found, wanted):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def equal(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def save(path, results):
    np.savez(path, *jax.tree.leaves(results))


def saved(path):
    """Return the leaves of what `save` saved."""
    with np.load(path) as file:
        return list(file.values())
