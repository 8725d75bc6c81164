"""Training a recogniser: held-out speakers calibrate and evaluate it, and never train it."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
from corpora import noise_corpus
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from ser_jax import engine
from ser_jax.cli import main
from ser_jax.devices import Machine
from ser_jax.errors import UserError
from ser_jax.features import LogMel
from ser_jax.features.egemaps import EGeMAPS
from ser_jax.metrics import uar
from ser_jax.model import Probe
from ser_jax.recognizer import Recognizer, train, trained
from ser_jax.recognizer.train import CUTS, TrainingError, Variants, card
from ser_jax.recognizer.trained import Temperature
from ser_jax.statistics import interval
from ser_jax.tasks import TASKS, Categorical, Regression
from ser_jax.train import TrainConfig

BOTH = (TASKS["arousal"], TASKS["valence"])
pytestmark = pytest.mark.usefixtures("hastily")


def corpora(**more):
    return [noise_corpus("de", **more), noise_corpus("en", seed=1, **more)]


def fit(some, tasks=BOTH, seeds=2):
    options = {"name": "noise", "seeds": seeds, "training": TrainConfig(epochs=20), "network": Probe()}
    return train.fit(some, tasks, LogMel(), Machine.here(), **options)


@pytest.fixture(scope="module")
def fitted():
    return fit(corpora())


def test_metrics_are_those_of_the_stored_model_on_a_fifth_of_every_corpus(fitted):
    model, metrics = fitted
    every, held_out = train.divide(corpora(), BOTH)
    for number in range(2):
        own = every.corpus == number
        seen, kept = set(every.speaker_id[own & ~held_out]), set(every.speaker_id[own & held_out])
        assert not seen & kept
        assert (len(seen), len(kept)) == (8, 2)
    rows = np.flatnonzero(held_out)
    for name, own in model.tasks.items():
        frames = every.frames[rows].astype(np.int32)
        values = trained.predict(own, model.scaler, every.features[rows], frames)[0]
        decided, labels = np.asarray(values).mean(axis=0).argmax(axis=-1), every.labels(own.task)[rows]
        assert metrics[name]["UAR"] == pytest.approx(uar(labels, decided))
        assert metrics[name]["utterances"] == len(rows) == np.sum(metrics[name]["confusion"])
        assert metrics[name]["temperature"] == own.temperature._asdict()
        assert len(metrics[name]["seeds"]) == 2
        assert set(metrics[name]["corpora"]) == {"de", "en"}
    assert metrics["arousal"]["UAR"] > 0.9
    sounds = [every.features[np.array([i])][0, : every.frames[i]] for i in np.flatnonzero(~held_out)]
    mean = np.concatenate(sounds).mean(axis=0, dtype=float)
    np.testing.assert_allclose(model.scaler.mean, mean, rtol=1e-5)


def test_held_out_speakers_change_no_weight(fitted):
    changed = []
    for corpus in corpora():
        held_out = train.groups(corpus, 5) == 0
        features = np.where(held_out[:, None, None], 0.5, 1).astype(np.float32) * corpus.features
        arousal = np.where(held_out, 1 - corpus.arousal, corpus.arousal)
        changed.append(dataclasses.replace(corpus, features=features, arousal=arousal))
    model, metrics = fit(changed)
    for one, other in zip(jax.tree.leaves(model), jax.tree.leaves(fitted[0]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert metrics != fitted[1]


def test_classes_of_emotion_and_numbers_are_learnt_from_what_is_labelled():
    [corpus] = corpora()[:1]
    names = np.array(["anger", "sadness", "fear", "boredom"])
    emotions = names[(2 * corpus.arousal + corpus.valence).astype(int)]
    unknown = np.arange(60) % 5 == 0
    scales = {"arousal": (0.0, 1.0), "valence": (0.0, 1.0)}
    arousal = np.where(unknown, np.nan, corpus.arousal)
    some = dataclasses.replace(corpus, emotion=emotions, scales=scales, arousal=arousal)
    three = Categorical("three", ("anger", "sadness", "fear"))
    tasks = (three, Regression(("arousal", "valence"), "ratings"), TASKS["arousal"])
    counts, compute = [], engine.compute

    def counting(machine, config, training, data, specs, **options):
        counts.extend(len(spec.train) for spec in specs)
        return compute(machine, config, training, data, specs, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "compute", counting)
        model, metrics = fit([some], tasks, seeds=1)
    assert counts == [36, 48, int((~unknown)[train.groups(some, 5) != 0].sum())]
    assert [metrics[task.name]["utterances"] for task in tasks] == [9, 12, 60 - 12 - counts[2]]
    assert "log_loss" not in metrics["ratings"]
    assert {"CCC", "CCC arousal", "CCC valence", "interval"} <= metrics["ratings"].keys()
    assert [own.temperature is None for own in model.tasks.values()] == [False, True, False]
    prediction = Recognizer(model)(np.random.default_rng(0).normal(size=16_000) / 10, 16_000)
    assert list(prediction.tasks["three"].values) == ["anger", "sadness", "fear"]
    assert prediction.tasks["ratings"].label is None
    assert "| ratings | all " in card(model, metrics)


def test_corpora_that_cannot_be_used_are_refused(monkeypatch):
    corpus = noise_corpus("de", database="emodb")
    again = dataclasses.replace(corpus, name="again")
    for other in (again, noise_corpus("more", seed=3, database="emodb")):
        with pytest.raises(TrainingError, match=rf"de and {other.name} hold the same speakers \(s0F\)"):
            train.divide([corpus, other], BOTH)
    train.divide([corpus, noise_corpus("more", seed=3, database="ravdess")], BOTH)
    with pytest.raises(UserError, match="corpus one has 1 separate sessions"):
        train.divide([noise_corpus("one", sessions=1)], BOTH)
    positive = dataclasses.replace(corpus, valence=np.ones(60))
    with pytest.raises(TrainingError, match="none of the 48 training utterances of de has valence negative"):
        train.divide([positive], BOTH)
    train.divide([positive], BOTH[:1])
    calm = np.where(train.groups(corpus, 5) == 0, 0.0, corpus.arousal)
    with pytest.raises(TrainingError, match="none of the 12 held-out utterances of de has arousal high"):
        train.divide([dataclasses.replace(corpus, arousal=calm)], BOTH)
    with pytest.raises(TrainingError, match="none of the 0 training utterances of de has dimensions numbers"):
        train.divide([dataclasses.replace(corpus, scales={})], [TASKS["dimensions"]])
    loud = noise_corpus("loud")
    loud.features[-1, 0] = np.inf
    with pytest.raises(UserError, match=r"features of .* frames contain non-finite numbers"):
        fit([loud])

    def diverged(*_, **__):
        yield {0: engine.RunResult(None, None, None, None, np.array([2, 7]))}

    monkeypatch.setattr(engine, "compute", diverged)
    with pytest.raises(TrainingError, match="arousal, seed 0: numbers of epoch 2, step 7 were not finite"):
        fit([corpus])


@pytest.fixture
def typed(monkeypatch, tmp_path):
    known = {corpus.name: corpus for corpus in corpora()}
    monkeypatch.setattr(train.data, "load", lambda name, *_: known[name])
    monkeypatch.setattr(train, "fit", functools.partial(train.fit, network=Probe()))

    def run(out, *more):
        words = ["train", "--corpora", "de", "en", "--epochs", "1", "--seeds", "2", "--out"]
        return main([*words, str(tmp_path / out), *more])

    return run


def test_the_command_writes_a_folder_that_loads_with_the_same_bytes(typed, tmp_path):
    (tmp_path / "again").mkdir()
    assert typed("deep/model") == typed("again", "--name", "model") == 0
    found = sorted(path.name for path in (tmp_path / "deep" / "model").iterdir())
    assert found == ["README.md", "config.json", "metrics.json", "model.safetensors"]
    assert Recognizer.load(tmp_path / "deep" / "model").model.facts["name"] == "model"
    for name in found:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "deep" / "model" / name).read_bytes()


def test_fields_of_the_network_are_flags(typed, tmp_path):
    assert typed("model", "--tasks", "arousal", "--model=probe", "--model.dropout", "0.25") == 0
    found = Recognizer.load(tmp_path / "model").model.tasks["arousal"].network
    assert found == Probe(bands=26, frames=LogMel().frames, outputs=2, dropout=0.25)


def test_other_corpora_and_the_licence_are_in_the_folder(typed, tmp_path, monkeypatch):
    loaded = train.data.load
    monkeypatch.setattr(
        train.data, "load", lambda name, *_: noise_corpus("fr", seed=5) if name == "fr" else loaded(name)
    )
    assert typed("model", "--unseen", "fr", "--license", "CC-BY-4.0", "--train.weight-decay=0.1") == 0
    recognizer = Recognizer.load(tmp_path / "model")
    assert recognizer.about["license"] == "CC-BY-4.0"
    assert set(recognizer.about["unseen"]) == {"arousal", "valence"}
    written = (tmp_path / "model" / "README.md").read_text()
    assert '\nlicense: "cc-by-4.0"\n' in written
    assert "Licence of the weights: CC-BY-4.0." in written
    assert typed("other", "--unseen", "de") == 2  # trained on


def test_scores_on_unseen_corpora_are_those_of_its_predictions(fitted):
    model, _ = fitted
    others = [noise_corpus("fr", seed=5), noise_corpus("pl", seed=6)]
    found = train.evaluate_unseen(model, others)["arousal"]
    own, each = model.tasks["arousal"], {}
    for corpus in others:
        values = trained.predict(own, model.scaler, corpus.features, corpus.frames.astype(np.int32))[0]
        decided, labels = np.asarray(values).mean(axis=0).argmax(axis=-1), own.task.labels(corpus)
        each[corpus.name] = uar(labels, decided)
        kept, scores = found["corpora"][corpus.name], {}
        assert kept["UAR"] == pytest.approx(each[corpus.name])
        assert kept["interval"] == pytest.approx(interval("UAR", labels, decided[None], corpus.session))
        for sex in ("female", "male"):
            rows = corpus.sex == sex
            if rows.any():
                scores[sex] = uar(labels[rows], decided[rows])
        assert {sex: kept[sex] for sex in scores} == pytest.approx(scores)
    assert found["UAR"] == pytest.approx(np.mean(list(each.values())))
    low, high = found["interval"]
    assert low < found["UAR"] < high
    assert high - low < max(np.ptp(one["interval"]) for one in found["corpora"].values())


def test_an_interruption_leaves_nothing(typed, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit", interrupted)
    assert typed("new/model") == 130
    assert list(tmp_path.iterdir()) == []


def test_the_card_states_what_was_trained_and_measured(fitted):
    model, metrics = fitted
    written = card(model, metrics)
    lines = written.split("\n---\n")[0].splitlines()[1:]
    header = {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines)}
    assert header["pipeline_tag"] == "audio-classification"
    assert (header["language"], header["tags"][1:]) == (["xx"], ["arousal", "valence"])
    assert f"| UAR {metrics['arousal']['UAR']:.3f} [" in written
    assert "synthetic speech" not in written
    assert "follow from" not in written
    acted = [{**corpus, "by_emotion": corpus["name"] == "en"} for corpus in model.facts["corpora"]]
    named = card(dataclasses.replace(model, facts={**model.facts, "corpora": acted}), metrics)
    assert "\n\nArousal and valence follow from the emotions: en.\n\n" in named
    loud = card(dataclasses.replace(model, facts={**model.facts, "synthetic": True}), metrics)
    assert "**It was trained on synthetic speech" in loud
    single = {name: found | {"interval": [None, None]} for name, found in metrics.items()}
    assert f"| UAR {metrics['arousal']['UAR']:.3f} |" in card(model, single)
    acoustic = card(dataclasses.replace(model, frontend=EGeMAPS()), metrics)
    assert "features (egemaps, computed by openSMILE, whose licence forbids commercial use) are" in acoustic


def drawn(count, temperature, classes=2, seeds=1, seed=0):
    """Return logits that are right once divided by the temperature, and labels drawn accordingly."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 3, (count, classes))
    p = softmax(logits / np.reshape(temperature, (-1, 1)), axis=-1)
    labels = (draw.uniform(size=(count, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return np.repeat(logits[None], seeds, axis=0), np.minimum(labels, classes - 1)


def variants(labels, frames=100, speaker="a", cut=np.inf):
    count = len(labels)
    each = [np.broadcast_to(np.asarray(one), count) for one in (frames, cut, labels, speaker)]
    return Variants(np.arange(count), *each)


@pytest.mark.parametrize(("temperature", "classes", "seeds"), [(0.7, 4, 2), (2.5, 2, 1)])
def test_calibration_finds_the_temperature_that_made_the_labels(temperature, classes, seeds):
    logits, labels = drawn(10_000, temperature, classes, seeds)
    found = train.calibrate(logits, variants(labels), 100)
    assert found == (pytest.approx(temperature, rel=0.08), 0)


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_calibration_finds_how_the_temperature_rises_as_the_window_empties(decay):
    frames = np.random.default_rng(2).choice([7, 13, 27, 53, 100], 20_000)
    logits, labels = drawn(20_000, 1.5 * (frames / 100) ** -decay)
    found = train.calibrate(logits, variants(labels, frames), 100)
    assert found == (pytest.approx(1.5, rel=0.08), pytest.approx(decay, abs=0.08))


def test_separable_classes_are_not_called_certain():
    logits = np.array([[[3.0, 0], [2, 0], [1, 0], [0, 1], [0, 2], [0, 3]]])
    found = train.calibrate(logits, variants([0, 0, 0, 1, 1, 1]), 100)
    assert 0.6 < train.probabilities(logits, found, np.ones(6))[5, 1] < 0.99


def test_no_speaker_is_calibrated_by_their_own_labels():
    logits, labels = drawn(60, 2.0, seeds=3)
    speaker, frames = np.repeat(list("abc"), 20), np.random.default_rng(0).integers(5, 101, 60)
    found = train.cross_calibrate(logits, variants(labels, frames, speaker), 100)
    turned = np.where(speaker == "a", 1 - labels, labels)
    other = train.cross_calibrate(logits, variants(turned, frames, speaker), 100)
    np.testing.assert_array_equal(found[:20], other[:20])
    assert not np.array_equal(found[20:], other[20:])
    alone = train.cross_calibrate(logits, variants(labels, frames), 100)  # nobody else: not calibrated
    np.testing.assert_allclose(alone, train.probabilities(logits, Temperature(1.0), frames / 100))


@given(n=st.integers(2, 200), classes=st.integers(2, 4), seed=st.integers(0, 99))
def test_measures_agree_with_their_definitions(n, classes, seed):
    draw = np.random.default_rng(seed)
    p, labels = draw.dirichlet(np.ones(classes), n), draw.integers(0, classes, n)
    expected = log_loss(labels, p, labels=range(classes))
    assert train.log_loss(p, np.eye(classes)[labels]) == pytest.approx(expected, rel=1e-4)
    confidence, right, gap = p.max(axis=1), p.argmax(axis=1) == labels, 0.0
    for low in np.arange(10) / 10:
        inside = (confidence >= low) & (confidence < low + 0.1)
        if inside.any():
            gap += inside.sum() / n * abs(right[inside].mean() - confidence[inside].mean())
    assert train.calibration_error(p, labels) == pytest.approx(gap, abs=1e-9)
    certain = train.log_loss(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert certain == pytest.approx(-np.log(1e-7))  # much, but not infinitely much


@pytest.mark.parametrize("rate", [100.0, 12.5, 1 / 7.5])  # frames per second
def test_longer_utterances_are_also_cut_short(rate):
    every, _ = train.divide(corpora(frames=300), BOTH)
    found = train.cut_short(BOTH[0], every, np.arange(40), rate)
    for seconds in CUTS:
        own, count = found.cut == seconds, round(rate * seconds)
        longer = every.frames[:40] > count if count else []  # no frame can be cut
        np.testing.assert_array_equal(found.row[own], np.flatnonzero(longer))
        assert (found.frames[own] == count).all()
    whole = np.isinf(found.cut)
    np.testing.assert_array_equal(found.frames[whole], every.frames[:40])
    assert (found.labels == every.labels(BOTH[0])[found.row]).all()
