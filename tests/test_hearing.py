"""Samples that are given from Python: integers, and floating-point numbers far beyond full scale."""

import io

import numpy as np
import pytest
import recognisers
from streams import quick, wav, whole

from ser_jax.recognizer import SoundError, hearing, streaming


def test_samples_far_beyond_full_scale_are_taken_for_a_slip_where_they_are_given_from_python():
    """Integers given as floating-point numbers would be 90 dB too loud."""
    samples = recognisers.speech(1.0)
    filters = quick().filters
    unscaled = samples / np.abs(samples).max() * 32768
    for wrong, peak in ((unscaled, "32768"), (np.full((800, 2), -8.5), "8.5")):
        message = rf"^floating-point samples of up to {peak}, expected -1 to 1$"
        for kind in (np.float32, np.float64):
            with pytest.raises(SoundError, match=message):
                hearing.from_samples(wrong.astype(kind), 16_000, filters)
    opposite = np.stack([np.full(800, 9.0), np.full(800, -9.0)], axis=1)  # whose mean is silence
    with pytest.raises(SoundError, match="of up to 9, expected -1 to 1"):
        hearing.from_samples(opposite, 16_000, filters)
    assert len(hearing.from_samples(np.full(800, 8.0), 16_000, filters).logmel) == 3
    assert len(hearing.from_samples(whole(samples), 16_000, filters).logmel) == 98
    loud = wav(16 * samples / np.abs(samples).max(), subtype="FLOAT")
    assert len(streaming.hear(io.BytesIO(loud), filters).logmel) == 98


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64])
def test_the_least_integer_is_minus_one(kind):
    bounds = np.iinfo(kind)
    found = hearing.as_sound(np.array([bounds.min, 0, bounds.max], kind))
    np.testing.assert_array_equal(found, [-1, 0, bounds.max / -float(bounds.min)])
