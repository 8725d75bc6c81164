"""Synthesised databases: their layout, their determinism, and that what is annotated is what was said."""

import hashlib
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from ser_jax.data.synthetic import (
    SynthesisError,
    design,
    plan,
    read_truth,
    synthesize,
)  # fmt: skip

FEWEST = 92
NUMBERS = (16, 17, 19, 21, 23, 25, 26, 28, 30, 34, 37, 39, 41, 42, 43, 45, 46, 48, 56, 58, 62, 64, 65)
USERS = [str(number) for number in NUMBERS]
TURN = re.compile(r"\[(\d+\.\d{4}) - (\d+\.\d{4})\]\t(\w+)\t([a-z]{3})\t\[([\d.]+), ([\d.]+), ([\d.]+)\]")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "databases"
    synthesize(out, FEWEST, seed=7)
    return out


@pytest.fixture(scope="module")
def labels(out):
    """Name -> (dialog, emotion, [valence, activation, dominance])."""
    turns = {}
    for file in out.glob("IEMOCAP_full_release/Session?/dialog/EmoEvaluation/Ses*.txt"):
        for _, _, name, emotion, *vector in TURN.findall(file.read_text()):
            turns[name] = (file.stem, emotion, np.array(vector, float))
    return turns


@pytest.fixture(scope="module")
def sounds(out):
    """Utterance id -> 16-bit samples, of both databases."""
    found = {}
    for file in out.glob("IEMOCAP_full_release/Session?/sentences/wav/*/Ses*.wav"):
        rate, found[file.stem] = wavfile.read(file)
        assert rate == 16000
    for user in USERS:
        rate, samples = wavfile.read(out / "RECOLA/RECOLA-Audio-recordings" / f"P{user}.wav")
        assert (rate, len(samples)) == (16000, 4_800_000)
        for index, (start, stop) in enumerate(timings(out, user)):
            found[f"P{user}_{index:03d}"] = samples[round(start * 16000) : round(stop * 16000)]
    return found


def timings(out: Path, user: str) -> np.ndarray:
    return np.loadtxt(out / f"RECOLA/RECOLA-Audio_timings/P{user}.csv", delimiter=";", skiprows=1)


def trace(out: Path, user: str, target: str) -> tuple[str, np.ndarray]:
    """Header and values of an annotation file, times in hundredths, ratings in ten-thousandths."""
    file = out / "RECOLA/RECOLA-Annotation/emotional_behaviour" / target / f"P{user}.csv"
    values = np.loadtxt(file, delimiter=";", skiprows=1)
    scaled = values * ([100] + 6 * [10_000])
    assert np.allclose(scaled, np.rint(scaled), rtol=0, atol=1e-6)
    return file.read_text().partition("\n")[0], np.rint(scaled).astype(int)


def digest(root: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        total.update(str(path.relative_to(root)).encode())
        if path.is_file():
            total.update(path.read_bytes())
    return total.hexdigest()


def test_another_process_writes_the_same_bytes(out, tmp_path):
    code = (
        f"from ser_jax.data.synthetic import synthesize; synthesize({str(tmp_path / 'again')!r}, {FEWEST}, 7)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONHASHSEED": "1"})
    assert digest(tmp_path / "again") == digest(out)


def test_english_annotations_tell_the_truth(out, labels):
    truth = read_truth(out)
    for name, (_, _, (valence, activation, _)) in labels.items():
        assert truth[name] == {
            "arousal": "high" if activation > 2.5 else "low",
            "valence": "positive" if valence >= 2.5 else "negative",
        }


@pytest.mark.parametrize("target", ["arousal", "valence"])
def test_french_annotations_tell_the_truth(out, target):
    truth, zeros = read_truth(out), 0
    for user in USERS:
        header, rows = trace(out, user, target)
        assert header == "time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3"
        assert np.array_equal(rows[:, 0], 4 * np.arange(7501))
        assert np.abs(rows[:, 1:]).max() <= 10_000
        for index, (start, stop) in enumerate(np.rint(100 * timings(out, user)).astype(int)):
            inside = rows[(rows[:, 0] >= start) & (rows[:, 0] < stop), 1:]
            total = int(inside.sum())
            assert total == 0 or abs(total / inside.size) >= 500
            assert len(set(inside.sum(axis=0))) > 1  # raters differ
            assert (truth[f"P{user}_{index:03d}"][target] in ("high", "positive")) == (total > 0)
            zeros += total == 0
    assert len(USERS) / 2 <= zeros <= FEWEST / 3


