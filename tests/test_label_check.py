"""Labels judged by models of other corpora: what swapped classes look like, and that nothing else does."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import PAIR, config, loaded, noise, shared, with_facts
from reading import ran
from scipy.stats import rankdata

from ser_jax import cli, data
from ser_jax.experiment.settings import ExperimentError
from ser_jax.report import label_check
from ser_jax.statistics import holm, ranking_test
from ser_jax.tasks import TASKS, Categorical

CLASSES = 4
PAIRS = list(itertools.combinations(range(CLASSES), 2))


def auc(scores, first):
    ranks, count = rankdata(scores)[first], first.sum()
    return (ranks.sum() - count * (count + 1) / 2) / (count * (~first).sum())


@given(st.integers(0, 10_000))
def test_a_ranking_by_its_definition(seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(10, 40)
    scores, first = rng.integers(0, 5, size).astype(float), rng.random(size) < 0.5
    speaker = rng.integers(0, 6, size)
    found = ranking_test(scores, first, speaker, speaker // 2)
    weights, each = np.zeros(6), np.zeros(6)
    for who in range(6):
        own = speaker == who
        if len(set(first[own])) == 2:
            weights[who] = first[own].mean() * (~first[own]).sum()
            each[who] = weights[who] * (auc(scores[own], first[own]) - 0.5)
    compared = np.flatnonzero(weights.reshape(3, 2).sum(axis=1))
    if not len(compared):
        assert np.isnan([found.auc, found.p]).all()
        return
    assert 0 <= found.auc <= 1
    assert found.auc == pytest.approx(0.5 + each.sum() / weights.sum())
    np.testing.assert_allclose(np.bincount(speaker, found.parts, 6), each / weights.sum(), atol=1e-12)
    assert found.clusters == len(compared)
    by_cluster = each.reshape(3, 2).sum(axis=1)[compared]
    signs = np.array(list(itertools.product((-1, 1), repeat=len(compared))))
    assert found.p == np.mean(signs @ by_cluster <= by_cluster.sum() + 1e-9)


def test_p_is_as_small_as_it_says_if_the_classes_of_whole_speakers_are_swapped_in_all_ways():
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(6), [9, 11, 14, 17, 20, 23])  # no two sums of signs are equal
    scores, first = rng.normal(size=94), np.arange(94) % 9 < 4
    p = [
        ranking_test(scores, first ^ np.array(swapped)[speaker], speaker, speaker).p
        for swapped in itertools.product((False, True), repeat=6)
    ]
    np.testing.assert_allclose(np.sort(p), np.arange(1, 65) / 64)


def test_neither_a_speakers_bias_nor_the_scale_of_scores_matters():
    rng = np.random.default_rng(1)
    scores, first, speaker = rng.normal(size=60), rng.random(60) < 0.5, np.repeat(np.arange(10), 6)
    found = ranking_test(scores, first, speaker, speaker)
    other = ranking_test(np.exp(scores) + 100 * rng.normal(size=10)[speaker], first, speaker, speaker)
    assert (found.auc, found.p) == (other.auc, other.p)
    reverse = ranking_test(-scores, first, speaker, speaker)
    assert reverse.auc == pytest.approx(1 - found.auc)


def simulated(seed, speakers, effect, bias=2.0, spread=0.5, each=5):
    """Return outputs [M, K], classes [M] and speakers [M].

    A speaker's classes are unequally frequent. The output for an utterance's class is higher by an effect
    that varies between speakers; each output has a bias for every speaker.
    """
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(CLASSES, 3.0), speakers)
    speaker = np.repeat(np.arange(speakers), CLASSES * each)
    labels = np.array([rng.choice(CLASSES, p=share[who]) for who in speaker])
    outputs = rng.normal(size=(len(labels), CLASSES)) + bias * rng.normal(size=(speakers, CLASSES))[speaker]
    effects = rng.normal(effect, spread, (speakers, CLASSES))
    outputs[np.arange(len(labels)), labels] += effects[speaker, labels]
    return outputs, labels, speaker


def contradicted(outputs, labels, speaker):
    """Return which pairs of classes are, after Holm's correction."""
    p = []
    for one, other in PAIRS:
        own = np.isin(labels, (one, other))
        scores, first = outputs[own, one] - outputs[own, other], labels[own] == one
        p.append(ranking_test(scores, first, speaker[own], speaker[own]).p)
    return holm(p) <= label_check.LEVEL


@pytest.mark.parametrize(("effect", "spread", "most"), [(0.0, 0.0, 0.05), (0.0, 1.0, 0.05), (0.5, 0.5, 0.01)])
def test_right_labels_are_contradicted_no_more_often_than_claimed(effect, spread, most):
    """Without an effect, labels are random; with a spread, models understand some speakers the wrong way."""
    count = 200
    found = [contradicted(*simulated(seed, 9, effect, spread=spread)).any() for seed in range(count)]
    assert np.mean(found) <= most + 3 * np.sqrt(most * (1 - most) / count)


