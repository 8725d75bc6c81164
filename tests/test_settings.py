"""What settings plan: who trains, who is tested, from what they start, and what cannot be computed."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from pair import changed, config, noise, planned, pool, with_facts

from ser_jax import train
from ser_jax.experiment import settings
from ser_jax.experiment.config import Config, ProtocolConfig
from ser_jax.experiment.run import by_stack
from ser_jax.experiment.settings import (
    SAMPLES,
    ExperimentError,
    Pool,
    across,
    crosslingual,
    finetuned,
    learning_curve,
    monolingual,
    multilingual,
    setting,
    table2,
    tuning,
    whole_corpora,
    within,
)
from ser_jax.features import Waveform
from ser_jax.features.egemaps import EGeMAPS
from ser_jax.model import Probe
from ser_jax.objectives import DomainAdversarial
from ser_jax.tasks import TASKS, Categorical, Joint, Regression
from ser_jax.train import TrainConfig

AROUSAL = (TASKS["arousal"],)
PAPER = {"monolingual": monolingual, "multilingual": multilingual, "crosslingual": crosslingual,
         "finetuned": finetuned}  # fmt: skip


def three():
    """Corpora of 5, 6 and 7 sessions."""
    return noise("one", "two", "three")


def savee():
    """Corpora of 4 single speakers, of 6 pairs, and of a single session."""
    corpora = noise("one", "two", "four", "alone")
    corpora["four"] = noise("four", speakers_a_session=1, each=12)["four"]
    kept = corpora["four"].session < "s4"
    names = [field.name for field in dataclasses.fields(corpora["four"])]
    rows = {n: v[kept] for n in names if isinstance(v := getattr(corpora["four"], n), np.ndarray)}
    corpora["four"] = dataclasses.replace(corpora["four"], **rows)
    corpora["alone"].session[:] = "s"
    return corpora


@pytest.mark.parametrize("corpora", [three, savee])
@pytest.mark.parametrize("name", PAPER)
def test_runs_test_every_utterance_once_per_seed_and_other_speakers_than_they_learn_from(name, corpora):
    """Development speakers are others, too. Of four speakers there are four folds, in whatever company."""
    everyone = {name: corpus for name, corpus in corpora().items() if name != "alone"}
    together = pool(everyone)
    specs, missing = planned(PAPER[name](config(*everyone)), everyone)
    assert not missing
    for one, own in specs.items():
        for spec in own:
            parts = [set(together.speaker_id[rows]) for rows in (spec.train, spec.dev, spec.test)]
            assert len(set.union(*parts)) == sum(map(len, parts))
        wanted = np.concatenate([together.rows(name) for name in one.test])
        for seed in range(2):
            tested = np.concatenate([spec.test for spec in own if spec.seed == seed])
            np.testing.assert_array_equal(np.sort(tested), wanted)


def test_merged_folds_repeat_the_corpus_of_fewer():
    everyone = savee()
    names = "two", "four"
    [one] = multilingual(config(*names, tasks=AROUSAL, protocol=changed(config(), seeds=1).protocol))
    own = planned([one], {name: everyone[name] for name in names})[0][one]
    assert [spec.fold for spec in own] == [0, 1, 2, 3, 4]
    together = pool({name: everyone[name] for name in names})
    fifth, again = together.folds("two")[4], together.folds("four")[0]
    np.testing.assert_array_equal(own[4].train, np.concatenate([fifth.train, again.train]))
    np.testing.assert_array_equal(own[4].test, fifth.test)


def test_a_single_session_stops_only_what_needs_others():
    everyone, own = savee(), config("two", "alone", tasks=AROUSAL)
    assert not planned(crosslingual(own), everyone)[1]
    specs, missing = planned(table2(changed(own, standardize="corpus")), everyone)
    assert [one.label for one in specs] == ["monolingual two arousal", "crosslingual alone>two arousal",
                                            "finetuned alone>two arousal"]  # fmt: skip
    reasons = {one.label: reason for (one, _), reason in missing.items()}
    assert "has 1 separate sessions" in reasons["monolingual alone arousal"]
    assert "single session, expected two or more for" in reasons["crosslingual two>alone arousal"]
    assert "no crosslingual model" in reasons["finetuned two>alone arousal"]


def test_section_4_of_the_paper():
    """Each sentence of its experimental setup, with the numbers that it gives."""
    everyone, own = noise("one", "two", each=24), Config(corpora=("one", "two"))
    specs, missing = planned(table2(own), everyone)
    assert not missing
    assert {one.task.name for one in specs} == {"arousal", "valence"}
    together, network = pool(everyone), own.network(own.tasks[0])
    assert (network.channels, network.kernel, network.pool, network.dropout) == (200, 10, 30, 0.5)
    assert (network.bands, network.frames, network.segments) == (26, 750, 8)
    for one, each in specs.items():
        assert (one.training.optimizer, one.training.batch) == ("adam", 32)
        assert one.training.epochs == (10 if one.name == "finetuned" else 50)
        assert one.standardize == "train"  # nothing of the target language that the paper does not use
        folds = {spec.fold: spec for spec in each}
        assert sorted(spec.seed for spec in each if spec.fold == 0) == [0, 1, 2, 3, 4]  # five runs
        every = np.concatenate([together.rows(name) for name in one.train])
        if one.name == "crosslingual":  # all of one language trains, all of the other is tested
            assert len(folds) == 1
            np.testing.assert_array_equal(each[0].train, every)
            np.testing.assert_array_equal(each[0].test, together.rows(one.test[0]))
        else:
            assert len(folds) == 5
        if one.name in ("monolingual", "multilingual"):  # training sets are merged, tests are those of (a)
            assert one.test == one.train
            for fold, spec in folds.items():
                parts = [together.folds(name)[fold] for name in one.train]
                np.testing.assert_array_equal(spec.train, np.concatenate([part.train for part in parts]))
                np.testing.assert_array_equal(spec.test, np.concatenate([part.test for part in parts]))
        if one.name == "finetuned":  # 100 samples for each split, from trained models of (c)
            assert one.start in specs
            assert one.start.test == one.test
            for spec in each:
                assert len(np.intersect1d(spec.train, together.folds(one.test[0])[spec.fold].train)) == 100
                assert len(spec.train) == 100


@pytest.mark.parametrize("name", ["finetuned", "crosslingual_corpus", "crosslingual_speaker"])
@pytest.mark.parametrize("mode", ["train", "corpus", "speaker"])
def test_fine_tuning_standardizes_as_what_it_starts_from(name, mode):
    """And what stands beside cross-lingual training differs from it in statistics alone."""
    everyone = noise("one", "two")
    others = tuple({"train", "corpus", "speaker"} - {mode})
    own = changed(config(tasks=AROUSAL), standardize=mode, adapted=others)
    specs, _ = planned(table2(own), everyone)
    wanted = [one for one in specs if one.name == name]
    assert len(wanted) == (0 if name == f"crosslingual_{mode}" else 2)
    for one in wanted:
        each = specs[one]
        [before] = [other for other in specs if (other.name, other.train) == ("crosslingual", one.train)]
        if name == "finetuned":
            for spec in each:
                np.testing.assert_array_equal(spec.scaler(), specs[before][0].scaler())
        else:
            assert one.beside == "crosslingual"
            changes = {"name": "crosslingual", "standardize": mode, "beside": ""}
            assert dataclasses.replace(one, **changes) == before
            assert one.standardize == name.removeprefix("crosslingual_")
            assert not np.array_equal(each[0].scaler().mean, specs[before][0].scaler().mean)


@pytest.mark.parametrize("draw", ["split", "disjoint", "pooled"])
def test_fine_tuning_draws_as_the_paper_may_be_read(draw):
    everyone = noise("one", "two", each=24)
    own = changed(config(tasks=AROUSAL), finetune_draw=draw, finetune_samples=20)
    specs, missing = planned(finetuned(own), everyone)
    assert not missing
    together = pool(everyone)
    for one, each in ((one, each) for one, each in specs.items() if one.start):
        folds, drawn = together.folds(one.test[0]), [spec.train for spec in each if spec.seed == 0]
        for fold, rows in zip(folds, drawn, strict=True):
            assert set(rows) <= set(fold.train)  # no speaker of the test, nor of the development part
        different = len(np.unique(np.concatenate(drawn)))
        if draw == "split":
            assert {len(rows) for rows in drawn} == {20}
            assert different < 100
        elif draw == "disjoint":
            assert {len(rows) for rows in drawn} == {20}
            assert different == 100
        else:  # some of the hundred are of test or development speakers
            assert all(50 < len(rows) < 90 for rows in drawn)
            assert 90 < different <= 100
    few = changed(own, finetune_samples=200)
    _, missing = planned(finetuned(few), everyone)
    assert all("fewer than the" in reason for reason in missing.values())
    assert missing


def test_people_who_met_make_a_cluster_and_their_overlap_is_known():
    everyone = noise("one", "two")
    together = pool(everyone)
    assert len(np.unique(together.cluster)) == 5 + 6  # sessions of the same names, in two corpora
    for name, corpus in everyone.items():
        assert len(np.unique(together.cluster[together.rows(name)])) == len(np.unique(corpus.session))
        assert together.partners(name)  # one of two develops, and the other trains
    apart = Pool(list(everyone.values()), ProtocolConfig(dev="session"), lambda *features: features)
    assert not any(map(apart.partners, everyone))
    assert not pool({"four": savee()["four"]}).partners("four")


def test_a_level_or_duration_that_is_not_in_the_features_is_refused():
    for own in (
        changed(config(tasks=AROUSAL), baselines=("level",), standardize="utterance"),
        changed(config(tasks=AROUSAL, features=Waveform(), model=Probe()), baselines=("level",)),
    ):
        with pytest.raises(
            ExperimentError, match=r"baselines level of .* features, standardized by .*, expected"
        ):
            settings.baselines(own, monolingual(own))
    own = changed(config(tasks=AROUSAL, features=EGeMAPS(), model=Probe()), baselines=("duration",))
    with pytest.raises(ExperimentError, match="duration of egemaps features of one frame an utterance"):
        settings.baselines(own, monolingual(own))


def test_a_baseline_takes_the_place_of_the_network_in_every_stage():
    own = changed(config(tasks=AROUSAL), baselines=("level", "duration"), adapted=("corpus",))
    wanted = table2(own)
    found = settings.baselines(own, [*wanted, *tuning(own)])
    assert len(found) == 2 * len(wanted)
    for one, other in zip(found, [*wanted, *wanted], strict=True):
        quantity = one.model.quantity
        assert (one.name, one.beside) == (f"{other.name}_{quantity}", other.name)
        assert one.training == dataclasses.replace(other.training, learning_rate=0.02)
        assert (one.train, one.test, one.standardize) == (other.train, other.test, other.standardize)
        if one.start is not None:
            assert (one.start.name, one.start.model) == (f"crosslingual_{quantity}", one.model)
    assert not planned(found, noise("one", "two"))[1]
    alike = [*wanted, *(dataclasses.replace(one, name="other", model=Probe()) for one in wanted[:2])]
    assert len(settings.baselines(own, alike)) == len(found)  # of what is trained alike there is one


def test_keys_follow_from_seed_task_and_fold_alone():
    everyone = noise("one", "two")
    specs, _ = planned([*monolingual(config()), *finetuned(config())], everyone)

    def bits(key):
        return jax.random.key_data(key).tolist()

    for one, own in specs.items():
        stream = {"arousal": 0, "valence": 1}[one.task.name]
        for spec in own:
            key = train.key(spec.seed, stream, spec.fold)
            assert bits(spec.key) == bits(jax.random.fold_in(key, 1) if one.start else key)
    for one, own in specs.items():  # the first fold does not repeat the dropout of its pre-training
        if one.start:
            assert bits(own[0].key) != bits(specs[one.start][0].key)


def test_fine_tuning_draws_the_same_for_every_seed_and_larger_draws_hold_the_smaller_ones():
    everyone = noise("one", "two", each=60)
    specs, _ = planned(learning_curve(config(tasks=AROUSAL)), everyone)
    fine = [one for one in specs if one.start is not None and one.test == ("two",)]
    assert [one.samples for one in fine] == list(SAMPLES)
    for smaller, larger in itertools.pairwise(fine):
        for few, many in zip(specs[smaller], specs[larger], strict=True):
            assert set(few.train) < set(many.train)
    assert not np.array_equal(*(spec.train for spec in specs[fine[0]][:2]))  # drawn anew for every seed
    for one, own in planned(finetuned(config()), everyone)[0].items():
        if one.start is not None:
            assert len(own[0].train) == 20
            np.testing.assert_array_equal(own[0].train, own[1].train)
            assert not np.array_equal(own[0].train, own[2].train)  # another fold


def test_a_draw_of_one_class_is_fine_tuned_on():
    everyone = noise("one", "two")
    everyone["two"].arousal[:] = np.arange(72) % 24 == 0
    few = changed(config(tasks=AROUSAL), finetune_samples=2)
    specs, missing = planned(finetuned(few)[:1], everyone)
    assert len(specs) == 1
    assert "none of the" in next(iter(missing.values()))  # its test part has no utterance of that class


def test_a_part_without_a_class_stops_only_its_cell():
    everyone = noise("one", "two")
    lonely = everyone["one"]
    lonely.arousal[lonely.session != "s0"] = 0
    specs, missing = planned([*monolingual(config()), *multilingual(config())], everyone)
    assert [one.label for one in specs] == [
        "monolingual one valence", "monolingual two arousal", "monolingual two valence",
        "multilingual one+two arousal", "multilingual one+two valence",
    ]  # fmt: skip
    assert [(one.label, test, reason) for (one, (test, _)), reason in missing.items()] == [
        ("monolingual one arousal", ("one",),
         "fold 1: none of the 42 training utterances has arousal high, expected all classes"),
        ("multilingual one+two arousal", ("one",),
         "fold 2: none of the 12 one test utterances has arousal high, expected all classes"),
    ]  # fmt: skip


@pytest.mark.parametrize("task", [TASKS["arousal"], TASKS["emotion"], Regression(("arousal", "valence"))])
def test_utterances_without_a_label_are_in_no_part_of_a_run(task):
    """Nor do they count towards the utterances of fine-tuning; other tasks keep theirs."""
    everyone = noise("one", "two", each=12)
    for name, corpus in everyone.items():
        emotion = ["boredom", "anger", "happiness", "neutral", "sadness"]
        corpus = dataclasses.replace(corpus, scales={"arousal": (-1.0, 1.0), "valence": (-1.0, 1.0)})
        corpus.arousal[::5] = corpus.valence[::5] = np.nan
        everyone[name] = with_facts(corpus, emotion=emotion)
    together = pool(everyone)
    known = np.concatenate([np.arange(len(corpus)) % 5 > 0 for corpus in everyone.values()])
    adversarial = TrainConfig(epochs=1, objective=DomainAdversarial())
    specs, missing = planned(table2(config(tasks=(task,), train=adversarial)), everyone)
    assert not missing
    for one, own in specs.items():
        for spec in own:
            for rows in (spec.train, spec.dev, spec.test):
                assert known[rows].all()
            across = one.name in ("crosslingual", "finetuned")
            assert bool(len(spec.unlabelled)) == across  # of which features alone are used
            if across:
                assert {together.names[i] for i in together.corpus[spec.unlabelled]} == set(one.test)
                assert not set(spec.unlabelled) & set(spec.train if one.name == "crosslingual" else spec.test)
    none = {"two": everyone["two"], "one": dataclasses.replace(everyone["one"], thresholds={}, scales={})}
    none["one"] = with_facts(none["one"], emotion="")
    _, missing = planned(table2(config("two", "one", tasks=(task,))), none)
    lacking = {one.label for one, _ in missing}
    assert lacking == {f"monolingual one {task.name}", f"multilingual two+one {task.name}",
                       f"crosslingual one>two {task.name}", f"crosslingual two>one {task.name}",
                       f"finetuned one>two {task.name}", f"finetuned two>one {task.name}"}  # fmt: skip


def test_a_cut_corpus_keeps_its_folds_and_trains_on_its_share_of_the_cut():
    everyone = noise("one", "two")
    first = config("two", "one")
    ordered = {name: everyone[name] for name in first.corpora}
    together, kept = pool(ordered), {}
    for cut in ("training", "all"):
        specs, _ = planned(settings.english_1308(changed(first, cut=cut)), ordered)
        kept[cut] = [spec for one, own in specs.items() if one.name == "monolingual_cut" for spec in own]
    left = {tuple(sorted({*spec.train, *spec.dev, *spec.test})) for spec in kept["all"]}
    assert len(left) == 1  # the same in every fold, seed and task
    [left] = left
    assert len(left) == 60
    for training, both in zip(kept["training"], kept["all"], strict=True):
        fold = together.folds("two")[both.fold]
        np.testing.assert_array_equal(both.train, np.intersect1d(fold.train, left))
        np.testing.assert_array_equal(both.test, np.intersect1d(fold.test, left))
        np.testing.assert_array_equal(training.train, both.train)
        np.testing.assert_array_equal(training.test, fold.test)  # as the whole corpus is
        np.testing.assert_array_equal(training.dev, fold.dev)
    _, missing = planned(settings.english_1308(config("one", "two")), everyone)
    assert set(missing.values()) == {"it has 60 utterances, expected more than the 60 of one"}


def test_transfer_trains_on_all_other_corpora_and_on_those_of_other_languages(monkeypatch):
    corpora = three()
    for name, language in (("one", "en"), ("two", "en"), ("three", "de")):
        corpora[name].language[:] = language
    monkeypatch.setattr(settings, "facts", lambda name, _: corpora[name])
    own = changed(config(*corpora, tasks=AROUSAL), adapted=("speaker",))
    found = {(it.name, it.test): it for it in settings.transfer(own) if not it.name.startswith("cross")}
    assert {key: it.train for key, it in found.items() if key[0] == "other_languages"} == {
        ("other_languages", ("one",)): ("three",),
        ("other_languages", ("two",)): ("three",),
        ("other_languages", ("three",)): ("one", "two"),
    }
    corpora["two"] = dataclasses.replace(corpora["two"], language=np.array(["unknown"]))
    apart = {it.test: it.train for it in settings.other_languages(own)}
    assert apart == {("one",): ("three",), ("three",): ("one",)}
    assert found["other_corpora", ("one",)].train == ("two", "three")
    adapted = found["other_corpora_speaker", ("one",)]
    assert (adapted.standardize, adapted.beside) == ("speaker", "other_corpora")


def test_at_most_so_many_utterances_of_each_corpus_train_and_the_statistics_are_theirs():
    corpora = three()
    own = changed(config(*corpora, tasks=AROUSAL), most=7, finetune_samples=5)
    together = pool(corpora)
    for one, specs in planned([*monolingual(own), *multilingual(own), *finetuned(own)], corpora)[0].items():
        for spec in specs if one.start is None else ():
            counts = np.bincount(together.corpus[spec.train], minlength=3)
            assert counts.tolist() == [7 if name in one.train else 0 for name in corpora]
        folds = {spec.fold for spec in specs}  # all seeds of a fold train on the same
        assert len({(spec.fold, spec.train.tobytes()) for spec in specs}) == len(folds)
    start, fine = planned(finetuned(own)[:1], corpora)[0].values()
    for part in ("mean", "scale"):
        np.testing.assert_array_equal(getattr(start[0].scaler(), part), getattr(fine[0].scaler(), part))


def test_tuning_tests_development_speakers_alone():
    everyone = noise("one", "two")
    together = pool(everyone)
    specs, _ = planned(tuning(config(tasks=AROUSAL)), everyone)
    assert len(specs) == 9 * 2
    for one, own in specs.items():
        assert one.name == f"tuning_k{one.model.kernel}_p{one.model.pool}"
        assert one.model.segments == {15: 16, 30: 8, 60: 4}[one.model.pool]
        for spec in own:
            fold = together.folds(one.train[0])[spec.fold]
            np.testing.assert_array_equal(spec.test, fold.dev)
            np.testing.assert_array_equal(spec.train, fold.train)
            assert not len(spec.dev)
    with pytest.raises(ExperimentError, match="network Probe has no kernel and pool, expected one with both"):
        tuning(config(model=Probe()))


def test_adapted_rows_stand_beside_the_strict_ones_of_the_same_task():
    own = changed(
        config(tasks=(*AROUSAL, Joint((*AROUSAL, TASKS["valence"])))), adapted=("corpus", "speaker")
    )
    for made, name in ((within, "monolingual"), (across, "crosslingual")):
        found = [(one.name, one.standardize, one.beside) for one in made(own) if one.train == ("one",)]
        assert found == [
            (f"{name}{mode and '_'}{mode}{task}", mode or "train", f"{name}{task}" if mode else "")
            for mode in ("", "corpus", "speaker")
            for task in ("", "_arousal+valence")
        ]


def test_settings_that_share_a_stack_train_and_start_alike():
    """Whatever the settings, a stack's runs all use unlabelled rows or none do."""
    own = config("one", "two", train=TrainConfig(epochs=1, objective=DomainAdversarial()))
    own = changed(own, standardize="speaker")  # nothing else tells monolingual from crosslingual runs
    specs, _ = planned([*table2(own), *learning_curve(own)], noise("one", "two"))
    place = {}
    for number, group in enumerate(by_stack(specs)):
        place |= dict.fromkeys(group, number)
        assert len({(one.model, one.training, one.train, one.standardize) for one in group}) == 1
        assert len({bool(len(spec.unlabelled)) for one in group for spec in specs[one]}) == 1
        assert all(one.start is None or place[one.start] < number for one in group)
    assert len({place[one] for one in specs if one.name.startswith("finetuned")}) == 2