def test_turns_lie_apart_within_the_recording_and_the_room_is_quiet_between_them(out, sounds):
    for user in USERS:
        bounds = timings(out, user)
        assert np.all(np.diff(bounds.ravel()) > 0)
        assert bounds.min() > 0
        assert bounds.max() < 300
    _, samples = wavfile.read(out / f"RECOLA/RECOLA-Audio-recordings/P{user}.wav")
    (_, stop), (start, _) = bounds[:2]
    between = samples[round(stop * 16000) : round(start * 16000)]
    assert 1 < np.std(between) < 30
    assert np.std(sounds[f"P{user}_000"]) > 10 * np.std(between)


def test_truth_names_every_utterance_once(out, sounds):
    truth = read_truth(out)
    assert set(truth) == set(sounds)
    for language in ("Ses", "P"):
        for target in ("arousal", "valence"):
            counts = Counter(classes[target] for name, classes in truth.items() if name.startswith(language))
            assert max(counts.values()) - min(counts.values()) <= 10


def test_utterances_begin_and_end_in_silence_and_never_clip(sounds):
    for samples in sounds.values():
        assert samples.dtype == np.int16
        assert np.abs(samples.astype(int)).max() < 32767
        whole = np.std(samples)
        assert np.std(samples[:160]) < whole / 3
        assert np.std(samples[-160:]) < whole / 3


def test_loudness_tells_neither_arousal_nor_valence(out, sounds):
    truth = read_truth(out)
    level = {name: 20 * np.log10(np.std(samples)) for name, samples in sounds.items()}
    for target, one in (("arousal", "high"), ("valence", "positive")):
        groups = defaultdict(list)
        for name, value in level.items():
            groups[truth[name][target] == one].append(value)
        error = np.sqrt(sum(np.var(values, ddof=1) / len(values) for values in groups.values()))
        assert abs(np.mean(groups[True]) - np.mean(groups[False])) < 3 * error
        assert all(np.std(values) > 1.5 for values in groups.values())


def band_level(samples, low, high):
    """Level of a band relative to the whole, dB."""
    power = np.abs(np.fft.rfft(samples.astype(float))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / 16000)
    return 10 * np.log10(power[(hertz >= low) & (hertz < high)].sum() / power.sum())


@pytest.mark.parametrize(
    ("language", "band", "target", "told"),
    [
        ("Ses", (2600, 3400), "valence", True),
        ("P", (2600, 3400), "valence", False),
        ("P", (5500, 6300), "valence", True),
        ("Ses", (5500, 6300), "valence", False),
        ("Ses", (1000, 2500), "arousal", True),
        ("P", (1000, 2500), "arousal", True),
    ],
)
def test_languages_share_the_cues_of_arousal_and_not_those_of_valence(
    out, sounds, language, band, target, told
):
    truth = read_truth(out)
    groups = defaultdict(list)
    for name, samples in sounds.items():
        if name.startswith(language):
            groups[truth[name][target] in ("high", "positive")].append(band_level(samples, *band))
    error = np.sqrt(sum(np.var(values, ddof=1) / len(values) for values in groups.values()))
    statistic = (np.mean(groups[True]) - np.mean(groups[False])) / error
    assert statistic > 4 if told else abs(statistic) < 3


@pytest.mark.parametrize("utterances", [FEWEST - 1, 1201, 10**30])
def test_impossible_sizes_are_refused(tmp_path, utterances):
    with pytest.raises(SynthesisError, match=f"utterances: found {utterances}, expected 92 to 1,200 per"):
        synthesize(tmp_path / "out", utterances)
    with pytest.raises(SynthesisError, match="seed: found -1, expected an integer that is not negative"):
        synthesize(tmp_path / "out", seed=-1)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_synthesis_leaves_nothing(tmp_path):
    def interrupt(done, total):
        assert total == 2 * FEWEST
        if done == 3:
            raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "out", FEWEST, progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").iterdir())


def test_an_utterance_depends_on_the_seed_and_on_no_other_utterance():
    few, many, other = plan(FEWEST, 0), plan(2 * FEWEST, 0), plan(FEWEST, 1)
    seconds = {(turn.language.name, turn.speaker, turn.index): turn.seconds for turn in many}
    assert all(seconds[turn.language.name, turn.speaker, turn.index] == turn.seconds for turn in few)
    assert [turn.seconds for turn in few] != [turn.seconds for turn in other]


@given(count=st.integers(4, 300), place=st.integers(0, 22), seed=st.integers(0, 2**32))
def test_a_speakers_classes_are_as_even_as_their_number_allows(count, place, seed):
    cells = design(count, place, np.random.default_rng(seed))
    counts = Counter(cells)
    assert len(counts) == 4
    assert max(counts.values()) - min(counts.values()) <= 1
    for target in zip(*cells, strict=True):
        assert abs(2 * sum(target) - count) <= count % 2
