"""Rows, tables, captions and comparisons of predictions made by hand; several folders; verification."""

import csv
import dataclasses
import json

import invented
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predicted_by_hand import AROUSAL, CORPORA, HIGH, LABEL, claimed, config, keep, predicted

from ser_jax import report
from ser_jax.errors import ResultsError
from ser_jax.experiment import results as ensembles
from ser_jax.experiment import results as predictions
from ser_jax.experiment import results as stored
from ser_jax.experiment import settings as known
from ser_jax.report import tables
from ser_jax.report.figures import confusion
from ser_jax.report.results import Results, fold_means, labels
from ser_jax.statistics import interval, paired_test
from ser_jax.tasks import TASKS
from ser_jax.train import TrainConfig

SCORES = [100 * ((3 / 4 + 1 / 2) / 2 + 1) / 2, 100 * (1 + 1 / 2) / 2]  # by hand: 81.25 and 75


@pytest.fixture
def out(tmp_path):
    return keep(claimed(tmp_path / "out"))


def test_a_row_follows_from_the_predictions(out):
    row = Results(out).rows(["monolingual"])[0]
    assert row[:5] == ("monolingual", ("de",), ("de",), "arousal", "UAR")
    np.testing.assert_allclose(fold_means(predicted()), SCORES)
    assert row.score_mean == pytest.approx(78.125)
    assert row.score_sd == pytest.approx(6.25 / np.sqrt(2))
    assert (row.runs, row.folds, row.speakers, row.utterances, row.chance) == (2, 2, 4, 8, 50)
    # Pooled: 4 of 5 and 2 of 3 in the first run, 4 of 5 and 3 of 3 in the second.
    assert row.pooled == pytest.approx(100 * np.mean([(4 / 5 + 2 / 3) / 2, (4 / 5 + 1) / 2]))
    assert dict(row.by_class) == pytest.approx({"low": 80, "high": 100 * 5 / 6})
    around = interval("UAR", LABEL, HIGH, np.array(list("aabbccdd")))
    assert (row.low, row.high) == (100 * around.low, 100 * around.high)
    assert row.chance_low < 50 < row.chance_high


