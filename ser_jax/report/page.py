"""A results folder as one page to read, `report.html`: nothing outside it, no script."""

import re
from typing import Any

import jinja2
from markupsafe import Markup

from ser_jax.report import attention, figures, tables
from ser_jax.report.figures import Chart
from ser_jax.report.results import Results

FOLDED = ("_confusions", "_training")  # charts that are shown on request


def page(results: Results) -> str:
    """Return the page of a results folder: for the same results always the same bytes.

    Raises: ResultsError if the attention file is damaged.
    """
    sections = [_section(results, name, one) for name, one in _shown(results).items()]
    if known := attention.read(results.out):
        chart = _gallery(figures.attention(known), "attention", False)
        sections.append({"heading": "Attention", "parts": [attention.summary(known), chart]})
    loader = jinja2.PackageLoader("ser_jax.report", "")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    document = {name: part for name, part in results.document.items() if name not in ("settings", "tables")}
    document["folds"] = {
        name: [f"{len(fold['test'])} test utterances" for fold in folds]
        for name, folds in results.document["folds"].items()
    }
    return environment.get_template("page.html.j2").render(
        title=f"Emotion from speech: {', '.join(results.title([name]) for name in results.names)}",
        warning=tables.synthetic_notice(results.synthetic),
        sections=sections,
        document=document,
    )


def _shown(results: Results) -> dict[str, dict[str, Any]]:
    """Return the tables, without those whose settings are all in another, and what is in none."""
    known = results.document["tables"]
    found = {
        name: one
        for name, one in known.items()
        if not any(set(one["settings"]) < set(other["settings"]) for other in known.values())
    }
    listed = {setting for one in found.values() for setting in one["settings"]}
    rest = [name for name in results.settings if name not in listed]
    return found | ({"in no table": {"settings": rest, "figure": None}} if rest else {})


def _section(results: Results, name: str, shown: dict[str, Any]) -> dict[str, Any]:
    """Return the heading of a table, and its parts with charts after the scores."""
    rows = results.rows(shown["settings"])
    parts: list[Any] = [*tables.parts(results, rows)] if rows else []
    charts = figures.charts(results, rows, shown["figure"]) if rows else {}
    parts[1:1] = [_gallery(chart, f"{name}{kind}", kind in FOLDED) for kind, chart in charts.items()]
    heading = re.sub(r"_|(?<=[a-z])(?=\d)", " ", name).capitalize()
    return {"heading": heading, "parts": parts}


def _gallery(chart: Chart, name: str, folded: bool) -> dict[str, Any]:
    """Return a chart with every panel as a figure of its own.

    Args:
      chart: to be shown.
      name: begins the ids in it, different for every chart of a page.
      folded: whether it is shown on request.
    """
    panels = [chart._replace(panels=[panel], note="") for panel in chart.panels]
    each = [_inline(one, f"{name.replace(' ', '-')}-{i}-") for i, one in enumerate(panels)]
    return {"title": chart.title, "note": chart.note, "figures": each, "folded": folded}


def _inline(chart: Chart, prefix: str) -> dict[str, Any]:
    """Return a chart as SVG in the ink and on the ground of the page."""
    figure = figures.drawn(chart)
    for patch in (figure.patch, *(axis.patch for axis in figure.axes)):
        patch.set_visible(False)
    found = figures.svg(figure)
    start, _, rest = found[found.index("<svg") :].partition(">")
    rest = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", rest, flags=re.DOTALL)
    rest = rest.replace("#000000", "currentColor").replace("xlink:href", "href")
    rest = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", rest)
    box, label = re.findall(r'viewBox="[^"]*"', start)[0], chart.panels[0].title.replace("\n", ", ")
    return {"box": Markup(box), "label": f"{chart.title}, {label}", "drawing": Markup(rest)}
