"""Draw the figures of results: charts of panels, side by side in a file and one by one on the page.

A task has the same colour and marker in every figure. Of `Results.many` corpora, figures summarise the
training corpora of a setting.

References: M. Okabe and K. Ito, "Color Universal Design" (2008), for colours that colour-blind people can
tell apart; the blue is lighter here.
"""

import io
import itertools
import math
import textwrap
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ser_jax import metrics
from ser_jax.experiment.results import Predictions, TrainingLog
from ser_jax.io import atomic_file
from ser_jax.model import AttentiveCNN
from ser_jax.report.tables import (
    Results,
    Row,
    columns,
    fold_means,
    heading,
    labels,
    number,
    scale,
    task_name,
)
from ser_jax.report.transfer import families_of
from ser_jax.shapes import Float

WIDTH, ACROSS = 3.4, 13.6  # inches: of a panel, 326 px on a screen, and of a file
COLOURS = ("#1f83c4", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f")
MARKS = {"arousal": (COLOURS[0], "o"), "valence": (COLOURS[1], "s"), "language": (COLOURS[2], "^")}
OTHERS = (("#009e73", "^"), ("#bf649a", "D"), ("#7f7f7f", "v"))  # of tasks without a mark of their own
DARK = 0.715  # from this share of the colour map on, white text is read more easily than black
STYLE: Any = {
    "font.size": 9, "font.sans-serif": ["DejaVu Sans"], "axes.titlesize": 10, "figure.labelsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "svg.hashsalt": "ser_jax", "svg.fonttype": "none",
}  # fmt: skip
CHANCE: dict[str, Any] = {"color": "gray", "linewidth": 0.8, "linestyle": ":"}
SIZES = ("bands", "frames", "outputs", "channels", "kernel", "stride", "pool")
ATTENTIVE_CNN = f"{AttentiveCNN.__module__}:{AttentiveCNN.__qualname__}"


class Chart(NamedTuple):
    """Panels of one kind."""

    title: str
    note: str  # how to read them
    draw: Callable[[Axes, Any], None]  # draws the content of a panel
    panels: Mapping[str, Any]  # contents by title
    height: float = 2.4  # inches, of a panel
    width: float = WIDTH


def charts(results: Results, rows: Sequence[Row], figure: str | None = None) -> dict[str, Chart]:
    """Return the charts of a table that have something to show, by the suffix of their files.

    A `figure` of "tuning" or "learning_curve" is the chart of such an experiment alone.
    """
    scored = [row for row in rows if not row.missing]
    own = [row for row in scored if not results.beside(row)]
    if figure is not None:
        found = {"": {"tuning": tuning, "learning_curve": learning_curve}[figure](results, own)}
    else:
        found = {
            "": runs(results, scored),
            "_matrix": matrix(results, scored),
            "_confusions": confusions(results, own),
            "_scatter": scatter(results, own),
            "_training": training(results, {row.setting for row in rows if not results.beside(row)}),
        }
    return {name: chart for name, chart in found.items() if chart.panels}


def drawn(chart: Chart, synthetic: Sequence[str] = ()) -> Figure:
    """Draw the panels of a chart above its note, which tells whether speech is synthetic."""
    across = min(len(chart.panels), max(1, int(ACROSS / chart.width)))
    down = math.ceil(len(chart.panels) / across)
    note = f"Synthetic speech. {chart.note}" if synthetic else chart.note
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(chart.width * across, 0.5 + chart.height * down), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
        for axis, (title, content) in zip(axes, chart.panels.items(), strict=False):
            axis.set_title(title)
            chart.draw(axis, content)
        for axis in axes[len(chart.panels) :]:
            axis.remove()
        figure.supxlabel(textwrap.fill(note, int(17 * figure.get_figwidth())))
    return figure


def svg(figure: Figure) -> bytes:
    """Return a figure as an SVG file, with the same bytes every time; text stays text."""
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PATH.png and PATH.svg."""
    with atomic_file(path.with_name(f"{path.name}.png")) as stream:
        figure.savefig(stream, format="png")
    figure.set_layout_engine("none")  # it has its layout already
    with atomic_file(path.with_name(f"{path.name}.svg")) as stream:
        stream.write(svg(figure))


def runs(results: Results, rows: Sequence[Row]) -> Chart:
    """Return a chart of every run's score with its 95 % interval, a panel per column."""
    names = {row.slug: row.setting for row in rows} if results.many else labels(rows)

    def draw(axis: Axes, column: Sequence[Row]) -> None:
        lanes = list(dict.fromkeys(names[row.slug] for row in column))
        place = np.array([lanes.index(names[row.slug]) for row in column], float)
        for lane in range(len(lanes)):  # training corpora of the same lane lie below each other
            place[place == lane] += np.linspace(-0.4, 0.4, 2 * np.sum(place == lane) + 1)[1::2]
        size, (colour, mark) = 3 if results.many else 5, style(column[0].task)
        bands: Any = zip(*[(row.low, row.high) for row in column], strict=True)
        axis.hlines(place, *bands, color="lightgray", linewidth=2 * size)
        for row, y in zip(column, place, strict=True):
            each = fold_means(results.cells[row.slug])
            axis.plot(each, np.full(len(each), y), mark, color=colour, alpha=0.8, markersize=size, mew=0)
        axis.plot([row.score_mean for row in column], place, "|", color=colour, markersize=3 * size, mew=2)
        axis.plot([row.paper for row in column], place, "D", color="black", fillstyle="none", markersize=6)
        axis.axvline(column[0].chance, **CHANCE)
        axis.set_yticks(range(len(lanes)), [name.replace(" from ", "\nfrom ") for name in lanes])
        axis.set(ylim=(len(lanes) - 0.4, -0.6), xlim=limits(column[0], axis.get_xlim()))
        axis.set_xlabel(unit(column[0].metric))

    note = "Dots: runs. Lines: their mean over folds. Grey: 95 % interval, pooled. Dotted: chance."
    if results.many:
        note += " A line of dots per training corpus."
    if any(not math.isnan(row.paper) for row in rows):
        note += " Diamonds: the paper, on IEMOCAP and RECOLA."
    lanes = max((len({names[row.slug] for row in column}) for column in columns(rows)), default=0)
    height = 0.9 + (0.8 if results.many else 0.36) * lanes
    return Chart("Scores of every run", note, draw, by_column(results, rows), height)


def by_column(results: Results, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each pair of test corpus and task, by its heading."""
    return {heading(results, column[0]): column for column in columns(rows)}


def unit(metric: str) -> str:
    """Return the label of an axis of scores."""
    return f"{metric}, %" if scale(metric) == 100 else metric


def limits(row: Row, reached: tuple[float, float]) -> tuple[float, float]:
    """Return the limits of an axis of scores: from below chance to the greatest possible score, if known."""
    low, high = {"UAR": (0.7 * row.chance, 100.0), "CCC": (-0.2, 1.0)}.get(row.metric, reached)
    return min(low, reached[0]), high


def style(task: str) -> tuple[str, str]:
    """Return colour and marker of a task."""
    return MARKS.get(task) or OTHERS[zlib.crc32(task.encode()) % len(OTHERS)]


def confusions(results: Results, rows: Sequence[Row]) -> Chart:
    """Return a chart of confusion matrices, a panel per cell; of many corpora, per setting and task."""
    names, panels = labels(rows), dict[str, list[Predictions]]()
    classes = {(row.task, results.cells[row.slug].class_names) for row in rows}
    different = Counter(task for task, _ in classes)  # a task may have other classes in some corpora
    for row in (row for column in columns(rows) for row in column):
        pooled, single = f"{task_name(row)}\n{row.setting}", f"{heading(results, row)}\n{names[row.slug]}"
        if (cell := results.cells[row.slug]).class_names:
            together = results.many and different[row.task] == 1
            panels.setdefault(pooled if together else single, []).append(cell)

    def draw(axis: Axes, cells: Sequence[Predictions]) -> None:
        classes = cells[0].class_names
        each = [metrics.confusion(cell.labels, cell.predictions, len(classes)) for cell in cells]
        counts = np.sum([runs.mean(axis=0) for runs in each], axis=0)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        text = "{:.0f} %\n({:.0f})" if len(classes) <= 4 else "{:.0f}"
        texts = [text.format(*pair) for pair in zip(shares.flat, counts.flat, strict=True)]
        heat(axis, shares, classes, classes, texts, (0, 100))

    note = "Rows: true class. Columns: predicted class. Per cent of the row; in brackets, utterances."
    return Chart("Confusion matrices", note, draw, panels, 3.0)


def scatter(results: Results, rows: Sequence[Row]) -> Chart:
    """Return a chart of predicted against rated numbers, a panel per dimension of what `confusions` shows."""
    names, panels = labels(rows), dict[str, list[tuple[np.ndarray, np.ndarray]]]()
    for row in (row for column in columns(rows) for row in column):
        cell = results.cells[row.slug]
        for k, dimension in enumerate(cell.dimensions):
            if (known := np.isfinite(cell.labels[:, k])).any():
                pair = cell.labels[known, k], cell.predictions[:, known, k]
                score = f"CCC {number(row, float(metrics.ccc(*pair).mean()))}"
                single = f"{results.title(row.test)} {dimension}, {score}\n{names[row.slug]}"
                panels.setdefault(f"{dimension}\n{row.setting}" if results.many else single, []).append(pair)

    def draw(axis: Axes, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        look: dict[str, Any] = {"alpha": 0.2, "markersize": 3, "mew": 0, "color": COLOURS[0]}
        for true, predicted in pairs:
            axis.plot(np.tile(true, len(predicted)), predicted.ravel(), "o", rasterized=True, **look)
        axis.axline((0, 0), slope=1, **CHANCE)
        axis.set(xlabel="rated", ylabel="predicted")

    note = "A dot per utterance and run. Dotted: equal. CCC: over all utterances, the mean over runs."
    return Chart("Predicted and rated dimensions", note, draw, panels, 2.8)


def training(results: Results, settings: set[str]) -> Chart:
    """Return a chart of losses and development scores by epoch, two panels per setting and metric."""
    metric = {cell.task: cell.metric for cell in results.cells.values()}
    panels: dict[str, dict[str, list[TrainingLog]]] = {}
    for name, about in results.document["settings"].items():
        if about["name"] in settings and name in results.logs:
            title = about["name"] if results.many else f"{about['name']} {'+'.join(about['train'])}"
            log, task = results.logs[name], about["task"]["name"]
            shown = ["loss", metric.get(task, "score")] if np.isfinite(log.dev_score).any() else ["loss"]
            for label in shown:
                panels.setdefault(f"{title}\n{label}", {}).setdefault(task, []).append(log)

    def draw(axis: Axes, logs: Mapping[str, Sequence[TrainingLog]]) -> None:
        label = axis.get_title().partition("\n")[2]
        lines = {"loss": "-", "dev_loss": "--"} if label == "loss" else {"dev_score": "--"}
        for (task, own), (part, line) in itertools.product(sorted(logs.items()), lines.items()):
            factor = 1 if label == "loss" else scale(label)
            values = factor * np.concatenate([getattr(log, part) for log in own])
            values = values[np.isfinite(values).all(axis=1)]  # without runs that diverged
            epochs = 1 + np.arange(values.shape[1]) if part == "loss" else own[0].dev_epochs
            if values.size:
                (colour, mark), band = style(task), np.quantile(values, (0.1, 0.9), axis=0)
                axis.fill_between(epochs, *band, color=colour, alpha=0.15, linewidth=0)
                name = None if part == "dev_loss" else task
                axis.plot(epochs, values.mean(axis=0), mark + line, color=colour, markersize=3, label=name)
        axis.set(xlabel="epoch", ylabel="loss" if label == "loss" else f"development {unit(label)}")
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        axis.legend()

    note = "Lines: the mean over runs. Bands: the middle 80 % of the runs. Dashed: development speakers."
    return Chart("Training", note, draw, panels)


def learning_curve(results: Results, rows: Sequence[Row]) -> Chart:
    """Return a chart of pooled scores by the number of utterances for fine-tuning, a panel per column."""
    samples = {row.slug: results.description(row).get("samples") or 0 for row in rows}
    counts = sorted(set(samples.values()))

    def draw(axis: Axes, column: Sequence[Row]) -> None:
        sources = list(dict.fromkeys(row.train for row in column))
        for i, train in enumerate(sources):
            line = sorted((row for row in column if row.train == train), key=lambda row: samples[row.slug])
            x = [counts.index(samples[row.slug]) + 0.4 * ((i + 0.5) / len(sources) - 0.5) for row in line]
            low, y, high = np.array([(row.low, row.pooled, row.high) for row in line]).T
            bars = None if results.many else np.abs([y - low, high - y])
            look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "capsize": 2, "elinewidth": 1}
            axis.errorbar(x, y, bars, label=f"from {'+'.join(train)}", **look)
        axis.axhline(column[0].chance, **CHANCE)
        if not results.many:
            axis.legend(loc="lower right")
        axis.set_xticks(range(len(counts)), list(map(str, counts)))
        axis.set(xlabel="utterances per fold", ylabel=unit(column[0].metric))
        axis.set_ylim(limits(column[0], axis.get_ylim()))

    lines = "A line per training corpus." if results.many else "Bars: 95 % intervals."
    note = f"Scores pooled over utterances, the mean over runs. {lines} Dotted: chance."
    return Chart("Scores by utterances per fold", note, draw, by_column(results, rows), 2.6)


def matrix(results: Results, rows: Sequence[Row]) -> Chart:
    """Return a chart of the score of every corpus on every other, if there are more than two."""
    n, panels = len(results.names), dict[str, dict[tuple[str, str], Row]]()
    for setting in ("crosslingual", "finetuned") if n > 2 else ():
        for row in rows:
            if row.setting in (setting, "monolingual"):
                panels.setdefault(f"{setting} {task_name(row)}", {})[row.train[0], row.test[0]] = row
    order = list(families_of(results))
    draw = partial(_draw_grid, down="trained on", across="tested on", key=order.index)
    note = "Means over runs, by language family. Diagonal: within a corpus, by cross-validation."
    shown = {title: grid for title, grid in panels.items() if len(grid) > n}
    size = 1.3 + 0.34 * n, max(WIDTH, 1.2 + 0.44 * n)
    return Chart("Scores of every corpus on every corpus", note, draw, shown, *size)


def tuning(results: Results, rows: Sequence[Row]) -> Chart:
    """Return a chart of the score by kernel width and pool size, a panel per column."""
    panels: dict[str, dict[tuple[int, int], Row]] = {}
    for row in rows:
        model = results.description(row)["model"]
        panels.setdefault(heading(results, row), {})[model["kernel"], model["pool"]] = row
    draw = partial(_draw_grid, down="kernel width, frames", across="pool size, positions")
    return Chart("Scores by kernel width and pool size", "Means over runs.", draw, panels)


def _draw_grid(
    axis: Axes, grid: Mapping[tuple[Any, Any], Row], down: str, across: str, key: Any = None
) -> None:
    """Draw the scores of rows by (y, x) as a heat map; `key` sorts both."""
    ys, xs = (sorted(set(part), key=key) for part in zip(*grid, strict=True))
    every = [grid.get(place) for place in itertools.product(ys, xs)]
    texts = ["-" if row is None else number(row, row.score_mean) for row in every]
    values = np.array([np.nan if row is None else row.score_mean for row in every])
    heat(axis, values.reshape(len(ys), len(xs)), xs, ys, texts)
    axis.set(xlabel=across, ylabel=down)


def heat(
    axis: Axes, values: Float[np.ndarray, "Y X"], xs: Sequence, ys: Sequence, texts: Sequence[str],
    ends: tuple[float | None, float | None] = (None, None),
) -> None:  # fmt: skip
    """Draw a heat map with texts in its fields, row by row, the first row on top; NaN has no colour.

    The lightest and the darkest colour stand for the values `ends`, by default those of `values`.
    """
    look: dict[str, Any] = {"cmap": "Blues", "edgecolors": "white", "linewidth": 1}
    fields: Any = axis.pcolormesh(np.ma.masked_invalid(values), vmin=ends[0], vmax=ends[1], **look)
    for ((y, x), value), text in zip(np.ndenumerate(values), texts, strict=True):
        ink = "white" if fields.norm(value) >= DARK else "black"
        axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=ink)
    names = list(map(str, xs))
    axis.set_xticks(np.arange(len(xs)) + 0.5, names, rotation=90 if len("".join(names)) > 20 else 0)
    axis.set_yticks(np.arange(len(ys)) + 0.5, list(map(str, ys)))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.invert_yaxis()


def attention(shares: Mapping[str, Mapping[str, np.ndarray]]) -> Chart:
    """Return a chart of how often each segment has the largest weight, with and without padding."""
    panels = {}
    for name, own in shares.items():
        even = np.full_like(own["expected"], 1 / len(own["expected"]))
        panels[f"{name}\nall segments"] = own["largest"], even
        panels[f"{name}\nwithout segments of padding"] = own["largest_valid"], own["expected"]

    def draw(axis: Axes, content: tuple[np.ndarray, np.ndarray]) -> None:
        found, chance = 100 * content[0], 100 * content[1]
        segments = 1 + np.arange(len(chance))
        spread = found.std(axis=0, ddof=1) if len(found) > 1 else None
        axis.bar(segments, found.mean(axis=0), yerr=spread, color=COLOURS[0], capsize=2)
        axis.hlines(chance, segments - 0.4, segments + 0.4, color=COLOURS[1], linewidth=2)
        axis.set(xticks=segments, xlabel="segment of the largest weight", ylabel="utterances, %")

    note = "Bars: mean and standard deviation over runs. Lines: chance."
    return Chart("How often each segment has the largest weight", note, draw, panels)


def networks(results: Results) -> Chart:
    """Return a chart of the networks of a folder that are `AttentiveCNN`s, without those of a tuning."""
    panels = {}
    for about in results.document["settings"].values():
        if about["model"]["class"] == ATTENTIVE_CNN and not about["tuned"]:
            model = AttentiveCNN(**{name: about["model"][name] for name in SIZES})
            task = about["task"]
            output = "linear" if "dimensions" in task or "parts" in task else "softmax"
            panels[f"{model.outputs} outputs, {output}"] = model, output
    note = "Sizes: bands or channels x frames, positions or segments."
    return Chart("Networks", note, draw_network, panels, 3.4, 10.5)


def draw_network(axis: Axes, content: tuple[AttentiveCNN, str]) -> None:
    """Draw the layers of an attentive CNN and its last one, with their sizes, as in the paper's Fig. 1."""
    (model, last), (blue, orange, *_, grey) = content, COLOURS
    axis.set_axis_off()
    axis.set(xlim=(0, 104), ylim=(0, 35))
    text = partial(axis.text, ha="center", va="center")
    look = {"arrowstyle": "<|-", "color": grey, "shrinkA": 0, "shrinkB": 0}
    arrow = partial(axis.annotate, "", arrowprops=look)

    def box(x: float, y: float, width: float, height: float, colour: str) -> None:
        face = 0.7 + 0.3 * np.array(to_rgb(colour))
        axis.add_patch(Rectangle((x, y), width, height, facecolor=face, edgecolor=colour))

    s, k, c = model.segments, model.outputs, model.channels
    positions = (model.frames - model.kernel) // model.stride + 1
    kernel = f"kernel {model.bands} x {model.kernel}, stride {model.stride}"
    for x, *lines in (
        (8.5, "input", f"{model.bands} x {model.frames}"),
        (27.5, "convolution, ReLU", kernel, f"{c} x {positions}"),
        (50, "max pooling", f"of {model.pool} positions", f"{c} x {s}"),
        (67.5, "attention", "weighted sum", f"{c}"),
        (81.5, "concatenation", f"{c} x {s + 1}"),
        (95.5, last, f"{k}"),
    ):
        text(x, 8, "\n".join(lines), va="top", linespacing=1.4)
    box(1, 12, 15, 14, blue)
    box(6, 12, 2, 14, orange)  # the kernel at its first two positions
    box(4, 12, 2, 14, orange)
    for shift in (2.4, 1.2, 0):
        box(21 + shift, 12 + shift, 11, 12, blue)
    segments = list(range(1, s + 1)) if s <= 8 else [1, 2, 3, 4, 5, 6, None, s]
    xs = 50 + 2.6 * (np.arange(len(segments)) - (len(segments) - 1) / 2)
    for x, segment in zip(xs, segments, strict=True):
        if segment is None:
            text(x, 16.5, "…")
            continue
        box(x - 0.9, 11, 1.8, 11, blue)
        text(x, 26, rf"$\alpha_{{{segment}}}$")
        arrow((x, 22.3), (x, 24.5))
        arrow((x, 27.5), (65.5, 31))
    text(67.5, 31, r"$\Sigma$", bbox={"boxstyle": "circle", "facecolor": "white", "edgecolor": orange})
    box(80, 22, 3, 8, orange)
    box(80, 10, 3, 12, blue)
    box(94, 20 - min(k, 10), 3, 2 * min(k, 10), grey)
    arrow((83.5, 20), (93.6, 20))
    arrow((16.5, 19), (20.5, 19))
    arrow((35, 19), (39, 19))
    arrow((69.5, 31), (79.6, 26))
    arrow((xs[-1] + 1.5, 16.5), (79.6, 16.5))
