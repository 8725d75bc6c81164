"""What settings beyond the paper's four plan, and what is combined from others' predictions."""

import dataclasses

import numpy as np
import pytest
from corpora import noise_corpus

from experiments import harness, keeping, predictions, related
from experiments.crosslingual import CROSSLINGUAL
from experiments.english_1308 import CUT
from experiments.finetuning import FINETUNED
from experiments.learning_curve import LEARNING_CURVE, SAMPLES
from experiments.monolingual import MONOLINGUAL
from experiments.multilingual import MULTILINGUAL
from experiments.options import Options
from experiments.plans import ExperimentError, planned
from experiments.pool import LANGUAGE, Pool
from experiments.predictions import Cell, Predictions
from experiments.related import LANGUAGES, identified, voted
from experiments.tuning import TUNING

NAMES = ("one", "two", "three")


def the_pool(count=2):
    corpora = [noise_corpus(name, sessions=5 + i, seed=i) for i, name in enumerate(NAMES[:count])]
    return Pool(corpora, 5, "footnote", lambda *features: features)


def chosen(count=2, **changes):
    return Options(corpora=NAMES[:count], seeds=2, **changes)


def test_larger_draws_to_refine_on_hold_the_smaller_ones():
    works = planned(LEARNING_CURVE, the_pool(), chosen())
    draws = {
        (work.setting.name, work.train, plan.target, plan.fold, plan.seed): set(plan.train)
        for work in works
        for plan in work.plans
    }
    for (name, *run), own in draws.items():
        if name == "finetuned_25":
            assert len(own) == 25
            assert draws["finetuned_10", *run] < own
    known = {work.setting.name: work.missing for work in works if work.train == "two"}
    assert not known["finetuned_25"]
    reason = "fold 1: 42 training utterances of one, fewer than the 100 to refine on (--finetune-samples)"
    assert set(known["finetuned_100"].values()) == {reason}


def test_what_cannot_be_computed_is_said_once_for_a_reason(capsys):
    works = planned([LEARNING_CURVE[0], FINETUNED], the_pool(), chosen())
    harness._say_missing({cell: reason for work in works for cell, reason in work.missing.items()})
    assert capsys.readouterr().err.splitlines() == [
        f"Not computed: finetuned, {name} arousal; finetuned, {name} valence: fold 1: 42 training utterances "
        f"of {name}, fewer than the 100 to refine on (--finetune-samples)."
        for name in ("two", "one")
    ]


def test_all_sizes_of_a_source_share_stacks():
    options = chosen()
    kinds = harness._by_kind(options, [w for w in planned(LEARNING_CURVE, the_pool(), options) if w.plans])
    assert [{work.setting.name for work in kind} for kind in kinds[:2]] == [{"crosslingual"}] * 2
    feasible = {f"finetuned_{n}" for n in SAMPLES if n <= 25}
    assert [{work.setting.name for work in kind} for kind in kinds[2:]] == [feasible] * 2


def test_a_corpus_is_cut_to_the_size_of_the_smallest():
    small, large = noise_corpus("one", seed=1), noise_corpus("two", sessions=9, seed=2)
    pool = Pool([large, small], 5, "footnote", None)
    options = Options(corpora=("two", "one"), seeds=2)
    [work] = planned([CUT], pool, options)
    left = {tuple(sorted({*plan.train, *plan.dev, *plan.test})) for plan in work.plans}
    assert len(left) == 1  # the same utterances in every fold, seed and target
    assert len(left.pop()) == len(small) < len(large)
    assert [str(cell) for cell in work.cells] == [
        "monolingual_cut-two-two-arousal",
        "monolingual_cut-two-two-valence",
    ]
    [other] = planned([CUT], Pool([small, large], 5, "footnote", None), Options(corpora=("one", "two")))
    assert set(other.missing.values()) == {
        f"its {len(small)} utterances are no more than the {len(small)} of one"
    }


def test_tuning_never_asks_test_speakers():
    pool, options = the_pool(), chosen()
    for work in planned(TUNING, pool, options):
        config = work.setting.model(options)
        assert work.setting.name == f"tuning_k{config.kernel}_p{config.pool}"
        assert config.segments == {15: 16, 30: 8, 60: 4}[config.pool]
        for plan in work.plans:
            fold = pool.folds(work.train)[plan.fold]
            np.testing.assert_array_equal(plan.test, fold.dev)
            np.testing.assert_array_equal(plan.train, fold.train)


