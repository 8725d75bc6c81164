"""Distorted recordings are prepared and predicted as recordings that were made so."""

import numpy as np
import pytest
import recognisers
import soundfile
from scipy.signal import welch

from ser_jax.features import RATE, LogMel
from ser_jax.recognizer.robustness import KINDS, Distorted, distort, measure

SPEECH = 0.1 * recognisers.speech(3.0)


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples)))


def test_distortions_are_what_they_are_called():
    found = {kind: distort(SPEECH, kind) for kind in KINDS}
    assert {len(samples) for samples in found.values()} == {len(SPEECH)}
    np.testing.assert_array_equal(found["none"], SPEECH)
    for kind, gain in (("level -10 dB", -10), ("level 10 dB", 10)):
        assert decibels(found[kind]) - decibels(SPEECH) == pytest.approx(gain)
    assert (found["offset 0.1"] - SPEECH).tolist() == pytest.approx([0.1] * len(SPEECH))
    assert decibels(SPEECH) - decibels(found["noise 20 dB"] - SPEECH) == pytest.approx(20, abs=0.2)
    frequency, power = welch(found["telephone"], RATE)
    _, known = welch(SPEECH, RATE)
    gain = 10 * np.log10(power / known)
    assert np.abs(gain[(frequency > 500) & (frequency < 3000)]).max() < 1
    assert gain[(frequency > 0) & (frequency < 150) | (frequency > 6000)].max() < -15
    assert np.corrcoef(found["mp3 64 kbit/s"], SPEECH)[0, 1] > 0.9


def test_distorted_recordings_are_measured(tmp_path):
    rows = ["path,speaker,arousal"]
    for i in range(12):
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * recognisers.speech(1.0, seed=i), RATE)
        rows.append(f"{i}.wav,{'abc'[i % 3]},{('low', 'high')[i % 2]}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    source = {"database": "manifest", "source": tmp_path / "manifest.csv"}
    table = measure(recognisers.drawn(("arousal",), channels=4), {"one": source, "other": source})
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert [line[0].strip() for line in lines[2:]] == ["as they are", *KINDS[1:]]
    assert all(0 <= float(line[1]) <= 1 for line in lines[2:])


def test_the_front_end_is_that_of_the_distorted_samples():
    frontend = Distorted(kind="offset 0.1", inner=LogMel(seconds=3.0))
    assert (frontend.rate, frontend.dims, frontend.frames) == (100.0, 26, 300)
    np.testing.assert_allclose(frontend.extract(SPEECH), LogMel().extract(SPEECH - SPEECH.mean()))
