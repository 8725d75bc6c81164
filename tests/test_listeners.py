"""Raters are scored against the others' consensus, and the network on the same utterances."""

import csv
import dataclasses
import json
import re
import statistics

import invented
import numpy as np
import pytest
from corpora import noise_corpus
from pair import PAIR, shared, with_facts
from reading import ran
from sklearn.metrics import recall_score

from ser_jax import data, metrics
from ser_jax.data import labels as rules
from ser_jax.experiment.config import Config
from ser_jax.experiment.results import read_predictions
from ser_jax.experiment.settings import ExperimentError
from ser_jax.report import listeners
from ser_jax.statistics import interval
from ser_jax.tasks import TASKS, Regression

FEW = ["--seeds", "2", "--folds", "2", "--epochs", "1", "--features", "logmel", "--model", "probe"]


def corpus(raters=3, missing=0.0, noise=1.0, seed=0, **facts):
    """Return a corpus with raters; its true arousal is that of `noise_corpus`, on a scale from 1 to 5."""
    draw, base = np.random.default_rng(seed), noise_corpus()
    each = []
    for true in base.arousal:
        ratings = np.clip(np.round(2 + 2 * true + noise * draw.normal(size=raters)), 1, 5).tolist()
        given = draw.random(raters) >= missing
        each.append({f"r{i}": {"arousal": ratings[i]} for i in range(raters) if given[i]})
    scale = {"thresholds": {"arousal": 3.0}, "scales": {"arousal": (1.0, 5.0)}} | facts
    own = dataclasses.replace(base, raters=np.array([json.dumps(one) for one in each]), **scale)
    means = [statistics.fmean([r["arousal"] for r in one.values()] or [np.nan]) for one in each]
    return dataclasses.replace(own, arousal=np.array(means))


def cell(own, task, runs=3):
    """Return predictions of a network that is right more often than not."""
    draw, labels = np.random.default_rng(1), task.labels(own)
    known = metrics.labelled(labels)
    right = np.eye(task.outputs)[labels] if task.class_names else np.nan_to_num(labels)
    outputs = right + draw.normal(0, 0.8, (runs, len(own), task.outputs))
    facts = {"utterance": own.id[known], "fold": np.zeros(known.sum(), int), "sex": own.sex[known]}
    return invented.cell(task, outputs[:, known], labels[known], own.speaker[known], **facts)


def table(own, task):
    """Return the lines of a corpus by rater."""
    return {line[1]: line[2:] for line in listeners.compare(cell(own, task), own, task)}


def number(text):
    return float(text.split()[0])


def plainly(facts, rater, others, ids, task):
    """Return the answers of a rater and the classes or numbers of the others, [M] with NaN, the long way."""
    rows = {name: json.loads(text or "{}") for name, text in zip(facts.id, facts.raters, strict=True)}
    answers, reference = [], []
    for row in (rows[name] for name in ids):
        mine = [row[rater][task]] if task in row.get(rater, {}) else []
        theirs = [row[name][task] for name in others if task in row.get(name, {})]
        both = mine and theirs
        answers.append(mine[0] if both else np.nan)
        reference.append(sum(theirs) / len(theirs) if both else np.nan)
    return np.array(answers), np.array(reference)


