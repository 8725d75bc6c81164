"""Rows, tables and comparisons against predictions made by hand; reports of whole folders."""

import csv
import dataclasses
import json

import invented
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predicted_by_hand import CORPORA, HIGH, LABEL, claimed, config, keep, predicted

from ser_jax import report
from ser_jax.errors import ResultsError
from ser_jax.experiment import results as stored
from ser_jax.experiment import settings as known
from ser_jax.metrics import ccc
from ser_jax.report import Results, tables
from ser_jax.report.tables import fold_means, labels
from ser_jax.statistics import difference_test, holm, interval
from ser_jax.tasks import TASKS
from ser_jax.train import TrainConfig

SCORES = [100 * ((3 / 4 + 1 / 2) / 2 + 1) / 2, 100 * (1 + 1 / 2) / 2]  # by hand: 81.25 and 75
RIGHT = LABEL[None].repeat(2, axis=0)


@pytest.fixture
def out(tmp_path):
    return keep(claimed(tmp_path / "out"))


def text(out, *settings):
    results = Results(out)
    return tables.markdown((), tables.parts(results, results.rows(settings)))


def test_a_row_follows_from_the_predictions(out):
    row = Results(out).rows(["monolingual"])[0]
    assert row[:5] == ("monolingual", ("de",), ("de",), "arousal", "UAR")
    np.testing.assert_allclose(fold_means(predicted()), SCORES)
    assert row.score_mean == pytest.approx(78.125)
    assert row.score_sd == pytest.approx(6.25 / np.sqrt(2))
    assert (row.runs, row.folds, row.speakers, row.clusters) == (2, 2, 4, 4)
    assert (row.utterances, row.chance) == (8, 50)
    # Pooled: 4 of 5 and 2 of 3 in the first run, 4 of 5 and 3 of 3 in the second.
    assert row.pooled == pytest.approx(100 * np.mean([(4 / 5 + 2 / 3) / 2, (4 / 5 + 1) / 2]))
    assert dict(row.by_class) == pytest.approx({"low": 80, "high": 100 * 5 / 6})
    around = interval("UAR", LABEL, HIGH, np.array(list("aabbccdd")))
    assert (row.low, row.high) == (100 * around.low, 100 * around.high)
    assert row.chance_low < 50 < row.chance_high
    # Women speak no utterance of class 1. Of men: 1 of 1 and 2 of 3, then 0 of 1 and 3 of 3.
    assert dict(row.by_sex) == pytest.approx({"male": 100 * np.mean([(1 + 2 / 3) / 2, (0 + 1) / 2])})
    row = Results(keep(out, high=HIGH[:1])).rows(["monolingual"])[0]
    assert (row.score_mean, row.runs) == (81.25, 1)
    assert np.isnan(row.score_sd)


