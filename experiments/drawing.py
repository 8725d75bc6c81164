"""What figures are drawn with.

Panels have one width, so that a figure of a single panel can be read on a phone. A target has the same colour
and mark throughout, which the colour-blind can tell apart too.

References: M. Okabe and K. Ito, "Color Universal Design" (2008), for the colours; their blue is lighter here,
so that it is seen on a dark ground as well.
"""

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PANEL = 3.4  # inches wide: 326 px on a screen
MARKS = {"arousal": ("#1f83c4", "o"), "valence": ("#d55e00", "s"), "language": ("#009e73", "^")}
COLOURS = ("#1f83c4", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f")
INK = "#010101"  # black on the light fields of a heat map; a page draws "#000000" in its own ink


def svg(drawing: Figure) -> str:
    """A figure as an SVG file's text, the same to the byte whenever it is drawn; its letters stay letters."""
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    stream = io.BytesIO()
    with mpl.rc_context(
        {"svg.hashsalt": "ser_jax", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}
    ):
        FigureCanvasSVG(drawing).print_svg(stream, metadata=nothing)
    return stream.getvalue().decode()


def panels(count: int, height: float, **shared: Any) -> tuple[Figure, np.ndarray]:
    """A figure of panels side by side, and their axes [count].

    Args:
      count: how many.
      height: inches.
      shared: see `Figure.subplots`.
    """
    drawing = Figure(figsize=(PANEL * count, height), layout="constrained")
    return drawing, drawing.subplots(1, count, squeeze=False, **shared)[0]


def heat(
    axis: Axes,
    values: np.ndarray,
    xs: Sequence,
    ys: Sequence,
    texts: Sequence[Sequence[str]],
    limits: tuple[float, float],
) -> None:
    """Coloured fields with texts, the first row on top.

    Args:
      axis: to draw on.
      values: [Y, X]; NaN is left without a colour.
      xs, ys: [X], [Y] what stands at the columns and rows.
      texts: [Y, X] what stands in the fields.
      limits: the values of the lightest and the darkest colour.
    """
    drawn = axis.pcolormesh(
        np.ma.masked_invalid(values),
        cmap="Blues",
        vmin=limits[0],
        vmax=limits[1],
        edgecolors="white",
        linewidth=1,
    )
    for (y, x), value in np.ndenumerate(values):
        ink = "black" if np.isnan(value) else _ink(drawn.to_rgba(value))
        axis.text(x + 0.5, y + 0.5, texts[y][x], ha="center", va="center", fontsize=9, color=ink)
    axis.set_xticks(np.arange(len(xs)) + 0.5, xs)
    axis.set_yticks(np.arange(len(ys)) + 0.5, ys)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.invert_yaxis()


def _ink(fill: np.ndarray) -> str:
    """Black or white, whichever is read better: a contrast of 4.5 at least (WCAG 2, relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in fill[:3]]
    return INK if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.18 else "white"


def outlined(axis: Axes, places: Iterable[tuple[int, int]]) -> None:
    """Draws a frame around the fields (row, column) of a heat map."""
    for y, x in places:
        corners = [x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y]
        axis.plot(*corners, color=COLOURS[1], linewidth=2, clip_on=False)


def numbers(values: np.ndarray) -> list[list[str]]:
    """The values [Y, X] of a heat map as its texts."""
    return [["-" if np.isnan(value) else f"{value:.1f}" for value in line] for line in values]


def broken(name: str) -> str:
    """A long name on two lines."""
    return name.replace("_", "_\n", 1)


def explained(drawing: Figure, text: str, synthetic: list[str]) -> Figure:
    """Says below what is drawn, and that it is of synthetic speech where any corpus is; sets sizes."""
    if synthetic:
        text = f"Synthetic speech. {text}"
    letters = int(17 * drawing.get_figwidth())
    drawing.supxlabel(textwrap.fill(text, letters), fontsize=8)
    for axis in drawing.axes:
        axis.tick_params(labelsize=8)
        axis.xaxis.label.set_fontsize(9)
        axis.yaxis.label.set_fontsize(9)
    return drawing
