"""Tables from hand-made predictions."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import harness, keeping, predictions, protocol, report, summary, tables
from experiments.options import Options
from experiments.plans import Job, Plan, Work
from experiments.pool import Pool
from experiments.predictions import Cell, Predictions, ResultsError
from experiments.related import same_seeds
from experiments.results import Results
from experiments.summary import Row
from ser_jax import inference
from ser_jax.inference import interval

CORPORA = [
    {"name": name, "builder": "manifest", "synthetic": False, "left_out": 0, "fingerprint": name}
    for name in ("de", "en")
]
CHOSEN = {
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
    "fold_hashes": {},
}

# Fold 0 tests six utterances, fold 1 two.
FOLD = np.array([0, 0, 0, 0, 0, 0, 1, 1])
LABEL = np.array([0, 0, 0, 0, 1, 1, 0, 1], np.int8)
HIGH = np.array([[0, 0, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1]])
UAR = [100 * ((3 / 4 + 1 / 2) / 2 + 1) / 2, 100 * (1 + 1 / 2) / 2]  # by hand: 81.25 and 75


def claimed(out, corpora=CORPORA, **options):
    chosen = CHOSEN | {"corpora": corpora} | options
    protocol.claim(out, {"hash": protocol.sha256(chosen), "protocol": chosen, "folds": {}})
    return out


def said(high=HIGH):
    names = np.array([f"u{i}" for i in range(8)])
    speakers = np.array(list("aabbccdd"))
    return Predictions(
        names, speakers, FOLD, LABEL, np.arange(len(high)), np.where(high, 0.9, 0.1).astype(np.float32)
    )


def keep(out, corpora=CORPORA, **what):
    for corpus in corpora:
        predictions.write(out, Cell("monolingual", corpus["name"], corpus["name"], "arousal"), said(**what))
    return out


@pytest.fixture
def out(tmp_path):
    return keep(claimed(tmp_path))


def test_a_runs_uar_is_the_mean_of_its_folds():
    np.testing.assert_allclose(summary.fold_mean_uar(said()), UAR)


def test_a_row_says_what_the_predictions_say(out):
    row = Results(out).rows(["monolingual"])[0]
    assert row.cell == Cell("monolingual", "de", "de", "arousal")
    assert row.uar_mean == pytest.approx(78.125)
    assert row.uar_std == pytest.approx(6.25 / np.sqrt(2))
    assert (row.runs, row.folds, row.speakers, row.utterances) == (2, 2, 4, 8)
    # Pooled: 4 of 5 and 2 of 3 in the first run, 4 of 5 and 3 of 3 in the second.
    assert row.uar_pooled == pytest.approx(100 * np.mean([(4 / 5 + 2 / 3) / 2, (4 / 5 + 1) / 2]))
    around = interval(LABEL, HIGH, np.array(list("aabbccdd")))
    assert (row.low, row.high) == (100 * around.low, 100 * around.high)
    assert row.chance_low < 50 < row.chance_high


def test_the_files_say_the_same(out):
    text = report.write(Results(out), "table", ["monolingual"])
    assert "78.1 ± 4.4" in text
    assert (out / "table.md").read_text() == text + "\n"
    with (out / "table.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["uar_mean"], row["uar_std"], row["runs"], row["paper_uar"]) == ("78.1250", "4.4194", "2", "")
    assert r"monolingual & 78.1 $\pm$ 4.4 & 78.1 $\pm$ 4.4 \\" in (out / "table.tex").read_text()


def test_paper_figures_stand_only_beside_the_papers_pair(out, tmp_path):
    assert np.isnan([row.paper_uar for row in Results(out).rows(["monolingual"])]).all()
    assert "paper" not in report.write(Results(out), "table", ["monolingual"])
    pair = [dict(corpus, builder=name) for corpus, name in zip(CORPORA, ("iemocap", "recola"), strict=True)]
    other = keep(claimed(tmp_path / "pair", pair))
    assert [row.paper_uar for row in Results(other).rows(["monolingual"])] == [68.09, 60.77]


def test_the_caption_speaks_of_the_settings_shown_only(out):
    text = report.write(Results(out), "table", ["monolingual"])
    assert "standardisation `train` within a corpus; label rule" in text
    assert "cross" not in text
    assert "fine-tuned" not in text


def test_a_single_run_has_no_deviation(out):
    row = Results(keep(out, high=HIGH[:1])).rows(["monolingual"])[0]
    assert (row.uar_mean, row.runs) == (81.25, 1)
    assert np.isnan(row.uar_std)


def test_a_synthetic_corpus_says_so_whatever_its_name(tmp_path):
    corpora = [dict(CORPORA[0], name="iemocap", builder="iemocap", synthetic=True), CORPORA[1]]
    text = report.write(Results(keep(claimed(tmp_path, corpora), corpora)), "table", ["monolingual"])
    assert "**Synthetic speech** (iemocap)" in text
    assert "iemocap (synthetic) arousal" in text
    assert "monolingual,iemocap,iemocap (synthetic),arousal" in (tmp_path / "table.csv").read_text()


def test_what_was_left_out_is_said(tmp_path):
    corpora = [CORPORA[0], dict(CORPORA[1], left_out=3)]
    text = report.write(Results(keep(claimed(tmp_path, corpora), corpora)), "table", ["monolingual"])
    assert "Left out as unusable: 3 of en." in text


def test_a_missing_cell_stands_in_its_place_with_the_reason(out):
    cell = Cell("multilingual", "de+en", "de", "arousal")
    keeping.note_missing(out, {cell: "fold 1: too few"})
    keeping.note_missing(out, {})
    table = Results(out).rows(["monolingual", "multilingual"])
    assert [row.missing for row in table] == ["", "", "fold 1: too few"]
    text = tables.markdown(Results(out), table)
    assert "| multilingual | not computed" in text
    assert "Not computed: multilingual, de arousal: fold 1: too few." in text
    predictions.write(out, cell, said())
    assert not any(row.missing for row in Results(out).rows(["monolingual", "multilingual"]))


def test_settings_of_several_sources_are_told_apart_and_compared(out):
    right = LABEL[None].repeat(2, axis=0)
    for source in ("en", "fr"):
        predictions.write(out, Cell("crosslingual", source, "de", "arousal"), said(right))
    corpora = [*CORPORA, dict(CORPORA[0], name="fr")]
    document = json.loads((out / "protocol.json").read_text())
    chosen = document["protocol"] | {"corpora": corpora}
    document |= {"protocol": chosen, "hash": protocol.sha256(chosen)}
    (out / "protocol.json").write_text(json.dumps(document))
    table = Results(out).rows(["monolingual", "crosslingual"])
    assert [summary.label(row, table) for row in table] == [
        "monolingual", "monolingual", "crosslingual from en", "crosslingual from fr",
    ]  # fmt: skip
    found = Results(out).comparisons(table)
    assert [(one.one, one.other) for one in found] == [
        ("crosslingual from en", "monolingual"),
        ("crosslingual from fr", "monolingual"),
        ("crosslingual from fr", "crosslingual from en"),
    ]
    assert found[0].difference == pytest.approx(100 - table[0].uar_pooled)
    assert (found[2].difference, found[2].p, found[2].p_holm) == (0, 1, 1)
    assert all(one.p_holm >= one.p for one in found)


def test_settings_are_compared_on_the_utterances_both_were_tested_on(out):
    left = np.array([0, 2, 3, 4, 5, 6, 7])
    some = {name: getattr(said(), name)[left] for name in ("utterance", "speaker", "fold", "label")}
    right = np.where(LABEL[left], 0.9, 0.1)[None].repeat(2, axis=0)
    cut = Predictions(**some, seed=np.arange(2), probability=right)
    predictions.write(out, Cell("monolingual_cut", "de", "de", "arousal"), cut)
    table = Results(out).rows(["monolingual", "monolingual_cut"])
    [one] = Results(out).comparisons(table)
    # Of seven: 3 of 4 and 2 of 3 in the first run, 3 of 4 and 3 of 3 in the second.
    assert one.difference == pytest.approx(100 - 100 * np.mean([(3 / 4 + 2 / 3) / 2, (3 / 4 + 1) / 2]))
    assert (
        one.p
        == one.p_holm
        == inference.paired_test(LABEL[left], right > 0.5, HIGH[:, left], np.array(list("abbccdd")))
    )


def test_combinations_that_are_tuned_are_not_compared(out):
    for name in ("tuning_k5_p15", "tuning_k10_p15"):
        predictions.write(out, Cell(name, "de", "de", "arousal"), said())
    assert Results(out).comparisons(Results(out).rows(["tuning_k5_p15", "tuning_k10_p15"])) == []


@pytest.mark.parametrize("name", ["copy", "monolingual-de-de-arousal (copy)", "monolingual-de-fr-arousal"])
def test_a_file_that_is_no_cell_is_named(out, name):
    (out / "predictions" / f"{name}.npz").touch()
    with pytest.raises(
        ResultsError, match=r"is no cell of de and en, expected SETTING-TRAIN-TEST-TARGET.npz"
    ):
        Results(out).rows(["monolingual"])


def test_predictions_of_unequal_lengths_are_named(out):
    short = dataclasses.replace(said(), label=LABEL[:7])
    predictions.write(out, Cell("monolingual", "de", "de", "arousal"), short)
    with pytest.raises(ResultsError, match=r"monolingual-de-de-arousal.npz .*its arrays differ in length"):
        Results(out).rows(["monolingual"])


def test_a_table_without_cells_is_not_written(out):
    with pytest.raises(ResultsError, match="holds no predictions of multilingual"):
        report.write(Results(out), "table", ["multilingual"])
    assert not (out / "table.md").exists()


def test_confusions_are_means_over_runs():
    np.testing.assert_allclose(summary.confusions(said()), [[4, 1], [0.5, 2.5]])


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


@pytest.mark.parametrize(
    "tables",
    [
        {"../../outside": {"settings": ["monolingual"], "cells": []}},
        {"/tmp/outside": {"settings": ["monolingual"], "cells": []}},
        {"table2": {"settings": ["monolingual"], "cells": ["../x-a-a-arousal"]}},
        {"table2": {"settings": ["monolingual"], "cells": ["monolingual-a-arousal"]}},
    ],
)
def test_names_that_would_lead_out_of_the_folder_are_refused(out, tables):
    document = json.loads((out / "protocol.json").read_text()) | {"tables": tables}
    (out / "protocol.json").write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=r"its tables have names that no experiment gives"):
        Results(out).rows(["monolingual"])


def test_a_seed_of_which_a_fold_was_stopped_is_left_out_and_named(out):
    cell = next(cell for cell in Results(out).stored if cell.setting == "monolingual")
    before = predictions.read(out, cell)
    [whole] = [row for row in Results(out).rows(["monolingual"]) if row.cell == cell]
    probability = before.probability.copy()
    probability[1, before.fold == 1] = np.nan
    predictions.write(out, cell, dataclasses.replace(before, probability=probability))
    runs = len(before.seed)
    stopped = np.zeros((2 * runs, 2), int)
    stopped[runs + 1] = 7, 12
    of = np.full(2 * runs, cell.target), np.repeat(np.arange(2), runs), np.tile(np.arange(runs), 2)
    loss = np.ones((2 * runs, 3))
    kept = keeping.Training(*of, loss, np.zeros(0), np.zeros((2 * runs, 0)), np.zeros((2 * runs, 0)), stopped)
    predictions.write_arrays(out / "training" / f"monolingual-{cell.train}-{cell.test}.npz", kept._asdict())
    [row] = [row for row in Results(out).rows(["monolingual"]) if row.cell == cell]
    assert row.runs == whole.runs - 1
    assert row.stopped == "seed 1 in epoch 7, step 12 of fold 2"
    each = np.delete(summary.fold_mean_uar(before), 1)
    np.testing.assert_allclose(row.uar_mean, each.mean())
    text = tables.markdown(Results(out), [row])
    assert f"(n = {row.runs})" in text
    assert f"monolingual, {cell.test} {cell.target}: seed 1 in epoch 7, step 12 of fold 2." in text
    assert Results(out).stopped_jobs == [f"monolingual-{cell.train}-{cell.test}"]
    curve = Results(out).curves(["monolingual"])[f"monolingual {cell.train}"]
    assert len(curve.seed) == 2 * runs - 1


def test_systems_are_combined_of_the_seeds_that_all_have(out):
    said = predictions.read(out, next(iter(Results(out).stored)))
    fewer = dataclasses.replace(said, seed=said.seed[1:], probability=said.probability[1:])
    one, other = same_seeds([said, fewer])
    assert one.seed.tolist() == other.seed.tolist() == said.seed[1:].tolist()
    np.testing.assert_array_equal(one.probability, said.probability[1:])


def test_a_protocol_that_was_changed_by_hand_is_refused(out):
    document = json.loads((out / "protocol.json").read_text())
    document["protocol"]["epochs"] = 51
    (out / "protocol.json").write_text(json.dumps(document))
    with pytest.raises(
        ResultsError, match=r"it was changed since it was written, its hash is of something else; restore"
    ):
        Results(out).rows(["monolingual"])


@given(text=st.text(), lead=st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", ""]))
def test_no_table_holds_a_formula(text, lead):
    cell = tables._field(lead + text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell.removeprefix("'").endswith(text.removeprefix("'"))
    assert tables._field(-1.5) == "-1.5000"
    assert "missing" in Row._fields
