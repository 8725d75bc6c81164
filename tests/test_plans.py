"""What the paper's four settings plan: who trains, who is tested, and what cannot be computed."""

import numpy as np
import pytest
from corpora import noise_corpus
from synthetic_pair import SETTINGS

from experiments.finetuning import FINETUNED
from experiments.monolingual import MONOLINGUAL
from experiments.multilingual import MULTILINGUAL
from experiments.options import Options
from experiments.plans import ExperimentError, planned
from experiments.pool import Pool
from experiments.predictions import Cell


def the_pool():
    corpora = [noise_corpus("one", seed=1), noise_corpus("two", sessions=6, seed=2)]
    return Pool(corpora, 5, "footnote", lambda *features: features)


CHOICE = Options(corpora=("one", "two"), seeds=2, finetune_samples=20)


def jobs_and_plans(setting):
    pool = the_pool()
    for job in setting.jobs(CHOICE.corpora):
        yield pool, job, setting.plans(pool, CHOICE, job, "arousal")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_run_is_tested_on_a_speaker_it_trained_on(setting):
    for pool, _, plans in jobs_and_plans(setting):
        for plan in plans:
            member = pool.membership
            assert not set(member.speaker[plan.train]) & set(member.speaker[plan.test])
            assert not set(member.speaker[plan.statistics]) & set(member.speaker[plan.test])
            assert not set(member.speaker[plan.train]) & set(member.speaker[plan.dev])
            assert not set(member.speaker[plan.dev]) & set(member.speaker[plan.test])


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_utterance_of_a_test_corpus_is_tested_once_per_seed(setting):
    for pool, job, plans in jobs_and_plans(setting):
        wanted = np.concatenate([pool.rows(name) for name in job.test])
        for seed in range(CHOICE.seeds):
            tested = np.concatenate([plan.test for plan in plans if plan.seed == seed])
            assert sorted(tested) == sorted(wanted)


def test_settings_train_on_what_the_paper_says():
    trained = {
        setting.name: [
            (job.train, job.test, {tuple(sorted({pool.id[row][:3] for row in plan.train})) for plan in plans})
            for pool, job, plans in jobs_and_plans(setting)
        ]
        for setting in SETTINGS
    }
    one, two = ("one",), ("two",)
    assert trained["monolingual"] == [(one, one, {one}), (two, two, {two})]
    assert trained["multilingual"] == [(one + two, one + two, {one + two})]
    assert trained["crosslingual"] == [(one, two, {one}), (two, one, {two})]
    assert trained["finetuned"] == [(one, two, {two}), (two, one, {one})]


def test_fine_tuning_draws_the_same_utterances_for_every_seed_of_a_split():
    for _, _, plans in jobs_and_plans(FINETUNED):
        for fold in range(5):
            draws = {tuple(plan.train) for plan in plans if plan.fold == fold}
            assert len(draws) == 1
            assert len(draws.pop()) == 20


def test_too_few_utterances_to_fine_tune_on_are_named():
    pool = the_pool()
    job = FINETUNED.jobs(CHOICE.corpora)[1]
    greedy = Options(**{**vars(CHOICE), "finetune_samples": 43})
    with pytest.raises(
        ExperimentError, match="fold 1: 42 training utterances of one, fewer than the 43 to refine on"
    ):
        FINETUNED.plans(pool, greedy, job, "arousal")


def test_what_lacks_a_class_is_not_computed_and_the_rest_is():
    pool = the_pool()
    lonely = pool.corpora["one"]
    lonely.arousal[lonely.session != "s0"] = 0
    alone, other = planned([MONOLINGUAL], pool, CHOICE)
    without = "fold 1: none of the 42 training utterances has arousal high, expected both classes"
    assert alone.missing == {
        Cell("monolingual", "one", "one", "arousal"): without,
    }
    assert [str(cell) for cell in alone.cells] == ["monolingual-one-one-valence"]
    assert {plan.target for plan in alone.plans} == {"valence"}
    assert not other.missing
    [merged] = planned([MULTILINGUAL], pool, CHOICE)
    lacking = "fold 2: none of the 12 one test utterances has arousal high, expected both classes"
    assert merged.missing == {Cell("multilingual", "one+two", "one", "arousal"): lacking}
    assert {plan.target for plan in other.plans} == {"arousal", "valence"}


def test_what_cannot_be_started_is_not_refined():
    pool = the_pool()
    pool.corpora["one"].arousal[:] = 0
    refined = {
        work.job.train: work for work in planned([FINETUNED], pool, CHOICE) if work.setting == FINETUNED
    }
    reason = refined["one",].missing[Cell("finetuned", "one", "two", "arousal")]
    assert reason == "there is no crosslingual model of arousal to start from"
    assert {plan.target for plan in refined["one",].plans} == {"valence"}
