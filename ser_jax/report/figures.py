"""Figures of results: charts of panels that a file shows side by side and the page one by one.

A task has one colour and mark throughout, which colour-blind people can tell apart as well.

References: M. Okabe and K. Ito, "Color Universal Design" (2008), for the colours; their blue is lighter here,
so that it is visible on a dark ground as well.
"""

import io
import math
import textwrap
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ser_jax import metrics
from ser_jax.experiment.results import Predictions
from ser_jax.report.results import Results, Row, columns, fold_means, labels, scale
from ser_jax.report.tables import heading, number

WIDTH, BESIDE = 3.4, 4  # inches of a panel, 326 px on a screen; panels beside each other in a file
COLOURS = ("#1f83c4", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f")
MARKS = {"arousal": (COLOURS[0], "o"), "valence": (COLOURS[1], "s"), "language": (COLOURS[2], "^")}
OTHERS = (("#009e73", "^"), ("#bf649a", "D"), ("#7f7f7f", "v"))  # of tasks without a mark of their own
INK = "#010101"  # black on the light fields of a heat map; a page draws "#000000" in its own ink
DARK = 0.715  # from here on white is read on a field, below black; both have a contrast of 4.5 there
FEW = 4  # classes whose utterances there is room for
Curve = tuple[str, str, np.ndarray, np.ndarray]  # task, line, epochs [X], values [R, X]
GUESSING: dict[str, Any] = {"color": "gray", "linewidth": 0.8, "linestyle": ":"}


class Panel(NamedTuple):
    """A title, and what draws on axes."""

    title: str
    draw: Callable[[Axes], None]


class Chart(NamedTuple):
    """Panels of one kind.

    Attributes:
      title: what they show.
      note: what their marks mean.
      height: of a panel, inches.
      panels: one at least, to be drawn.
    """

    title: str
    note: str
    height: float
    panels: Sequence[Panel]


def charts(results: Results, rows: Sequence[Row], figure: str | None = None) -> dict[str, Chart]:
    """Return the charts of a table that have anything to show, by what is added to its name.

    Args:
      results: the folder.
      rows: of the table.
      figure: the only one, if it shows the whole table: "tuning" or "learning_curve".
    """
    there = [row for row in rows if not row.missing]
    if figure is not None:
        found = {"": {"tuning": tuning, "learning_curve": learning_curve}[figure](results, there)}
    else:
        found = {
            "": runs(results, there),
            "_matrix": matrix(results, there),
            "_confusions": confusions(results, there),
            "_training": training(results, list(dict.fromkeys(row.setting for row in rows))),
        }
    return {name: chart for name, chart in found.items() if chart.panels}


def drawn(chart: Chart, synthetic: Sequence[str] = ()) -> Figure:
    """Draw the panels of a chart, with its note below; it is marked if corpora are synthetic."""
    wide = min(BESIDE, len(chart.panels))
    high = math.ceil(len(chart.panels) / wide)
    figure = Figure(figsize=(WIDTH * wide, 0.5 + chart.height * high), layout="constrained")
    axes = figure.subplots(high, wide, squeeze=False).ravel().tolist()
    for axis, panel in zip(axes, chart.panels, strict=False):
        axis.set_title(panel.title, fontsize=10)
        axis.tick_params(labelsize=8)
        panel.draw(axis)
        axis.xaxis.label.set_fontsize(9)
        axis.yaxis.label.set_fontsize(9)
    for axis in axes[len(chart.panels) :]:
        axis.remove()
    note = f"Synthetic speech. {chart.note}" if synthetic else chart.note
    figure.supxlabel(textwrap.fill(note, int(17 * figure.get_figwidth())), fontsize=8)
    return figure


def svg(figure: Figure) -> str:
    """Return a figure as the text of an SVG file, always the same bytes; letters stay letters."""
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    stream = io.BytesIO()
    options: Any = {"svg.hashsalt": "ser_jax", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}
    with mpl.rc_context(options):
        FigureCanvasSVG(figure).print_svg(stream, metadata=nothing)
    return stream.getvalue().decode()


def runs(results: Results, rows: Sequence[Row]) -> Chart:
    """Show every run's score by setting, the interval over speakers and the paper's, by column."""
    names = labels(rows)

    def draw(own: Sequence[Row], axis: Axes) -> None:
        for place, row in enumerate(own):
            (colour, mark), each = style(row.task), fold_means(results.cells[row.slug])
            axis.plot([row.low, row.high], [place] * 2, color="gray", alpha=0.35, linewidth=9)
            axis.plot(each, np.full(len(each), place), mark, color=colour, alpha=0.8, markersize=5, mew=0)
            axis.plot([row.score_mean] * 2, [place - 0.28, place + 0.28], color=colour, linewidth=2)
            axis.plot([row.paper], [place], "D", color="black", fillstyle="none", markersize=6)
        axis.axvline(own[0].chance, **GUESSING)
        axis.set_yticks(range(len(own)), [names[row.slug].replace(" from ", "\nfrom ") for row in own])
        axis.set_ylim(len(own) - 0.4, -0.6)
        axis.set_xlim(*limits(own[0], axis.get_xlim()))
        axis.set_xlabel(_unit(own[0].metric))

    text = "Dots: runs. Lines: their mean over folds. Grey: 95 % over speakers, pooled. Dotted: chance."
    if any(not math.isnan(row.paper) for row in rows):
        text += " Diamonds: the paper, on IEMOCAP and RECOLA."
    height = 0.9 + 0.36 * max(map(len, columns(rows)), default=0)
    return Chart("Scores of every run", text, height, _by_column(results, rows, draw))


def _by_column(
    results: Results, rows: Sequence[Row], draw: Callable[[Sequence[Row], Axes], None]
) -> list[Panel]:
    return [Panel(heading(results, own[0]), partial(draw, own)) for own in columns(rows)]


def _unit(metric: str) -> str:
    return f"{metric}, %" if scale(metric) == 100 else metric


def limits(row: Row, reached: tuple[float, float]) -> tuple[float, float]:
    """Return the limits of an axis of scores: from below chance to the greatest possible score, if known."""
    low, high = {"UAR": (0.7 * row.chance, 100.0), "CCC": (-0.2, 1.0)}.get(row.metric, reached)
    return min(low, reached[0]), high


def confusions(results: Results, rows: Sequence[Row]) -> Chart:
    """Show which class is taken for which, by cell."""
    names, cells = labels(rows), results.cells

    def draw(found: Predictions, axis: Axes) -> None:
        counts = confusion(found)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        few = len(counts) <= FEW
        texts = [
            f"{share:.0f} %\n({n:.0f})" if few else f"{share:.0f}"
            for share, n in zip(shares.flat, counts.flat, strict=True)
        ]
        heat(axis, shares, found.class_names, found.class_names, texts, (0, 100))
        axis.tick_params(axis="x", rotation=0 if few else 90)

    shown = [row for own in columns(rows) for row in own if cells[row.slug].class_names]
    panels = [
        Panel(f"{heading(results, row)}\n{names[row.slug]}", partial(draw, cells[row.slug])) for row in shown
    ]
    text = "Rows: the true class. Columns: the predicted class. Per cent of the row; in brackets utterances."
    return Chart("Confusion matrices", text, 2.9, panels)


def confusion(found: Predictions) -> np.ndarray:
    """Return the utterances by true and predicted class [K, K], the mean over runs."""
    return metrics.confusion(found.labels, found.predictions, len(found.class_names)).mean(axis=0)


def training(results: Results, settings: Sequence[str]) -> Chart:
    """Show loss by epoch of training and development speakers, and the latter's score."""
    panels = []
    for title, logs in results.curves(settings).items():
        by_label: dict[str, list[Curve]] = {"loss": []}
        for task, log in logs.items():
            epochs, metric = 1 + np.arange(log.loss.shape[1]), results.metric.get(task, "score")
            by_label["loss"] += [(task, "-", epochs, log.loss), (task, "--", log.dev_epochs, log.dev_loss)]
            score = task, "--", log.dev_epochs, scale(metric) * log.dev_score
            if np.isfinite(log.dev_score).any():
                by_label.setdefault(f"development {_unit(metric)}", []).append(score)
        panels += [Panel(title, partial(_draw_curves, label, own)) for label, own in by_label.items()]
    text = "Lines: the mean over runs. Bands: the middle 80 % of the runs. Dashed: development speakers."
    return Chart("Training", text, 2.4, panels)


def _draw_curves(label: str, curves: Sequence[Curve], axis: Axes) -> None:
    """Draw values [R, X] as mean and spread of the runs that have them."""
    for task, line, x, every in curves:
        values, (colour, mark) = every[np.isfinite(every).all(axis=1)], style(task)
        if values.size:
            name = task if line == "-" else ""
            low, high = np.quantile(values, (0.1, 0.9), axis=0)
            axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(x, values.mean(axis=0), f"{mark}{line}", color=colour, markersize=3, label=name)
    axis.set_xlabel("epoch")
    axis.set_ylabel(label)
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    if label == "loss":
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8, frameon=False)


