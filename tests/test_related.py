"""The scripts of systems that the paper names: what each trains, and how models are combined."""

import csv
import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
from corpora import noise_corpus
from pair import changed, config, loaded, noise, planned, pool, with_facts
from reading import ran

from experiments import (
    combinations,
    equalization,
    families,
    language_identification,
    prototypicality,
    unite_or_vote,
)  # fmt: skip
from ser_jax.data.corpus import CorpusError, first_seconds, of_dialogue
from ser_jax.data.standardize import fit_scaler
from ser_jax.errors import ResultsError
from ser_jax.experiment.results import make_predictions, read_predictions
from ser_jax.experiment.settings import multilingual
from ser_jax.report.fusion import fuse
from ser_jax.tasks import TASKS, Language

AROUSAL = (TASKS["arousal"],)
FEW = ["--seeds", "1", "--folds", "2", "--epochs", "1"]
LANGUAGES = {"one": "en", "two": "de", "three": "pl", "four": "en", "five": "xx"}


def spoken(monkeypatch, *names):
    """Let experiments load corpora of noise in several languages by these names."""
    corpora = noise(*names)
    corpora = {name: with_facts(one, language=[LANGUAGES[name]]) for name, one in corpora.items()}
    monkeypatch.setattr("ser_jax.experiment.settings.facts", lambda name, _: corpora[name])
    return loaded(monkeypatch, corpora)


def trained(specs, everyone):
    """Return the corpora that each run trains on."""
    return [tuple(everyone.names[i] for i in np.unique(everyone.corpus[spec.train])) for spec in specs]


def test_every_combination_of_corpora_trains_once_a_seed(monkeypatch):
    corpora = spoken(monkeypatch, *LANGUAGES)
    own = changed(config(*corpora, tasks=AROUSAL), adapted=("corpus",))
    made = combinations.combinations(own)
    assert [(one.name, one.test) for one in made] == [
        (name, (test,)) for name in ("3_corpora", "3_corpora_corpus") for test in corpora
    ]  # five corpora cannot be tested by seven
    everyone = pool(corpora)
    specs, missing = planned(made, corpora)
    assert not missing
    for setting, runs in specs.items():
        others = [name for name in corpora if name not in setting.test]
        wanted = [each for each in itertools.combinations(others, 3) for _ in range(2)]
        assert setting.seeds == len(wanted)
        assert trained(runs, everyone) == wanted
        assert [spec.seed for spec in runs] == list(range(len(wanted)))
        assert all(spec.test.tolist() == everyone.rows(setting.test[0]).tolist() for spec in runs)


def test_speakers_then_corpora_is_the_same_as_speakers_alone():
    """Standardized speakers have mean 0 and deviation 1, and so has every corpus of them."""
    everyone = pool(noise("one", "two"))
    mean, scale = fit_scaler("speaker", everyone.sums, everyone.membership, np.arange(4))
    speaker = everyone.membership.speaker
    for name, corpus in everyone.corpora.items():
        own = speaker[everyone.rows(name)]
        x = (corpus.features - mean[own][:, None]) * scale[own][:, None]
        frames = x[np.arange(x.shape[1]) < corpus.frames[:, None]]
        np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-3)


@pytest.mark.usefixtures("hastily", "undrawn")
@pytest.mark.parametrize(
    ("script", "rows"),
    [
        ("combinations", "3_corpora"),
        ("unite_or_vote", "other_corpora averaged majority crosslingual"),
        ("prototypicality", "other_corpora prototypical atypical random"),
        ("families", "same_family other_families"),
        ("language_identification", "multilingual true_language by_language true_family by_family language"),
        ("equalization", "crosslingual crosslingual_equalized other_corpora other_corpora_equalized"),
    ],
)
def test_a_script_shows_a_row_of_each_of_its_settings(script, rows, monkeypatch, tmp_path):
    """From its command line on; its folder can be verified."""
    corpora = spoken(monkeypatch, "one", "two", "three", "four")
    flags = ["--model", "probe", "--tasks", "arousal", "--seeds", "1", "--folds", "2", "--epochs", "1"]
    words = ["python", "-m", f"experiments.{script}", "--corpora", *corpora, "--out", tmp_path, *flags]
    printed, _ = ran(words)
    assert "not computed" not in printed
    with (tmp_path / f"{script}.csv").open() as file:
        assert list(dict.fromkeys(row["setting"] for row in csv.DictReader(file))) == rows.split()
    ran(["python", "-m", "experiments.verify", tmp_path])


