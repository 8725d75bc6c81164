"""A network of one's own beside the paper's, same folds: time-delay layers, attentive statistics pooling
(Okabe et al., 2018). To run: python examples/own_network.py results/demo/data synthetic_en 10"""

import dataclasses
import sys

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import ser_jax


@dataclasses.dataclass(frozen=True)
class TimeDelay:
    bands: int = 26
    frames: int = 750
    classes: int = 2
    segments: int = 75  # blocks of ten frames, which the attention weighs

    def network(self):
        return TimeDelayNetwork(self)


class TimeDelayNetwork(nn.Module):
    config: TimeDelay

    @nn.compact
    def __call__(self, x, training):
        x = x.reshape(len(x), self.config.segments, -1)  # [B, S, T F / S]
        sound = jnp.any(x != 0, axis=2, keepdims=True)
        for far in (1, 2, 4):  # every block is seen with one before and one after it, ever farther away
            padded = jnp.pad(nn.relu(nn.Dense(64)(x)) * sound, [(0, 0), (far, far), (0, 0)])
            x = jnp.concatenate([padded[:, i : i + self.config.segments] for i in (0, far, 2 * far)], axis=2)
        weight = nn.softmax(nn.Dense(1, use_bias=False)(x) - 1e9 * ~sound, axis=1)  # [B, S, 1]
        mean = (weight * x).sum(axis=1, keepdims=True)
        deviation = jnp.sqrt((weight * (x - mean) ** 2).sum(axis=1) + 1e-4)
        pooled = nn.Dropout(0.5, deterministic=not training)(jnp.concatenate([mean[:, 0], deviation], axis=1))
        return ser_jax.Output(nn.Dense(self.config.classes)(pooled), weight[..., 0])


if __name__ == "__main__":
    place, name, epochs = sys.argv[1:] if len(sys.argv) == 4 else sys.exit("expected: DIR CORPUS EPOCHS")
    ser_jax.use_all_cores()
    here, corpus, targets = ser_jax.Machine.here(), ser_jax.load(name, place), ("arousal", "valence")
    speech = ser_jax.Data(*here.place(corpus.logmel, corpus.frames), np.zeros(len(corpus), np.int32))
    sums, asked = ser_jax.moments(corpus.logmel, corpus.frames), []
    for t, target in enumerate(targets):
        for f, fold in enumerate(ser_jax.folds(corpus)):
            maps = np.stack(ser_jax.statistics(sums, fold.train))[:, None]  # mean and scale [1, F]
            own = fold.train, np.int32(len(fold.train)), ser_jax.classes(corpus, target), *maps
            runs = [ser_jax.Runs(ser_jax.key(seed, t, f), *own) for seed in range(5)]
            asked += [ser_jax.Asked(run, fold.test) for run in runs]
    for config in (ser_jax.ModelConfig(), TimeDelay()):
        uar = np.zeros((2, 5, 5))  # targets, folds, seeds
        for done in ser_jax.compute(here, config, ser_jax.TrainConfig(epochs=int(epochs)), speech, asked):
            for i, said in zip(done.runs, done.said, strict=True):
                uar.flat[i] = 100 * ser_jax.uar(asked[i].run.labels[asked[i].test], said > 0.5)
        for target, each in zip(targets, uar.mean(axis=1), strict=True):
            print(f"{type(config).__name__} {target}: UAR {each.mean():.1f} ± {each.std(ddof=1):.1f}, n = 5")