def learning_curve(results: Results, rows: Sequence[Row]) -> Chart:
    """Show pooled scores by utterances that fine-tuning sees per fold, none for settings without it."""
    samples = {row.slug: results.description(row).get("samples") or 0 for row in rows}
    counts = sorted(set(samples.values()))

    def draw(own: Sequence[Row], axis: Axes) -> None:
        sources = list(dict.fromkeys(row.train for row in own))
        for i, train in enumerate(sources):
            line = sorted((row for row in own if row.train == train), key=lambda row: samples[row.slug])
            x = [counts.index(samples[row.slug]) + 0.18 * (i - (len(sources) - 1) / 2) for row in line]
            low, y, high = (
                np.array([getattr(row, part) for row in line]) for part in ("low", "pooled", "high")
            )
            look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "capsize": 2, "elinewidth": 1}
            axis.errorbar(x, y, np.abs([y - low, high - y]), label=f"from {'+'.join(train)}", **look)
        axis.axhline(own[0].chance, **GUESSING)
        axis.legend(fontsize=8, frameon=False, loc="lower right")
        axis.set_xticks(range(len(counts)), list(map(str, counts)))
        axis.set_xlabel("utterances per fold")
        axis.set_ylabel(_unit(own[0].metric))
        axis.set_ylim(*limits(own[0], axis.get_ylim()))

    text = "Scores pooled over utterances, the mean over runs. Bars: 95 % over speakers. Dotted: chance."
    return Chart("Scores by utterances per fold", text, 2.6, _by_column(results, rows, draw))