@pytest.mark.usefixtures("hastily", "undrawn")
def test_the_table_of_the_synthetic_corpora_is_that_of_a_plain_implementation(tmp_path):
    place = shared() / "data"
    where = ["--corpora", *PAIR, "--data-dir", place, "--out", tmp_path, "--adapted", "speaker"]
    printed = ran(
        ["python", "-m", "experiments.listeners", *where, "--tasks", "arousal", "dimensions", *FEW]
    )[0]
    assert (tmp_path / "raters.md").read_text().strip() == printed.strip()
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in re.findall(r"^\|.*", printed, re.M)]
    found = {(tested, rater): rest for tested, rater, *rest in lines[2:]}
    checked = 0
    for name in PAIR:
        facts = data.facts(name, place)
        raters = {"synthetic_en": ["E3", "E4"]}.get(name, ["FF1", "FF2", "FF3", "FM1", "FM2", "FM3"])
        for task, metric in (("arousal", "UAR"), ("dimensions", "CCC")):
            own = read_predictions(tmp_path / f"predictions/monolingual-{name}-{name}-{task}.npz")
            tested, scores = f"{name} arousal ({metric})", []
            for rater in raters:
                others = [one for one in raters if one != rater]
                answers, reference = plainly(facts, rater, others, own.utterance, "arousal")
                known = np.isfinite(reference)
                answers, reference = answers[known], reference[known]
                if metric == "UAR":
                    limit = facts.thresholds["arousal"]
                    score = [
                        100 * recall_score(reference > limit, one, average="macro")
                        for one in (answers > limit, *own.predictions[:, known])
                    ]
                else:
                    low, high = facts.scales["arousal"]
                    answers, reference = (2 * (one - low) / (high - low) - 1 for one in (answers, reference))
                    pairs = [
                        np.cov(reference, one, bias=True) for one in (answers, *own.predictions[:, known, 0])
                    ]
                    gaps = [one.mean() - reference.mean() for one in (answers, *own.predictions[:, known, 0])]
                    score = [2 * c[0, 1] / (np.trace(c) + g**2) for c, g in zip(pairs, gaps, strict=True)]
                count, human, machine, _ = found[tested, rater]
                close = 0.06 if metric == "UAR" else 0.0006
                assert int(count) == known.sum()
                assert number(human) == pytest.approx(score[0], abs=close)
                assert number(machine) == pytest.approx(np.mean(score[1:]), abs=close)
                scores.append((score[0], np.mean(score[1:])))
                checked += 1
            _, *mean, _ = found[tested, "mean"]
            assert [*map(number, mean)] == pytest.approx(np.mean(scores, axis=0).tolist(), abs=2 * close)
            with (tmp_path / "listeners.csv").open() as file:
                rows = [row for row in csv.DictReader(file) if row["setting"] == "monolingual"]
            [row] = [row for row in rows if (row["test"].split()[0], row["task"]) == (name, task)]
            if metric == "UAR":
                assert number(found[tested, "all"][2]) == pytest.approx(float(row["pooled"]), abs=close)
            adapted = found[f"monolingual_speaker, {tested}", "mean"]
            assert adapted[1] == found[tested, "mean"][1]  # the raters are the same beside any network
    assert checked == 16


@pytest.mark.parametrize("task", ["arousal", "dimensions"])
def test_raters_who_agree_score_in_full(task):
    own = corpus(noise=0)
    found = table(own, TASKS[task])
    full = "100.0 [100.0, 100.0]" if task == "arousal" else "1.000 [1.000, 1.000]"
    assert [found[name][1] for name in ("r0", "r1", "r2", "mean")] == [full] * 4
    machine = [found[name][2] for name in ("r0", "r1", "r2", "mean", "all")]
    assert len(set(machine)) == 1  # of equal references, the mean and its interval are those of each


@pytest.mark.parametrize("task", ["arousal", "dimensions"])
def test_other_names_of_the_raters_permute_the_rows(task):
    own, names = corpus(missing=0.2), {"r0": "r2", "r1": "r0", "r2": "r1"}
    renamed = [re.sub(r"r\d", lambda found: names[found[0]], text) for text in own.raters]
    one, other = table(own, TASKS[task]), table(with_facts(own, raters=renamed), TASKS[task])
    for rater in names:
        assert one[rater] == other[names[rater]]
    assert one["all"] == other["all"]
    assert one["mean"] == other["mean"]


@pytest.mark.parametrize("task", ["arousal", "dimensions"])
def test_utterances_without_a_rating_count_for_nobody(task):
    """Those that nobody else rated neither."""
    task, full, some = TASKS[task], corpus(), corpus(missing=0.4)
    every, found = listeners.judgements(full, task), listeners.judgements(some, task)
    rated = [json.loads(text) for text in some.raters]
    for rater, own in found.items():
        known = np.array([rater in one and len(one) > 1 for one in rated])
        assert np.array_equal(metrics.labelled(own.reference), known)
        assert int(table(some, task)[rater][0]) == known.sum()
        alone = np.array([len(one) == 3 for one in rated])
        for part in ("answers", "reference"):
            pair = [getattr(one[rater], part)[alone] for one in (every, found)]
            np.testing.assert_array_equal(*pair)