def test_all_files_have_the_same_numbers(out):
    text = report.write_table(Results(out), "table", ["monolingual"])
    assert "78.1 ± 4.4" in text
    assert (out / "table.md").read_text() == text + "\n"
    with (out / "table.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["score_mean"], row["score_sd"], row["runs"], row["paper"]) == ("78.1250", "4.4194", "2", "")
    assert row["by_class"] == "low 80.0000; high 83.3333"
    assert r"monolingual & 78.1 $\pm$ 4.4 & 78.1 $\pm$ 4.4 \\" in (out / "table.tex").read_text()


def test_paper_scores_stand_only_beside_the_papers_pair(out, tmp_path):
    assert np.isnan([row.paper for row in Results(out).rows(["monolingual"])]).all()
    assert "paper" not in report.write_table(Results(out), "table", ["monolingual"])
    pair = [dict(corpus, builder=name) for corpus, name in zip(CORPORA, ("iemocap", "recola"), strict=True)]
    other = keep(claimed(tmp_path / "pair", pair), pair)
    assert [row.paper for row in Results(other).rows(["monolingual"])] == [68.09, 60.77]


def test_a_single_run_has_no_deviation(out):
    row = Results(keep(out, high=HIGH[:1])).rows(["monolingual"])[0]
    assert (row.score_mean, row.runs) == (81.25, 1)
    assert np.isnan(row.score_sd)


def test_synthetic_speech_and_what_was_left_out_are_told(tmp_path):
    corpora = [dict(CORPORA[0], synthetic=True), dict(CORPORA[1], left_out=3)]
    text = report.write_table(Results(keep(claimed(tmp_path, corpora), corpora)), "table", ["monolingual"])
    assert "**Synthetic speech (de): no person spoke it" in text
    assert "de (synthetic) arousal" in text
    assert "Left out as unusable: 3 of en." in text
    assert "monolingual,de,de (synthetic),arousal" in (tmp_path / "table.csv").read_text()


def test_a_missing_cell_stands_in_its_place_with_the_reason(out):
    [setting] = known.multilingual(config())
    stored.note_missing(out, [invented.missing(setting, "fold 1: too few", ("de",))])
    rows = Results(out).rows(["monolingual", "multilingual"])
    assert [row.missing for row in rows] == ["", "", "fold 1: too few"]
    text = tables.markdown((), tables.parts(Results(out), rows))
    assert "| multilingual | not computed" in text
    assert "Not computed: multilingual, de arousal: fold 1: too few." in text
    predictions.write_predictions(out, predicted(name="multilingual", train=("de", "en")))
    assert not any(row.missing for row in Results(out).rows(["monolingual", "multilingual"]))


def test_settings_of_several_sources_are_told_apart_and_compared(tmp_path):
    out = keep(claimed(tmp_path, [*CORPORA, dict(CORPORA[0], name="fr")]))
    for source in ("en", "fr"):
        right = LABEL[None].repeat(2, axis=0)
        predictions.write_predictions(out, predicted(right, "crosslingual", (source,)))
    rows = Results(out).rows(["monolingual", "crosslingual"])
    assert list(labels(rows).values()) == [
        "monolingual", "monolingual", "crosslingual from en", "crosslingual from fr",
    ]  # fmt: skip
    found = Results(out).comparisons(rows)
    assert [(one.one, one.other) for one in found] == [
        ("crosslingual from en", "monolingual"),
        ("crosslingual from fr", "monolingual"),
        ("crosslingual from fr", "crosslingual from en"),
    ]
    assert found[0].difference == pytest.approx(100 - rows[0].pooled)
    assert (found[2].difference, found[2].p, found[2].p_holm) == (0, 1, 1)
    assert all(one.p_holm >= one.p for one in found)


def test_settings_are_compared_on_the_utterances_both_were_tested_on(out):
    left = np.array([0, 2, 3, 4, 5, 6, 7])
    right = LABEL[None].repeat(2, axis=0)
    predictions.write_predictions(out, predicted(right, "monolingual_cut", rows=left))
    [one] = Results(out).comparisons(Results(out).rows(["monolingual", "monolingual_cut"]))
    # Of seven: 3 of 4 and 2 of 3 in the first run, 3 of 4 and 3 of 3 in the second.
    assert one.difference == pytest.approx(100 - 100 * np.mean([(3 / 4 + 2 / 3) / 2, (3 / 4 + 1) / 2]))
    speakers = np.array(list("abbccdd"))
    assert one.p == one.p_holm == paired_test("UAR", LABEL[left], right[:, left], HIGH[:, left], speakers)


def test_settings_of_a_tuning_are_not_compared(tmp_path):
    own = invented.config(("de",), ("arousal",))
    invented.claim(tmp_path, own)
    for setting in known.tuning(own)[:2]:
        invented.keep(tmp_path, setting, 0.7)
    results = Results(tmp_path)
    rows = results.rows(results.settings)
    assert len(rows) == 2
    assert results.comparisons(rows) == []
    assert "Scores are those of development speakers." in tables.caption(results, rows)
    assert tables.settings(results, rows)[1][3] == "model.kernel 5, model.pool 15, tuned True"


def test_a_table_without_cells_is_not_written(out):
    with pytest.raises(ResultsError, match="holds no predictions of multilingual"):
        report.write_table(Results(out), "table", ["multilingual"])
    assert not (out / "table.md").exists()


def test_confusions_are_means_over_runs():
    np.testing.assert_allclose(confusion(predicted()), [[4, 1], [0.5, 2.5]])


def test_a_seed_of_which_a_fold_was_stopped_is_left_out_and_named(out):
    before = predicted()
    outputs = before.outputs.copy()
    outputs[1, before.fold == 1] = np.nan
    predictions.write_predictions(out, dataclasses.replace(before, outputs=outputs))
    stopped = np.array([[0, 0], [0, 0], [0, 0], [7, 12]])
    log = dataclasses.replace(
        invented.log(runs=4), fold=np.array([0, 0, 1, 1]), seed=np.array([0, 1, 0, 1]), stopped=stopped
    )
    setting = known.monolingual(config())[0]
    predictions.write_arrays(out / "training" / f"{setting.slug}.npz", vars(log))
    results = Results(out)
    row = results.rows(["monolingual"])[0]
    assert (row.runs, row.stopped) == (1, "seed 1 in epoch 7, step 12 of fold 2")
    assert row.score_mean == SCORES[0]
    text = tables.markdown((), tables.parts(results, [row]))
    assert "(n = 1)" in text
    assert "left out: monolingual, de arousal: seed 1 in epoch 7, step 12 of fold 2." in text
    assert results.stopped == [setting.slug]
    assert len(results.curves(["monolingual"])["monolingual de"]["arousal"].seed) == 3


@given(text=st.text(), lead=st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", ""]))
def test_no_table_holds_a_formula(text, lead):
    field = tables.csv_field(lead + text)
    assert not field.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert field.removeprefix("'").endswith(text.removeprefix("'"))
    assert tables.csv_field(-1.5) == "-1.5000"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two classes, four classes and three dimensions, of which the last is not annotated, in one folder."""
    out = tmp_path_factory.mktemp("mixed")
    own = invented.config(("de", "en"), ("arousal", "emotion", "dimensions"))
    invented.claim(out, own, tables={"table2": ["monolingual", "crosslingual"]})
    for setting in [*known.monolingual(own), *known.crosslingual(own)]:
        invented.keep(out, setting, 0.7, training=True, dev=setting.name == "monolingual")
    return out


def test_tasks_of_different_metrics_stand_in_one_table(mixed):
    results = Results(mixed)
    text = report.write_table(results, "table2", ["monolingual", "crosslingual"])
    rows = {row.task: row for row in results.rows(["monolingual"]) if row.test == ("de",)}
    assert "| de dimensions (CCC) |" in text
    assert "Chance is 50 % (arousal), 0 (dimensions), 25 % (emotion)." in text
    assert "The label rule is footnote." in text
    assert [name for name, _ in rows["emotion"].by_class] == ["anger", "happiness", "neutral", "sadness"]
    annotated = [value for _, value in rows["dimensions"].by_class[:2]]
    assert rows["dimensions"].pooled == pytest.approx(np.mean(annotated))
    assert np.isnan(rows["dimensions"].by_class[2][1])
    assert rows["dimensions"].low < rows["dimensions"].pooled < rows["dimensions"].high < 1
    assert rows["emotion"].chance_low < 25 < rows["emotion"].chance_high
    report.write_page(results)
    assert report.verify(mixed) == []


def test_a_metric_of_ones_own_is_known_by_its_scores_alone(out):
    own = dataclasses.replace(predicted(), metric="F2", scores=np.array([[0.5, 0.25, 0.75], [0.7, 0.5, 0.5]]))
    predictions.write_predictions(out, own)
    row = Results(out).rows(["monolingual"])[0]
    assert (row.metric, row.score_mean, row.pooled) == ("F2", 0.5, 0.6)
    assert np.isnan([row.low, row.high, row.chance_low]).all()
    report.write_table(Results(out), "table", ["monolingual"])
    report.write_page(Results(out))


def test_captions_tell_what_settings_are_made_of(tmp_path):
    own = invented.config(("de", "en"), ("arousal",), seeds=1)
    training = TrainConfig(epochs=7, learning_rate=0.01, class_weights="balanced")
    own = dataclasses.replace(own, train=training, model=dataclasses.replace(own.model, channels=20))
    folds = {name: [{"test": invented.UTTERANCES[:40], "dev": []}] * n for name, n in (("de", 5), ("en", 4))}
    invented.claim(tmp_path, own, folds=folds)
    settings = [
        *known.monolingual(own),
        *known.finetuned(own, "odd", standardize="speaker"),
        *known.crosslingual(own),
    ]
    for setting in settings:
        invented.keep(tmp_path, setting, 0.7)
    results = Results(tmp_path)
    rows = results.rows(["monolingual", "odd", "crosslingual"])
    assert tables.caption(results, rows) == (
        "Mean over 5 folds, of 1 seed. Fewer folds, since there are too few speakers: en 4. All utterances "
        "at once, without folds: crosslingual. Chance is 50 %. The label rule is footnote."
    )
    changed = "model.channels 20, training.learning_rate 0.01, training.class_weights balanced"
    assert {line[0]: line[1:] for line in tables.settings(results, rows)[1:]} == {
        "monolingual": ["train", "7", changed],
        "crosslingual": ["corpus", "7", changed],
        "odd": ["speaker", "10", f"fine-tunes crosslingual on 100 samples, {changed}"],
    }


def test_a_table_of_many_columns_lists_settings_by_corpus(tmp_path):
    own = invented.config(tuple("abcdefghijkl"), ("arousal",))
    invented.claim(tmp_path, own)
    for setting in [*known.monolingual(own), *known.multilingual(own)]:
        invented.keep(tmp_path, setting, 0.7)
    results = Results(tmp_path)
    lines = tables.grid(results, results.rows(["monolingual", "multilingual"]))
    assert lines[0] == ["UAR, %", "arousal"]
    assert [line[0] for line in lines[1:4]] == ["a: monolingual", "a: multilingual", "b: monolingual"]


def test_folders_of_different_protocols_are_mixed_on_request_only(out, tmp_path):
    other = keep(claimed(tmp_path / "other", [dict(CORPORA[0], fingerprint="other"), CORPORA[1]]))
    assert f"| {out} | monolingual, de arousal" in report.compare([out, out])
    with pytest.raises(ResultsError, match=r"is of another protocol than .*--mixed"):
        report.compare([out, other])
    assert "different protocols" in report.compare([out, other], mixed=True)


def test_verification_finds_what_was_changed_lost_or_is_of_other_utterances(out):
    with pytest.raises(ResultsError, match="holds no table"):
        report.verify(out)
    report.rewrite(out)
    assert report.verify(out) == []
    (out / "results.md").unlink()
    (out / "results.csv").write_text("other")
    assert [one.split()[1].strip(",") for one in report.verify(out)] == ["LOST", "DIFFERS"]
    report.write_table(Results(out), "results", ["monolingual"])
    moved = dataclasses.replace(predicted(), fold=predicted().fold[::-1])
    predictions.write_predictions(out, moved)
    assert any("OTHER UTTERANCES" in one for one in report.verify(out))
    (out / "predictions" / f"{moved.slug}.npz").unlink()
    assert any(one.startswith(f"{moved.slug}.npz: LOST") for one in report.verify(out))
    with pytest.raises(ResultsError, match="has lost the predictions of monolingual-de"):
        report.rewrite(out)


def test_models_are_combined_of_the_seeds_that_all_have():
    one, other = predicted(), predicted(1 - HIGH)
    fewer = other.only(seeds=np.array([False, True]))
    found = ensembles.same_seeds([one, fewer])
    assert [part.seed.tolist() for part in found] == [[1], [1]]
    np.testing.assert_allclose(ensembles.voted(AROUSAL, found), np.log(0.5), rtol=1e-6)


def test_an_utterance_is_given_to_the_model_of_the_corpus_it_is_taken_for():
    """Three corpora; the language of utterance i is taken for i mod 3."""
    task = TASKS["emotion"]
    outputs = np.random.default_rng(0).normal(size=(3, 2, 8, 4)).astype(np.float32)
    base = predicted()
    facts = {key: getattr(base, key) for key in ("utterance", "speaker", "session", "fold", "labels", "seed")}
    cells = {"train": ("a",), "test": ("b",)}
    models = [predictions.make_predictions(task, name="m", outputs=own, **cells, **facts) for own in outputs]
    whole = {
        key: np.concatenate([value, value[::-1]])
        for key, value in facts.items()
        if key not in ("seed", "labels")
    }
    taken = np.concatenate([np.zeros(8, int), np.arange(8)[::-1] % 3])
    language = dataclasses.replace(
        base,
        **whole,
        labels=np.repeat([0, 1], 8),
        predictions=np.stack([taken, taken]),
        outputs=np.zeros((2, 16, 3)),
    )
    found = ensembles.identified(1, [*models, language])
    np.testing.assert_array_equal(found, outputs[np.arange(8) % 3, :, np.arange(8)].transpose(1, 0, 2))


def test_the_document_notes_which_figure_shows_a_table(out):
    report.write_table(Results(out), "t", ["monolingual"], "learning_curve")
    noted = json.loads((out / "config.json").read_text())["tables"]["t"]
    assert noted["figure"] == "learning_curve"
    assert noted["settings"] == ["monolingual"]
    assert len(noted["cells"]) == 2
    assert not (out / "t_confusions.png").exists()
