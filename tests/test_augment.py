"""Augmentations: what they do to features in dB, and what their draws depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from five_runs import CONFIG, GROUP, N, a_run, features
from hypothesis import given
from hypothesis import strategies as st

from ser_jax import train
from ser_jax.augment import AUGMENTATIONS, Gain, NoAugmentation, Noise, SpecAugment
from ser_jax.data.standardize import Scaler
from ser_jax.model import standardize
from ser_jax.train import TrainConfig

RAW, FRAMES = features()
SCALER = Scaler(
    np.random.default_rng(1).normal(-40, 3, (N, CONFIG.bands)).astype(np.float32),
    np.random.default_rng(2).uniform(0.05, 0.2, (N, CONFIG.bands)).astype(np.float32),
)
VALID = np.arange(CONFIG.frames)[None, :] < FRAMES[:, None]
KEY = jax.random.key(3)


def augmented(augment, raw=RAW, key=KEY):
    return np.asarray(augment(standardize(raw, FRAMES, *SCALER), FRAMES, SCALER, key))


def close(found, wanted):
    np.testing.assert_allclose(found[VALID], np.asarray(wanted)[VALID], rtol=1e-4, atol=1e-4)


def test_gain_of_g_decibels_is_that_of_features_g_decibels_louder():
    change = augmented(Gain(6.0)) - augmented(NoAugmentation())
    gain = (change / SCALER.scale[:, None, :])[:, 0, 0]  # dB
    assert np.abs(gain).max() <= 6
    assert gain.min() < -3
    assert gain.max() > 3
    close(augmented(Gain(6.0)), standardize(RAW + gain[:, None, None], FRAMES, *SCALER))


def test_noise_adds_its_power():
    ratio = 12.0
    signal = np.array([row[:n].mean() for row, n in zip(RAW, FRAMES, strict=True)])
    power = 10 ** (RAW / 10) + 10 ** ((signal - ratio) / 10)[:, None, None]
    close(augmented(Noise(ratio, ratio)), standardize(10 * np.log10(power), FRAMES, *SCALER))


@given(
    config=st.builds(
        SpecAugment,
        times=st.integers(0, 3),
        longest=st.integers(0, 70),
        bands=st.integers(0, 3),
        widest=st.integers(0, CONFIG.bands),
    ),
    seed=st.integers(0, 1000),
)
def test_specaugment_masks_spans_no_wider_than_allowed(config, seed):
    x = np.ones((N, CONFIG.frames, CONFIG.bands), np.float32)
    masked = np.asarray(config(x, FRAMES, SCALER, jax.random.key(seed))) == 0
    time, band = masked.all(axis=2), masked.all(axis=1)
    np.testing.assert_array_equal(masked, time[:, :, None] | band[:, None, :])
    narrow = ~band.all(axis=1)  # utterances whose masked times are known
    most = np.minimum(config.longest, FRAMES // 5)
    assert (time.sum(axis=1) <= config.times * most)[narrow].all()
    assert not (time & ~VALID)[narrow].any()
    assert (band.sum(axis=1) <= config.bands * config.widest).all()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmented_batches_depend_on_run_epoch_and_step_alone(name):
    """Not on the stack; and the padding is zero, whatever an augmentation puts there."""
    training = TrainConfig(augment=AUGMENTATIONS[name]())
    data = jax.tree.map(jnp.asarray, train.Data(features=RAW.reshape(N, -1), frames=FRAMES, group=GROUP))
    own = [a_run(seed, 20) for seed in range(3)]

    def batch(run, epoch, step):
        return jax.tree.map(lambda leaf: leaf[step], train.schedule(run, 8, epoch))

    def inputs(run, epoch, step):
        some = batch(run, epoch, step)
        return train.augmented(training, train.gather(data, some.rows), run, some)

    together = np.asarray(jax.vmap(lambda run: inputs(run, 1, 2))(train.stack(own)))
    np.testing.assert_allclose(together, [inputs(run, 1, 2) for run in own], rtol=1e-4, atol=1e-4)
    assert not any(together[i][~VALID[batch(run, 1, 2).rows]].any() for i, run in enumerate(own))
    some = batch(own[0], 1, 2)
    plain = train.standardized(train.gather(data, some.rows), own[0])
    for other in (some._replace(key=batch(own[0], *place).key) for place in [(2, 2), (1, 1)]):
        found = train.augmented(training, train.gather(data, some.rows), own[0], other)
        assert np.array_equal(found, together[0]) == (name == "none")
    assert np.array_equal(together[0], plain) == (name == "none")
