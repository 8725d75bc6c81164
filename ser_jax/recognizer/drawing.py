"""What a recogniser heard in a recording and what it said of it, as one picture.

From top to bottom: the outline of the sound; its log-mels, and over them how the attention is spread; and for
every target the probability, window by window. A recording shorter than a window is followed by padding, and
what the attention gives to that can be seen.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patheffects import Normal, Stroke

from ser_jax.errors import one_line
from ser_jax.features.logmel import HOP, RATE, SECONDS
from ser_jax.io import atomic_file
from ser_jax.recognizer.hearing import Heard
from ser_jax.recognizer.recognition import Estimate, Recognition, in_words
from ser_jax.recognizer.trained import TARGETS

WIDE = 9.0  # inches
DOTS = 150  # per inch
COLUMNS = 2000  # of samples, log-mels or windows at most; a picture has fewer
STEPS = 120  # of the attention at most; more could not be told apart
COLOURS = {"arousal": "#1f83c4", "valence": "#d55e00"}
PADDING: dict[str, Any] = {"facecolor": "#eeeeee", "edgecolor": "#c4c4c4", "hatch": "///", "linewidth": 0}
FONT = "DejaVu Sans"  # comes with Matplotlib
CAPTION = (
    "Steps over the log-mels: the attention, whose area is 100 %. Below: the probability of every window,\n"
    "around its middle, and the seeds' deviation from it. Dotted: where the classes meet. Hatched: padding."
)


def draw(path: Path, title: str, heard: Heard, recognition: Recognition) -> None:
    """Write a PNG, whole or not at all.

    Args:
      path: where; what is there is replaced.
      title: the recording's name, shown as it is.
      heard: the recording.
      recognition: what was said of it.
    Raises: OSError.
    """
    canvas = FigureCanvasAgg(figure(title, heard, recognition))
    with atomic_file(path) as stream:
        canvas.print_png(stream, metadata={"Software": None})


def figure(title: str, heard: Heard, recognition: Recognition) -> Figure:
    """Return the picture as a `matplotlib.figure.Figure`; arguments as in `draw`."""
    targets = recognition.targets
    heights = [0.8, 2.2, *[1.0] * len(targets)]
    drawing = Figure(figsize=(WIDE, 1.6 + 1.1 * sum(heights)), dpi=DOTS, layout="constrained")
    axes = drawing.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    end = recognition.windows[-1].start + SECONDS
    _sound(axes[0], heard)
    _mels(axes[1], heard, end)
    _attention(axes[1], targets)
    for axis, name in zip(axes[2:], targets, strict=True):
        _probability(axis, name, recognition)
    for axis in axes:
        axis.set_xlim(0, end)
        axis.tick_params(labelsize=8)
        axis.yaxis.label.set_fontsize(9)
        if axis is not axes[1]:
            _padding(axis, recognition.seconds, end)
    axes[-1].set_xlabel("time, s", fontsize=9)
    drawing.align_ylabels(axes)
    drawing.supxlabel(CAPTION, fontsize=8)
    said = "     ".join(in_words(name, estimate) for name, estimate in targets.items())
    drawing.suptitle(f"{_shown(title)}\n{said}", fontsize=10, fontfamily=FONT, parse_math=False, usetex=False)
    return drawing


def _shown(title: str) -> str:
    """A name on one line, cut in the middle; letters that the font lacks are boxes."""
    known = get_font(findfont(FontProperties(family=FONT))).get_charmap()
    title = one_line(title)
    if len(title) > 100:
        title = f"{title[:60]} ... {title[-35:]}"
    return "".join(letter if ord(letter) in known else "\u25a1" for letter in title)


def _sound(axis: Axes, heard: Heard) -> None:
    """The least and the largest sample in every column."""
    groups = _groups(len(heard.outline), COLUMNS)
    low = np.minimum.reduceat(heard.outline[:, 0], groups)
    high = np.maximum.reduceat(heard.outline[:, 1], groups)
    edges = np.append(groups, len(heard.outline)) * HOP / RATE
    line = 0.6 if len(groups) < COLUMNS else 0
    axis.stairs(high, edges, baseline=low, fill=True, color="#444444", linewidth=line)
    peak = max(float(np.abs(heard.outline).max()), 1e-4)
    axis.set_ylim(-1.05 * peak, 1.05 * peak)
    axis.set_ylabel("sound")


def _mels(axis: Axes, heard: Heard, end: float) -> None:
    frames, bands = heard.logmel.shape
    groups = _groups(frames, COLUMNS)
    level = np.add.reduceat(heard.logmel, groups, axis=0) / np.diff(np.append(groups, frames))[:, None]
    low, high = np.quantile(level, (0.02, 0.998))
    extent = (0, frames * HOP / RATE, -0.5, bands - 0.5)
    look: dict[str, Any] = {"cmap": "gray_r", "aspect": "auto", "origin": "lower", "interpolation": "nearest"}
    axis.imshow(level.T, vmin=low, vmax=max(high, low + 1), extent=extent, **look)
    _padding(axis, extent[1], end, "padding")
    axis.set_ylim(extent[2:])
    axis.set_ylabel("mel band")


def _attention(under: Axes, targets: dict[str, Estimate]) -> None:
    """Steps over the log-mels, on an axis of their own: their area is 100 %."""
    axis = under.twinx()
    for name, estimate in targets.items():
        groups = _groups(len(estimate.attention), STEPS)
        weight = np.add.reduceat([segment.weight for segment in estimate.attention], groups)
        edges = [estimate.attention[i].start for i in groups] + [estimate.attention[-1].end]
        density = 100 * weight / np.diff(edges)
        drawn = axis.stairs(density, edges, baseline=None, color=COLOURS[name], linewidth=1.6, label=name)
        drawn.set_path_effects([Stroke(linewidth=3.2, foreground="white"), Normal()])
    axis.set_ylim(0, 1.3 * max(axis.dataLim.y1, 1e-9))
    axis.set_ylabel("attention, % a second", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.legend(loc="upper right", ncols=2, fontsize=8, title=None, framealpha=0.9)


def _probability(axis: Axes, name: str, recognition: Recognition) -> None:
    """Every window's, from halfway to the one before it until halfway to the next."""
    windows = recognition.windows
    groups = _groups(len(windows), COLUMNS)
    counts = np.diff(np.append(groups, len(windows)))
    own = [window.targets[name] for window in windows]
    mean = np.add.reduceat([one.probability for one in own], groups) / counts
    spread = np.add.reduceat([one.spread for one in own], groups) / counts
    middles = np.array([(window.start + window.end) / 2 for window in windows])
    edges = np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [recognition.seconds]])
    edges = np.append(edges[groups], edges[-1])
    colour = COLOURS[name]
    low, high = np.maximum(mean - spread, 0), np.minimum(mean + spread, 1)
    axis.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.25, linewidth=0)
    axis.stairs(mean, edges, baseline=None, color=colour, linewidth=1.8 if len(groups) < 200 else 0.8)
    axis.axhline(0.5, color="gray", linewidth=0.8, linestyle=":")
    axis.set_ylim(-0.04, 1.04)  # lines at 0 and 1 are seen whole
    first, second = TARGETS[name].class_names
    axis.set_yticks([0, 0.5, 1], [f"{first} 0", "0.5", f"{second} 1"])
    axis.set_ylabel(name)


def _padding(axis: Axes, start: float, end: float, text: str = "") -> None:
    """Marks what is no sound."""
    if start >= end:
        return
    axis.axvspan(start, end, zorder=0.5, **PADDING)
    if text and end - start > 0.1 * end:
        drawn = axis.text((start + end) / 2, 0.5, text, transform=axis.get_xaxis_transform(), fontsize=9)
        drawn.set(ha="center", va="center", color="#555555")
        drawn.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8})


def _groups(count: int, most: int) -> np.ndarray:
    """Where `most` groups of `count` things begin, or as many as there are; [n], ascending from 0."""
    return np.unique(np.arange(min(count, most)) * count // min(count, most))