def matrix(results: Results, rows: Sequence[Row]) -> Chart:
    """Show the score of every corpus on every corpus by task, if there are more than two corpora."""
    shown = [r for r in rows if r.setting == ("monolingual" if r.train == r.test else "crosslingual")]
    if len(results.names) < 3 or not any(row.setting == "crosslingual" for row in shown):
        shown = []

    def draw(own: Sequence[Row], axis: Axes) -> None:
        _draw_grid(axis, [(row, row.train[0], row.test[0]) for row in own], "trained on", "tested on")

    by_task = {row.task: [one for one in shown if one.task == row.task] for row in shown}
    text = "Means over runs. Diagonal: within a corpus, by cross-validation."
    panels = [Panel(task, partial(draw, own)) for task, own in by_task.items()]
    return Chart("Scores of every corpus on every corpus", text, 0.8 + 0.5 * len(results.names), panels)


def tuning(results: Results, rows: Sequence[Row]) -> Chart:
    """Show the score by kernel width and pool size, by column."""

    def draw(own: Sequence[Row], axis: Axes) -> None:
        models = [results.description(row)["model"] for row in own]
        placed = [(row, one["kernel"], one["pool"]) for row, one in zip(own, models, strict=True)]
        _draw_grid(axis, placed, "kernel width, frames", "pool size, positions")

    panels = _by_column(results, rows, draw)
    return Chart("Scores by kernel width and pool size", "Means over runs.", 2.4, panels)


