"""What figures show is what results say."""

import xml.etree.ElementTree as ET

import invented
import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from experiments import drawing, figures, predictions, summary
from experiments.keeping import Attention
from experiments.kinds import kind
from experiments.predictions import Cell, Predictions
from experiments.results import Results

SVG = "{http://www.w3.org/2000/svg}"
MAIN = ["monolingual", "multilingual", "crosslingual", "finetuned"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(invented.everything(tmp_path_factory.mktemp("results")))


@pytest.fixture(scope="module")
def table(results):
    return results.rows(sorted({cell.setting for cell in results.stored} | {"finetuned_400"}))


def some(table, *settings, **where):
    return [
        row
        for row in table
        if row.setting in settings and all(getattr(row, key) == value for key, value in where.items())
    ]


def words(axis):
    return [text.get_text() for text in axis.texts]


def attention(**parts):
    every = {name: np.array(part) for name, part in invented.attention(["de"])["de"].items()}
    return Attention(**every | parts)


def every(results, table):
    """All figures of one panel, by what they are called."""
    here = {"test": "de", "target": "arousal"}
    curve = some(table, "crosslingual", "finetuned_10", "finetuned_400", **here)
    tuned = [row for row in table if row.setting.startswith("tuning") and row.test == "de"]
    return {
        "runs": figures.runs(results, some(table, *MAIN, **here)),
        "confusions": figures.confusions(results, some(table, *MAIN, **here)),
        "training": figures.training(results, {"monolingual de": invented.training()}),
        "learning_curve": figures.learning_curve(results, curve),
        "matrix": figures.matrix(results, some(table, *MAIN, target="valence")),
        "tuning": figures.tuning(results, [row for row in tuned if row.target == "arousal"]),
        "attention": figures.attention(results, {"de": attention()}),
    }


@pytest.fixture(scope="module")
def drawn(results, table):
    """Them as SVG."""
    return {name: drawing.svg(figure) for name, figure in every(results, table).items()}


def test_the_same_results_are_drawn_to_the_same_bytes(results, table, drawn):
    assert {name: drawing.svg(figure) for name, figure in every(results, table).items()} == drawn


def test_an_svg_names_neither_date_nor_maker_and_changes_no_settings(results, table):
    before = dict(mpl.rcParams)
    found = drawing.svg(every(results, table)["runs"])
    assert dict(mpl.rcParams) == before
    assert not any(word in found.lower() for word in ("date", "creator", "matplotlib.org"))
    ET.fromstring(found)


def test_all_letters_of_a_panel_can_be_read_at_320_px(drawn):
    for name, figure in drawn.items():
        root = ET.fromstring(figure)
        scale = 320 / float(root.get("viewBox").split()[2])
        for text in root.iter(f"{SVG}text"):
            size = float(text.get("style").split("font-size: ")[1].split("px")[0])
            assert size * scale >= 10, (name, text.text, size * scale)


def test_runs_stand_where_they_scored(results, table):
    rows = some(table, *MAIN, test="de", target="arousal")
    [axis] = figures.runs(results, rows).axes
    names = [text.get_text().replace("\n", " ") for text in axis.get_yticklabels()]
    assert names == ["crosslingual from en", "crosslingual from fr", "finetuned from en", "finetuned from fr",
                     "monolingual", "multilingual"]  # fmt: skip
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    for place, (row, line) in enumerate(zip(rows, dots, strict=True)):
        assert set(line.get_ydata()) == {place}
        np.testing.assert_allclose(line.get_xdata(), summary.fold_mean_uar(results.said(row.cell)))
        assert line.get_xdata().mean() == pytest.approx(row.uar_mean)


def test_the_papers_figures_are_drawn_where_there_are_any(results, table):
    rows = [row._replace(paper_uar=61.5) for row in some(table, "monolingual", test="de", target="arousal")]
    figure = figures.runs(results, rows)
    [diamond] = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert list(diamond.get_xdata()) == [61.5]
    assert "Diamonds: the paper" in figure.get_supxlabel()
    assert "Diamonds" not in figures.runs(results, some(table, "monolingual")).get_supxlabel()


def test_confusions_are_shares_of_the_true_class_beside_counts(tmp_path):
    invented.claim(tmp_path, [invented.corpus("de")])
    label = np.array([0] * 4 + [1] * 8, np.int8)
    said = np.array([[0] * 3 + [1] * 9, [0] * 3 + [1] * 7 + [0] * 2])
    names = label.astype(str)
    kept = Predictions(names, names, 0 * label, label, np.arange(2), np.where(said, 0.9, 0.1).astype("f4"))
    predictions.write(tmp_path, Cell("monolingual", "de", "de", "valence"), kept)
    results = Results(tmp_path)
    figure = figures.confusions(results, results.rows(["monolingual"]))
    [axis] = figure.axes
    assert words(axis) == ["75 %\n(3)", "25 %\n(1)", "12 %\n(1)", "88 %\n(7)"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["negative", "positive"]
    assert figure.get_suptitle() == "de valence"


def test_languages_are_confused_by_name(results, table):
    [axis] = figures.confusions(results, some(table, "language")).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["de", "en"]


def test_a_matrix_reads_from_training_to_test(results, table):
    shown = some(table, *MAIN, target="arousal")
    [axis] = figures.matrix(results, shown).axes
    found = np.reshape(words(axis), (3, 3))
    for i, train in enumerate(invented.NAMES):
        for j, test in enumerate(invented.NAMES):
            setting = "monolingual" if i == j else "crosslingual"
            [row] = some(shown, setting, train=train, test=test)
            assert found[i, j] == f"{row.uar_mean:.1f}"


def test_the_best_of_a_tuning_is_outlined(results, table):
    rows = [row for row in table if row.setting.startswith("tuning") and row[2:4] == ("de", "arousal")]
    rows = [row._replace(uar_mean=50.0 + i) for i, row in enumerate(rows)]
    best = max(rows, key=lambda row: row.uar_mean)
    [axis] = figures.tuning(results, rows).axes
    kernels, pools = (
        [text.get_text() for text in labels] for labels in (axis.get_yticklabels(), axis.get_xticklabels())
    )
    assert (kernels, pools) == (["5", "10", "20"], ["15", "30"])
    [frame] = axis.lines
    x, y = int(min(frame.get_xdata())), int(min(frame.get_ydata()))
    assert best.setting == f"tuning_k{kernels[y]}_p{pools[x]}"
    assert np.reshape(words(axis), (3, 2))[y, x] == f"{best.uar_mean:.1f}"


def test_a_tuning_without_any_number_is_drawn(results, table):
    rows = [row._replace(uar_mean=np.nan, missing="no") for row in table if row.setting == "tuning_k5_p15"]
    assert words(figures.tuning(results, rows[:1]).axes[0]) == ["-"]


def test_a_learning_curve_leads_from_none_to_many(results, table):
    rows = some(table, "crosslingual", "finetuned_200", "finetuned_10", "finetuned_50", train="en", test="de")
    rows = [row for row in rows if row.target == "arousal"]
    [axis] = figures.learning_curve(results, rows).axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0", "10", "50", "200"]
    line = axis.containers[0].lines[0]
    known = {row.setting: row.uar_pooled for row in rows}
    wanted = [known[name] for name in ("crosslingual", "finetuned_10", "finetuned_50", "finetuned_200")]
    np.testing.assert_allclose(line.get_ydata(), wanted)


def test_what_is_missing_leaves_a_gap_in_a_learning_curve(results, table):
    rows = some(table, "crosslingual", "finetuned_400", train="de", test="en", target="arousal")
    [axis] = figures.learning_curve(results, rows).axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0", "400"]
    assert len(axis.containers[0].lines[0].get_xdata()) == 1


@pytest.mark.parametrize(
    ("setting", "count"), [("crosslingual", 0), ("finetuned_25", 25), ("finetuned", None), ("voted", None)]
)
def test_settings_of_the_learning_curve_are_known_by_name(setting, count):
    assert kind(setting).samples == count


def test_training_is_the_mean_over_the_runs_of_a_target(results):
    known = invented.training()
    loss, uar = figures.training(results, {"monolingual de": known}).axes
    by_name = {line.get_label(): line.get_ydata() for line in loss.lines}
    np.testing.assert_allclose(
        by_name["valence, training"], known.loss[known.target == "valence"].mean(axis=0)
    )
    np.testing.assert_allclose(
        by_name["arousal, development"], known.dev_loss[known.target == "arousal"].mean(axis=0)
    )
    assert uar.get_ylabel() == "development UAR, %"


def test_training_without_development_speakers_is_a_loss_alone(results):
    [axis] = figures.training(results, {"crosslingual de": invented.training(dev=False)}).axes
    assert [line.get_label() for line in axis.lines] == ["arousal, training", "valence, training"]


def test_a_run_without_development_speakers_does_not_count_among_others(results):
    known = invented.training()
    lacking = known._replace(dev_uar=known.dev_uar.copy())
    lacking.dev_uar[0] = np.nan
    _, uar = figures.training(results, {"monolingual de": lacking}).axes
    np.testing.assert_allclose(uar.lines[0].get_ydata(), known.dev_uar[1:6].mean(axis=0))


def test_attention_stands_beside_chance(results):
    shares = np.array([[0.5, 0.3, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]])
    expected = np.array([0.4, 0.3, 0.2, 0.1])
    known = attention(shares=shares, among=shares[:, ::-1], expected=expected)
    every, among = figures.attention(results, {"de": known}).axes
    np.testing.assert_allclose([bar.get_height() for bar in every.patches], [60, 20, 10, 10])
    np.testing.assert_allclose([bar.get_height() for bar in among.patches], [10, 10, 20, 60])
    heights = [[line[0][1] for line in axis.collections[-1].get_segments()] for axis in (every, among)]
    np.testing.assert_allclose(heights, [[25] * 4, [40, 30, 20, 10]])


def test_attention_of_a_single_run_has_no_deviation(results):
    once = np.array([[0.6, 0.4]])
    known = attention(shares=once, among=once, expected=once[0])
    figure = figures.attention(results, {"de": known})
    assert not any(axis.containers[0].errorbar for axis in figure.axes)


def test_every_figure_of_synthetic_speech_says_so(tmp_path):
    out = invented.everything(tmp_path, ("de", "en", "fr"), ("arousal",), synthetic=True)
    results = Results(out)
    rows = results.rows(sorted({cell.setting for cell in results.stored}))
    main = some(rows, *MAIN)
    drawn = [
        figures.runs(results, main),
        figures.confusions(results, main),
        figures.learning_curve(results, rows),
        figures.matrix(results, rows),
        figures.tuning(results, rows),
        figures.attention(results, {"de": attention()}),
        figures.training(results, {"monolingual de": invented.training()}),
    ]
    assert all(figure.get_supxlabel().startswith("Synthetic speech.") for figure in drawn)


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@given(st.floats(0, 100))
def test_numbers_on_a_heat_map_can_be_read(value):
    axis = drawing.panels(1, 2)[1][0]
    drawing.heat(axis, np.array([[value]]), ["x"], ["y"], [["1"]], (0, 100))
    [field] = axis.collections
    assert contrast(axis.texts[0].get_color(), field.to_rgba(value)) >= 4.5


@pytest.mark.parametrize("ground", ["#ffffff", "#f5f6f8", "#1d2026", "#14161a"])
def test_colours_are_seen_on_light_and_on_dark_ground(ground):
    for colour, _ in drawing.MARKS.values():
        assert contrast(colour, ground) >= 3
