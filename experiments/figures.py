"""What results look like, one figure for each question.

A figure says below what its marks mean, and that it is of synthetic speech where it is.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments import summary
from experiments.drawing import COLOURS, MARKS, PANEL, broken, explained, heat, numbers, outlined, panels
from experiments.keeping import Attention, Training
from experiments.kinds import kind
from experiments.predictions import Predictions
from experiments.results import Results
from experiments.summary import Row, columns, label
from ser_jax.attention import over_runs
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.metrics import pooled_uar


def suited(settings: Iterable[str]) -> Callable[[Results, list[Row]], Figure] | None:
    """The figure that says all of a table: `tuning`, `learning_curve`; None where no single one does."""
    kinds = list(map(kind, settings))
    if all(one.sizes for one in kinds):
        return tuning
    samples = [one.samples for one in kinds]
    return learning_curve if None not in samples and any(samples) else None


def fills_matrix(results: Results, table: list[Row]) -> bool:
    """Whether a table goes across more than two corpora."""
    return len(results.names) > 2 and any(row.setting == "crosslingual" for row in table)


def runs(results: Results, table: list[Row]) -> Figure:
    """Every run's UAR by setting, the interval over speakers and the paper's, a panel per column."""
    shown = columns(table)
    names = list(dict.fromkeys(label(row, table) for row in table))
    drawing, axes = panels(len(shown), 1.4 + 0.36 * len(names), sharey=True)
    for axis, (test, target) in zip(axes, shown, strict=True):
        for row in table:
            if (row.test, row.target) == (test, target) and not row.missing:
                _run_dots(axis, names.index(label(row, table)), row, results.said(row.cell))
        axis.axvline(50, color="gray", linewidth=0.8, linestyle=":")
        axis.set_title(f"{results.title(test)}\n{target}", fontsize=10)
        axis.set_yticks(range(len(names)), [name.replace(" from ", "\nfrom ") for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlim(min(35, axis.get_xlim()[0]), 100)
        axis.set_xlabel("UAR, %")
    text = "Dots: runs. Lines: their mean over folds. Grey: 95 % over speakers, pooled. Dotted: guessing."
    if any(not math.isnan(row.paper_uar) for row in table):
        text += " Diamonds: the paper, on IEMOCAP and RECOLA."
    return explained(drawing, text, results.synthetic)


def _run_dots(axis: Axes, place: int, row: Row, said: Predictions) -> None:
    each, (colour, mark) = summary.fold_mean_uar(said), MARKS[row.target]
    axis.plot([row.low, row.high], [place] * 2, color="gray", alpha=0.35, linewidth=9, solid_capstyle="butt")
    axis.plot(each, np.full(len(each), place), mark, color=colour, alpha=0.8, markersize=5, mew=0)
    axis.plot([row.uar_mean] * 2, [place - 0.28, place + 0.28], color=colour, linewidth=2)
    axis.plot([row.paper_uar], [place], "D", color="black", fillstyle="none", markersize=6)


def confusions(results: Results, table: list[Row]) -> Figure:
    """Which class was taken for which, a matrix per cell; a column per test corpus and target if several."""
    there = {(label(row, table), row.test, row.target): row for row in table if not row.missing}
    across = columns(table)
    names = list(dict.fromkeys(label(row, table) for row in table))
    places = [(name, *column) for name in names for column in across]
    wide = max(2, len(across))
    high = math.ceil(len(places) / wide)
    drawing = Figure(figsize=(PANEL / 2 * wide, 0.7 + 1.85 * high), layout="constrained")
    for axis, place in zip(drawing.subplots(high, wide, squeeze=False).flat, places, strict=False):
        if place in there:
            name, test, target = place
            own = name if len(across) == 1 else f"{results.title(test)} {target}\n{name}"
            axis.set_title(own.replace(" from ", "\nfrom "), fontsize=9)
            _confusion(axis, summary.confusions(results.said(there[place].cell)), place, results.names)
    if len(across) == 1:
        drawing.suptitle(f"{results.title(across[0][0])} {across[0][1]}", fontsize=10)
    for axis in drawing.axes:
        if not axis.has_data():
            axis.remove()
    text = (
        "Rows: the true class. Columns: the class decided for. Per cent of the row; in brackets utterances, "
        "the mean over runs."
    )
    return explained(drawing, text, results.synthetic)


def _confusion(axis: Axes, counted: np.ndarray, place: tuple[str, str, str], corpora: list[str]) -> None:
    """[K, K] utterances by true and decided class."""
    _, test, target = place
    classes = CLASS_NAMES.get(target) or [name for name in corpora if name in test.split("+")]
    shares = 100 * counted / counted.sum(axis=1, keepdims=True)
    texts = [
        [f"{share:.0f} %\n({n:.0f})" for share, n in zip(*line, strict=True)]
        for line in zip(shares, counted, strict=True)
    ]
    ticks = [broken(name) for name in classes]
    heat(axis, shares, ticks, ticks, texts, (0, 100))
    axis.set_yticks(axis.get_yticks(), ticks, rotation=90, va="center", ha="center")
    axis.tick_params(axis="y", pad=8)
    axis.set_aspect("equal")


def training(results: Results, curves: Mapping[str, Training]) -> Figure:
    """Loss by epoch, on training and on development speakers, and the latter's UAR; a column per job."""
    high = 2 if any(np.isfinite(one.dev_uar).any() for one in curves.values()) else 1
    drawing = Figure(figsize=(PANEL * len(curves), 1.1 + 1.9 * high), layout="constrained")
    grid = drawing.subplots(high, len(curves), squeeze=False, sharex="col", sharey="row")
    for (name, one), column in zip(curves.items(), grid.T, strict=True):
        column[0].set_title(name.replace(" ", "\n", 1), fontsize=10)
        column[-1].set_xlabel("epoch")
        column[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        for target in dict.fromkeys(one.target.tolist()):
            own = one.target == target
            epochs = 1 + np.arange(one.loss.shape[1])
            _band(column[0], epochs, one.loss[own], target, f"{target}, training", "-")
            _band(column[0], one.watched, one.dev_loss[own], target, f"{target}, development", "--")
            if high == 2:
                _band(column[1], one.watched, one.dev_uar[own], target, "", "--")
    for axis, name in zip(grid[:, 0], ("loss", "development UAR, %"), strict=False):
        axis.set_ylabel(name)
    for axis in grid[0]:
        axis.set_ylim(bottom=0)
    for axis in grid[1:].flat:
        axis.set_visible(axis.has_data())
        axis.set_ylim(min(35, axis.get_ylim()[0]), 100)
        axis.axhline(50, color="gray", linewidth=0.8, linestyle=":")
    known = {n: h for axis in grid[0] for h, n in zip(*axis.get_legend_handles_labels(), strict=True)}
    drawing.legend(
        known.values(), known.keys(), loc="outside upper center", ncols=2, fontsize=8, frameon=False
    )
    text = "Lines: the mean over runs. Bands: the middle 80 % of the runs."
    return explained(drawing, text + (" Dotted: guessing." if high == 2 else ""), results.synthetic)


def _band(axis: Axes, x: np.ndarray, values: np.ndarray, target: str, name: str, line: str) -> None:
    """[R, X] as mean and spread of the runs that have them."""
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values) or not len(x):
        return
    colour, mark = MARKS[target]
    few: dict[str, Any] = {"marker": mark, "markersize": 3} if line == "--" or len(x) == 1 else {}
    axis.fill_between(x, *np.quantile(values, (0.1, 0.9), axis=0), color=colour, alpha=0.15, linewidth=0)
    axis.plot(x, values.mean(axis=0), line, color=colour, linewidth=1.5, label=name, **few)


