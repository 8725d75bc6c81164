"""Tables from hand-made predictions."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predicted_by_hand import CORPORA, HIGH, LABEL, claimed, keep, said
from ser_jax.inference import interval

from experiments import keeping, predictions, protocol, report, summary, tables
from experiments.predictions import Cell, Predictions, ResultsError
from experiments.related import same_seeds
from experiments.results import Results
from ser_jax import inference

UAR = [100 * ((3 / 4 + 1 / 2) / 2 + 1) / 2, 100 * (1 + 1 / 2) / 2]  # by hand: 81.25 and 75


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


def test_a_table_without_cells_is_not_written(out):
    with pytest.raises(ResultsError, match="holds no predictions of multilingual"):
        report.write(Results(out), "table", ["multilingual"])
    assert not (out / "table.md").exists()


def test_confusions_are_means_over_runs():
    np.testing.assert_allclose(summary.confusions(said()), [[4, 1], [0.5, 2.5]])


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


@given(text=st.text(), lead=st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", ""]))
def test_no_table_holds_a_formula(text, lead):
    cell = tables._field(lead + text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell.removeprefix("'").endswith(text.removeprefix("'"))
    assert tables._field(-1.5) == "-1.5000"
