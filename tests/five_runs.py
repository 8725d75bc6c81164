"""Small runs of unequal folds, for tests of training and of how runs are divided, and their processes."""

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import engine
from ser_jax.engine import Asked
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, Runs
from ser_jax.train import TrainConfig

CONFIG = ModelConfig(bands=4, frames=60, channels=6, kernel=4, stride=3, pool=4)
N = 41
TRAINING = TrainConfig(batch=8, epochs=2)


def features():
    draw = np.random.default_rng(0)
    frames = draw.integers(5, CONFIG.frames + 1, N).astype(np.int32)
    return draw.normal(-40, 10, (N, CONFIG.frames, CONFIG.bands)).astype(np.float32), frames


def a_run(seed, count):
    draw = np.random.default_rng(seed)
    return Runs(
        key=jax.random.key(seed),
        train=draw.permutation(N)[:count].astype(np.int32),
        count=np.int32(count),
        labels=jnp.asarray(draw.integers(0, 2, N), jnp.int8),
        mean=jnp.asarray(draw.normal(-40, 1, (2, CONFIG.bands)), jnp.float32),
        scale=jnp.full((2, CONFIG.bands), 0.1),
    )


def computed(machine, training=TRAINING, **options):
    all_runs = [a_run(seed, count) for seed, count in enumerate((30, 41, 5, 17, 23))]
    tested = [np.arange(seed, 20 + seed, dtype=np.int32) for seed in range(5)]
    group = np.arange(N, dtype=np.int32) % 2
    data = Data(*machine.place(*features()), group)
    asked = [Asked(*one) for one in zip(all_runs, tested, tested, strict=True)]
    done = list(engine.compute(machine, CONFIG, training, data, asked, watch=(1, 2), **options))
    assert [run for part in done for run in part.runs] == list(range(5))
    params, losses = jax.tree.map(
        lambda *leaves: np.concatenate(leaves), *[(part.params, part.losses) for part in done]
    )
    watched = [rows for part in done for rows in part.watched]
    return params, losses, [rows for part in done for rows in part.said], watched


def keep(path, result):
    params, losses, said, watched = result
    np.savez(
        path,
        losses=losses,
        said=np.stack(said),
        watched=np.stack(watched),
        **params["classifier"],
        kernel_=params["kernel"],
    )