@pytest.mark.usefixtures("hastily", "undrawn")
def test_the_study_of_2017_varies_signal_length_dialogue_and_targets(monkeypatch, tmp_path):
    dialogues = ("improvised", "scripted")
    corpus = with_facts(noise_corpus("one"), emotion=TASKS["emotion"].class_names)
    corpus = with_facts(corpus, dialogue=np.repeat(dialogues, 4), id=np.arange(len(corpus)).astype(str))
    loaded(monkeypatch, {"one": corpus})
    monkeypatch.setattr("ser_jax.experiment.settings.facts", lambda *_: corpus)
    systems = ["logmel", "1s", "views", *dialogues]
    flags = ["--systems", *systems, "--seeds", "1", "--epochs", "1"]
    words = ["python", "-m", "experiments.study_2017", "--corpora", "one", "--out", tmp_path, *flags]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ran(words)[0].strip().splitlines()]
    assert rows[0][:5] == ["system", "setting", "emotion", "arousal", "valence"]
    assert [row[0] for row in rows[2:]] == systems
    tested = {}
    for name in ("logmel", *dialogues):
        cell = read_predictions(tmp_path / name / "predictions" / "monolingual-one-one-emotion.npz")
        tested[name] = cell.utterance.astype(int)
    stored = {name: json.loads((tmp_path / name / "config.json").read_text())["config"] for name in systems}
    assert [stored[name]["protocol"]["seconds"] for name in systems] == [None, 1.0, None, None, None]
    assert len(stored["views"]["tasks"][0]["parts"]) == 3
    for number, name in enumerate(dialogues):
        assert sorted(tested[name]) == [i for i in range(len(corpus)) if i % 8 // 4 == number]
    assert sorted(tested["logmel"]) == [*range(len(corpus))]


@pytest.mark.parametrize(
    ("script", "languages", "flags", "said"),
    [
        ("families", "en en xx", [], "expected two of different languages of known families"),
        ("language_identification", "en en en", [], "expected one of each corpus and two in all"),
        ("language_identification", "en de+pl pl", [], "de and pl .two., .* expected one of each corpus"),
        ("code_switching", "en de xx", ["--tasks", "dimensions"], "--tasks dimensions, expected classes"),
        (
            "code_switching",
            "en de pl",
            ["--features", "egemaps"],
            "egemaps of one frame, expected",
        ),
        (
            "unite_or_vote",
            "en de pl",
            ["--tasks", "arousal+valence"],
            r"arousal\+valence, expected tasks",
        ),
        ("prototypicality", "en de pl", ["--tasks", "dimensions"], "--tasks dimensions, expected classes"),
    ],
)
def test_what_a_script_cannot_do_is_said_before_training(
    script, languages, flags, said, monkeypatch, tmp_path
):
    corpora = {
        name: with_facts(noise_corpus(name), language=own.split("+"))
        for name, own in zip(("one", "two", "three"), languages.split(), strict=True)
    }
    monkeypatch.setattr("ser_jax.experiment.settings.facts", lambda name, _: corpora[name])
    words = ["python", "-m", f"experiments.{script}", "--corpora", *corpora, "--out", tmp_path, *flags]
    assert re.search(said, ran(words, status=2)[1])


@pytest.mark.usefixtures("hastily", "undrawn")
def test_a_corpus_without_labels_leaves_the_cells_of_others(monkeypatch, tmp_path):
    corpora = spoken(monkeypatch, "one", "two", "three")
    corpora["three"] = dataclasses.replace(corpora["three"], arousal=np.full(len(corpora["three"]), np.nan))
    flags = ["--model", "probe", "--tasks", "arousal", "--seeds", "1", "--folds", "2", "--epochs", "1"]
    for script, row in (("prototypicality", "prototypical"), ("code_switching", "both")):
        out = tmp_path / script
        words = ["python", "-m", f"experiments.{script}", "--corpora", *corpora, "--out", out, *flags]
        assert re.search(rf"\| {row} .*\d\d\.\d", ran(words)[0])
        assert "three" in json.dumps(json.loads((out / "config.json").read_text())["missing"])


def predictions(outputs, task=AROUSAL[0], **facts):
    """Return predictions of outputs [R, M, K] for utterances of four speakers of corpus "b"."""
    runs, n, _ = outputs.shape
    names = np.array([f"u{i}" for i in range(n)])
    speaker = np.array([f"s{i % 4}" for i in range(n)])
    facts = {
        "name": "m", "train": ("a",), "test": ("b",), "utterance": names, "speaker": speaker,
        "session": speaker, "cluster": np.arange(n) % 4, "sex": np.full(n, "female"),
        "fold": np.arange(n) % 4 // 2, "labels": np.arange(n) // 4 % task.outputs, "seed": np.arange(runs),
    } | facts  # fmt: skip
    return make_predictions(task, outputs=outputs.astype(np.float32), **facts)


def combined(monkeypatch, module, cells):
    """Return what a script stores, by setting, tested corpus and task, given all cells' predictions."""
    found = {}

    def combine(_, name, train, test, task, slugs, outputs):
        found[name, test, task.name] = outputs([cells[slug] for slug in slugs])

    monkeypatch.setattr(module, "combine", combine)
    return found


def test_models_vote_without_that_of_the_tested_corpus(monkeypatch):
    draw, names = np.random.default_rng(0), ("one", "two", "three", "four")
    cells = {
        f"crosslingual-{one}-{test}-arousal": predictions(draw.normal(size=(2, 40, 2)))
        for one, test in itertools.permutations(names, 2)
    }
    found = combined(monkeypatch, unite_or_vote, cells)
    unite_or_vote.vote(config(*names, tasks=AROUSAL))
    assert {name for name, *_ in found} == {"averaged", "majority"}
    for test in names:
        each = np.stack([cells[f"crosslingual-{one}-{test}-arousal"].outputs for one in names if one != test])
        probability = np.exp(each) / np.exp(each).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(
            np.exp(found["averaged", test, "arousal"]), probability.mean(axis=0), atol=1e-6
        )
        votes = each.argmax(axis=-1).sum(axis=0)  # of three models for class 1
        np.testing.assert_array_equal(found["majority", test, "arousal"].argmax(axis=-1), votes >= 2)


def test_equal_votes_are_decided_by_the_mean_probability(monkeypatch):
    outputs = {"one": [[2.0, 0.0], [1.0, 0.0]], "two": [[0.0, 1.0], [0.0, 3.0]], "three": [[0.0, 0.0]] * 2}
    names = ("one", "two", "three")
    cells = {
        f"crosslingual-{one}-{test}-arousal": predictions(np.array(outputs[one])[None])
        for one, test in itertools.permutations(names, 2)
    }
    found = combined(monkeypatch, unite_or_vote, cells)
    unite_or_vote.vote(config(*names, tasks=AROUSAL))
    assert found["majority", "three", "arousal"].argmax(axis=-1).tolist() == [[0, 1]]


def test_halves_are_nearest_to_and_farthest_from_the_centre_of_their_class(monkeypatch):
    corpora = spoken(monkeypatch, "one", "two", "three")
    everyone, own = pool(corpora), changed(config(*corpora, tasks=AROUSAL), most=31)
    labels = everyone.labels(AROUSAL[0])
    specs, _ = planned(prototypicality.prototypicality(own), corpora)
    by_name = {one.name: runs for one, runs in specs.items() if one.test == ("three",)}
    assert list(by_name) == ["other_corpora", "prototypical", "atypical", "random"]
    near, far = (by_name[name][0].train for name in ("prototypical", "atypical"))
    for name in ("one", "two"):
        rows = everyone.at_most(everyone.rows(name), 31)
        points = []
        for row in rows:
            start = everyone.rows(name)[0]
            x = corpora[name].features[row - start, : corpora[name].frames[row - start]].astype(float)
            points.append([*x.mean(axis=0), *x.std(axis=0)])
        points = np.array(points)
        points = (points - points.mean(axis=0)) / points.std(axis=0)
        for label in (0, 1):
            same = labels[rows] == label
            distance = np.linalg.norm(points[same] - points[same].mean(axis=0), axis=1)
            order, size = rows[same][np.argsort(distance)], (same.sum() + 1) // 2
            assert sorted(order[:size]) == sorted(set(near) & set(rows[same]))
            assert sorted(order[-size:]) == sorted(set(far) & set(rows[same]))
    assert len(near) == len(far) == len(by_name["random"][0].train)
    assert by_name["random"][0].train.tolist() != by_name["random"][1].train.tolist()
    assert near.tolist() == by_name["prototypical"][1].train.tolist()


def test_families_are_those_of_other_languages(monkeypatch):
    corpora = spoken(monkeypatch, *LANGUAGES)
    found = families.families(config(*corpora, tasks=AROUSAL))
    assert [(one.name, one.train, one.test) for one in found] == [
        ("same_family", ("two",), ("one",)),  # not four, which is of the same language
        ("same_family", ("one", "four"), ("two",)),
        ("same_family", ("two",), ("four",)),
        ("other_families", ("three",), ("one",)),
        ("other_families", ("three",), ("two",)),
        ("other_families", ("one", "two", "four"), ("three",)),
        ("other_families", ("three",), ("four",)),
    ]  # the family of five is unknown


def test_the_identified_languages_model_is_used(monkeypatch):
    """And those of its family: English and German are Germanic."""
    corpora = spoken(monkeypatch, "one", "two", "three", "four")
    own, everyone = config(*corpora, tasks=AROUSAL), pool(corpora)
    made = language_identification.language_identification(own)
    specs, missing = planned(made, corpora)
    assert not missing
    special = {one.train: runs for one, runs in specs.items() if one.name == "special"}
    assert special.keys() == {("one", "four"), ("two",), ("three",), ("one", "two", "four")}
    for names, runs in special.items():
        for spec in runs:
            assert {everyone.names[i] for i in everyone.corpus[spec.train]} == set(names)
            tests = [everyone.folds(name)[spec.fold].test for name in corpora]
            np.testing.assert_array_equal(np.sort(spec.test), np.sort(np.concatenate(tests)))
    assert made[-1].task == Language(("en", "de", "pl"))
    draw, n = np.random.default_rng(1), 8
    models = {names: predictions(draw.normal(size=(2, n, 2)), test=("two",)) for names in special}
    cells = {
        f"special-{'+'.join(names)}-{test}-arousal": dataclasses.replace(one, test=(test,))
        for names, one in models.items() for test in corpora
    }  # fmt: skip
    taken = draw.integers(3, size=(2, n))
    every = [
        (f"{test} {who}", one)
        for test in corpora
        for who, one in zip(models["two",].speaker, models["two",].utterance, strict=True)
    ]
    speakers, utterances = map(np.array, zip(*every[::-1], strict=True))
    others = {"speaker": speakers, "utterance": utterances, "labels": np.arange(4 * n) % 3}
    chosen = np.eye(3)[np.tile(taken, 4)[:, ::-1]]
    language = predictions(chosen, made[-1].task, **others)
    cells["language-one+two+three+four-one+two+three+four-language"] = language
    found = combined(monkeypatch, language_identification, cells)
    language_identification.choose(own)
    english = {"language": ("one", "four"), "family": ("one", "two", "four")}
    german = {"language": ("two",), "family": ("one", "two", "four")}
    for kind in ("language", "family"):
        by_class = [models[english[kind]], models[german[kind]], models["three",]]
        expected = [[by_class[taken[r, i]].outputs[r, i] for i in range(n)] for r in range(2)]
        np.testing.assert_array_equal(found[f"by_{kind}", "two", "arousal"], expected)
        np.testing.assert_array_equal(found[f"true_{kind}", "two", "arousal"], models[german[kind]].outputs)


def test_histograms_are_equalized_for_corpora_that_do_not_train(monkeypatch):
    corpora = spoken(monkeypatch, "one", "two", "three")
    own = config(*corpora, tasks=AROUSAL)
    made = equalization.equalization(own)
    assert [(one.name, one.equalize, one.beside) for one in made[::3]] == [
        ("crosslingual", False, ""), ("crosslingual_equalized", True, "crosslingual"),
        ("other_corpora", False, ""), ("other_corpora_equalized", True, "other_corpora"),
    ]  # fmt: skip
    specs, _ = planned(made, corpora)
    assert len(specs) == len(made)
    _, missing = planned(multilingual(own, equalize=True), corpora)
    assert set(missing.values()) == {
        "equalized histograms of one, three, two, which it trains on and tests, expected to test other "
        "corpora than it trains on"
    }


def test_the_fusion_learns_from_development_speakers_which_detector_is_right():
    """One detector is always right, one always wrong, one guesses; other folds do not matter."""
    labels = np.arange(40) // 4 % 2
    draw = np.random.default_rng(0)
    right, wrong = (np.eye(2)[one][None] * 2 for one in (labels, 1 - labels))
    each = [predictions(np.repeat(one, 2, axis=0)) for one in (right, wrong, draw.normal(size=(1, 40, 2)))]
    found = fuse(each, each)
    np.testing.assert_array_equal(found.argmax(axis=2), [labels, labels])
    np.testing.assert_allclose(np.exp(found).sum(axis=2), 1, atol=1e-6)
    first = each[0].fold == 0
    other = [dataclasses.replace(one, outputs=np.where(first[None, :, None], one.outputs, 9)) for one in each]
    np.testing.assert_array_equal(fuse(other, each)[:, first], found[:, first])
    with pytest.raises(ResultsError, match="m-a-b-arousal of different utterances, expected the same"):
        fuse(each, [each[0], each[1].only(rows=first), each[2]])
    single = [one.only(rows=one.labels == 0) for one in each]
    with pytest.raises(ResultsError, match="development speakers of fold 1 of b lack a class of arousal"):
        fuse(single, each)


def test_a_part_of_a_corpus_is_used(monkeypatch):
    corpus = with_facts(noise_corpus("one"), dialogue=["improvised", "scripted", "scripted"])
    own = of_dialogue(corpus, "scripted")
    assert own.id.tolist() == corpus.id[np.arange(len(corpus)) % 3 > 0].tolist()
    assert own.features.shape[0] == len(own) == len(own.seconds)
    short = first_seconds(corpus, 0.2)
    assert short.frames.tolist() == np.minimum(corpus.frames, 20).tolist()
    np.testing.assert_array_equal(short.features[:, :20], corpus.features[:, :20])
    assert not short.features[:, 20:].any()
    with pytest.raises(CorpusError, match=r"0.005 s of corpus one, .* every 0.01 s, expected a f"):
        first_seconds(corpus, 0.005)
    with pytest.raises(CorpusError, match="corpus one has no improvised dialogues, expected some"):
        of_dialogue(own, "improvised")
