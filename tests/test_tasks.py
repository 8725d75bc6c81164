"""Tasks: labels of a corpus, loss, predictions, scores and chance."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpora import noise_corpus
from sklearn.metrics import balanced_accuracy_score, f1_score, root_mean_squared_error

from ser_jax.objectives import ccc_loss, cross_entropy
from ser_jax.tasks import (
    Binary,
    Categorical,
    Joint,
    Language,
    Regression,
    TaskError,
    average,
    parts,
    task,
)


def pearson(x, y):
    return np.corrcoef(x, y)[0, 1]


NAMES = ("ang", "hap", "exc", "neu", "sad", "fru", "xxx", "")
DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def corpus():
    """IEMOCAP's names of emotions and scales; every third utterance has no rating of valence."""
    plain = noise_corpus(database="iemocap", each=8)
    number = np.arange(len(plain))
    return dataclasses.replace(
        plain,
        emotion=np.array(NAMES)[number % len(NAMES)],
        arousal=1.0 + number % 5,
        valence=np.where(number % 3, 1 + number % 8 / 2, np.nan),
        dominance=np.full(len(plain), np.nan),
        thresholds={"arousal": 2.5, "valence": 2.5},
        scales={"arousal": (1.0, 5.0), "valence": (1.0, 5.0)},
    )


def test_binary_classes_follow_the_papers_rules(corpus):
    arousal = Binary("arousal")
    assert (arousal.name, arousal.outputs, arousal.chance, arousal.metric) == ("arousal", 2, 0.5, "UAR")
    assert arousal.class_names == ("low", "high")
    np.testing.assert_array_equal(arousal.labels(corpus), corpus.arousal > 2.5)
    footnote, table1 = (Binary("valence", rule).labels(corpus) for rule in ("footnote", "table1"))
    unrated = np.isnan(corpus.valence)
    for found, high in ((footnote, corpus.valence >= 2.5), (table1, corpus.valence > 2.5)):
        np.testing.assert_array_equal(found, np.where(unrated, -1, high))
    assert (footnote != table1).any()


def test_four_emotions_merge_excitement_into_happiness(corpus):
    four = task("emotion")
    number = {"ang": 0, "hap": 1, "exc": 1, "neu": 2, "sad": 3}
    assert four.labels(corpus).tolist() == [number.get(name, -1) for name in corpus.emotion.tolist()]
    assert (four.outputs, four.chance) == (4, 0.25)
    unmerged = Categorical("three", ("anger", "happiness", "frustration"))
    assert set(unmerged.labels(corpus)[corpus.emotion == "exc"]) == {-1}
    assert set(unmerged.labels(corpus)[corpus.emotion == "fru"]) == {2}


def test_numbers_are_brought_to_one_scale(corpus):
    dimensions = Regression()
    found = dimensions.labels(corpus)
    assert (dimensions.outputs, dimensions.chance, dimensions.metric) == (3, 0.0, "CCC")
    assert dimensions.class_names == ()
    assert (found.shape, found.dtype) == ((len(corpus), 3), np.float32)
    np.testing.assert_allclose(found[:, 0], corpus.arousal / 2 - 1.5, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(found[:, 1]), np.isnan(corpus.valence))
    assert np.isnan(found[:, 2]).all()
    rated = dataclasses.replace(corpus, scales={})  # arousal follows from the emotion
    assert np.isnan(dimensions.labels(rated)).all()


def test_every_raters_ratings_are_on_the_scale_of_the_consensus(corpus):
    """One rates everything, another arousal of every second utterance, and the third names emotions."""
    n = len(corpus)
    both = {"A": {"arousal": 5.0, "valence": 2.0}, "B": {"arousal": 1.0}, "C": {"emotion": ["Sadness"]}}
    each = [json.dumps({"A": both["A"]}), json.dumps(both)]
    found = Regression().ratings(dataclasses.replace(corpus, raters=np.array(each)[np.arange(n) % 2]))
    assert list(found) == ["A", "B"]
    np.testing.assert_array_equal(found["A"], np.full((n, 3), [1, -0.5, np.nan]))
    odd = np.arange(n)[:, None] % 2 == 1
    np.testing.assert_array_equal(found["B"], np.where(odd, [-1, np.nan, np.nan], np.nan))
    assert Regression().ratings(corpus) == {}


def test_all_categories_are_those_that_every_corpus_has(corpus):
    names = [["anger", "fear", "joy"], ["fear", "anger", "calm"]]
    corpora = [dataclasses.replace(corpus, database="manifest", emotion=np.array(own)) for own in names]
    assert task("categories").occurring(corpora).class_names == ("anger", "fear")
    assert task("categories").occurring(corpora[1:]).class_names == ("anger", "calm", "fear")


PARTS = (Binary("valence"), task("emotion"), Regression(("arousal", "valence")))


def of_parts(corpus):
    """Labels, outputs and weights of each part, and of all at once; some utterances lack some labels."""
    joint = Joint(PARTS, (1.0, 2.0, 0.5))
    outputs = DRAW.normal(size=(len(corpus), joint.outputs)).astype(np.float32)
    weights = DRAW.uniform(0.5, 2, len(corpus)).astype(np.float32)
    own = [(part, outputs[:, columns], part.labels(corpus)) for part, columns in parts(joint)]
    return joint, outputs, joint.labels(corpus), weights, own


def known(labels):
    return labels >= 0 if labels.ndim == 1 else np.isfinite(labels).any(axis=1)


