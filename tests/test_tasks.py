"""Tasks: labels of a corpus, loss, predictions, scores and chance."""

import dataclasses

import numpy as np
import pytest
from corpora import noise_corpus
from sklearn.metrics import balanced_accuracy_score, f1_score

from ser_jax.objectives import ccc_loss, cross_entropy
from ser_jax.tasks import Binary, Categorical, CorpusIdentity, Regression, TaskError, average, task

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


def test_the_identity_of_a_corpus_is_its_place_in_the_list(corpus):
    names = CorpusIdentity((corpus.name, "other"))
    assert names.labels(corpus).tolist() == [0] * len(corpus)
    assert CorpusIdentity(("another", "other")).labels(corpus).tolist() == [-1] * len(corpus)
    assert (names.name, names.chance) == ("language", 0.5)


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
    assert list(scores) == ["CCC", "CCC arousal", "CCC valence", "CCC dominance"]
    np.testing.assert_allclose(list(scores.values()), [np.mean(each), *each, np.nan])
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
    ):
        with pytest.raises(TaskError, match=sentence):
            make()