def test_swapped_classes_are_found_with_nine_speakers_and_cannot_be_with_four():
    for speakers, least, most in ((9, 0.9, 1), (4, 0, 0)):
        found = []
        for seed in range(50):
            outputs, labels, speaker = simulated(seed, speakers, effect=1.5)
            swapped = np.array([1, 0, 2, 3])[labels]
            found.append(contradicted(outputs, swapped, speaker)[PAIRS.index((0, 1))])
        assert least <= np.mean(found) <= most


def known(monkeypatch, corpora):
    """Experiments and the choice of tasks see these corpora."""
    monkeypatch.setattr(label_check, "facts", lambda name, _: corpora[name])
    return loaded(monkeypatch, corpora)


def test_what_judges_a_corpus_is_what_it_shares_with_any_other(monkeypatch):
    emotions = {"one": ["anger", "Sad", "joy"], "two": ["angry", "fear", ""], "three": ["sadness", "fear"]}
    corpora = {name: with_facts(noise(name)[name], emotion=each) for name, each in emotions.items()}
    corpora["four"] = noise("four")["four"]
    known(monkeypatch, corpora)
    found = {one.test: (one.train, one.task) for one in label_check.settings(config(*emotions))}
    assert found == {
        ("one",): (("two", "three"), Categorical("emotion", ("anger", "sadness"))),
        ("two",): (("one", "three"), Categorical("emotion", ("anger", "fear"))),
        ("three",): (("one", "two"), Categorical("emotion", ("fear", "sadness"))),
    }
    # One emotion in common, or none: the dimensions that both have.
    corpora["three"] = with_facts(corpora["three"], valence=[np.nan])
    for others, tasks in (("one", ["arousal", "valence"]), ("three", ["arousal"])):
        own = config("four", others)
        assert [one.task.name for one in label_check.settings(own, ["four"])] == tasks
    corpora["four"] = with_facts(corpora["four"], arousal=[0])
    sentence = "four shares 0 emotions with three, expected two or more, or all classes of arousal or valence"
    for tasks in (("arousal", "valence"), ("arousal", "valence", "dimensions")):
        own = config("four", "three", tasks=tuple(map(TASKS.get, tasks)))
        with pytest.raises(ExperimentError, match=sentence):
            label_check.settings(own)


@pytest.fixture
def synthetic(monkeypatch):
    """Return the synthetic pair as it was prepared, which programs load; what is replaced, they load so."""
    return known(monkeypatch, {name: data.load(name, shared() / "data") for name in PAIR})


def swapped(corpus):
    high = corpus.arousal > corpus.thresholds["arousal"]
    return with_facts(corpus, arousal=np.where(high, corpus.arousal.min(), corpus.arousal.max()))


def test_an_audit_finds_swapped_classes_of_synthetic_speech_and_nothing_else(synthetic, capsys):
    french = PAIR[1]
    words = ["audit", french, "--against", PAIR[0]]
    assert cli.main([*words, "--json"]) == 0
    right = json.loads(capsys.readouterr().out)
    assert [len(each) for each in right.values()] == [2]
    assert not any(pair["contradicted"] for pair in right[french])
    synthetic[french] = swapped(synthetic[french])
    assert cli.main([*words, "--json"]) == 1
    by_classes = {tuple(pair["classes"]): pair for pair in json.loads(capsys.readouterr().out)[french]}
    assert [classes for classes, pair in by_classes.items() if pair["contradicted"]] == [("low", "high")]
    found = by_classes["low", "high"]
    [before] = [pair for pair in right[french] if pair["classes"] == ["low", "high"]]
    assert found["auc"] == pytest.approx(1 - before["auc"])
    for parts in (found["speakers"], found["utterances"]):
        assert list(parts.values()) == sorted(parts.values())
    assert set(found["speakers"]) <= set(synthetic[french].speaker.tolist())
    assert set(found["utterances"]) <= set(synthetic[french].id.tolist())
    assert cli.main(words) == 1
    table = capsys.readouterr().out
    assert f"| {french} | low / high " in table
    assert next(iter(found["utterances"])) in table


@pytest.mark.usefixtures("hastily", "undrawn")
def test_the_experiment_judges_every_corpus_and_its_files_can_be_verified(synthetic, tmp_path):
    flags = ["--model", "probe", "--tasks", "arousal", "--epochs", "2", "--seeds", "2", "--out", tmp_path]
    printed, _ = ran(["python", "-m", "experiments.label_check", "--corpora", *PAIR, *flags])
    assert (tmp_path / "labels.md").read_text() == printed
    assert list(json.loads((tmp_path / "labels.json").read_text())) == list(PAIR)
    assert "Labels, checked with models of other corpora" in (tmp_path / "report.html").read_text()
    ran(["python", "-m", "experiments.verify", tmp_path])
    (tmp_path / "labels.md").write_text("")
    assert "labels.md: DIFFERS" in "".join(ran(["python", "-m", "experiments.verify", tmp_path], 1))
