"""Your own network of the raw waveform: two convolutions and an LSTM, trained by CCC (ref. 17).

    ser-jax prepare recola --source results/demo/speech/RECOLA --name synthetic_fr --features waveform
    python examples/own_waveform.py --corpora synthetic_fr --epochs 10

After Trigeorgis et al. (2016), with larger strides. Compare with `python -m experiments.dimensions`.
"""

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from ser_jax.experiment.command import main
from ser_jax.experiment.settings import monolingual
from ser_jax.model import GLOROT, Output, valid_frames

SHORT, POOL, LONG = 40, 4, 8  # 5 ms every 2.5 ms, maxima of 10 ms; then 480 ms every 80 ms
FLAGS = "--tasks dimensions --protocol.dev none --features waveform --model own_waveform:EndToEnd"


@dataclasses.dataclass(frozen=True)
class EndToEnd:
    """Sizes of the network; bands, frames and outputs follow from features and task."""

    bands: int = 1
    frames: int = 120_000
    outputs: int = 3
    width: int = 40  # filters of each convolution, and cells of the LSTM
    segments = 1  # no attention

    def network(self):
        """Return the network with these sizes."""
        return EndToEndNetwork(self)


def windows(x, stride, count):
    """Return windows [B, T // stride, count * stride * F] of x [B, T, F], zero-padded at the end."""
    n = x.shape[1] // stride
    blocks = jnp.pad(x[:, : n * stride].reshape(len(x), n, -1), [(0, 0), (0, count - 1), (0, 0)])
    return jnp.concatenate([blocks[:, i : i + n] for i in range(count)], axis=2)


class EndToEndNetwork(nn.Module):
    config: EndToEnd

    @nn.compact
    def __call__(self, x, training):
        """Map a standardized waveform [B, T, 1] to outputs [B, K] and a weight of 1 [B, 1]."""
        c, samples = self.config, jnp.maximum(valid_frames(x), 1)[:, None, None]
        x = nn.max_pool(nn.relu(nn.Dense(c.width)(windows(x, SHORT, 2))), (POOL,), (POOL,))
        x *= jnp.arange(x.shape[1])[None, :, None] * SHORT * POOL < samples
        cell = nn.OptimizedLSTMCell(c.width, recurrent_kernel_init=GLOROT)  # no QR, which may hang
        x = nn.RNN(cell)(nn.relu(nn.Dense(c.width)(windows(x, LONG, 6))))
        x = x.mean(axis=1, where=jnp.arange(x.shape[1])[None, :, None] * SHORT * POOL * LONG < samples)
        return Output(nn.Dense(c.outputs)(nn.Dropout(0.5)(x, not training)), jnp.ones((len(x), 1)), x)


if __name__ == "__main__":
    main(__doc__, "own_waveform", monolingual, fewest=1, defaults=FLAGS)
