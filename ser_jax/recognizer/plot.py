"""Draw a recording and its prediction.

From top to bottom: the waveform; the log-mel energies, with the attention over them; and for each task the
probabilities or numbers, window by window. A recording shorter than a window is followed by its padding.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from ser_jax.errors import one_line
from ser_jax.io import atomic_file
from ser_jax.recognizer.recognizer import Estimate, Prediction, describe
from ser_jax.recognizer.recording import Recording, overview

COLUMNS = 2000  # of the waveform and the log-mels at most; a picture has fewer
STEPS = 120  # of the attention at most
PADDING: dict[str, Any] = {"facecolor": "#eeeeee", "edgecolor": "#c4c4c4", "hatch": "///", "linewidth": 0}
CAPTION = (
    "Lines over the log-mel energies: the attention, whose area is 100 %. Below: the prediction of every\n"
    "window, around its middle, and its standard deviation over the seeds. Hatched: padding."
)


def draw(path: Path, title: str, recording: Recording, prediction: Prediction) -> None:
    """Write the `figure` to a PNG file, atomically. Raises: OSError."""
    canvas = FigureCanvasAgg(figure(title, recording, prediction))
    with atomic_file(path) as stream, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # characters that fonts lack become boxes
        canvas.print_png(stream, metadata={"Software": None})


def figure(title: str, recording: Recording, prediction: Prediction) -> Figure:
    """Return the picture; `title`, the recording's name, is shown literally, shortened in the middle."""
    title = one_line(title)
    if len(title) > 100:
        title = f"{title[:60]} ... {title[-35:]}"
    tasks = prediction.tasks
    heights = [0.8, 2.2, *[1.0] * len(tasks)]
    drawing = Figure(figsize=(9.0, 1.6 + 1.1 * sum(heights)), dpi=150, layout="constrained")
    axes = drawing.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    segments = [segment.end for estimate in tasks.values() for segment in estimate.attention]
    end = max([prediction.seconds, *segments])
    _draw_sound(axes[0], axes[1], recording)
    _draw_attention(axes[1], tasks)
    for axis, name in zip(axes[2:], tasks, strict=True):
        _draw_task(axis, name, prediction)
    for axis in axes:
        axis.set_xlim(0, end)
        axis.tick_params(labelsize=8)
        axis.yaxis.label.set_fontsize(9)
        if end > prediction.seconds:
            axis.axvspan(prediction.seconds, end, zorder=0.5, **PADDING)
    axes[-1].set_xlabel("time, s", fontsize=9)
    drawing.align_ylabels(axes)
    drawing.supxlabel(CAPTION, fontsize=8)
    results = "     ".join(describe(name, estimate) for name, estimate in tasks.items())
    drawing.suptitle(f"{title}\n{results}", fontsize=10, parse_math=False, usetex=False)
    return drawing


def _draw_sound(waveform: Axes, mels: Axes, recording: Recording) -> None:
    """Draw the lowest and highest sample of every column, and its mean log-mel energies."""
    seconds, lowest, highest, level = overview(recording.samples, COLUMNS)
    edges = seconds * np.arange(len(level) + 1)
    waveform.stairs(highest, edges, baseline=lowest, fill=True, color="#444444", linewidth=0.6)
    peak = max(float(np.abs(recording.samples).max()), 1e-4)
    waveform.set_ylim(-1.05 * peak, 1.05 * peak)
    waveform.set_ylabel("waveform")
    low, high = np.quantile(level, (0.02, 0.998))
    extent = (0, edges[-1], -0.5, level.shape[1] - 0.5)
    look: dict[str, Any] = {"cmap": "gray_r", "aspect": "auto", "origin": "lower", "interpolation": "nearest"}
    mels.imshow(level.T, vmin=low, vmax=max(high, low + 1), extent=extent, **look)
    mels.set_ylabel("mel band")


def _draw_attention(under: Axes, tasks: dict[str, Estimate]) -> None:
    axis = under.twinx()
    for i, (name, estimate) in enumerate(tasks.items()):
        if not estimate.attention:
            continue
        count = len(estimate.attention)
        steps = np.arange(min(count, STEPS)) * count // min(count, STEPS)
        weight = np.add.reduceat([segment.weight for segment in estimate.attention], steps)
        edges = [estimate.attention[j].start for j in steps] + [estimate.attention[-1].end]
        density = 100 * weight / np.diff(edges)
        line = axis.stairs(density, edges, baseline=None, color=f"C{i}", linewidth=1.6, label=name)
        line.set_path_effects([Stroke(linewidth=3.2, foreground="white"), Normal()])
        axis.legend(loc="upper right", ncols=2, fontsize=8, title=None, framealpha=0.9)
    axis.set_ylim(0, 1.3 * max(axis.dataLim.y1, 1e-9))
    axis.set_ylabel("attention, % a second", fontsize=9)
    axis.tick_params(labelsize=8)


def _draw_task(axis: Axes, task: str, prediction: Prediction) -> None:
    """Draw the values of every window from halfway to the one before it to halfway to the next."""
    windows, names = prediction.windows, list(prediction.tasks[task].values)
    middles = np.array([(window.start + window.end) / 2 for window in windows])
    edges = np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [prediction.seconds]])
    is_class = prediction.tasks[task].label or prediction.tasks[task].withheld
    for i, name in enumerate(names[1:] if is_class and len(names) == 2 else names):
        mean = np.array([window.tasks[task].values[name] for window in windows])
        spread = np.array([window.tasks[task].spread[name] for window in windows])
        axis.stairs(mean + spread, edges, baseline=mean - spread, fill=True, color=f"C{i}", alpha=0.25)
        axis.stairs(mean, edges, baseline=None, color=f"C{i}", linewidth=1.8, label=name)
    axis.legend(loc="upper right", ncols=4, fontsize=8, title=None, framealpha=0.9)
    axis.set_ylabel(task)
    if is_class:
        axis.set_ylim(-0.04, 1.04)
        axis.axhline(1 / len(names), color="gray", linewidth=0.8, linestyle=":")