def learning_curve(results: Results, table: list[Row]) -> Figure:
    """UAR by how many utterances of the tested corpus a fold refines on, a panel per test corpus and target.

    Args:
      results: the folder.
      table: rows of the settings crosslingual (none) and finetuned_N; others are left out.
    """
    refined = {row.setting: n for row in table if (n := kind(row.setting).samples) is not None}
    table = [row for row in table if row.setting in refined]
    shown = columns(table)
    counts = sorted(set(refined.values()))
    places = {setting: counts.index(n) for setting, n in refined.items()}
    sources = list(dict.fromkeys(row.train for row in table))
    drawing, axes = panels(len(shown), 3.1, sharey=True)
    for axis, (test, target) in zip(axes, shown, strict=True):
        own = [r for r in table if (r.test, r.target) == (test, target) and not r.missing]
        trained = [name for name in sources if any(row.train == name for row in own)]
        for i, name in enumerate(trained):
            line = sorted((r for r in own if r.train == name), key=lambda row: refined[row.setting])
            shift = 0.18 * (i - (len(trained) - 1) / 2)
            _learnt(axis, results, line, places, shift, COLOURS[sources.index(name) % len(COLOURS)])
        axis.axhline(50, color="gray", linewidth=0.8, linestyle=":")
        axis.set_title(f"{results.title(test)}\n{target}", fontsize=10)
        axis.set_xticks(range(len(counts)), counts)
        axis.set_xlim(-0.5, len(counts) - 0.5)
        axis.set_xlabel("utterances per fold")
        axis.set_ylim(min(35, axis.get_ylim()[0]), 100)
        if trained:
            axis.legend(fontsize=8, frameon=False, loc="lower right")
    axes[0].set_ylabel("UAR, %")
    text = (
        "Pooled over utterances. Dots: runs. Lines: their mean. Bars: 95 % over speakers. Dotted: guessing."
    )
    return explained(drawing, text, results.synthetic)


