"""Front ends: librosa's log-mels, what any spectrogram owes its signal, and configurations."""

import dataclasses
import pickle
import re
import subprocess
import sys
from typing import ClassVar

import librosa
import numpy as np
import pytest
from scipy.signal import get_window

from ser_jax.features import (
    BANDS,
    HOP,
    RATE,
    WINDOW,
    Frontend,
    FrontendError,
    LogMel,
    ShortSignalError,
    Waveform,
    describe,
    egemaps,
    filterbank,
    frame_count,
    logmel,
    make,
    named,
    pad,
    tag,
)


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, count)


@pytest.mark.parametrize("level", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("count", [400, 559, 560, 719, 720])
def test_equals_the_plain_spectrum_in_librosas_bands(level, count):
    samples = level * noise(count)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * get_window("hann", WINDOW)
    power = librosa.filters.mel(sr=RATE, n_fft=WINDOW, n_mels=BANDS) @ np.abs(np.fft.rfft(windows).T) ** 2
    assert power.shape == (BANDS, frame_count(count)) == (BANDS, 1 + (count - 400) // 160)
    expected = 10 * np.log10(np.maximum(power, 1e-10))
    np.testing.assert_allclose(logmel(samples), expected.T, rtol=0, atol=1e-4)


@pytest.mark.slow  # librosa compiles for a minute when it is first called
@pytest.mark.parametrize("level", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("count", [400, 559, 560, 719, 720])
def test_equals_librosa(level, count):
    samples = level * noise(count)
    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=WINDOW, hop_length=HOP, window="hann", center=False, n_mels=BANDS
    )
    expected = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
    assert expected.shape == (BANDS, frame_count(count)) == (BANDS, 1 + (count - 400) // 160)
    np.testing.assert_allclose(logmel(samples), expected.T, rtol=0, atol=1e-4, strict=True)


def test_silence_levels_and_locality():
    samples = noise(4000)
    np.testing.assert_array_equal(logmel(np.zeros(4000)), -100.0)
    np.testing.assert_allclose(logmel(2 * samples) - logmel(samples), 20 * np.log10(2), atol=1e-9)
    changed, frame = samples.copy(), 5
    changed[: frame * HOP] = 0
    changed[frame * HOP + WINDOW :] = 0
    np.testing.assert_array_equal(logmel(samples)[frame], logmel(changed)[frame])
    with pytest.raises(ShortSignalError, match="holds 399 samples, expected at least 400"):
        logmel(samples[:399])


@pytest.mark.parametrize("band", [3, 22])
def test_a_tone_is_loudest_in_its_own_band(band):
    edges = librosa.mel_frequencies(n_mels=BANDS + 2, fmin=0, fmax=RATE / 2)
    tone = np.sin(2 * np.pi * edges[band + 1] * np.arange(8000) / RATE)
    assert (logmel(tone).argmax(axis=1) == band).all()


def test_the_front_end_extracts_the_same_and_takes_its_filters_along():
    frontend = LogMel()
    np.testing.assert_array_equal(frontend.extract(noise(4000)), logmel(noise(4000), filterbank()))
    code = (
        "import pickle, sys; import numpy as np; found = pickle.load(sys.stdin.buffer);"
        "found.extract(np.zeros(4000)); assert 'librosa' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(frontend), check=True)


def test_the_waveform_is_the_samples():
    frontend = Waveform()
    assert (frontend.frames, frontend.dims, frontend.rate) == (120000, 1, 16000)
    np.testing.assert_array_equal(frontend.extract(noise(4000)), noise(4000).astype(np.float32)[:, None])


def test_mfccs_are_librosas():
    samples = noise(4000)
    expected = librosa.feature.mfcc(S=logmel(samples).T, n_mfcc=13)
    np.testing.assert_allclose(make("mfcc").extract(samples), expected.T, atol=1e-6)
    np.testing.assert_allclose(make("mfcc", dims=20).extract(samples)[:, :13], expected.T, atol=1e-6)
    with pytest.raises(FrontendError, match="27 coefficients, expected 1 to 26"):
        make("mfcc", dims=27)


@pytest.mark.parametrize("level", ["functionals", "descriptors", "prosody"])
@pytest.mark.parametrize("count", [400, 3000, 48000])
def test_egemaps_are_opensmiles(level, count):
    opensmile = pytest.importorskip("opensmile")
    frontend = make("egemaps", level=level)
    samples = noise(count).astype(np.float32)
    found = frontend.extract(samples)
    assert found.shape[1] == frontend.dims == {"functionals": 88, "descriptors": 25, "prosody": 3}[level]
    assert np.isfinite(found).all()
    assert len(found) <= frontend.frames == (1 if level == "functionals" else 750)
    if count > 1600:
        kind = "Functionals" if level == "functionals" else "LowLevelDescriptors"
        smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, getattr(opensmile.FeatureLevel, kind))
        table = smile.process_signal(samples, RATE)
        if level == "prosody":
            table = table[[next(filter(re.compile(part).match, table)) for part in ("F0semi", "Loud", "HNR")]]
        expected = table.to_numpy(np.float32)
        np.testing.assert_array_equal(found, np.nan_to_num(expected))


def test_egemaps_needs_opensmile(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    egemaps._smile.cache_clear()
    with pytest.raises(FrontendError, match=r"openSMILE .*, expected the extra: .*ser_jax\[opensmile\]"):
        make("egemaps").extract(noise(4000))
    with pytest.raises(FrontendError, match=r"level 'all' of egemaps, expected functionals, .*prosody"):
        make("egemaps", level="all")


@pytest.mark.parametrize("count", [1, 748, 750, 900])
def test_padding_keeps_what_fits_and_is_zero_elsewhere(count):
    features = np.random.default_rng(count).normal(-50, 10, (count, BANDS))
    padded, frames = pad(features, 750)
    assert padded.shape == (750, BANDS)
    assert padded.dtype == np.float32
    assert frames == min(count, 750)
    np.testing.assert_array_equal(padded[:frames], features[:frames].astype(np.float32))
    assert not padded[frames:].any()


@dataclasses.dataclass(frozen=True)
class Own:
    """Meets the protocol without the base class."""

    name: ClassVar[str] = "own"
    rate: ClassVar[int] = 50
    dims: int = 7
    seconds: float = 7.5
    edges: tuple[float, ...] = (1.0, 2.0)

    @property
    def frames(self):
        return round(self.seconds * self.rate)

    def extract(self, samples):
        return np.zeros((3, self.dims))


def test_names_descriptions_and_tags():
    assert (named("logmel"), named("waveform"), named(f"{__name__}:Own")) == (LogMel, Waveform, Own)
    assert describe(LogMel()) == {"name": "logmel", "rate": 100, "frames": 750, "dims": 26, "seconds": 7.5}
    assert describe(Own()) == {
        "name": "own", "rate": 50, "frames": 375, "dims": 7, "seconds": 7.5, "edges": [1.0, 2.0],
        "class": f"{__name__}:Own",
    }  # fmt: skip
    assert [tag(it) for it in (LogMel(), Waveform(), Own())] == ["", "-waveform", "-own"]
    changed = [tag(it) for it in (LogMel(3.0), LogMel(4.0), Waveform(3.0), Own(3))]
    assert [it[:-9] for it in changed] == ["-logmel", "-logmel", "-waveform", "-own"]
    assert len(set(changed)) == 4


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wavform", "'wavform', expected logmel, waveform, .* or module:Name; did you mean 'waveform'"),
        ("", "no front end ''"),
        ("os:path", "no front end 'os:path'"),
        ("os:nothing", "front end 'os:nothing': .* has no attribute 'nothing', expected module:Name"),
        ("nowhere.at_all:It", "'nowhere.at_all:It': No module named 'nowhere', expected module:Name"),
        (":It", "front end ':It': invalid format"),
    ],
)
def test_an_unknown_name_is_refused(name, sentence):
    with pytest.raises(FrontendError, match=sentence):
        named(name)


@dataclasses.dataclass(frozen=True)
class Demanding(Own):
    edges: tuple[float, float] = dataclasses.field(kw_only=True)


def test_a_front_end_without_defaults_is_refused():
    with pytest.raises(FrontendError, match=r"Demanding cannot be made .*, expected a class with defaults"):
        make(f"{__name__}:Demanding")
    assert make("waveform", seconds=2.0) == Waveform(2.0)


@dataclasses.dataclass(frozen=True)
class Nameless(Frontend):
    rate: ClassVar[float] = 50
    dims: ClassVar[int] = 3

    def extract(self, samples):
        return np.zeros((1, 3))


@dataclasses.dataclass(frozen=True)
class Shouting(Nameless):
    name: ClassVar[str] = "../Own"


@pytest.mark.parametrize(
    ("frontend", "sentence"),
    [
        (LogMel(-1.0), "front end LogMel cannot be used: its seconds are -1.0, expected a positive number"),
        (LogMel(float("inf")), "front end LogMel cannot be used"),
        (LogMel(1e-3), "its frames are 0, expected a positive number"),
        (Own(dims=2.5), "its dims are 2.5"),
        (Own(edges={1}), "front end Own cannot be used: Object of type set is not JSON serializable"),
        (Nameless(), "front end Nameless cannot be used: .* has no attribute 'name'"),
        (Shouting(), r"its name is '\.\./Own', expected lower-case letters"),
    ],
)
def test_what_cannot_be_used_is_refused(frontend, sentence):
    with pytest.raises(FrontendError, match=sentence):
        tag(frontend)