def test_three_corpora_fill_a_matrix():
    works = planned(
        [MONOLINGUAL, MULTILINGUAL, CROSSLINGUAL, FINETUNED], the_pool(3), chosen(3, finetune_samples=10)
    )
    crossed = [
        str(cell) for work in works for cell in work.cells if cell[0::3] == ("crosslingual", "arousal")
    ]
    assert crossed == [
        f"crosslingual-{train}-{test}-arousal" for train in NAMES for test in NAMES if train != test
    ]
    assert len({work.name for work in works}) == len(works) == 3 + 1 + 3 + 6
    merged = [str(cell) for work in works for cell in work.cells if cell[0::3] == ("multilingual", "arousal")]
    assert merged == [f"multilingual-one+two+three-{test}-arousal" for test in NAMES]
    assert len([work for work in works if work.setting is FINETUNED and not work.missing]) == 6


def test_two_corpora_are_told_apart_and_not_three():
    pool = the_pool()
    [work] = planned([LANGUAGES], pool, chosen())
    assert [str(cell) for cell in work.cells] == ["language-one+two-one+two-language"]
    assert {plan.target for plan in work.plans} == {LANGUAGE}
    assert pool.labels(LANGUAGE).tolist() == [0] * len(pool.rows("one")) + [1] * len(pool.rows("two"))
    with pytest.raises(ExperimentError, match="3 corpora, expected two to tell apart"):
        LANGUAGES.plans(the_pool(3), chosen(3), MULTILINGUAL.jobs(NAMES)[0], LANGUAGE)


def said(probability, names="abc"):
    probability = np.atleast_2d(np.array(probability, np.float32))
    count = probability.shape[1]
    names = np.array(list(names))
    return Predictions(
        names, names, np.zeros(count, int), np.arange(count) % 2, np.arange(len(probability)), probability
    )


def test_models_vote_by_their_mean():
    found = voted(1, [said([0.2, 0.4, 0.9]), said([0.4, 0.8, 0.1])])
    np.testing.assert_allclose(found.probability, [[0.3, 0.6, 0.5]])


def test_an_utterance_is_answered_by_the_model_of_the_language_it_is_taken_for():
    """Runs are paired; what tells the languages apart knows both corpora's utterances, some called alike."""
    home, away = said([[0.1, 0.2, 0.3]] * 2), said([[0.7, 0.8, 0.9]] * 2)
    language = said([[0.0, 0.9, 0.6, 0.0, 0.0], [0.9, 0.0, 0.0, 0.0, 0.0]], "abcab")
    language = dataclasses.replace(language, label=np.array([0, 0, 0, 1, 1]))
    found = identified(0, [home, away, language])
    np.testing.assert_allclose(found.probability, [[0.1, 0.8, 0.9], [0.7, 0.2, 0.3]])
    assert found.utterance.tolist() == list("abc")


def test_what_cannot_be_combined_says_what_it_lacks(tmp_path):
    options = dataclasses.replace(chosen(), out=tmp_path, targets=("arousal",))
    for setting, train, test in (
        ("monolingual", "one", "one"),
        ("crosslingual", "two", "one"),
        ("monolingual", "two", "two"),
    ):
        predictions.write(tmp_path, Cell(setting, train, test, "arousal"), said([0.2, 0.4, 0.9]))
    keeping.note_missing(tmp_path, {Cell("crosslingual", "one", "two", "arousal"): "too few"})
    related.combine(harness.Experiment(None, None, options, ""))
    assert predictions.file(tmp_path, Cell("voted", "one+two", "one", "arousal")).exists()
    missing = {str(cell): reason for cell, reason in keeping.read_missing(tmp_path).items()}
    assert missing == {
        "crosslingual-one-two-arousal": "too few",
        "voted-one+two-two-arousal": "there is no crosslingual-one-two-arousal: too few",
        "identified-one+two-one-arousal": "there is no language-one+two-one+two-language: it was lost",
        "identified-one+two-two-arousal": "there is no crosslingual-one-two-arousal: too few",
    }


def test_speakers_of_two_corpora_that_are_called_alike_are_two():
    pool = the_pool()
    [work] = planned([LANGUAGES], pool, chosen())
    probability = [np.full(len(plan.test), 0.5) for plan in work.plans]
    found = keeping.gathered(pool, work.cells[0], work.plans, probability)
    alone = {name: len(set(pool.corpora[name].speaker)) for name in NAMES[:2]}
    assert len(set(found.speaker)) == sum(alone.values())


def test_a_draw_of_one_class_is_refined_on():
    pool = the_pool()
    pool.corpora["one"].arousal[:] = np.where(np.arange(60) % 12 == 0, 1, 0)
    works = {
        work.setting.name: work for work in planned(LEARNING_CURVE, pool, chosen()) if work.train == "two"
    }
    assert not works["finetuned_10"].missing
    drawn = [set(pool.labels("arousal")[plan.train]) for plan in works["finetuned_10"].plans]
    assert {0} in drawn
