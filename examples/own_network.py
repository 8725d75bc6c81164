"""A network of one's own beside the paper's: python examples/own_network.py results/demo/data synthetic_en 10

The same speech, folds, seeds, epochs (10) and engine; time-delay layers, attentive statistics pooling
(Okabe et al., Interspeech 2018). `Architecture` in ser_jax/model.py says what a network has to be.
"""

import dataclasses
import sys

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from experiments import harness, monolingual, options, plans, pool
from ser_jax import data, engine, machine, metrics, model, train


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
        return model.Output(nn.Dense(self.config.classes)(pooled), weight[..., 0])


if __name__ == "__main__":
    machine.use_all_cores()
    here, chosen = machine.Machine.here(), options.Options(corpora=(sys.argv[2],), epochs=int(sys.argv[3]))
    speech = pool.Pool([data.load(sys.argv[2], sys.argv[1])], chosen.folds, chosen.label_rule, here.place)
    [work] = plans.planned([monolingual.MONOLINGUAL], speech, chosen)
    asked = [engine.Asked(harness.a_run(speech, "train", work.job, p), p.test) for p in work.plans]
    features, training = harness.data_of(speech, "train", work.job), train.TrainConfig(epochs=chosen.epochs)
    for config in (model.ModelConfig(), TimeDelay()):
        uar = np.zeros(len(asked))
        for done in engine.compute(here, config, training, features, asked):
            for run, said in zip(done.runs, done.said, strict=True):
                truth = speech.labels(work.plans[run].target)[asked[run].test]
                uar[run] = 100 * metrics.uar(truth, said > 0.5)
        for target, each in zip(chosen.targets, uar.reshape(2, 5, 5).mean(axis=1), strict=True):  # of 5 folds
            print(f"{type(config).__name__} {target}: UAR {each.mean():.1f} ± {each.std(ddof=1):.1f}, n = 5")
