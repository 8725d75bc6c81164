"""Write, compare and verify reports of results folders: tables, figures and one page."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from ser_jax.errors import ResultsError
from ser_jax.experiment.config import differences
from ser_jax.experiment.results import PROTOCOL, Predictions, note, read_document, run_lock
from ser_jax.io import markdown_table
from ser_jax.report import attention, figures, label_check, tables
from ser_jax.report.figures import Chart
from ser_jax.report.tables import Results, Row

__all__ = ["Results", "Row", "compare", "means", "page", "rewrite", "verify", "write_page", "write_table"]
PAGE = jinja2.Environment(
    loader=jinja2.PackageLoader("ser_jax.report", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
).get_template("page.html.j2")
FOLDED = ("Confusion matrices", "Training")  # charts that the page shows on request


def write_table(results: Results, name: str, settings: Sequence[str], figure: str | None = None) -> str:
    """Write a table of some settings as OUT/name.md, .csv, .tex, .png and .svg, and note it in config.json.

    The `figure` is "tuning" or "learning_curve" for that of such an experiment, None for the usual ones.

    Returns: the table as Markdown.
    Raises: ResultsError if the folder has no results of these settings.
    """
    rows = results.rows(settings)
    if not rows:
        raise ResultsError(f"{results.out} holds no predictions of {', '.join(settings)}, expected some")
    shown = {"settings": list(settings), "figure": figure, "cells": [row.slug for row in rows]}
    results.document = note(results.out, tables={name: shown})
    written = _text_files(results, name, rows)
    for file, content in written.items():
        tables.write(results.out / file, content)
    for suffix, chart in figures.charts(results, rows, figure).items():
        figures.write_figure(results.out / f"{name}{suffix}", figures.drawn(chart, results.synthetic))
    return written[f"{name}.md"].rstrip("\n")


def _text_files(results: Results, name: str, rows: Sequence[Row]) -> dict[str, str]:
    return {
        f"{name}.md": tables.markdown(results.synthetic, tables.parts(results, rows)),
        f"{name}.csv": tables.comma_separated(results, rows),
        f"{name}.tex": tables.latex(results, rows),
    }


def write_page(results: Results) -> None:
    """Write OUT/report.html."""
    tables.write(results.out / "report.html", page(results))


def page(results: Results) -> str:
    """Return a results folder as one HTML page without scripts or links to other files.

    Raises: ResultsError if the attention file is damaged.
    """
    sections: dict[str, list[Any]] = {}
    for name, shown in results.document["tables"].items():
        rows = results.rows(shown["settings"])
        parts: list[Any] = [*tables.parts(results, rows)] if rows else []
        parts[1:1] = map(_gallery, figures.charts(results, rows, shown["figure"]).values())
        sections[re.sub(r"_|(?<=[a-z])(?=\d)", " ", name).capitalize()] = parts
    if shares := attention.read(results.out):
        sections["Attention"] = [attention.summary(shares), _gallery(figures.attention(shares))]
    if label_check.pairs(results):
        sections["Labels"] = label_check.parts(results)
    network = figures.networks(results)
    protocol = {name: part for name, part in results.document.items() if name not in ("settings", "tables")}
    protocol["folds"] = {
        name: [f"{len(fold['test'])} test utterances" for fold in folds]
        for name, folds in results.document["folds"].items()
    }
    return PAGE.render(
        title=f"Emotion from speech: {', '.join(results.title([name]) for name in results.names)}",
        warning=tables.synthetic_warning(results.synthetic),
        sections=sections,
        network=_gallery(network) if network.panels else results.document["config"]["model"]["class"],
        protocol=protocol,
    )


def _gallery(chart: Chart) -> dict[str, Any]:
    """Return a chart for the page, with a separate image for each panel."""
    images = []
    for title, content in chart.panels.items():
        drawing = figures.svg(figures.drawn(chart._replace(panels={title: content}, note="")))
        about = f"{chart.title}, {title}".replace("\n", ", ")
        images.append({"data": base64.b64encode(drawing).decode(), "label": about})
    wide, folded = chart.width > figures.WIDTH, chart.title in FOLDED
    return {"title": chart.title, "note": chart.note, "images": images, "wide": wide, "folded": folded}


def rewrite(out: Path) -> dict[str, str]:
    """Write all tables of a folder and its page again; return the tables as Markdown, by name.

    Raises: ResultsError if the folder is in use or damaged, or predictions of a table are lost.
    """
    read_document(out)  # fails before the lock of a folder that holds no results
    with run_lock(out):
        results = Results(out)
        every = {"settings": results.settings, "figure": None, "cells": []}
        noted = results.document["tables"] or {"results": every}
        lost = sorted({cell for shown in noted.values() for cell in shown["cells"]} - results.known.keys())
        if lost:
            raise ResultsError(
                f"{out} has lost the predictions of {', '.join(lost)}; the experiment computes them again"
            )
        written = {
            name: write_table(results, name, one["settings"], one["figure"]) for name, one in noted.items()
        }
        write_page(results)
    return written


def compare(folders: Sequence[Path]) -> str:
    """Return the intervals of several results folders in one table, as Markdown.

    Above it, a warning names the differences of folders whose protocols differ.
    """
    parts: list[str | tables.Table] = []
    lines: list[list[str]] = []
    every = [Results(folder) for folder in folders]
    first, *_ = protocols = [{name: one.document[name] for name in PROTOCOL} for one in every]
    for one, protocol in zip(every, protocols, strict=True):
        head, *body = tables.intervals(one, one.rows(one.settings))
        lines += ([str(one.out), *line] for line in body)
        if protocol != first:
            other = ", ".join(differences(first, protocol))
            parts.append(f"**{one.out} has another protocol than {folders[0]} ({other}): not comparable.**")
    synthetic = sorted({name for one in every for name in one.synthetic})
    table = tables.Table("Results", [["results", *head], *lines], tables.POOLED)
    return tables.markdown(synthetic, [*parts, table]).rstrip("\n")


def means(folders: Sequence[Path], without: Sequence[str] = ()) -> str:
    """Return the mean score over the tested corpora of each setting of several results folders, as Markdown.

    Brackets contain the mean over the corpora that are not in `without`.
    """
    every = [Results(folder) for folder in folders]
    tasks = dict.fromkeys(tables.task_name(row) for one in every for row in one.rows(one.settings))
    lines = [["system", "setting", *tasks, "minutes of training, all settings"]]
    for results in every:
        minutes = sum(one["seconds"] or 0 for one in results.document["sessions"]) / 60
        for setting in results.settings:
            rows = results.rows([setting])
            each = ([row for row in rows if tables.task_name(row) == task] for task in tasks)
            shown = [tables.mean(own, without) if own else "" for own in each]
            lines.append([results.out.name, setting, *shown, f"{minutes:.1f}"])
    return markdown_table(lines)


def verify(out: Path) -> list[str]:
    """Recompute every table of a folder; return a sentence for each file that differs.

    Raises: ResultsError if there is no table, or a file is damaged.
    """
    results = Results(out)
    noted: dict[str, Any] = results.document["tables"]
    if not noted:
        raise ResultsError(f"{out} holds no table, expected one that an experiment has written")
    expected: dict[str, str] = {}
    for name, shown in noted.items():
        expected |= _text_files(results, name, results.rows(shown["settings"]))
    if shares := attention.read(out):
        expected["attention.md"] = tables.markdown(results.synthetic, [attention.summary(shares)])
    if label_check.pairs(results):
        expected["labels.md"] = tables.markdown(results.synthetic, label_check.parts(results))
    wrong = []
    for cell in dict.fromkeys(cell for shown in noted.values() for cell in shown["cells"]):
        if cell not in results.known:
            wrong.append(f"{cell}.npz: LOST, expected in {out / 'predictions'}")
        elif cell in results.cells and not _fits(results, results.cells[cell]):
            wrong.append(f"{cell}.npz: OTHER UTTERANCES than the folds of config.json")
    for file, content in expected.items():
        if not (out / file).exists():
            wrong.append(f"{file}: LOST, expected the table of the stored predictions")
        elif (out / file).read_bytes() != content.encode():
            wrong.append(f"{file}: DIFFERS from the stored predictions")
    return wrong


def _fits(results: Results, cell: Predictions) -> bool:
    """Return whether the utterances of a cell belong to the folds of config.json that tested them."""
    every = [results.document["folds"].get(name) for name in cell.test]
    if not all(every):  # the utterances of corpora that cannot be divided are not listed
        return True
    part = "dev" if results.description(cell).get("tuned") else "test"
    tested = {(i, name) for folds in every for i, fold in enumerate(folds) for name in fold[part]}
    if len(set(cell.fold.tolist())) == 1:  # tested without folds
        return {*cell.utterance.tolist()} <= {name for _, name in tested}
    return set(zip(cell.fold.tolist(), cell.utterance.tolist(), strict=True)) <= tested