def _draw_grid(axis: Axes, placed: Sequence[tuple[Row, Any, Any]], down: str, across: str) -> None:
    """Draw the scores of rows (row, y, x) as a heat map."""
    ys, xs = sorted({y for _, y, _ in placed}), sorted({x for _, _, x in placed})
    values, texts = np.full((len(ys), len(xs)), np.nan), np.full((len(ys), len(xs)), "-", object)
    for row, y, x in placed:
        place = ys.index(y), xs.index(x)
        values[place], texts[place] = row.score_mean, number(row, row.score_mean)
    heat(axis, values, xs, ys, texts.ravel().tolist())
    axis.set_ylabel(down)
    axis.set_xlabel(across)


def attention(found: Mapping[str, Mapping[str, np.ndarray]]) -> Chart:
    """Show how often each segment has the largest weight, with and without padding, by corpus."""

    def draw(shares: np.ndarray, chance: np.ndarray, axis: Axes) -> None:
        segments = 1 + np.arange(len(chance))
        reach = 100 * shares.std(axis=0, ddof=1) if len(shares) > 1 else None
        look: dict[str, Any] = {"color": COLOURS[0], "capsize": 2, "error_kw": {"elinewidth": 1}}
        axis.bar(segments, 100 * shares.mean(axis=0), yerr=reach, **look)
        axis.hlines(100 * chance, segments - 0.4, segments + 0.4, color=COLOURS[1], linewidth=2)
        axis.set_xticks(segments)
        axis.set_xlabel("segment of the largest weight")
        axis.set_ylabel("utterances, %")

    panels = []
    for name, one in found.items():
        even = np.full(len(one["expected"]), 1 / len(one["expected"]))
        panels.append(Panel(f"{name}\nall segments", partial(draw, one["largest"], even)))
        without = f"{name}\nwithout segments of padding"
        panels.append(Panel(without, partial(draw, one["largest_valid"], one["expected"])))
    text = "Bars: mean and standard deviation over runs. Lines: by chance."
    return Chart("How often each segment has the largest weight", text, 2.4, panels)


def style(task: str) -> tuple[str, str]:
    """Return colour and mark of a task."""
    return MARKS.get(task) or OTHERS[zlib.crc32(task.encode()) % len(OTHERS)]


def heat(
    axis: Axes, values: np.ndarray, xs: Sequence, ys: Sequence, texts: Sequence[str],
    ends: tuple[float | None, float | None] = (None, None),
) -> None:  # fmt: skip
    """Draw coloured fields with texts, the first row on top.

    Args:
      axis: to draw on.
      values: [Y, X]; NaN is left without a colour.
      xs, ys: [X], [Y] ticks of the columns and rows.
      texts: [Y X] in the fields.
      ends: the values of the lightest and the darkest colour; those of `values` by default.
    """
    look: dict[str, Any] = {"cmap": "Blues", "edgecolors": "white", "linewidth": 1}
    fields: Any = axis.pcolormesh(np.ma.masked_invalid(values), vmin=ends[0], vmax=ends[1], **look)
    for ((y, x), value), text in zip(np.ndenumerate(values), texts, strict=True):
        ink = "black" if np.isnan(value) else "white" if fields.norm(value) >= DARK else INK
        axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=9, color=ink)
    axis.set_xticks(np.arange(len(xs)) + 0.5, [str(x).replace("_", "_\n", 1) for x in xs])
    axis.set_yticks(np.arange(len(ys)) + 0.5, [str(y).replace("_", "_\n", 1) for y in ys])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.invert_yaxis()
