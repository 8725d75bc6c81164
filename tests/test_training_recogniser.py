"""Training a recogniser: no network sees held-out speakers, and a folder is written whole or not at all."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from corpora import noise_corpus

from ser_jax import engine
from ser_jax.cli import main
from ser_jax.devices import Machine
from ser_jax.errors import UserError
from ser_jax.features import Waveform, describe
from ser_jax.metrics import uar
from ser_jax.recognizer import Recognizer, train
from ser_jax.recognizer.card import card
from ser_jax.recognizer.train import Recipe, TrainingError
from ser_jax.tasks import Binary

RECIPE = Recipe(name="noise", seeds=2, epochs=3)
pytestmark = pytest.mark.usefixtures("hastily")


def corpora(**more):
    return [noise_corpus("de", **more), noise_corpus("en", seed=1, **more)]


@pytest.fixture(scope="module")
def fitted():
    return train.fit(corpora(), RECIPE, Machine.here())


def arrays(trained):
    return [trained.mean, trained.scale, *jax.tree.leaves({k: t.params for k, t in trained.targets.items()})]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def test_it_learns_and_the_metrics_are_those_of_the_stored_model(fitted):
    trained, metrics = fitted
    every, held_out = train.divide(corpora(), RECIPE)
    rows, recognizer = np.flatnonzero(held_out), Recognizer(trained)
    features = [np.asarray(every.features[rows[[i]]])[0, : every.frames[rows[i]]] for i in range(len(rows))]
    said = [recognizer.window(one).targets for one in features]
    for target in ("arousal", "valence"):
        labels = every.labels(Binary(target))[rows]
        decided = [int(one[target].probability > 0.5) for one in said]
        assert metrics[target]["uar"] == pytest.approx(uar(labels, np.array(decided)), abs=1e-6)
        assert metrics[target]["uar"] > 0.9
        assert metrics[target]["utterances"] == len(rows) == np.sum(metrics[target]["confusion"])
        found = metrics[target]["temperature"]
        assert tuple(found.values()) == pytest.approx(trained.targets[target].temperature, abs=1e-6)
        assert len(metrics[target]["uar_seeds"]) == 2
        assert set(metrics[target]["corpora"]) == {"de", "en"}


def test_what_held_out_speakers_say_changes_no_weight(fitted):
    changed = []
    for corpus in corpora():
        groups = train.groups(corpus, 5)
        features = corpus.features.copy()
        features[groups == 0] *= 0.5
        arousal = np.where(groups == 0, 1 - corpus.arousal, corpus.arousal)
        changed.append(dataclasses.replace(corpus, features=features, arousal=arousal))
    trained, metrics = train.fit(changed, RECIPE, Machine.here())
    assert same(trained, fitted[0])
    assert metrics != fitted[1]


def test_a_fifth_of_every_corpus_is_held_out_by_speaker():
    every, held_out = train.divide(corpora(), RECIPE)
    for number in range(2):
        own = every.corpus == number
        heard, kept = set(every.speaker_id[own & ~held_out]), set(every.speaker_id[own & held_out])
        assert not heard & kept
        assert (len(heard), len(kept)) == (8, 2)


def test_features_are_brought_to_the_training_speakers_mean(fitted):
    sounds = []
    for corpus in corpora():
        rows = np.flatnonzero(train.groups(corpus, 5) != 0)
        sounds += [corpus.features[i, : corpus.frames[i]] for i in rows]
    every = np.concatenate(sounds).astype(np.float64)
    np.testing.assert_allclose(fitted[0].mean, every.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(fitted[0].scale, 1 / every.std(axis=0), rtol=1e-4)


def test_a_network_does_not_depend_on_those_trained_beside_it(fitted):
    alone, _ = train.fit(
        corpora(), dataclasses.replace(RECIPE, targets=("valence",), seeds=1), Machine.here()
    )
    one = jax.tree.leaves(alone.targets["valence"].params)
    other = jax.tree.leaves(fitted[0].targets["valence"].params)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=2e-3)


def test_who_trains_is_never_held_out_under_another_name():
    corpus = noise_corpus("de", database="emodb")
    for other in (
        dataclasses.replace(corpus, name="again"),
        dataclasses.replace(noise_corpus("more", seed=3, database="emodb")),
    ):
        with pytest.raises(
            TrainingError, match=rf"corpora de and {other.name} hold the same speakers \(s0F\)"
        ):
            train.divide([corpus, other], RECIPE)
    train.divide([corpus, noise_corpus("more", seed=3, database="ravdess")], RECIPE)


def test_corpora_that_cannot_be_divided_or_lack_a_class_are_refused():
    with pytest.raises(
        TrainingError, match="corpus one has one speaker, or people who all met, expected two"
    ):
        train.divide([noise_corpus("one", sessions=1)], RECIPE)
    positive = dataclasses.replace(noise_corpus("glad"), valence=np.ones(60))
    with pytest.raises(
        TrainingError, match="none of the 48 training utterances of glad has valence negative"
    ):
        train.divide([positive], RECIPE)
    train.divide([positive], dataclasses.replace(RECIPE, targets=("arousal",)))
    quiet = noise_corpus("quiet")
    calm = np.where(train.groups(quiet, 5) == 0, 0.0, quiet.arousal)
    with pytest.raises(TrainingError, match="none of the 12 held-out utterances of quiet has arousal high"):
        train.divide([dataclasses.replace(quiet, arousal=calm)], RECIPE)


def test_features_of_another_front_end_are_refused():
    waves = dataclasses.replace(noise_corpus("waves"), frontend=describe(Waveform()))
    with pytest.raises(TrainingError, match=r"waves has features of .*waveform.*, expected those of logmel"):
        train.divide([waves], RECIPE)


def test_utterances_without_a_label_are_left_out_of_that_target_alone():
    corpus = noise_corpus("de")
    unknown = np.arange(60) % 4 == 0
    some = dataclasses.replace(corpus, arousal=np.where(unknown, np.nan, corpus.arousal))
    counts, computed = [], engine.compute

    def compute(machine, config, training, data, specs, **options):
        counts.extend(len(spec.train) for spec in specs)
        return computed(machine, config, training, data, specs, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "compute", compute)
        _, metrics = train.fit([some], dataclasses.replace(RECIPE, seeds=1, epochs=1), Machine.here())
    assert counts == [36, 48]
    assert [metrics[target]["utterances"] for target in ("arousal", "valence")] == [9, 12]


def test_features_that_are_not_finite_are_refused():
    for value in (np.nan, np.inf):
        corpus = noise_corpus("loud")
        corpus.features[-1, 0] = value
        with pytest.raises(UserError, match=r"features of .* frames are not all finite numbers"):
            train.fit([corpus], RECIPE, Machine.here())


def test_a_run_that_was_stopped_ends_it(monkeypatch):
    computed = engine.compute

    def compute(*arguments, **options):
        for done in computed(*arguments, **options):
            yield {**done, 1: done[1]._replace(stopped=np.array([2, 7]))}

    monkeypatch.setattr(engine, "compute", compute)
    with pytest.raises(
        TrainingError, match="arousal, seed 1: the numbers of epoch 2, step 7 were not finite"
    ):
        train.fit(corpora(), RECIPE, Machine.here())


def header(markdown):
    """The card's header, a JSON value a line."""
    lines = markdown.split("\n---\n")[0].splitlines()
    assert lines[0] == "---"
    return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines[1:])}