def _learnt(
    axis: Axes, results: Results, line: list[Row], places: dict[str, int], shift: float, colour: str
) -> None:
    place = [places[row.setting] + shift for row in line]
    mean = np.array([row.uar_pooled for row in line])
    reach = np.abs(np.array([[row.low for row in line], [row.high for row in line]]) - mean)
    axis.errorbar(
        place,
        mean,
        reach,
        color=colour,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
        label=f"from {line[0].train}",
    )
    for x, row in zip(place, line, strict=True):
        said = results.said(row.cell)
        each = 100 * pooled_uar(said.label, summary.decisions(said))
        axis.plot(np.full(len(each), x), each, "o", color=colour, alpha=0.8, markersize=4, mew=0)


def matrix(results: Results, table: list[Row]) -> Figure:
    """UAR of every corpus on every corpus, a panel per target; the diagonal is within one corpus."""
    names = results.names
    shown = [r for r in table if r.setting == ("monolingual" if r.train == r.test else "crosslingual")]
    targets = list(dict.fromkeys(row.target for row in shown))
    drawing, axes = panels(len(targets), 1.4 + 0.55 * len(names))
    for axis, target in zip(axes, targets, strict=True):
        values = np.full((len(names), len(names)), np.nan)
        for row in shown:
            if row.target == target:
                values[names.index(row.train), names.index(row.test)] = row.uar_mean
        axis.set_title(target, fontsize=10)
        ticks = [broken(name) for name in names]
        heat(axis, values, ticks, ticks, numbers(values), (40, 100))
        outlined(axis, [(i, i) for i in range(len(names))])
        axis.set_xlabel("tested on")
    axes[0].set_ylabel("trained on")
    text = "UAR, %, the mean over runs; 50 is guessing. Outlined: within a corpus, by cross-validation."
    return explained(drawing, text, results.synthetic)


def tuning(results: Results, table: list[Row]) -> Figure:
    """UAR by kernel width and pool size, of the settings tuning_kK_pP; a panel per test corpus and target."""
    tuned = [(row, sizes) for row in table if (sizes := kind(row.setting).sizes)]
    table = [row for row, _ in tuned]
    kernels, pools = (sorted(set(part)) for part in zip(*(sizes for _, sizes in tuned), strict=True))
    shown = columns(table)
    drawing, axes = panels(len(shown), 1.9 + 0.4 * len(kernels))
    for axis, column in zip(axes, shown, strict=True):
        values = np.full((len(kernels), len(pools)), np.nan)
        for row, (kernel, pool) in tuned:
            if (row.test, row.target) == column:
                values[kernels.index(kernel), pools.index(pool)] = row.uar_mean
        low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0, 100)
        heat(axis, values, pools, kernels, numbers(values), (low - 1, high + 1))
        outlined(axis, np.argwhere(values == high))
        axis.set_title(f"{results.title(column[0])}\n{column[1]}", fontsize=10)
        axis.set_xlabel("pool size, positions")
        axis.set_ylabel("kernel width, frames")
    return explained(drawing, "UAR, %, the mean over runs. Outlined: the greatest.", results.synthetic)


def attention(results: Results, found: Mapping[str, Attention]) -> Figure:
    """How often each segment wins, among all and among those that hold sound; a column per corpus."""
    drawing = Figure(figsize=(PANEL * len(found), 4.2), layout="constrained")
    grid = drawing.subplots(2, len(found), squeeze=False, sharex=True, sharey=True)
    for (name, one), column in zip(found.items(), grid.T, strict=True):
        _bars(column[0], one.shares, np.full(len(one.expected), 1 / len(one.expected)))
        _bars(column[1], one.among, one.expected)
        column[0].set_title(f"{name}\nall segments", fontsize=10)
        column[1].set_title("segments that hold sound", fontsize=10)
        column[1].set_xlabel("segment of the largest weight")
    for axis in grid[:, 0]:
        axis.set_ylabel("utterances, %")
    return explained(drawing, "Bars: mean and deviation over runs. Lines: by chance.", results.synthetic)


def _bars(axis: Axes, shares: np.ndarray, chance: np.ndarray) -> None:
    """[R, S] shares beside [S] those of chance."""
    segments, seen = 1 + np.arange(len(chance)), over_runs(shares)
    reach = None if np.isnan(seen.deviation).any() else 100 * seen.deviation
    axis.bar(segments, 100 * seen.mean, yerr=reach, color=COLOURS[0], capsize=2, error_kw={"elinewidth": 1})
    axis.hlines(100 * chance, segments - 0.4, segments + 0.4, color=COLOURS[1], linewidth=2)
    axis.set_xticks(segments)
