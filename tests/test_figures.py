"""Figures against the results that they show."""

import itertools
import xml.etree.ElementTree as ET

import invented
import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ser_jax.experiment import results as predictions
from ser_jax.experiment import settings as known
from ser_jax.report import figures
from ser_jax.report.results import Results, fold_means
from ser_jax.tasks import TASKS

SVG = "{http://www.w3.org/2000/svg}"
MAIN = ["monolingual", "multilingual", "crosslingual", "finetuned"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(invented.everything(tmp_path_factory.mktemp("results")))


@pytest.fixture(scope="module")
def table(results):
    return results.rows([*results.settings])


def some(table, *settings, **where):
    where = {key: (value,) if key in ("train", "test") else value for key, value in where.items()}
    return [
        row
        for row in table
        if row.setting in settings and all(getattr(row, key) == value for key, value in where.items())
    ]


def tuned(table, **where):
    return some(
        table, *(name for name in {row.setting for row in table} if name.startswith("tuning")), **where
    )


def words(axis):
    return [text.get_text() for text in axis.texts]


def ticks(labels):
    return [text.get_text() for text in labels]


def attention(**parts):
    return {name: np.array(part) for name, part in (invented.attention(["de"])["de"] | parts).items()}


def panel(chart, place=0):
    """The axes of one panel."""
    return figures.drawn(chart._replace(panels=[chart.panels[place]])).axes[0]


def every(results, table):
    """All charts, of one panel each, by name."""
    here = {"test": "de", "task": "arousal"}
    found = {
        "runs": figures.runs(results, some(table, *MAIN, **here)),
        "confusions": figures.confusions(results, some(table, *MAIN, **here)),
        "training": figures.training(results, ["monolingual"]),
        "learning_curve": figures.learning_curve(
            results, some(table, "crosslingual", "finetuned_10", **here)
        ),
        "matrix": figures.matrix(results, some(table, *MAIN, task="arousal")),
        "tuning": figures.tuning(results, tuned(table, **here)),
        "attention": figures.attention({"de": attention()}),
    }
    return {name: chart._replace(panels=chart.panels[:1]) for name, chart in found.items()}


@pytest.fixture(scope="module")
def drawn(results, table):
    return {name: figures.svg(figures.drawn(chart)) for name, chart in every(results, table).items()}


def test_the_same_results_are_drawn_to_the_same_bytes(results, table, drawn):
    before = dict(mpl.rcParams)
    again = every(results, table)
    assert {name: figures.svg(figures.drawn(chart)) for name, chart in again.items()} == drawn
    assert dict(mpl.rcParams) == before
    for found in drawn.values():
        assert not any(word in found.lower() for word in ("date", "creator", "matplotlib.org"))


def readable(name, figure):
    root = ET.fromstring(figure)
    scale = 320 / float(root.get("viewBox").split()[2])
    for text in root.iter(f"{SVG}text"):
        size = float(text.get("style").split("font-size: ")[1].split("px")[0])
        assert size * scale >= 10, (name, text.text, size * scale)


def test_all_letters_of_a_panel_can_be_read_at_320_px(drawn):
    for name, figure in drawn.items():
        readable(name, figure)


def test_runs_stand_where_they_scored(results, table):
    rows = some(table, *MAIN, test="de", task="arousal")
    axis = panel(figures.runs(results, rows))
    names = [name.replace("\n", " ") for name in ticks(axis.get_yticklabels())]
    assert names == ["monolingual", "multilingual", "crosslingual from en", "crosslingual from fr",
                     "finetuned from en", "finetuned from fr"]  # fmt: skip
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    for place, (row, line) in enumerate(zip(rows, dots, strict=True)):
        assert set(line.get_ydata()) == {place}
        np.testing.assert_allclose(line.get_xdata(), fold_means(results.cells[row.slug]))


def test_the_papers_scores_are_drawn_if_there_are_any(results, table):
    rows = [row._replace(paper=61.5) for row in some(table, "monolingual", test="de", task="arousal")]
    chart = figures.runs(results, rows)
    [diamond] = [line for line in panel(chart).lines if line.get_marker() == "D"]
    assert list(diamond.get_xdata()) == [61.5]
    assert "Diamonds: the paper" in chart.note
    assert "Diamonds" not in figures.runs(results, some(table, "monolingual")).note


def test_confusions_are_shares_of_the_true_class_beside_counts(tmp_path):
    own = invented.config(("de",), ("valence",))
    invented.claim(tmp_path, own)
    label = np.array([0] * 4 + [1] * 8)
    taken = np.array([[0] * 3 + [1] * 9, [0] * 3 + [1] * 7 + [0] * 2])
    facts = dict.fromkeys(("utterance", "speaker", "session"), label.astype(str))
    found = predictions.make_predictions(
        own.tasks[0], name="monolingual", train=("de",), test=("de",), labels=label, fold=0 * label,
        seed=np.arange(2), outputs=np.stack([1 - taken, taken], -1).astype("f4"), **facts,
    )  # fmt: skip
    predictions.write_predictions(tmp_path, found)
    results = Results(tmp_path)
    axis = panel(figures.confusions(results, results.rows(["monolingual"])))
    assert words(axis) == ["75 %\n(3)", "25 %\n(1)", "12 %\n(1)", "88 %\n(7)"]
    assert ticks(axis.get_xticklabels()) == ["negative", "positive"]
    assert axis.get_title() == "de valence\nmonolingual"


@pytest.mark.parametrize("task", ["emotion", "all", "dimensions"])
def test_many_classes_and_numbers_are_drawn(tmp_path, task):
    own = invented.config(("de", "en"), (task,))
    invented.claim(tmp_path, own)
    for setting in known.monolingual(own):
        invented.keep(tmp_path, setting, 0.7, training=True)
    results = Results(tmp_path)
    found = figures.charts(results, results.rows(["monolingual"]))
    assert ("_confusions" in found) == bool(TASKS[task].class_names)
    if task == "dimensions":
        axis = panel(found[""])
        assert (axis.get_xlabel(), axis.get_xlim()[1]) == ("CCC", 1)
        assert panel(found["_training"], 1).get_ylabel() == "development CCC"
        return
    chart = found["_confusions"]
    axis = panel(chart)
    assert ticks(axis.get_xticklabels()) == list(TASKS[task].class_names)
    assert len(words(axis)) == TASKS[task].outputs ** 2
    readable(task, figures.svg(axis.figure))
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_a_matrix_reads_from_training_to_test(results, table):
    shown = some(table, *MAIN, task="arousal")
    found = np.reshape(words(panel(figures.matrix(results, shown))), (3, 3))
    for i, train in enumerate(invented.NAMES):
        for j, test in enumerate(invented.NAMES):
            setting = "monolingual" if i == j else "crosslingual"
            [row] = some(shown, setting, train=train, test=test)
            assert found[i, j] == f"{row.score_mean:.1f}"


def test_a_tuning_reads_from_kernel_to_pool(results, table):
    rows = tuned(table, test="de", task="arousal")
    axis = panel(figures.tuning(results, rows))
    kernels, pools = ticks(axis.get_yticklabels()), ticks(axis.get_xticklabels())
    assert (kernels, pools) == (["5", "10", "20"], ["15", "30", "60"])
    by_name = {row.setting: f"{row.score_mean:.1f}" for row in rows}
    assert words(axis) == [by_name[f"tuning_k{kernel}_p{pool}"] for kernel in kernels for pool in pools]
    rows = [row._replace(score_mean=np.nan) for row in rows[:1]]
    assert words(panel(figures.tuning(results, rows))) == ["?"]


def test_a_learning_curve_leads_from_none_to_many_and_leaves_gaps(results, table):
    names = ("crosslingual", "finetuned_200", "finetuned_10", "finetuned_50")
    rows = some(table, *names, train="en", test="de", task="arousal")
    axis = panel(figures.learning_curve(results, rows))
    assert ticks(axis.get_xticklabels()) == ["0", "10", "50", "200"]
    by_name = {row.setting: row.pooled for row in rows}
    wanted = [by_name[name] for name in ("crosslingual", "finetuned_10", "finetuned_50", "finetuned_200")]
    np.testing.assert_allclose(axis.containers[0].lines[0].get_ydata(), wanted)
    rows = some(table, "crosslingual", "finetuned_400", train="de", test="en", task="arousal")
    assert rows[1].missing
    axis = panel(figures.charts(results, rows, "learning_curve")[""])
    assert len(axis.containers[0].lines[0].get_xdata()) == 1


def test_training_is_the_mean_over_the_runs_of_a_task(results):
    one = invented.log()
    found = figures.training(results, ["monolingual", "crosslingual"]).panels
    titles = [one.title for one in found]
    assert titles == [f"monolingual {name}" for name in ("de", "de", "en", "en", "fr", "fr")] + [
        f"crosslingual {name}"
        for name in invented.NAMES  # without development speakers
    ]
    loss, score = (panel(figures.training(results, ["monolingual"]), place) for place in (0, 1))
    assert [line.get_label() for line in loss.lines if not line.get_label().startswith("_")] == list(TASKS)[
        :2
    ]
    np.testing.assert_allclose(loss.lines[0].get_ydata(), one.loss.mean(axis=0))
    np.testing.assert_allclose(loss.lines[1].get_ydata(), one.dev_loss.mean(axis=0))
    assert score.get_ylabel() == "development UAR, %"
    np.testing.assert_allclose(score.lines[0].get_ydata(), 100 * one.dev_score.mean(axis=0))


def test_attention_stands_beside_chance():
    shares, expected = np.array([[0.5, 0.3, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]]), np.array([0.4, 0.3, 0.2, 0.1])
    parts = {"largest": shares, "largest_valid": shares[:, ::-1], "expected": expected}
    every, valid = figures.drawn(figures.attention({"de": attention(**parts)})).axes
    np.testing.assert_allclose([bar.get_height() for bar in every.patches], [60, 20, 10, 10])
    np.testing.assert_allclose([bar.get_height() for bar in valid.patches], [10, 10, 20, 60])
    heights = [[line[0][1] for line in axis.collections[-1].get_segments()] for axis in (every, valid)]
    np.testing.assert_allclose(heights, [[25] * 4, [40, 30, 20, 10]])


def test_every_figure_of_synthetic_speech_says_so(results, table):
    chart = every(results, table)["runs"]
    assert figures.drawn(chart, ["de"]).get_supxlabel().startswith("Synthetic speech.")
    assert not figures.drawn(chart).get_supxlabel().startswith("Synthetic speech.")


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@given(st.floats(0, 100))
def test_numbers_on_a_heat_map_can_be_read(value):
    axis = Figure().subplots()
    figures.heat(axis, np.array([[value]]), ["x"], ["y"], ["1"], (0, 100))
    [field] = axis.collections
    assert contrast(axis.texts[0].get_color(), field.to_rgba(value)) >= 4.5


@pytest.mark.parametrize("ground", ["#ffffff", "#f5f6f8", "#1d2026", "#14161a"])
def test_colours_are_seen_on_light_and_on_dark_ground(ground):
    for colour, _ in [*figures.MARKS.values(), *figures.OTHERS]:
        assert contrast(colour, ground) >= 3, colour