def test_the_card_says_what_was_trained_and_measured(fitted):
    trained, metrics = fitted
    written = card(trained, metrics)
    head = header(written)
    assert head["pipeline_tag"] == "audio-classification"
    assert head["language"] == ["xx"]
    assert "synthetic" not in head["tags"]
    results = head["model-index"][0]["results"]
    assert [one["metrics"][0]["value"] for one in results] == [
        metrics[t]["uar"] for t in ("arousal", "valence")
    ]
    assert "| de | xx | 48 utterances, 8 speakers | 12 utterances, 2 speakers |" in written
    assert re.search(rf"\| arousal \| {100 * metrics['arousal']['uar']:.1f} \(", written)
    assert f"{100 * metrics['valence']['louder']['+10 dB']['uar']:.1f} (" in written
    assert "demonstration" not in written
    facts = {**trained.facts, "synthetic": True, "name": 'a name: #1 "quoted"'}
    loud = card(dataclasses.replace(trained, facts=facts), metrics)
    assert "**This is a demonstration.**" in loud
    assert header(loud)["model-index"][0]["name"] == facts["name"]
    facts = {**trained.facts, "corpora": [{**trained.facts["corpora"][0], "languages": ["fr", "unknown"]}]}
    assert header(card(dataclasses.replace(trained, facts=facts), metrics))["language"] == ["fr"]


@pytest.fixture
def loads(monkeypatch):
    known = {corpus.name: corpus for corpus in corpora()}
    monkeypatch.setattr(train.data, "load", lambda name, data_dir: known[name])


def typed(out, *more):
    return main(["train", "--corpora", "de", "en", "--out", str(out), "--epochs", "3", "--seeds", "2", *more])


def test_the_command_writes_a_folder_that_loads(loads, tmp_path, capsys):
    assert typed(tmp_path / "deep" / "model") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'deep' / 'model'}\n"
    found = sorted(path.name for path in (tmp_path / "deep" / "model").iterdir())
    assert found == ["README.md", "config.json", "metrics.json", "model.safetensors"]
    assert Recognizer.load(tmp_path / "deep" / "model").model.facts["name"] == "model"
    (tmp_path / "again").mkdir()  # an empty one is as good as none
    assert typed(tmp_path / "again", "--name", "model") == 0
    for name in found:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "deep" / "model" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "deep"]


def test_the_order_of_targets_is_not_that_of_the_flags(loads, tmp_path):
    assert typed(tmp_path / "m", "--targets", "valence", "arousal") == 0
    assert Recognizer.load(tmp_path / "m").targets == ("arousal", "valence")


def test_what_ends_before_its_end_leaves_nothing(loads, tmp_path, monkeypatch, capsys):
    def ended(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit", ended)
    assert typed(tmp_path / "new" / "model") == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.splitlines()[-1] == "ser-jax: interrupted"


def test_a_folder_that_holds_something_is_left_alone(loads, tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    assert typed(tmp_path) == 2
    assert "exists and is not empty, expected a new or an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_corpus_named_twice_or_unknown_is_refused(tmp_path, capsys):
    assert main(["train", "--corpora", "a", "a", "--out", str(tmp_path / "m")]) == 2
    assert "corpus a is named twice, expected each once" in capsys.readouterr().err
    flags = ["--out", str(tmp_path / "m"), "--data-dir", str(tmp_path)]
    assert main(["train", "--corpora", "nothing", *flags]) == 2
    assert "nothing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
