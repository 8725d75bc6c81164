"""Figures of results, one for each question, with what their marks mean below.

Panels have one width, so that a figure of a single panel can be read on a phone. A task has one colour and
mark throughout, which colour-blind people can tell apart as well.

References: M. Okabe and K. Ito, "Color Universal Design" (2008), for the colours; their blue is lighter here,
so that it is visible on a dark ground as well.
"""

import io
import math
import textwrap
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ser_jax.experiment.predictions import Predictions, TrainingLog
from ser_jax.report.results import Results, Row, columns, confusion, fold_means, labels, outline, scale
from ser_jax.report.tables import number

PANEL = 3.4  # inches wide: 326 px on a screen
COLOURS = ("#1f83c4", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f")
MARKS = {"arousal": (COLOURS[0], "o"), "valence": (COLOURS[1], "s"), "language": (COLOURS[2], "^")}
OTHERS = (("#009e73", "^"), ("#bf649a", "D"), ("#7f7f7f", "v"))  # of tasks without a mark of their own
INK = "#010101"  # black on the light fields of a heat map; a page draws "#000000" in its own ink
NARROW = 3  # classes that a confusion matrix of half a panel has room for
GUESSING: dict[str, Any] = {"color": "gray", "linewidth": 0.8, "linestyle": ":"}


def of(results: Results, rows: Sequence[Row], figure: str | None) -> dict[str, Figure]:
    """Return the figures of a table, by what is added to its name.

    Args:
      results: the folder.
      rows: of the table.
      figure: the only one, if it shows the whole table: "tuning" or "learning_curve".
    """
    if figure is not None:
        return {"": WHOLE[figure](results, rows)}
    found = {"": runs(results, rows)}
    if any(_has_classes(results, row) for row in rows):
        found["_confusions"] = confusions(results, rows)
    if curves := results.curves(list(dict.fromkeys(row.setting for row in rows))):
        found["_training"] = training(results, curves)
    if is_matrix(results, rows):
        found["_matrix"] = matrix(results, rows)
    return found


def svg(drawing: Figure) -> str:
    """Return a figure as the text of an SVG file, always the same bytes; letters stay letters."""
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    stream = io.BytesIO()
    options: Any = {"svg.hashsalt": "ser_jax", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}
    with mpl.rc_context(options):
        FigureCanvasSVG(drawing).print_svg(stream, metadata=nothing)
    return stream.getvalue().decode()


def runs(results: Results, rows: Sequence[Row]) -> Figure:
    """Draw every run's score by setting, the interval over speakers and the paper's, a panel per column."""
    known = labels(rows)
    names = list(dict.fromkeys(known.values()))

    def draw(axis: Axes, own: list[Row]) -> None:
        for row in own:
            if not row.missing:
                _draw_runs(axis, names.index(known[row.slug]), row, fold_means(results.cells[row.slug]))
        axis.set_yticks(range(len(names)), [name.replace(" from ", "\nfrom ") for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlim(*_limits(own, axis.get_xlim()))
        axis.set_xlabel(_axis_name(own))

    text = "Dots: runs. Lines: their mean over folds. Grey: 95 % over speakers, pooled. Dotted: chance."
    if any(not math.isnan(row.paper) for row in rows):
        text += " Diamonds: the paper, on IEMOCAP and RECOLA."
    return _by_column(results, rows, 1.4 + 0.36 * len(names), text, draw, sharey=True)


def _by_column(
    results: Results, rows: Sequence[Row], height: float, text: str, draw: Callable[[Axes, list[Row]], None],
    **shared: Any,
) -> Figure:  # fmt: skip
    """Draw a panel for the rows of each column."""
    shown = columns(rows)
    drawing, axes = panels(len(shown), height, **shared)
    for axis, (test, task) in zip(axes, shown, strict=True):
        axis.set_title(f"{results.title(test)}\n{task}", fontsize=10)
        draw(axis, [row for row in rows if (row.test, row.task) == (test, task)])
    return explained(drawing, text, results.synthetic)


def _draw_runs(axis: Axes, place: int, row: Row, each: np.ndarray) -> None:
    colour, mark = style(row.task)
    axis.axvline(row.chance, **GUESSING)
    axis.plot([row.low, row.high], [place] * 2, color="gray", alpha=0.35, linewidth=9, solid_capstyle="butt")
    axis.plot(each, np.full(len(each), place), mark, color=colour, alpha=0.8, markersize=5, mew=0)
    axis.plot([row.score_mean] * 2, [place - 0.28, place + 0.28], color=colour, linewidth=2)
    axis.plot([row.paper], [place], "D", color="black", fillstyle="none", markersize=6)


def _axis_name(rows: Sequence[Row]) -> str:
    """Return the metric of rows with its unit."""
    metric = next((row.metric for row in rows if row.metric), "UAR")
    return f"{metric}, %" if scale(metric) == 100 else metric


def _limits(rows: Sequence[Row], reached: tuple[float, float]) -> tuple[float, float]:
    """Return the limits of an axis of scores: from below chance to the greatest possible score."""
    chances = [row.chance for row in rows if not row.missing]
    if any(row.metric not in ("UAR", "CCC", "") for row in rows) or not chances:
        return reached if chances else (35, 100)
    factor = scale(next(row.metric for row in rows if row.metric))
    return min(0.7 * min(chances) if factor == 100 else -0.2, reached[0]), factor


def _has_classes(results: Results, row: Row) -> bool:
    return not row.missing and bool(results.cells[row.slug].class_names)


def confusions(results: Results, rows: Sequence[Row]) -> Figure:
    """Draw which class was taken for which, a matrix per cell of classes; a column per column if several."""
    known, shown = labels(rows), [row for row in rows if _has_classes(results, row)]
    across = columns(shown)
    there = {(known[row.slug], row.test, row.task): row for row in shown}
    places = [
        (name, *column) for name in dict.fromkeys(known[row.slug] for row in shown) for column in across
    ]
    side, least = PANEL / 2, 2
    if any(len(results.cells[row.slug].class_names) > NARROW for row in shown):
        side, least = PANEL, 1
    wide = max(least, len(across))
    high = max(1, math.ceil(len(places) / wide))
    drawing = Figure(figsize=(side * wide, 0.7 + (side + 0.15) * high), layout="constrained")
    for axis, place in zip(drawing.subplots(high, wide, squeeze=False).flat, places, strict=False):
        if place in there:
            name, test, task = place
            own = name if len(across) == 1 else f"{results.title(test)} {task}\n{name}"
            axis.set_title(own.replace(" from ", "\nfrom "), fontsize=9)
            _draw_confusion(axis, results.cells[there[place].slug])
    if len(across) == 1:
        drawing.suptitle(f"{results.title(across[0][0])} {across[0][1]}", fontsize=10)
    for axis in drawing.axes:
        if not axis.has_data():
            axis.remove()
    text = "Rows: the true class. Columns: the predicted class. Per cent of the row"
    text += "." if side == PANEL else "; in brackets utterances, the mean over runs."
    return explained(drawing, text, results.synthetic)  # fmt: skip


def _draw_confusion(axis: Axes, found: Predictions) -> None:
    counts, ticks = confusion(found), [broken(name) for name in found.class_names]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = len(ticks) <= NARROW
    texts = [
        [f"{share:.0f} %\n({n:.0f})" if few else f"{share:.0f}" for share, n in zip(*line, strict=True)]
        for line in zip(shares, counts, strict=True)
    ]
    heat(axis, shares, ticks, ticks, texts, (0, 100))
    if few:
        axis.set_yticks(axis.get_yticks(), ticks, rotation=90, va="center", ha="center")
        axis.tick_params(axis="y", pad=8)
    else:
        axis.set_xticks(axis.get_xticks(), ticks, rotation=90)
    axis.set_aspect("equal")


def training(results: Results, curves: Mapping[str, Mapping[str, TrainingLog]]) -> Figure:
    """Draw loss by epoch of training and development speakers, and the latter's score, a column per title."""
    logs = [log for one in curves.values() for log in one.values()]
    high = 2 if any(np.isfinite(log.dev_score).any() for log in logs) else 1
    drawing = Figure(figsize=(PANEL * len(curves), 1.1 + 1.9 * high), layout="constrained")
    grid = drawing.subplots(high, len(curves), squeeze=False, sharex="col")
    for (name, one), column in zip(curves.items(), grid.T, strict=True):
        rows = [outline(cell) for cell in results.cells.values() if cell.task in one]
        factor = scale(rows[0].metric) if rows else 100
        column[0].set_title(name.replace(" ", "\n", 1), fontsize=10)
        column[0].set_ylabel("loss")
        column[-1].set_xlabel("epoch")
        column[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        for task, log in one.items():
            epochs = 1 + np.arange(log.loss.shape[1])
            _band(column[0], epochs, log.loss, task, f"{task}, training", "-")
            _band(column[0], log.dev_epochs, log.dev_loss, task, f"{task}, development", "--")
            if high == 2:
                _band(column[1], log.dev_epochs, factor * log.dev_score, task, "", "--")
        column[0].set_ylim(bottom=0)
        for axis in column[1:]:
            axis.set_ylabel(f"development {_axis_name(rows)}")
            axis.set_visible(axis.has_data())
            axis.set_ylim(*_limits(rows, axis.get_ylim()))
            for chance in {row.chance for row in rows}:
                axis.axhline(chance, **GUESSING)
    known = {n: h for axis in grid[0] for h, n in zip(*axis.get_legend_handles_labels(), strict=True)}
    drawing.legend(
        known.values(), known.keys(), loc="outside upper center", ncols=2, fontsize=8, frameon=False
    )
    text = "Lines: the mean over runs. Bands: the middle 80 % of the runs."
    return explained(drawing, text + (" Dotted: chance." if high == 2 else ""), results.synthetic)


def _band(axis: Axes, x: np.ndarray, values: np.ndarray, task: str, name: str, line: str) -> None:
    """Draw values [R, X] as mean and spread of the runs that have them."""
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values) or not len(x):
        return
    colour, mark = style(task)
    few: dict[str, Any] = {"marker": mark, "markersize": 3} if line == "--" or len(x) == 1 else {}
    axis.fill_between(x, *np.quantile(values, (0.1, 0.9), axis=0), color=colour, alpha=0.15, linewidth=0)
    axis.plot(x, values.mean(axis=0), line, color=colour, linewidth=1.5, label=name, **few)


def learning_curve(results: Results, rows: Sequence[Row]) -> Figure:
    """Draw pooled scores by utterances that fine-tuning sees per fold, none for settings without it."""
    samples = {row.slug: results.description(row).get("samples") or 0 for row in rows if not row.missing}
    counts = sorted(set(samples.values()))
    sources = list(dict.fromkeys(row.train for row in rows))

    def draw(axis: Axes, every: list[Row]) -> None:
        own = sorted((row for row in every if not row.missing), key=lambda row: samples[row.slug])
        trained = [name for name in sources if any(row.train == name for row in own)]
        for i, name in enumerate(trained):
            line = [row for row in own if row.train == name]
            shift = 0.18 * (i - (len(trained) - 1) / 2)
            place = [counts.index(samples[row.slug]) + shift for row in line]
            _draw_curve(axis, results, line, place, COLOURS[sources.index(name) % len(COLOURS)])
        axis.set_ylabel(_axis_name(every))
        axis.set_xticks(range(len(counts)), [str(count) for count in counts])
        axis.set_xlim(-0.5, len(counts) - 0.5)
        axis.set_xlabel("utterances per fold")
        axis.set_ylim(*_limits(own, axis.get_ylim()))
        if own:
            axis.axhline(own[0].chance, **GUESSING)
            axis.legend(fontsize=8, frameon=False, loc="lower right")

    text = "Pooled over utterances. Dots: runs. Lines: their mean. Bars: 95 % over speakers. Dotted: chance."
    return _by_column(results, rows, 3.1, text, draw)


def _draw_curve(axis: Axes, results: Results, line: list[Row], place: list[float], colour: str) -> None:
    mean = np.array([row.pooled for row in line])
    reach = np.abs(np.array([[row.low for row in line], [row.high for row in line]]) - mean)
    name = f"from {'+'.join(line[0].train)}"
    style_: dict[str, Any] = {"linewidth": 1.5, "elinewidth": 1, "capsize": 2, "label": name}
    axis.errorbar(place, mean, reach, color=colour, **style_)
    for x, row in zip(place, line, strict=True):
        each = scale(row.metric) * results.cells[row.slug].scores[:, 0]
        axis.plot(np.full(len(each), x), each, "o", color=colour, alpha=0.8, markersize=4, mew=0)


def is_matrix(results: Results, rows: Sequence[Row]) -> bool:
    """Return whether rows go across more than two corpora."""
    return len(results.names) > 2 and any(row.setting == "crosslingual" for row in rows)


def matrix(results: Results, rows: Sequence[Row]) -> Figure:
    """Draw the score of every corpus on every corpus, a panel per task; the diagonal is within a corpus."""
    names = results.names
    shown = [r for r in rows if r.setting == ("monolingual" if r.train == r.test else "crosslingual")]
    tasks = list(dict.fromkeys(row.task for row in shown))
    drawing, axes = panels(len(tasks), 1.4 + 0.55 * len(names))
    for axis, task in zip(axes, tasks, strict=True):
        own = [row for row in shown if row.task == task]
        places = [(names.index(row.train[0]), names.index(row.test[0])) for row in own]
        ticks = [broken(name) for name in names]
        limits = _limits(own, (math.inf, -math.inf))
        _draw_scores(axis, own, places, ticks, ticks, limits if limits[0] < limits[1] else None)
        outlined(axis, [(i, i) for i in range(len(names))])
        axis.set_title(f"{task}, {_axis_name(own)}", fontsize=10)
        axis.set_xlabel("tested on")
        axis.set_ylabel("trained on")
    text = "Means over runs. Outlined: within a corpus, by cross-validation."
    return explained(drawing, text, results.synthetic)  # fmt: skip


def tuning(results: Results, rows: Sequence[Row]) -> Figure:
    """Draw the score by kernel width and pool size, a panel per column."""
    models = {row.slug: results.description(row).get("model") for row in rows}
    sizes = {name: (one["kernel"], one["pool"]) for name, one in models.items() if one}
    kernels, pools = (sorted({pair[i] for pair in sizes.values()}) for i in range(2))

    def draw(axis: Axes, every: list[Row]) -> None:
        own = [row for row in every if row.slug in sizes]
        pairs = [sizes[row.slug] for row in own]
        if pairs:
            places = [(kernels.index(kernel), pools.index(pool)) for kernel, pool in pairs]
            values = _draw_scores(axis, own, places, pools, kernels)
            outlined(axis, np.argwhere(values == np.nanmax(values)) if np.isfinite(values).any() else [])
        axis.set_ylabel("kernel width, frames")
        axis.set_title(f"{axis.get_title()}, {_axis_name(every)}", fontsize=10)
        axis.set_xlabel("pool size, positions")

    text = "Means over runs. Outlined: the greatest."
    return _by_column(results, rows, 1.9 + 0.4 * max(1, len(kernels)), text, draw)


def _draw_scores(
    axis: Axes, rows: Sequence[Row], places: Sequence[tuple[int, int]], xs: Sequence, ys: Sequence,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:  # fmt: skip
    """Draw the scores of rows at their places (y, x) of a heat map; returns them, [Y, X]."""
    values = np.full((len(ys), len(xs)), np.nan)
    texts = [["-"] * len(xs) for _ in ys]
    for row, (y, x) in zip(rows, places, strict=True):
        values[y, x] = row.score_mean
        texts[y][x] = "-" if math.isnan(row.score_mean) else number(row, row.score_mean)
    if limits is None:
        there = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
        limits = there.min() - 0.01 * np.ptp(there) - 1e-3, there.max() + 0.01 * np.ptp(there) + 1e-3
    heat(axis, values, xs, ys, texts, limits)
    return values


WHOLE: dict[str, Callable[[Results, Sequence[Row]], Figure]] = {
    "tuning": tuning,
    "learning_curve": learning_curve,
}


def attention(synthetic: Sequence[str], found: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draw how often each segment has the largest weight, with and without padding; a column per corpus."""
    drawing = Figure(figsize=(PANEL * len(found), 4.2), layout="constrained")
    grid = drawing.subplots(2, len(found), squeeze=False, sharex="col", sharey=True)
    for (name, one), column in zip(found.items(), grid.T, strict=True):
        expected = one["expected"]
        _bars(column[0], one["largest"], np.full(len(expected), 1 / len(expected)))
        _bars(column[1], one["largest_valid"], expected)
        column[0].set_title(f"{name}\nall segments", fontsize=10)
        column[1].set_title("segments without those of padding", fontsize=10)
        column[1].set_xlabel("segment of the largest weight")
    for axis in grid[:, 0]:
        axis.set_ylabel("utterances, %")
    text = "Bars: mean and standard deviation over runs. Lines: by chance."
    return explained(drawing, text, synthetic)


def _bars(axis: Axes, shares: np.ndarray, chance: np.ndarray) -> None:
    """Draw shares [R, S] beside those of chance [S]."""
    segments = 1 + np.arange(len(chance))
    reach = 100 * shares.std(axis=0, ddof=1) if len(shares) > 1 else None
    axis.bar(
        segments,
        100 * shares.mean(axis=0),
        yerr=reach,
        color=COLOURS[0],
        capsize=2,
        error_kw={"elinewidth": 1},
    )
    axis.hlines(100 * chance, segments - 0.4, segments + 0.4, color=COLOURS[1], linewidth=2)
    axis.set_xticks(segments)


def style(task: str) -> tuple[str, str]:
    """Return colour and mark of a task."""
    return MARKS.get(task) or OTHERS[zlib.crc32(task.encode()) % len(OTHERS)]


def panels(count: int, height: float, **shared: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure of panels side by side, and their axes [count].

    Args:
      count: of panels.
      height: inches.
      shared: see `Figure.subplots`.
    """
    drawing = Figure(figsize=(PANEL * count, height), layout="constrained")
    return drawing, drawing.subplots(1, count, squeeze=False, **shared)[0]


def heat(
    axis: Axes, values: np.ndarray, xs: Sequence, ys: Sequence, texts: Sequence[Sequence[str]],
    limits: tuple[float, float],
) -> None:  # fmt: skip
    """Draw coloured fields with texts, the first row on top.

    Args:
      axis: to draw on.
      values: [Y, X]; NaN is left without a colour.
      xs, ys: [X], [Y] ticks of the columns and rows.
      texts: [Y, X] in the fields.
      limits: the values of the lightest and the darkest colour.
    """
    look: dict[str, Any] = {"cmap": "Blues", "edgecolors": "white", "linewidth": 1}
    drawn = axis.pcolormesh(np.ma.masked_invalid(values), vmin=limits[0], vmax=limits[1], **look)
    for (y, x), value in np.ndenumerate(values):
        ink = "black" if np.isnan(value) else _ink(drawn.to_rgba(value))
        axis.text(x + 0.5, y + 0.5, texts[y][x], ha="center", va="center", fontsize=9, color=ink)
    axis.set_xticks(np.arange(len(xs)) + 0.5, [str(x) for x in xs])
    axis.set_yticks(np.arange(len(ys)) + 0.5, [str(y) for y in ys])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.invert_yaxis()


def _ink(fill: np.ndarray) -> str:
    """Return black or white, whichever has a contrast of at least 4.5 (WCAG 2, relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in fill[:3]]
    return INK if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.18 else "white"


def outlined(axis: Axes, places: Iterable[tuple[int, int]]) -> None:
    """Draw a frame around fields (row, column) of a heat map."""
    for y, x in places:
        corners = [x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y]
        axis.plot(*corners, color=COLOURS[1], linewidth=2, clip_on=False)


def broken(name: str) -> str:
    """Return a long name on two lines."""
    return name.replace("_", "_\n", 1)


def explained(drawing: Figure, text: str, synthetic: Sequence[str]) -> Figure:
    """Write below a figure what is drawn, and whether it is of synthetic speech; set sizes."""
    if synthetic:
        text = f"Synthetic speech. {text}"
    drawing.supxlabel(textwrap.fill(text, int(17 * drawing.get_figwidth())), fontsize=8)
    for axis in drawing.axes:
        axis.tick_params(labelsize=8)
        axis.xaxis.label.set_fontsize(9)
        axis.yaxis.label.set_fontsize(9)
    return drawing
