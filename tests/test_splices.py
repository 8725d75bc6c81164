"""Synthetic code-switching: what a splice holds, which utterances are paired, and who predicts them."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import PAIR, changed, config, loaded, noise, pool, shared
from reading import ran

from experiments import code_switching
from ser_jax import data
from ser_jax.errors import UserError
from ser_jax.experiment import settings, splices
from ser_jax.experiment.results import read_predictions
from ser_jax.experiment.run import run
from ser_jax.experiment.settings import cross_validation, setting
from ser_jax.experiment.splices import predict_splices, same_class, splice
from ser_jax.tasks import TASKS

LENGTHS = st.lists(st.integers(1, 9), min_size=2, max_size=5)


def utterances(lengths, seed):
    """Return noise [N, 9, 2] that is zero after its frames, and frames [N]."""
    frames = np.array(lengths, np.int32)
    noise = np.random.default_rng(seed).normal(size=(len(frames), 9, 2)).astype(np.float32)
    return np.where(np.arange(9)[None, :, None] < frames[:, None, None], noise, 0), frames


@given(LENGTHS)
def test_an_utterance_spliced_with_itself_is_itself(lengths):
    x, frames = utterances(lengths, 0)
    np.testing.assert_array_equal(splice(x, frames, x, frames), x)


@given(LENGTHS)
def test_a_splice_is_half_of_each_and_zero_after_them(lengths):
    (x, frames), (y, others) = utterances(lengths, 0), utterances(lengths[::-1], 1)
    for found, a, n, b, m in zip(splice(x, frames, y, others), x, frames, y, others, strict=True):
        wanted = np.concatenate([a[: n // 2], b[m // 2 : m]])
        assert len(wanted) <= len(found)
        np.testing.assert_array_equal(found[: len(wanted)], wanted)
        assert not found[len(wanted) :].any()


def test_pairs_are_of_one_class_and_use_nobody_twice():
    labels = np.random.default_rng(0).integers(-1, 3, 80)
    first, second = np.arange(30, dtype=np.int32), np.arange(30, 80, dtype=np.int32)
    one, two = found = same_class(labels, first, second)
    np.testing.assert_array_equal(found, same_class(labels, first, second))
    np.testing.assert_array_equal(labels[one], labels[two])
    assert set(one) <= set(first)
    assert set(two) <= set(second)
    assert len(set(one)) == len(set(two)) == len(one)
    sizes = [[np.sum(labels[rows] == label) for rows in (first, second)] for label in range(3)]
    assert len(one) == sum(map(min, sizes))
    assert same_class(labels, first, second[:0]).shape == (2, 0)


def test_nobody_who_is_spliced_was_trained_on():
    corpora, tested = noise("one", "two", "three"), ("one", "two")
    own = pool(corpora)
    for train in (("one",), ("two",), ("one", "two"), ("three",)):
        made = setting(config(*corpora), "mine", TASKS["arousal"], train, tuple(corpora), cross_validation)
        for spec in cross_validation(own, made):
            rows = [np.intersect1d(spec.test, own.rows(name)) for name in tested]
            spliced = same_class(own.labels(TASKS["arousal"]), *rows)
            assert spliced.size
            assert not set(own.cluster[spliced.ravel()]) & set(own.cluster[spec.train])


def test_models_of_one_both_and_neither_language_are_trained(monkeypatch):
    spoken = {"one": ["en"], "two": ["de"], "three": ["en"], "four": ["pl"]}
    monkeypatch.setattr(settings, "languages", lambda _: spoken)
    own = config(*spoken, tasks=(TASKS["arousal"],))
    found = code_switching.sources(own)
    assert ("one", "three") not in found
    assert found["two", "one"] == {
        "first": ("two",), "second": ("one",), "both": ("one", "two"), "neither": ("four",)
    }  # fmt: skip
    assert found["one", "four"]["neither"] == ("two",)
    trained = [one.train for one in code_switching.code_switching(own)]
    assert len(set(trained)) == len(trained)
    assert {own for each in found.values() for own in each.values()} == set(trained)
    monkeypatch.setattr(settings, "languages", lambda _: {"one": ["en"], "three": ["en"]})
    with pytest.raises(UserError, match="expected one of each corpus and two in all"):
        code_switching.sources(dataclasses.replace(own, corpora=("one", "three")))


@pytest.mark.usefixtures("hastily", "undrawn")
def test_splices_are_predicted_by_the_models_of_their_seed_and_fold(monkeypatch, tmp_path):
    """Two copies of each utterance, spliced with each other, have the outputs of the utterance."""
    monkeypatch.setattr(splices, "same_class", lambda _, first, second: np.stack([first, second]))
    one = noise("one")["one"]
    corpora = loaded(monkeypatch, {"one": one, "two": dataclasses.replace(one, name="two", fingerprint="2")})
    own = config("one", "two", tasks=(TASKS["arousal"],), out=tmp_path)
    own = changed(own, folds=3)
    made = setting(own, "unspliced", TASKS["arousal"], ("one",), ("one", "two"), cross_validation)
    run([made], own)
    whole = read_predictions(tmp_path / "predictions" / "unspliced-one-one-arousal.npz")
    found = predict_splices(own, pool(corpora, folds=3), made, ("one", "two"), "first")
    order = {name: i for i, name in enumerate(whole.utterance.tolist())}
    rows = [order[name.split("+")[0]] for name in found.utterance.tolist()]
    assert sorted(rows) == [*range(len(one))]
    np.testing.assert_allclose(found.outputs, whole.outputs[:, rows], atol=1e-4)
    assert np.ptp(found.outputs, axis=0).max() > 1e-3  # seeds differ
    np.testing.assert_array_equal(found.fold, whole.fold[rows])


@pytest.mark.usefixtures("hastily", "undrawn")
def test_splices_stand_beside_the_utterances_they_are_of(tmp_path):
    where = ["--corpora", *PAIR, "--data-dir", shared() / "data", "--out", tmp_path]
    facts = [data.facts(name, shared() / "data") for name in PAIR]
    speakers = np.concatenate([np.char.add(f"{one.name} ", one.session) for one in facts])
    names = np.concatenate([one.id for one in facts])
    folds = {who: i % (2 + who.startswith(PAIR[0])) for i, who in enumerate(np.unique(speakers).tolist())}
    lines = [f"{name},{folds[who]}" for name, who in zip(names.tolist(), speakers.tolist(), strict=True)]
    (tmp_path / "folds.csv").write_text("\n".join(["id,fold", *lines]))
    quick = [
        "--protocol.fold-file",
        tmp_path / "folds.csv",
        "--seeds",
        "2",
        "--epochs",
        "1",
        "--model",
        "probe",
        "--tasks",
        "arousal",
    ]
    printed, _ = ran(["python", "-m", "experiments.code_switching", *where, *quick])
    assert not json.loads((tmp_path / "config.json").read_text())["missing"]
    cells = {path.stem: read_predictions(path) for path in (tmp_path / "predictions").iterdir()}
    spliced = {name: one for name, one in cells.items() if one.setting != "unspliced"}
    assert len(spliced) == 6  # of one, the other and both, in either order
    whole = {frozenset(one.test): one for one in cells.values() if one.setting == "unspliced"}
    for one in spliced.values():
        assert f"| {one.setting} " in printed
        speakers = np.array([who.split("+") for who in one.speaker])
        for name, own in zip(one.test, speakers.T, strict=True):
            known = whole[frozenset([name])]
            fold = {f"{name} {who}": i for who, i in zip(known.speaker, known.fold, strict=True)}
            assert [fold[who] for who in own] == one.fold.tolist()
            assert not any(len(set(one.cluster[own == who])) > 1 for who in set(own))
