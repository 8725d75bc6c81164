"""Synthesised databases: they are deterministic, and their annotations and sounds tell the truth."""

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from ser_jax.data import audio, databases, labels, synthetic
from ser_jax.data.corpus import Facts
from ser_jax.data.synthetic import SynthesisError, design, plan, read_truth, synthesize

FEWEST = 92


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "databases"
    synthesize(out, FEWEST, seed=7)
    return out


@pytest.fixture(scope="module")
def catalogs(out):
    trees = {"iemocap": out / "IEMOCAP_full_release", "recola": out / "RECOLA"}
    return {database: databases.read(database, tree) for database, tree in trees.items()}


@pytest.fixture(scope="module")
def sounds(catalogs):
    """Database -> utterance id -> samples."""
    return {
        database: {
            each.id: audio.read(each.path, each.start, each.stop, 20.0)[0] for each in catalog.utterances
        }
        for database, catalog in catalogs.items()
    }


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


@pytest.mark.parametrize("target", ["arousal", "valence"])
@pytest.mark.parametrize("database", ["iemocap", "recola"])
def test_annotations_tell_the_truth_even_on_the_threshold(out, catalogs, database, target):
    facts, truth = Facts.of(database, database, catalogs[database]), read_truth(out)
    assert facts.synthetic
    names = np.array(labels.CLASS_NAMES[target])[labels.classes(facts, target)]
    assert names.tolist() == [truth[id][target] for id in facts.id]
    assert abs(np.diff(list(Counter(names.tolist()).values()))[0]) <= 10
    annotation, threshold = getattr(facts, target), facts.thresholds[target]
    assert 5 <= (annotation == threshold).sum() <= FEWEST / 2
    assert (abs(annotation - threshold)[annotation != threshold] >= 0.05).all()


def test_turns_lie_apart_within_the_recording(catalogs):
    turns = catalogs["recola"].utterances
    for speaker in {turn.speaker for turn in turns}:
        bounds = np.array([(turn.start, turn.stop) for turn in turns if turn.speaker == speaker])
        assert np.all(np.diff(bounds.ravel()) > 0)
        assert 0 < bounds.min() < bounds.max() < 300


def test_utterances_are_those_of_the_truth_begin_and_end_in_silence_and_never_clip(out, sounds):
    assert set(read_truth(out)) == sounds["iemocap"].keys() | sounds["recola"].keys()
    for samples in (*sounds["iemocap"].values(), *sounds["recola"].values()):
        assert np.abs(samples).max() < 32767 / 32768
        assert max(np.std(samples[:160]), np.std(samples[-160:])) < np.std(samples) / 3


def difference(truth, values, target):
    """Welch's t between the two classes of values by utterance."""
    classes = (
        [v for id, v in values.items() if truth[id][target] == name] for name in labels.CLASS_NAMES[target]
    )
    return ttest_ind(*classes, equal_var=False).statistic


@pytest.mark.parametrize("target", ["arousal", "valence"])
def test_loudness_tells_neither_arousal_nor_valence(out, sounds, target):
    for each in sounds.values():
        level = {id: 20 * np.log10(np.std(samples)) for id, samples in each.items()}
        assert abs(difference(read_truth(out), level, target)) < 3
        assert np.std(list(level.values())) > 1.5


def band_level(samples, low, high):
    """Level of a band relative to the whole, dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / 16000)
    return 10 * np.log10(power[(hertz >= low) & (hertz < high)].sum() / power.sum())


@pytest.mark.parametrize(
    ("database", "band", "target", "told"),
    [
        ("iemocap", (2600, 3400), "valence", True),
        ("recola", (2600, 3400), "valence", False),
        ("recola", (5500, 6300), "valence", True),
        ("iemocap", (5500, 6300), "valence", False),
        ("iemocap", (1000, 2500), "arousal", True),
        ("recola", (1000, 2500), "arousal", True),
    ],
)
def test_languages_share_the_cues_of_arousal_and_not_those_of_valence(
    out, sounds, database, band, target, told
):
    levels = {id: band_level(samples, *band) for id, samples in sounds[database].items()}
    statistic = -difference(read_truth(out), levels, target)
    assert statistic > 4 if told else abs(statistic) < 3


@pytest.mark.parametrize("utterances", [FEWEST - 1, 1201, 10**30])
def test_impossible_sizes_are_refused(tmp_path, utterances):
    with pytest.raises(SynthesisError, match=f"utterances: found {utterances}, expected 92 to 1,200 per"):
        synthesize(tmp_path / "out", utterances)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_synthesis_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(turn, seed):
        if list(tmp_path.rglob("*.wav")):
            raise KeyboardInterrupt
        return np.zeros(1000)

    monkeypatch.setattr(synthetic, "speak_turn", interrupt)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "out", FEWEST)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").iterdir())


def test_an_utterance_depends_on_the_seed_and_on_no_other_utterance():
    few, many, other = plan(FEWEST, 0), plan(2 * FEWEST, 0), plan(FEWEST, 1)
    seconds = {(turn.language, turn.speaker, turn.index): turn.seconds for turn in many}
    assert all(seconds[turn.language, turn.speaker, turn.index] == turn.seconds for turn in few)
    assert [turn.seconds for turn in few] != [turn.seconds for turn in other]


@given(count=st.integers(4, 300), place=st.integers(0, 22), seed=st.integers(0, 2**32))
def test_a_speakers_classes_are_as_even_as_their_number_allows(count, place, seed):
    cells = design(count, place, np.random.default_rng(seed))
    counts = Counter(cells)
    assert len(counts) == 4
    assert max(counts.values()) - min(counts.values()) <= 1
    for target in zip(*cells, strict=True):
        assert abs(2 * sum(target) - count) <= count % 2