def test_all_files_have_the_same_numbers(out):
    with pytest.raises(ResultsError, match="holds no predictions of multilingual"):
        report.write_table(Results(out), "table", ["multilingual"])
    assert not (out / "table.md").exists()
    written = report.write_table(Results(out), "table", ["monolingual"], "learning_curve")
    assert "78.1 ± 4.4" in written
    assert (out / "table.md").read_text() == written + "\n"
    with (out / "table.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["score_mean"], row["score_sd"], row["runs"], row["paper"]) == ("78.1250", "4.4194", "2", "")
    assert row["by_class"] == "low 80.0000; high 83.3333"
    assert r"monolingual & 78.1 $\pm$ 4.4 & 78.1 $\pm$ 4.4 \\" in (out / "table.tex").read_text()
    noted = json.loads((out / "config.json").read_text())["tables"]["table"]
    assert (noted["settings"], noted["figure"], len(noted["cells"])) == (["monolingual"], "learning_curve", 2)
    assert {path.name for path in out.glob("table*.png")} == {"table.png"}


def test_paper_scores_stand_only_beside_the_papers_pair(out, tmp_path):
    assert np.isnan([row.paper for row in Results(out).rows(["monolingual"])]).all()
    assert "paper" not in text(out, "monolingual")
    pair = [dict(corpus, builder=name) for corpus, name in zip(CORPORA, ("iemocap", "recola"), strict=True)]
    other = keep(claimed(tmp_path / "pair", pair), pair)
    assert [row.paper for row in Results(other).rows(["monolingual"])] == [68.09, 60.77]
    assert "| 78.1 ± 4.4 (paper: 68.09) | 78.1 ± 4.4 (paper: 60.77) |" in text(other, "monolingual")


def test_synthetic_speech_and_unusable_recordings_are_named(tmp_path):
    corpora = [dict(CORPORA[0], synthetic=True, by_emotion=True), dict(CORPORA[1], left_out=3)]
    written = report.write_table(Results(keep(claimed(tmp_path, corpora), corpora)), "table", ["monolingual"])
    assert "**Synthetic speech, generated and not recorded: de.**" in written
    assert "de (synthetic) arousal" in written
    assert "Unusable recordings left out: 3 of en." in written
    assert "Arousal and valence follow from the emotions: de." in written
    assert "monolingual,de,de (synthetic),arousal" in (tmp_path / "table.csv").read_text()


def test_a_missing_cell_stands_in_its_place_with_the_reason(out):
    [setting] = known.multilingual(config())
    stored.note_missing(out, [invented.missing(setting, "fold 1: too few", ("de",))])
    rows = Results(out).rows(["monolingual", "multilingual"])
    assert [row.missing for row in rows] == ["", "", "fold 1: too few"]
    assert "| multilingual | not computed" in text(out, "monolingual", "multilingual")
    assert "Not computed: multilingual, de arousal: fold 1: too few." in text(out, "multilingual")
    stored.write_predictions(out, predicted(name="multilingual", train=("de", "en")))
    assert not any(row.missing for row in Results(out).rows(["monolingual", "multilingual"]))


def test_settings_of_several_sources_are_told_apart_and_compared(tmp_path):
    out = keep(claimed(tmp_path, [*CORPORA, dict(CORPORA[0], name="fr")]))
    for source in ("en", "fr"):
        stored.write_predictions(out, predicted(RIGHT, "crosslingual", (source,)))
    rows = Results(out).rows(["monolingual", "crosslingual"])
    names = list(labels(rows).values())
    assert names == ["monolingual", "monolingual", "crosslingual from en", "crosslingual from fr"]
    found = Results(out).comparisons(rows)
    assert [(one.one, one.other) for one in found] == [(rows[2], rows[0]), (rows[3], rows[0])]
    assert found[0].difference == pytest.approx(100 - rows[0].pooled)
    for source in ("en", "fr"):
        stored.write_predictions(out, predicted(RIGHT, "finetuned", (source,)))
    found = Results(out).comparisons(Results(out).rows(["monolingual", "crosslingual", "finetuned"]))
    pairs = [(one.one.setting, one.one.train, one.other.setting, one.other.train) for one in found]
    de, en, fr = ("de",), ("en",), ("fr",)
    assert pairs == [
        *((name, train, "monolingual", de) for name in ("crosslingual", "finetuned") for train in (en, fr)),
        ("finetuned", en, "crosslingual", en), ("finetuned", fr, "crosslingual", fr),
    ]  # fmt: skip
    assert (found[-1].difference, found[-1].p, found[-1].p_holm) == (0, 1, 1)
    assert all(one.p_holm >= one.p for one in found)


def test_settings_are_compared_on_the_utterances_both_were_tested_on(out):
    left = np.array([0, 2, 3, 4, 5, 6, 7])
    stored.write_predictions(out, predicted(RIGHT, "monolingual_cut", rows=left))
    [one] = Results(out).comparisons(Results(out).rows(["monolingual", "monolingual_cut"]))
    # Of seven: 3 of 4 and 2 of 3 in the first run, 3 of 4 and 3 of 3 in the second.
    assert one.difference == pytest.approx(100 - 100 * np.mean([(3 / 4 + 2 / 3) / 2, (3 / 4 + 1) / 2]))
    speakers = np.array(list("abbccdd"))
    assert one.p == one.p_holm == difference_test("UAR", LABEL[left], RIGHT[:, left], HIGH[:, left], speakers)


@pytest.mark.parametrize(
    ("sessions", "mark"), [(16, " *"), (12, " *"), (6, " *"), (5, " ?")], ids=lambda value: str(value).strip()
)
def test_significant_differences_are_marked_if_so_many_groups_can_show_them(tmp_path, sessions, mark):
    """One setting is nearly always right, the other half of the time; two speakers met in each session."""
    invented.claim(tmp_path, invented.config(("de",), ("arousal",), seeds=1))
    n = 16 * sessions
    label, session = np.arange(n) % 2, np.repeat(np.arange(sessions), 16)
    facts = {"train": ("de",), "test": ("de",), "cluster": session}
    rarely = np.where(np.arange(n) % 16 < session % 3, 1 - label, label)
    for setting, taken in (("monolingual", np.arange(n) // 2 % 2), ("multilingual", rarely)):
        outputs, speaker = np.stack([1 - taken, taken], axis=-1)[None], (np.arange(n) // 8).astype(str)
        made = invented.cell(TASKS["arousal"], outputs, label, speaker, name=setting, **facts)
        stored.write_predictions(tmp_path, made)
    results = Results(tmp_path)
    rows = results.rows(["monolingual", "multilingual"])
    assert {(row.speakers, row.clusters) for row in rows} == {(2 * sessions, sessions)}
    [_, line] = tables.differences(results, rows)
    assert line[-1] == f"< 0.001{mark}"
    assert tables.intervals(results, rows)[1][-2] == f"{2 * sessions} ({sessions})"
    assert ("0.0625 for five" in text(tmp_path, "monolingual", "multilingual")) == (sessions == 5)


def test_what_stands_beside_a_setting_is_compared_with_that_alone(tmp_path):
    own = invented.config(("de", "en"), ("arousal",))
    protocol = dataclasses.replace(own.protocol, adapted=("corpus",), baselines=("level",))
    own = dataclasses.replace(own, protocol=protocol)
    invented.claim(tmp_path, own)
    settings = known.table2(own)
    for number, setting in enumerate([*settings, *known.baselines(own, settings)]):
        invented.keep(tmp_path, setting, 0.6 + number / 100)
    results = Results(tmp_path)
    found = results.comparisons(results.rows(results.settings))
    pairs = {(one.one.setting, one.other.setting) for one in found if one.one.test == ("de",)}
    main = {("multilingual", "monolingual"), ("crosslingual", "monolingual"), ("finetuned", "monolingual"),
            ("crosslingual", "multilingual"), ("finetuned", "crosslingual")}  # fmt: skip
    names = [*tables.TABLE2, "crosslingual_corpus"]
    for family in ([one for one in found if one.one.setting in tables.TABLE2],
                   [one for one in found if one.one.setting not in tables.TABLE2]):  # fmt: skip
        own = [one for one in family if one.one.test == ("de",)]
        np.testing.assert_allclose([one.p_holm for one in own], holm([one.p for one in own]))
    assert pairs == main | {("crosslingual_corpus", "crosslingual")} | {(f"{n}_level", n) for n in names}


def test_a_caption_says_on_how_many_utterances_and_whose_partners_train(tmp_path):
    own = invented.config(("de", "en"), ("arousal",))
    invented.claim(tmp_path, own, [dict(CORPORA[0], partners=True), CORPORA[1]])
    for setting in known.finetuned(own):
        invented.keep(tmp_path, setting, 0.7)
        log = dataclasses.replace(invented.log(), different=np.array(439))
        stored.write_arrays(tmp_path / "training" / f"{setting.slug}.npz", vars(log))
    results = Results(tmp_path)
    caption = tables.caption(results, results.rows(["finetuned"]))
    drawn = [f"439 different utterances of {name} (arousal)" for name in ("de", "en")]
    assert f"Fine-tuning draws {', '.join(drawn)}." in caption
    assert "Training sets contain dialogue partners of development speakers: de." in caption


def test_settings_of_a_tuning_are_not_compared(tmp_path):
    own = invented.config(("de",), ("arousal",))
    invented.claim(tmp_path, own)
    for setting in known.tuning(own)[:2]:
        invented.keep(tmp_path, setting, 0.7)
    results = Results(tmp_path)
    rows = results.rows(results.settings)
    assert len(rows) == 2
    assert results.comparisons(rows) == []
    assert "Scores are those of the development speakers." in tables.caption(results, rows)


def test_a_seed_of_which_a_run_diverged_is_left_out_and_named(out):
    before = predicted()
    outputs = before.outputs.copy()
    outputs[1, before.fold == 1] = np.nan
    stored.write_predictions(out, dataclasses.replace(before, outputs=outputs))
    stopped = np.array([[0, 0], [0, 0], [0, 0], [7, 12]])
    log = dataclasses.replace(invented.log(runs=4), seed=np.array([0, 1, 0, 1]), stopped=stopped)
    setting = known.monolingual(config())[0]
    stored.write_arrays(out / "training" / f"{setting.slug}.npz", vars(log))
    results = Results(out)
    row = results.rows(["monolingual"])[0]
    assert (row.runs, row.stopped, row.score_mean) == (1, "seed 1", SCORES[0])
    assert "Left out because it diverged: monolingual, de arousal: seed 1." in text(out, "monolingual")
    assert results.stopped == [setting.slug]
    stored.write_predictions(out, dataclasses.replace(before, outputs=outputs * np.nan))
    assert "not computed" in text(out, "monolingual")


@given(text=st.text(max_size=5), lead=st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", ""]))
def test_no_table_holds_a_formula(text, lead):
    field = tables.csv_field(lead + text)
    assert not field.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert field.removeprefix("'").endswith(text.removeprefix("'"))
    assert tables.csv_field(-1.5) == "-1.5000"


def test_tasks_of_different_metrics_stand_in_one_table(tmp_path):
    """Two classes, four classes and three dimensions, of which the last is not annotated."""
    own = invented.config(("de",), ("arousal", "emotion", "dimensions"))
    invented.claim(tmp_path, own)
    for setting in known.monolingual(own):
        invented.keep(tmp_path, setting, 0.7)
    rows = {row.task: row for row in Results(tmp_path).rows(["monolingual"])}
    assert "| de dimensions (CCC) |" in text(tmp_path, "monolingual")
    assert "Chance: 50.0 (arousal), 0.000 (dimensions), 25.0 (emotion)." in text(tmp_path, "monolingual")
    assert [name for name, _ in rows["emotion"].by_class] == ["anger", "happiness", "neutral", "sadness"]
    assert rows["emotion"].chance_low < 25 < rows["emotion"].chance_high
    others = dict(rows["dimensions"].others)
    annotated = [others[f"CCC {name}"] for name in ("arousal", "valence")]
    assert rows["dimensions"].pooled == pytest.approx(np.mean(annotated))
    assert np.isnan(others["CCC dominance"])
    assert rows["dimensions"].low < rows["dimensions"].pooled < rows["dimensions"].high < 1


def test_the_other_scores_of_a_task_stand_beside_its_headline(out):
    """Accuracy and F1 over all utterances, by hand: 6 and 7 of 8 are right."""
    row = Results(out).rows(["monolingual"])[0]
    f1 = [(8 / 10 + 4 / 6) / 2, (8 / 9 + 6 / 7) / 2]
    assert dict(row.others) == pytest.approx({"accuracy": 100 * 13 / 16, "F1": 100 * np.mean(f1)})
    assert f"| accuracy 81.2, F1 {100 * np.mean(f1):.1f} |" in text(out, "monolingual")
    report.write_table(Results(out), "table", ["monolingual"])
    with (out / "table.csv").open() as file:
        row = next(csv.DictReader(file))
    assert row["others"] == f"accuracy 81.2500; F1 {100 * np.mean(f1):.4f}"
    assert (row["statistics"], row["score_min"], row["score_max"]) == ("train", "75.0000", "81.2500")
    # Those of a task of one's own are known by what it returned.
    names = {"other_scores": ("calm", "wild"), "others": np.array([[0.5, np.nan], [0.7, np.nan]])}
    stored.write_predictions(out, dataclasses.replace(predicted(), **names))
    assert "| calm 60.0, wild ? " in text(out, "monolingual")


def test_a_table_says_if_seeds_make_no_difference(out):
    assert "the same for all" not in text(out, "monolingual")
    same = predicted(HIGH[[0, 0]])
    stored.write_predictions(out, same)
    mixed = text(out, "monolingual")
    assert "| monolingual | 81.2 " in mixed
    assert "| 78.1 ± 4.4 |" in mixed
    assert "deviation over 2 seeds. Scores without ± are the same for all seeds." in mixed
    stored.write_predictions(out, dataclasses.replace(same, train=("en",), test=("en",)))
    assert "test corpus; the same for all 2 seeds." in text(out, "monolingual")
    assert "±" not in text(out, "monolingual").partition("**Intervals**")[0]
    stored.write_predictions(out, same.only(seeds=np.array([True, False])))  # one seed tells nothing
    assert "Scores without ±" not in text(out, "monolingual")


def test_every_rater_stands_beside_the_consensus(tmp_path):
    """Nobody rated dominance, and the last rater only the first half."""
    own = invented.config(("de",), ("dimensions",))
    invented.claim(tmp_path, own)
    base = invented.predicted(TASKS["dimensions"], 0.7, name="monolingual", train=("de",), test=("de",))
    rng = np.random.default_rng(0)
    ratings = base.labels[:, None] + rng.normal(0, 0.5, (len(base.labels), 3, 3))
    ratings[len(ratings) // 2 :, 2] = np.nan
    stored.write_predictions(tmp_path, dataclasses.replace(base, raters=("A", "B", "C"), ratings=ratings))
    results = Results(tmp_path)
    head, *lines = tables.dimensions(results, results.rows(["monolingual"]))
    assert head == ["cell", "against", "CCC [95 %]", "Pearson", "RMSE", "human", "utterances"]
    expected = []
    for k, dimension in enumerate(("arousal", "valence")):
        for q, name in enumerate(("consensus", "A", "B", "C"), -1):
            truth = base.labels[:, k] if q < 0 else ratings[:, q, k]
            known = ~np.isnan(truth)
            runs = base.predictions[:, known, k]
            around = interval("CCC", truth[known], runs, base.cluster[known])
            score = np.mean([ccc(truth[known], run) for run in runs])
            r = np.mean([np.corrcoef(truth[known], run)[0, 1] for run in runs])
            error = np.mean([np.sqrt(np.mean((truth[known] - run) ** 2)) for run in runs])
            others = np.nanmean(np.delete(ratings, q, axis=1)[known, :, k], axis=1)
            human = "" if q < 0 else f"{ccc(others, truth[known]):.3f}"
            shown = f"{score:.3f} [{around.low:.3f}, {around.high:.3f}]"
            cell = f"monolingual, de {dimension}"
            expected.append([cell, name, shown, f"{r:.3f}", f"{error:.3f}", human, str(known.sum())])
    assert lines == expected
    assert "**Dimensions**" in text(tmp_path, "monolingual")


def test_another_metric_is_known_by_its_scores_alone(out):
    scores = np.array([[0.5, 0.25, 0.75], [0.7, 0.5, 0.5]])
    stored.write_predictions(out, dataclasses.replace(predicted(), metric="F2", scores=scores))
    row = Results(out).rows(["monolingual"])[0]
    assert (row.metric, row.score_mean, row.pooled) == ("F2", 0.5, 0.6)
    assert np.isnan([row.low, row.high, row.chance_low]).all()


def test_a_caption_names_the_options_that_are_not_the_defaults(tmp_path):
    own = invented.config(("de",), ("arousal",), seeds=1)
    own = dataclasses.replace(own, train=TrainConfig(epochs=7, learning_rate=0.01))
    invented.claim(tmp_path, dataclasses.replace(own, model=dataclasses.replace(own.model, channels=20)))
    invented.keep(tmp_path, known.monolingual(own)[0], 0.7)
    results = Results(tmp_path)
    assert tables.caption(results, results.rows(["monolingual"])) == (
        "Mean over the folds of the test corpus; one seed. Chance: 50.0 (arousal). Options that differ from "
        "the defaults: model.channels 20, train.learning_rate 0.01, train.epochs 7, protocol.seeds 1."
    )


def test_a_table_of_many_corpora_has_a_line_per_corpus_and_their_mean(tmp_path):
    own = invented.config(tuple("abcde"), ("arousal", "valence"))
    invented.claim(tmp_path, own)
    for setting in [*known.monolingual(own), *known.crosslingual(own)]:
        invented.keep(tmp_path, setting, 0.7)
    results = Results(tmp_path)
    rows = results.rows(["monolingual", "crosslingual"])
    arousal, valence = tables.scores(results, rows)
    assert (arousal.title, valence.title) == ("Scores of arousal", "Scores of valence")
    assert (arousal.note, valence.note) == ("", tables.caption(results, rows))
    assert arousal.lines[0] == valence.lines[0] == ["UAR, %", "monolingual", "crosslingual"]
    assert [line[0] for line in arousal.lines[1:]] == [*"abcde", "mean"]
    every = [row for row in rows if (row.setting, row.task) == ("crosslingual", "arousal")]
    means = [row.score_mean for row in every if row.test == ("a",)]
    assert arousal.lines[1][2] == f"{np.mean(means):.1f} ({min(means):.1f} to {max(means):.1f})"
    assert arousal.lines[-1][2] == f"{np.mean([row.score_mean for row in every]):.1f}"
    assert tables.latex(results, rows).count(r"\begin{tabular}{lrr}") == 2
    alike = [rows[0]._replace(score_min=0.0, score_max=0.0), *rows[1:]]
    assert "Scores with neither ± nor a range, except means, are the same" in tables.caption(results, alike)


def test_means_of_settings_that_have_other_tasks_stand_in_their_columns(tmp_path):
    """A setting of several tasks at once may come after one of a single task."""
    for name, tasks in (("one", ["arousal"]), ("two", ["arousal", "valence"])):
        own = invented.config(("de", "en"), tasks)
        invented.claim(tmp_path / name, own)
        for setting in known.monolingual(own):
            invented.keep(tmp_path / name, setting, 0.7)
    head, _, *lines = report.means([tmp_path / "one", tmp_path / "two"]).splitlines()
    assert [part.strip() for part in head.split("|")[3:5]] == ["arousal", "valence"]
    one, two = ([part.strip() for part in line.split("|")[3:5]] for line in lines)
    for found, folder, tasks in ((one, "one", ["arousal"]), (two, "two", ["arousal", "valence"])):
        rows = Results(tmp_path / folder).rows(["monolingual"])
        each = [np.mean([row.score_mean for row in rows if row.task == task]) for task in tasks]
        assert found == ([f"{score:.1f}" for score in each] + [""])[:2]


def test_folders_of_different_protocols_are_compared_with_a_warning(out, tmp_path):
    other = keep(claimed(tmp_path / "other", [dict(CORPORA[0], fingerprint="other"), CORPORA[1]]))
    assert f"| {out} | monolingual, de arousal" in report.compare([out, out])
    assert "another protocol" not in report.compare([out, out])
    assert f"{other} has another protocol than {out}" in report.compare([out, other])


def test_verification_finds_what_was_changed_lost_or_is_of_other_utterances(out):
    with pytest.raises(ResultsError, match="holds no table"):
        report.verify(out)
    report.rewrite(out)
    assert report.verify(out) == []
    (out / "results.md").unlink()
    (out / "results.csv").write_text("other")
    assert [one.split()[1].strip(",") for one in report.verify(out)] == ["LOST", "DIFFERS"]
    moved = dataclasses.replace(predicted(), fold=predicted().fold[::-1])
    stored.write_predictions(out, moved)
    assert any("OTHER UTTERANCES" in one for one in report.verify(out))
    (out / "predictions" / f"{moved.slug}.npz").unlink()
    assert any(one.startswith(f"{moved.slug}.npz: LOST") for one in report.verify(out))
    with pytest.raises(ResultsError, match="has lost the predictions of monolingual-de"):
        report.rewrite(out)


def test_models_are_combined_of_the_seeds_that_all_have(tmp_path):
    """And a cell that lacks one of its models is noted as missing."""
    own = dataclasses.replace(config(), out=claimed(tmp_path))
    other = dataclasses.replace(predicted(1 - HIGH).only(seeds=np.array([False, True])), setting="other")
    for one in (predicted(), other):
        stored.write_predictions(tmp_path, one)
    seen = []

    def outputs(found):
        seen.extend(one.seed.tolist() for one in found)
        return found[0].outputs

    names = [predicted().slug, other.slug]
    stored.combine(own, "both", ("en",), "de", TASKS["arousal"], names, outputs)
    assert seen == [[1], [1]]
    both = stored.read_predictions(tmp_path / "predictions" / "both-en-de-arousal.npz")
    np.testing.assert_array_equal(both.outputs, predicted().outputs[1:])
    stored.combine(own, "all", ("en",), "de", TASKS["arousal"], [*names, "lost"], outputs)
    [missing] = stored.read_document(tmp_path)["missing"]
    assert (missing["setting"], missing["reason"]) == ("all", "there is no lost")


def test_an_utterance_is_given_to_the_model_that_a_classifier_chooses():
    """Utterance i is given to model i mod 3; another corpus has the same names of utterances."""
    outputs = np.random.default_rng(0).normal(size=(3, 2, 8, 4)).astype(np.float32)
    base = predicted()
    facts = {key: getattr(base, key) for key in (*stored.BY_UTTERANCE, "seed")}
    facts |= {"train": ("a",), "test": ("b",)}
    models = [stored.make_predictions(TASKS["emotion"], name="m", outputs=own, **facts) for own in outputs]
    both = {key: np.tile(facts[key][::-1], 2) for key in ("utterance", "session", "cluster", "sex", "fold")}
    both["speaker"] = np.concatenate([np.char.add(name, base.speaker[::-1]) for name in ("a ", "b ")])
    taken = np.concatenate([np.zeros(8, int), np.arange(8)[::-1] % 3])
    both |= {"labels": np.repeat([0, 1], 8), "predictions": np.stack([taken, taken])}
    chosen = dataclasses.replace(base, **both, outputs=np.zeros((2, 16, 3)))
    found = stored.identified([*models, chosen])
    np.testing.assert_array_equal(found, outputs[np.arange(8) % 3, :, np.arange(8)].transpose(1, 0, 2))