def test_names_are_different_for_different_settings():
    own = config(tasks=AROUSAL)
    [first, second] = crosslingual(own, "mine")[:1] + crosslingual(changed(own, seeds=1), "mine")[:1]
    with pytest.raises(ExperimentError, match="are called mine one>two arousal, expected different names"):
        planned([first, second], noise("one", "two"))
    names = tuple(f"corpus_{i}" * 5 for i in range(20))
    long = setting(own, "long", TASKS["arousal"], names, names, whole_corpora)
    assert len(f"{long.slug}.npz") < 255
    assert long.slug != dataclasses.replace(long, train=names[1:]).slug


def test_a_setting_is_described_whole():
    mine = Categorical("mine", ("anger", "sadness"))
    one = finetuned(config(tasks=(mine,)))[0]
    found = one.describe()
    assert found["plan"] == "ser_jax.experiment.settings:few_samples"
    assert found["start"]["name"] == "crosslingual"
    assert found["training"]["epochs"] == 1
    assert found["task"]["class_names"] == ["anger", "sadness"]
    assert found["code"] == ""  # everything in it is the package's
    assert dataclasses.replace(one, plan=planned).describe()["code"]


def test_no_utterance_may_train_and_be_tested():
    own = config("one", tasks=AROUSAL)
    specs, missing = planned(
        [dataclasses.replace(one, plan=whole_corpora) for one in monolingual(own)], noise("one")
    )
    assert not specs
    assert set(missing.values()) == {"fold 1: 60 utterances are in both training and test, expected none"}