def test_the_mean_over_references_is_a_score_of_classes_and_of_dimensions():
    draw = np.random.default_rng(0)
    for task, score in ((TASKS["arousal"], metrics.uar), (Regression(("arousal",)), metrics.ccc)):
        own = cell(corpus(), task)
        shape = (4, len(own.utterance))
        references = draw.integers(0, 2, shape) if task.class_names else draw.normal(size=shape)
        references = np.where(draw.random(shape) < 0.3, -1 if task.class_names else np.nan, references)
        drawn = draw.integers(0, 2, (4, 3, shape[1]))
        labels, predictions, _, classes = listeners.together(own, references, drawn)
        each = np.mean([score(*pair) for pair in zip(references, drawn, strict=True)])
        joined = (labels, predictions, *([classes] if task.class_names else []))
        assert score(*joined).mean() == pytest.approx(each)
        alone = interval(own.metric, references[0], drawn[0], own.cluster)
        same = listeners.together(own, references[[0] * 4], drawn[[0] * 4])
        around = interval(own.metric, *same[:3], classes=same[3])
        assert around == pytest.approx(alone)


def test_the_most_named_category_is_the_consensus_unless_several_are():
    """Another category is a wrong answer; actors who rate themselves are neither raters nor others."""
    said = [  # of E1, E2, E3 and the actor
        (["Anger"], ["Anger"], ["Sadness"], ["Neutral"]),
        (["Anger"], ["Sadness"], ["Neutral"], ["Anger"]),
        (["Excited", "Surprise"], ["Happiness"], ["Excited"], []),
        (["Frustration"], ["Sadness"], ["Sadness"], []),
        ([], ["Neutral"], ["Neutral"], ["Neutral"]),
    ]
    names = "E1", "E2", "E3", "F1"
    texts = [
        json.dumps({name: {"emotion": own} for name, own in zip(names, each, strict=True) if own})
        for each in said
    ]
    own, five = noise_corpus(database="iemocap"), slice(0, 5)
    found = listeners.judgements(with_facts(own, raters=texts), TASKS["emotion"])
    assert [*found] == ["E1", "E2", "E3"]
    anger, happiness, neutral, sadness, none = 0, 1, 2, 3, -1
    assert found["E1"].reference[five].tolist() == [none, none, none, sadness, none]
    assert found["E2"].reference[five].tolist() == [none, none, happiness, none, neutral]
    assert found["E3"].reference[five].tolist() == [anger, none, none, none, neutral]
    assert found["E1"].answers[3] not in (sadness, none)
    assert found["E2"].answers[[2, 4]].tolist() == [happiness, neutral]
    assert found["E3"].answers[[0, 4]].tolist() == [sadness, neutral]


def test_the_consensus_of_all_is_the_label_of_the_corpus():
    facts = data.facts(PAIR[1], shared() / "data")
    rated = [json.loads(text) for text in facts.raters]
    found = listeners.consensus(facts, rated, set().union(*rated))
    np.testing.assert_allclose(found.arousal, facts.arousal, atol=1e-12)
    for dimension in ("arousal", "valence"):
        away = np.abs(getattr(facts, dimension)) > 1e-9
        each = [rules.classes(one, dimension)[away] for one in (found, facts)]
        np.testing.assert_array_equal(*each)


def test_raters_whose_others_know_one_class_are_left_out():
    """Of three, one rates nothing high, and the two others rate different halves."""
    own, ratings = noise_corpus(), []
    for i, true in enumerate(own.arousal):
        ratings.append({"low": {"arousal": 2.0}, f"half{i % 4 // 2}": {"arousal": 2.0 + 2 * true}})
    own = with_facts(own, raters=[json.dumps(one) for one in ratings])
    own = dataclasses.replace(own, arousal=2 + 2 * own.arousal, thresholds={"arousal": 3.0})
    assert [*listeners.judgements(own, TASKS["arousal"])] == ["half0", "half1", "low"]
    assert [*table(own, TASKS["arousal"])] == ["low", "mean", "all"]


def test_a_corpus_without_raters_is_left_out_unless_it_is_the_only_one(monkeypatch):
    monkeypatch.setattr(listeners, "facts", lambda name, _: corpus({"none": 0, "one": 1, "three": 3}[name]))
    found = listeners.settings(Config(corpora=("none", "one", "three"), tasks=(TASKS["arousal"],)))
    assert [one.train for one in found] == [("three",)]
    with pytest.raises(ExperimentError, match="no two raters of none one rated arousal, expected"):
        listeners.settings(Config(corpora=("none", "one"), tasks=(TASKS["arousal"],)))
