"""Which side of the threshold an annotation falls on, by rule; what an emotion is annotated with."""

import dataclasses

import numpy as np
import pytest
from corpora import noise_corpus

from ser_jax.data.labels import ADJECTIVES, EMOTIONS, LabelError, by_emotion, canonical, classes, counts

VALUES = np.array([1.0, 2.0, 2.5, 3.0, 5.5])


def corpus(database, threshold, values):
    base = noise_corpus(sessions=len(values), speakers_a_session=1, each=1, database=database)
    thresholds = {"arousal": threshold, "valence": threshold}
    return dataclasses.replace(base, thresholds=thresholds, arousal=values, valence=values)


def test_iemocaps_valence_of_two_and_a_half_is_positive_only_by_the_footnote():
    iemocap = corpus("iemocap", 2.5, VALUES)
    assert classes(iemocap, "valence", "footnote").tolist() == [0, 0, 1, 1, 1]
    for dimension, rule in (("arousal", "footnote"), ("arousal", "table1"), ("valence", "table1")):
        assert classes(iemocap, dimension, rule).tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("rule", ["footnote", "table1"])
@pytest.mark.parametrize("target", ["arousal", "valence"])
def test_recolas_zero_is_low_and_negative_by_both_rules(rule, target):
    recola = corpus("recola", 0.0, np.array([-1.0, -1e-12, 0.0, 1e-12, 1.0]))
    assert classes(recola, target, rule).tolist() == [0, 0, 0, 1, 1]


def test_an_unknown_dimension_or_rule_is_named():
    with pytest.raises(LabelError, match="no dimension 'joy', expected one of arousal, valence"):
        classes(corpus("manifest", 0.5, VALUES), "joy")
    with pytest.raises(LabelError, match="no label rule 'table2', expected one of footnote, table1"):
        classes(corpus("manifest", 0.5, VALUES), "arousal", "table2")


def test_what_is_not_annotated_has_no_class():
    values = np.array([1.0, np.nan, 3.0])
    for database in ("iemocap", "manifest"):
        found = classes(corpus(database, 2.5, values), "valence")
        assert (found.dtype, found.tolist()) == (np.int64, [0, -1, 1])
    assert counts(corpus("manifest", 2.5, values))["arousal"] == {"low": 1, "high": 1}
    unknown = dataclasses.replace(corpus("manifest", 2.5, values), thresholds={"arousal": 2.5})
    assert classes(unknown, "valence").tolist() == [-1, -1, -1]


def test_emotions_of_all_databases_have_one_vocabulary():
    written = ["ang", "hap", "exc", "neu", "fru", "xxx", "oth", ""]
    facts = corpus("iemocap", 2.5, np.zeros(len(written)))
    iemocap = dataclasses.replace(facts, emotion=np.array(written))
    spelt = ["anger", "happiness", "excitement", "neutral", "frustration", "", "", ""]
    assert canonical(iemocap).tolist() == spelt
    other = dataclasses.replace(
        facts, database="manifest", emotion=np.array(["Anger", "calm", "oth"] + 5 * [""])
    )
    assert canonical(other).tolist() == ["anger", "calm", "oth", *5 * [""]]
    for adjective, name in ADJECTIVES.items():
        adjectives = dataclasses.replace(other, emotion=np.array([adjective.title(), name] * 4))
        assert set(canonical(adjectives)) == {name} <= set(EMOTIONS)


def test_labels_by_emotion_are_told_from_ratings():
    facts = corpus("manifest", 0.5, np.zeros(3))
    arousal, valence = np.array([1.0, np.nan, 0.0]), np.array([0.0, np.nan, 1.0])
    acted = dataclasses.replace(
        facts, arousal=arousal, valence=valence, emotion=np.array(["Angry", "awe", "calm"])
    )
    assert by_emotion(acted)
    assert not by_emotion(dataclasses.replace(acted, emotion=np.array(["Angry", "awe", ""])))
    assert not by_emotion(dataclasses.replace(acted, valence=1 - valence))
    assert not by_emotion(dataclasses.replace(acted, arousal=np.array([1.0, 0.0, 0.0])))
    assert not by_emotion(dataclasses.replace(acted, arousal=arousal * np.nan, valence=valence * np.nan))


def test_emotions_cluster_as_published():
    high, positive = ({emotion for emotion in EMOTIONS if EMOTIONS[emotion][target]} for target in (0, 1))
    assert high == {"anger", "fear", "happiness", "surprise"}
    assert positive == {"calm", "happiness", "neutral", "surprise"}
