"""Figures against the results that they show: every number in its place, every text readable."""

import dataclasses
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
from predicted_by_hand import claimed, keep

from ser_jax.experiment import settings as known
from ser_jax.metrics import ccc
from ser_jax.model import AttentiveCNN
from ser_jax.report import Results, figures
from ser_jax.report.tables import fold_means
from ser_jax.statistics import Interval
from ser_jax.tasks import TASKS

SVG = "{http://www.w3.org/2000/svg}"
MAIN = ("monolingual", "multilingual", "crosslingual", "finetuned")
TWELVE = tuple(f"corpus_{i}" for i in range(12))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(invented.everything(tmp_path_factory.mktemp("results")))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Every corpus of twelve tested on every other, of nine classes."""
    out = tmp_path_factory.mktemp("many")
    own = invented.config(TWELVE, ("all",), seeds=1)
    invented.claim(out, own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "occurring", lambda config, task, corpora: task)  # all emotions in all corpora
        for setting in [*known.monolingual(own), *known.crosslingual(own)]:
            invented.keep(out, setting, 0.7, training=setting.name == "monolingual")
        # Intervals take long and do not matter here.
        for name in ("interval", "chance_interval"):
            patch.setattr(f"ser_jax.report.tables.{name}", lambda *args, **kwargs: Interval(0.1, 0.2))
        yield Results(out)


def rows(results, *settings, **where):
    found = results.rows(settings)
    return [row for row in found if all(getattr(row, key) == value for key, value in where.items())]


def tuned(results):
    return rows(results, *(name for name in results.settings if name.startswith("tuning")), test=("de",))


def panel(chart, place=0):
    """The axes of one panel."""
    title, content = list(chart.panels.items())[place]
    return figures.drawn(chart._replace(panels={title: content})).axes[0]


def texts(labels):
    return [text.get_text() for text in labels]


@pytest.fixture(scope="module")
def charts(results):
    de = {"test": ("de",)}
    return {
        "runs": figures.runs(results, rows(results, *MAIN, **de)),
        "confusions": figures.confusions(results, rows(results, *MAIN, **de)),
        "training": figures.training(results, {"monolingual"}),
        "curve": figures.learning_curve(results, rows(results, "crosslingual", "finetuned_10", **de)),
        "matrix": figures.matrix(results, rows(results, *MAIN)),
        "tuning": figures.tuning(results, tuned(results)),
        "attention": figures.attention({"de": attention()}),
    }


def attention(**parts):
    return {name: np.array(part) for name, part in (invented.attention(["de"])["de"] | parts).items()}


def test_the_same_results_are_drawn_to_the_same_bytes(charts):
    before = dict(mpl.rcParams)
    one, other = (figures.svg(figures.drawn(charts["runs"])) for _ in range(2))
    assert one == other
    assert dict(mpl.rcParams) == before
    assert not any(word in one.lower() for word in (b"<dc:date", b"<dc:creator"))
    assert figures.drawn(charts["runs"], ["de"]).get_supxlabel().startswith("Synthetic speech.")


def apart(axis):
    """Assert that no two texts on the axes overlap."""
    axis.figure.canvas.draw()
    shown = [*axis.texts, axis.title]
    for i, labels in enumerate((axis.get_xticklabels(), axis.get_yticklabels())):
        low, high = sorted((axis.get_xlim(), axis.get_ylim())[i])
        shown += [label for label in labels if low <= label.get_position()[i] <= high]
    boxes = [text.get_window_extent() for text in shown if text.get_text()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("name", ["runs", "confusions", "training", "curve", "matrix", "tuning", "attention"])
def test_every_text_is_readable_at_320_px(charts, name):
    axis = panel(charts[name])
    apart(axis)
    root = ET.fromstring(figures.svg(axis.figure))
    scale = 320 / float(root.get("viewBox").split()[2])
    for text in root.iter(f"{SVG}text"):
        size = float(text.get("style").split("font-size: ")[1].split("px")[0])
        assert size * scale >= 10, text.text


def test_twelve_corpora_and_nine_classes_are_readable(many):
    found = figures.charts(many, many.rows(["monolingual", "crosslingual"]))
    assert {name: list(chart.panels) for name, chart in found.items() if name} == {
        "_matrix": ["crosslingual all"],
        "_confusions": ["all\nmonolingual", "all\ncrosslingual"],
        "_training": ["monolingual\nloss", "monolingual\nUAR"],
    }
    assert len(panel(found["_matrix"]).texts) == 12 * 12
    assert len(panel(found["_confusions"]).texts) == len(TASKS["all"].class_names) ** 2
    for chart in found.values():
        apart(panel(chart))
    lanes = panel(found[""])
    assert texts(lanes.get_yticklabels()) == ["monolingual", "crosslingual"]
    places = [line.get_ydata()[0] for line in lanes.lines[:12]]  # the dots of each training corpus
    assert len(set(places)) == 12
    assert np.all(np.round(places) == [0] + [1] * 11)


def test_runs_stand_where_they_scored(results):
    shown = rows(results, *MAIN, test=("de",))
    axis = panel(figures.runs(results, shown))
    assert texts(axis.get_yticklabels()) == [
        "monolingual", "multilingual", "crosslingual\nfrom en", "crosslingual\nfrom fr",
        "finetuned\nfrom en", "finetuned\nfrom fr",
    ]  # fmt: skip
    for place, (row, line) in enumerate(zip(shown, axis.lines, strict=False)):
        assert set(line.get_ydata()) == {place}
        np.testing.assert_allclose(line.get_xdata(), fold_means(results.cells[row.slug]))
    chart = figures.runs(results, [row._replace(paper=61.5) for row in shown[:1]])
    [diamond] = [line for line in panel(chart).lines if line.get_marker() == "D"]
    assert list(diamond.get_xdata()) == [61.5]
    assert "Diamonds: the paper" in chart.note
    assert "Diamonds" not in figures.runs(results, shown).note


def test_numbers_have_an_axis_of_their_own(tmp_path):
    own = invented.config(("de",), ("dimensions",))
    invented.claim(tmp_path, own)
    invented.keep(tmp_path, known.monolingual(own)[0], 0.7, training=True)
    found = figures.charts(Results(tmp_path), Results(tmp_path).rows(["monolingual"]))
    axis, files = panel(found[""]), ["", "_scatter", "_training"]
    assert (list(found), axis.get_xlabel(), axis.get_xlim()[1]) == (files, "CCC", 1)


def test_every_dimension_has_a_dot_for_each_rated_utterance_and_run(tmp_path):
    own = invented.config(("de",), ("arousal", "dimensions"))
    invented.claim(tmp_path, own)
    for setting in known.monolingual(own):
        invented.keep(tmp_path, setting, 0.7)
    results = Results(tmp_path)
    chart = figures.scatter(results, results.rows(["monolingual"]))
    cell = results.cells["monolingual-de-de-dimensions"]
    for k, name in enumerate(("arousal", "valence")):  # nobody rated dominance
        score = ccc(cell.labels[:, k], cell.predictions[..., k]).mean()
        assert list(chart.panels)[k] == f"de {name}, CCC {score:.3f}\nmonolingual"
        [dots, _] = panel(chart, k).lines
        np.testing.assert_array_equal(dots.get_xdata(), np.tile(cell.labels[:, k], 3))
        np.testing.assert_array_equal(dots.get_ydata(), cell.predictions[..., k].ravel())
    assert len(chart.panels) == 2
    apart(panel(chart))
    one, other = (figures.svg(figures.drawn(chart)) for _ in range(2))
    assert one == other
    assert len(one) < 300_000  # dots are pixels, however many there are


def test_confusions_are_shares_of_the_true_class_beside_counts(tmp_path):
    high = np.array([[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0, 1, 1]])  # of five low and three high
    results = Results(keep(claimed(tmp_path), high=high))
    axis = panel(figures.confusions(results, results.rows(["monolingual"])))
    assert texts(axis.texts) == ["70 %\n(4)", "30 %\n(2)", "33 %\n(1)", "67 %\n(2)"]
    assert texts(axis.get_xticklabels()) == ["low", "high"]
    assert axis.get_title() == "de arousal\nmonolingual"


def test_a_matrix_reads_from_training_to_test(charts, results):
    found = np.reshape(texts(panel(charts["matrix"]).texts), (3, 3))
    for (i, train), (j, test) in itertools.product(enumerate(invented.NAMES), repeat=2):
        setting = "monolingual" if i == j else "crosslingual"
        [row] = rows(results, setting, train=(train,), test=(test,))
        assert found[i, j] == f"{row.score_mean:.1f}"
    assert list(charts["matrix"].panels) == ["crosslingual arousal", "finetuned arousal"]


def test_a_tuning_reads_from_kernel_to_pool(results):
    axis = panel(figures.tuning(results, tuned(results)))
    kernels, pools = texts(axis.get_yticklabels()), texts(axis.get_xticklabels())
    assert (kernels, pools) == (["5", "10", "20"], ["15", "30", "60"])
    by_name = {row.setting: f"{row.score_mean:.1f}" for row in tuned(results)}
    assert texts(axis.texts) == [by_name[f"tuning_k{k}_p{p}"] for k in kernels for p in pools]


def test_a_learning_curve_leads_from_none_to_many_and_leaves_gaps(results):
    names = ("crosslingual", "finetuned_10", "finetuned_50", "finetuned_200")
    shown = rows(results, *names, train=("en",), test=("de",))
    axis = panel(figures.learning_curve(results, shown[::-1]))
    assert texts(axis.get_xticklabels()) == ["0", "10", "50", "200"]
    np.testing.assert_allclose(axis.containers[0].lines[0].get_ydata(), [row.pooled for row in shown])
    missing = rows(results, "crosslingual", "finetuned_400", train=("de",), test=("en",))
    axis = panel(figures.charts(results, missing, "learning_curve")[""])
    assert len(axis.containers[0].lines[0].get_xdata()) == 1


def test_training_is_the_mean_over_the_runs_that_did_not_diverge(results):
    one = invented.log()
    found = figures.training(results, {"monolingual", "crosslingual"})
    developed = [f"monolingual {name}\n{label}" for name in invented.NAMES for label in ("loss", "UAR")]
    assert list(found.panels) == [*developed, *(f"crosslingual {name}\nloss" for name in invented.NAMES)]
    loss, score = panel(found), panel(found, 1)
    np.testing.assert_allclose(loss.lines[0].get_ydata(), one.loss.mean(axis=0))
    np.testing.assert_allclose(loss.lines[1].get_ydata(), one.dev_loss.mean(axis=0))
    assert score.get_ylabel() == "development UAR, %"
    np.testing.assert_allclose(score.lines[0].get_ydata(), 100 * one.dev_score.mean(axis=0))
    diverged = dataclasses.replace(one, loss=np.where(np.arange(6)[:, None] == 2, np.nan, one.loss))
    kept = panel(found._replace(panels={"monolingual de\nloss": {"arousal": [diverged]}}))
    np.testing.assert_allclose(kept.lines[0].get_ydata(), np.delete(one.loss, 2, axis=0).mean(axis=0))


def test_attention_stands_beside_chance():
    shares, expected = np.array([[0.5, 0.3, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]]), np.array([0.4, 0.3, 0.2, 0.1])
    parts = {"largest": shares, "largest_valid": shares[:, ::-1], "expected": expected}
    every, valid = figures.drawn(figures.attention({"de": attention(**parts)})).axes
    np.testing.assert_allclose([bar.get_height() for bar in every.patches], [60, 20, 10, 10])
    np.testing.assert_allclose([bar.get_height() for bar in valid.patches], [10, 10, 20, 60])
    heights = [[line[0][1] for line in axis.collections[-1].get_segments()] for axis in (every, valid)]
    np.testing.assert_allclose(heights, [[25] * 4, [40, 30, 20, 10]])


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (AttentiveCNN(), ["26 x 750", "26 x 10", "200 x 247", "200 x 8", "200 x 9"]),
        (AttentiveCNN(frames=3000, outputs=9, pool=9), ["26 x 3000", "200 x 997", "200 x 110", "200 x 111"]),
        (AttentiveCNN(bands=1024, frames=110, outputs=1), ["1024 x 110", "200 x 34", "200 x 1", "200 x 2"]),
    ],
    ids=["paper", "large", "small"],
)  # fmt: skip
def test_a_network_is_drawn_with_its_sizes(results, model, sizes):
    chart = figures.networks(results)
    assert list(chart.panels) == ["2 outputs, softmax"]
    axis = panel(chart._replace(panels={"": (model, "softmax")}))
    drawn = texts(axis.texts)
    assert all(any(size in text for text in drawn) for size in sizes), drawn
    assert sum("alpha" in text for text in drawn) == min(model.segments, 7 if model.segments > 8 else 8)
    apart(axis)


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@given(st.floats(0, 100))
def test_numbers_on_a_heat_map_have_contrast(value):
    axis = Figure().subplots()
    figures.heat(axis, np.array([[value]]), ["x"], ["y"], ["1"], (0, 100))
    [field] = axis.collections
    assert contrast(axis.texts[0].get_color(), field.to_rgba(value)) >= 4.5
    assert all(contrast(colour, "white") >= 3 for colour, _ in [*figures.MARKS.values(), *figures.OTHERS])
