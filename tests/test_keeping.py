"""What is kept of runs and their training is found again by who said it."""

import numpy as np

from experiments import harness, keeping
from experiments.options import Options
from experiments.plans import Job, Plan, Work
from experiments.pool import Pool
from experiments.predictions import Cell


def test_predictions_find_their_utterance_seed_and_fold():
    """What plan (target, fold, seed) says of row r stands at row r, seed and fold of its target's cell."""
    from corpora import noise_corpus

    pool = Pool([noise_corpus("one", seed=1), noise_corpus("two", seed=2)], 5, "footnote", None)
    plans, probability = [], []
    for target in ("arousal", "valence"):
        for i, folds in enumerate(zip(pool.folds("one"), pool.folds("two"), strict=True)):
            test = np.concatenate([fold.test for fold in folds])
            for seed in (0, 1):
                plans.append(Plan(target, i, seed, test, test, test))
                probability.append(test / 1000 + seed / 10 + (target == "valence") / 2)
    for corpus in ("one", "two"):
        cell = Cell("multilingual", "one+two", corpus, "valence")
        found = keeping.gathered(pool, cell, plans, probability)
        rows = pool.rows(corpus)
        np.testing.assert_allclose(found.probability, [rows / 1000 + 0.5, rows / 1000 + 0.6], rtol=1e-6)
        assert found.fold.tolist() == (np.arange(60) // 12).tolist()
        assert found.utterance.tolist() == pool.corpora[corpus].id.tolist()


def test_fine_tuning_starts_from_the_run_of_its_target_and_seed(monkeypatch, tmp_path):
    from experiments.crosslingual import CROSSLINGUAL
    from experiments.finetuning import FINETUNED
    from ser_jax import checkpoint

    none = np.zeros(0, np.int32)
    job = Job(("one",), ("two",))
    assert CROSSLINGUAL.jobs(("one", "two"))[0] == job

    def plans(*names):
        return [Plan(*name, none, none, none) for name in names]

    before = plans(("arousal", 0, 0), ("arousal", 0, 1), ("valence", 0, 0), ("valence", 0, 1))
    nothing = [(none, np.zeros((0, 0)))] * 4
    keeping.write_training(
        tmp_path, Work(CROSSLINGUAL, job, before, [], {}), np.zeros((4, 1)), [], nothing, np.zeros((4, 2))
    )
    monkeypatch.setattr(checkpoint, "restore", lambda *_: {"bias": np.arange(4)})
    after = plans(("valence", 3, 0), ("arousal", 0, 1), ("valence", 0, 1))
    work = Work(FINETUNED, job, after, [], {})
    started = harness._start_params(Options(corpora=("one", "two"), seeds=2, out=tmp_path), work, after)
    assert started["bias"].tolist() == [2, 1, 3]


def test_development_speakers_are_judged_after_the_epochs_watched(tmp_path):
    from experiments.monolingual import MONOLINGUAL

    none = np.zeros(0, np.int32)
    work = Work(MONOLINGUAL, Job(("one",), ("one",)), [Plan("arousal", 0, 0, none, none, none)] * 2, [], {})
    labels = np.array([0, 0, 1])
    right = np.array([[0.2, 0.6, 0.7], [0.1, 0.1, 0.9]])
    asked = [(labels, right), (labels[:2], right[:, :2])]
    keeping.write_training(tmp_path, work, np.ones((2, 4)), [2, 4], asked, np.zeros((2, 2)))
    kept = keeping.read_training(tmp_path, "monolingual-one-one")
    np.testing.assert_allclose(kept.dev_loss[0], [-np.log([0.8, 0.4, 0.7]).mean(), -np.log([0.9] * 3).mean()])
    np.testing.assert_allclose(kept.dev_uar[0], [75, 100])
    assert np.isnan(kept.dev_uar[1]).all()
    assert kept.watched.tolist() == [2, 4]
