"""Sound that arrives in pieces, for tests: as pipes carry it, and what is said of it."""

import functools
import io
import struct

import numpy as np
import pytest
import recognisers
import soundfile

from ser_jax.model import AttentiveCNN
from ser_jax.recognizer.streaming import piped

SMALL = AttentiveCNN(channels=8)


@functools.cache
def small():
    return recognisers.recogniser(seeds=2, sizes=SMALL)


@functools.cache
def quick():
    return recognisers.recogniser(targets=("arousal",), seeds=1, sizes=SMALL)


def whole(samples, kind="<i2"):
    return np.round(samples * 32767).astype(kind)


def wav(samples, rate=16_000, subtype="PCM_16", form="WAV"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=form)
    return file.getvalue()


def header(size=0xFFFFFFFF, form=1, channels=1, rate=16_000, bits=16, width=None, before=b"", behind=b""):
    width = channels * bits // 8 if width is None else width
    described = struct.pack("<HHIIHH", form, channels, rate, rate * width, width, bits)
    riff = b"RIFF" + struct.pack("<I", size) + b"WAVE" + before + b"fmt " + struct.pack("<I", 16)
    return riff + described + behind + b"data" + struct.pack("<I", size)


def heard(content, rate=None, by=None):
    return list(piped(by or quick(), io.BytesIO(content), rate))


def same(one, other, atol=1e-6):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.seconds == b.seconds
        close(a.window, b.window, atol)


def close(one, other, atol=1e-6):
    assert (one.start, one.end) == pytest.approx((other.start, other.end))
    for name, estimate in one.targets.items():
        twin = other.targets[name]
        assert (estimate.probability, estimate.spread) == pytest.approx(
            (twin.probability, twin.spread), abs=atol
        )
        np.testing.assert_allclose(estimate.attention, twin.attention, atol=atol)