def test_the_loss_of_several_tasks_is_the_mean_of_their_own_losses(corpus):
    joint, outputs, labels, weights, own = of_parts(corpus)
    assert (joint.name, joint.outputs) == ("valence+emotion+dimensions", 2 + 4 + 2)
    each = [
        float(part.loss(of_part, truth, jnp.where(known(truth), weights, 0))) for part, of_part, truth in own
    ]
    found = float(joint.loss(jnp.asarray(outputs), jnp.asarray(labels), jnp.asarray(weights)))
    assert found == pytest.approx(np.average(each, weights=joint.weights), rel=1e-6)
    scores = [next(iter(p.score(t, np.asarray(p.predict(o))).values())) for p, o, t in own]
    assert joint.score(labels, joint.predict(outputs))["mean"] == pytest.approx(np.mean(scores))
    assert joint.chance == pytest.approx((1 / 2 + 1 / 4 + 0) / 3)
    assert Joint(PARTS).loss == Joint(PARTS).loss  # so that equal ones share compiled programs
    assert hash(Joint(PARTS).loss) == hash(Joint(PARTS).loss)


def test_an_utterance_trains_the_tasks_that_it_has_a_label_of(corpus):
    joint, outputs, labels, weights, own = of_parts(corpus)
    gradient = jax.grad(joint.loss)(jnp.asarray(outputs), jnp.asarray(labels), jnp.asarray(weights))
    for (_, columns), (part, _, truth) in zip(parts(joint), own, strict=True):
        some = known(truth)
        assert some.any()
        assert (some.all(), part.name) in ((False, "valence"), (False, "emotion"), (True, "dimensions"))
        moved = np.any(np.asarray(gradient[:, columns]) != 0, axis=1)
        np.testing.assert_array_equal(moved, some)
    unrated = dataclasses.replace(corpus, scales={})
    others = map(jnp.asarray, (outputs, joint.labels(unrated), weights))
    alone = jax.grad(joint.loss)(*others)
    assert not alone[:, 6:].any()
    np.testing.assert_array_equal(alone[:, :6], gradient[:, :6])


def test_languages_are_numbered_as_in_the_list(corpus):
    spoken = dataclasses.replace(corpus, language=np.resize(["de", "pl", "xx"], len(corpus)))
    languages = Language(("pl", "de"))
    assert languages.labels(spoken).tolist() == np.resize([1, 0, -1], len(corpus)).tolist()
    assert (languages.name, languages.outputs, languages.chance) == ("language", 2, 0.5)


def test_classes_are_scored_where_there_is_a_label():
    own = task("emotion")
    labels, predicted = DRAW.integers(-1, own.outputs, 99), DRAW.integers(0, own.outputs, 99)
    known = labels >= 0
    scores = own.score(labels, predicted)
    assert next(iter(scores)) == own.metric == "UAR"
    pair = labels[known], predicted[known]
    assert scores["UAR"] == pytest.approx(balanced_accuracy_score(*pair))
    assert scores["accuracy"] == pytest.approx((pair[0] == pair[1]).mean())
    assert scores["F1"] == pytest.approx(f1_score(*pair, average="macro"))
    assert own.loss is cross_entropy


def test_numbers_are_scored_where_there_is_a_label():
    own = Regression(("arousal", "valence", "dominance"))
    labels, predicted = DRAW.normal(size=(2, 50, 3))
    labels[:, 2], labels[:20, 1] = np.nan, np.nan
    scores = own.score(labels, predicted)

    def ccc(x, y):
        return 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)

    each = [ccc(labels[:, 0], predicted[:, 0]), ccc(labels[20:, 1], predicted[20:, 1])]
    pairs = [(labels[:, 0], predicted[:, 0]), (labels[20:, 1], predicted[20:, 1])]
    r, error = (np.mean([f(*pair) for pair in pairs]) for f in (pearson, root_mean_squared_error))
    assert list(scores) == ["CCC", "Pearson", "RMSE", "CCC arousal", "CCC valence", "CCC dominance"]
    np.testing.assert_allclose(list(scores.values()), [np.mean(each), r, error, *each, np.nan])
    assert own.predict(predicted) is predicted
    assert own.loss is ccc_loss


def test_several_models_predict_by_their_mean_probabilities_or_numbers():
    logits = DRAW.normal(size=(3, 2, 7, 4))
    four = task("emotion")
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    mean = average(four, logits)
    np.testing.assert_allclose(np.exp(mean), softmax.mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(four.predict(mean), softmax.mean(axis=0).argmax(axis=-1))
    np.testing.assert_allclose(average(Regression(), logits), logits.mean(axis=0))


def test_a_task_that_does_not_exist_is_named():
    with pytest.raises(TaskError, match=r"no task 'arosual', expected one of arousal, .*arousal"):
        task("arosual")
    for make, sentence in (
        (lambda: Binary("dominance"), "dimension 'dominance', expected one of arousal, valence"),
        (lambda: Categorical("one", ("anger",)), "classes anger of one, expected two or more different ones"),
        (lambda: Categorical("two", ("anger", "fear"), (("calm", "neutral"),)), "two without neutral"),
        (lambda: Regression(("energy",)), "dimensions energy, expected some of arousal, valence, dominance"),
        (lambda: Joint(PARTS[:1] * 2), "tasks valence\\+valence at once, expected different ones"),
        (
            lambda: Joint(PARTS[:2], (1.0, 0.0)),
            "weights 1 0 of tasks valence\\+emotion, expected one above 0",
        ),
        (lambda: Joint(PARTS[:2], (1.0,)), "weights 1 of tasks valence\\+emotion, expected one above 0 for"),
    ):
        with pytest.raises(TaskError, match=sentence):
            make()
