"""Tables from hand-made predictions."""

import csv

import numpy as np
import pytest

from experiments import harness, predictions, report
from experiments.harness import Job, Plan
from experiments.options import Options
from experiments.pool import Pool
from experiments.predictions import Cell, Predictions

CORPORA = [
    {"name": name, "builder": "manifest", "synthetic": False, "left_out": 0, "fingerprint": name}
    for name in ("de", "en")
]
PROTOCOL = {
    "corpora": CORPORA,
    "targets": ["arousal"],
    "seeds": 2,
    "folds": 2,
    "epochs": 50,
    "finetune_epochs": 10,
    "finetune_samples": 100,
    "standardize": None,
    "standardize_default": {"within": "train", "across": "corpus"},
    "label_rule": "footnote",
    "model": {"precision": "float32"},
}

# Fold 0 tests six utterances, fold 1 two.
FOLD = np.array([0, 0, 0, 0, 0, 0, 1, 1])
LABEL = np.array([0, 0, 0, 0, 1, 1, 0, 1], np.int8)
HIGH = np.array([[0, 0, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1]])
UAR = [100 * ((3 / 4 + 1 / 2) / 2 + 1) / 2, 100 * (1 + 1 / 2) / 2]  # by hand: 81.25 and 75


def said(high=HIGH):
    names = np.array([f"u{i}" for i in range(8)])
    return Predictions(
        names, names, FOLD, LABEL, np.arange(len(high)), np.where(high, 0.9, 0.1).astype(np.float32)
    )


@pytest.fixture
def out(tmp_path):
    predictions.claim(tmp_path, PROTOCOL)
    for corpus in CORPORA:
        predictions.write(tmp_path, Cell("monolingual", corpus["name"], "arousal"), said())
    return tmp_path


def test_a_runs_uar_is_the_mean_of_its_folds():
    np.testing.assert_allclose(report.fold_mean_uar(said()), UAR)


def test_a_row_is_the_mean_and_sample_deviation_of_the_runs(out):
    row = report.rows(out, ["monolingual"])[0]
    assert row[:3] == ("monolingual", "de", "arousal")
    assert row.uar_mean == pytest.approx(78.125)
    assert row.uar_std == pytest.approx(6.25 / np.sqrt(2))
    assert (row.runs, row.folds) == (2, 2)


def test_the_files_say_the_same(out):
    text = report.write(out, "table", ["monolingual"])
    assert "78.1 ± 4.4" in text
    assert (out / "table.md").read_text() == text + "\n"
    with (out / "table.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["uar_mean"], row["uar_std"], row["runs"], row["paper_uar"]) == ("78.1250", "4.4194", "2", "")


def test_paper_figures_stand_only_beside_the_papers_pair(out):
    assert np.isnan([row.paper_uar for row in report.rows(out, ["monolingual"])]).all()
    assert "paper" not in report.write(out, "table", ["monolingual"])


def test_the_caption_speaks_of_the_settings_shown_only(out):
    text = report.write(out, "table", ["monolingual"])
    assert "standardisation `train` within a corpus; label rule" in text
    assert "cross" not in text
    assert "fine-tuned" not in text


def test_a_single_run_has_no_deviation(out):
    predictions.write(out, Cell("monolingual", "de", "arousal"), said(HIGH[:1]))
    row = report.rows(out, ["monolingual"])[0]
    assert (row.uar_mean, row.runs) == (81.25, 1)
    assert np.isnan(row.uar_std)


def test_a_synthetic_corpus_says_so_whatever_its_name(tmp_path):
    corpora = [dict(CORPORA[0], name="iemocap", builder="iemocap", synthetic=True), CORPORA[1]]
    predictions.claim(tmp_path, PROTOCOL | {"corpora": corpora})
    for corpus in corpora:
        predictions.write(tmp_path, Cell("monolingual", corpus["name"], "arousal"), said())
    text = report.write(tmp_path, "table", ["monolingual"])
    assert "**Synthetic speech** (iemocap)" in text
    assert "iemocap (synthetic) arousal" in text
    assert "monolingual,iemocap (synthetic),arousal" in (tmp_path / "table.csv").read_text()


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
        found = harness._gather(pool, Cell("multilingual", corpus, "valence"), plans, probability)
        rows = pool.rows(corpus)
        np.testing.assert_allclose(found.probability, [rows / 1000 + 0.5, rows / 1000 + 0.6], rtol=1e-6)
        assert found.fold.tolist() == (np.arange(60) // 12).tolist()
        assert found.utterance.tolist() == pool.corpora[corpus].id.tolist()


def test_fine_tuning_starts_from_the_run_of_its_target_and_seed(monkeypatch):
    from experiments.finetuning import FINETUNED
    from ser_jax import checkpoint

    stack = {"bias": np.arange(4)}  # arousal seeds 0 and 1, valence seeds 0 and 1
    monkeypatch.setattr(checkpoint, "restore", lambda *_: stack)
    none = np.zeros(0, np.int32)
    plans = [
        Plan(*name, none, none, none) for name in (("valence", 3, 0), ("arousal", 0, 1), ("valence", 0, 1))
    ]
    options = Options(seeds=2)
    started = harness._start_params(options, FINETUNED, Job(("one",), ("two",)), plans)
    assert started["bias"].tolist() == [2, 1, 3]


def test_what_was_left_out_is_said(tmp_path):
    corpora = [CORPORA[0], dict(CORPORA[1], left_out=3)]
    predictions.claim(tmp_path, PROTOCOL | {"corpora": corpora})
    for corpus in corpora:
        predictions.write(tmp_path, Cell("monolingual", corpus["name"], "arousal"), said())
    assert report.write(tmp_path, "table", ["monolingual"]).endswith("Left out as unusable: 3 of en.")
