"""Write, compare and verify the reports of results folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ser_jax import io
from ser_jax.errors import ResultsError
from ser_jax.experiment.config import differences
from ser_jax.experiment.results import PROTOCOL, Predictions, note, read_document, run_lock
from ser_jax.report import attention, figures, tables
from ser_jax.report.page import page
from ser_jax.report.results import Results, Row


def write_table(results: Results, name: str, settings: Sequence[str], figure: str | None = None) -> str:
    """Write a table as OUT/name.md, .csv, .tex, .png and .svg, and note it in config.json.

    Args:
      results: the folder.
      name: of the table.
      settings: names of the settings in it.
      figure: the figure that shows the whole table, "tuning" or "learning_curve"; None for the usual ones.
    Returns: the table as Markdown.
    Raises: ResultsError if the folder has nothing of these settings.
    """
    rows = results.rows(settings)
    if not rows:
        raise ResultsError(f"{results.out} holds no predictions of {', '.join(settings)}, expected some")
    shown = {"settings": list(settings), "figure": figure, "cells": [row.slug for row in rows]}
    results.document = note(results.out, tables={name: shown})
    written = _contents(results, name, rows)
    for file, content in written.items():
        write_text(results.out / file, content)
    for kind, chart in figures.charts(results, rows, figure).items():
        write_figure(results.out / f"{name}{kind}", figures.drawn(chart, results.synthetic))
    return written[f"{name}.md"].rstrip("\n")


def write_page(results: Results) -> None:
    """Write OUT/report.html."""
    write_text(results.out / "report.html", page(results))


def write_text(path: Path, content: str) -> None:
    """Write a text file, whole or not at all."""
    with io.atomic_file(path) as stream:
        stream.write(content.encode())


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PATH.png and PATH.svg."""
    with io.atomic_file(path.with_name(f"{path.name}.png")) as stream:
        FigureCanvasAgg(figure).print_png(stream)
    figure.set_layout_engine("none")  # it is laid out, which takes as long as drawing it
    write_text(path.with_name(f"{path.name}.svg"), figures.svg(figure))


def _contents(results: Results, name: str, rows: Sequence[Row]) -> dict[str, str]:
    """Return the text files of a table by name."""
    return {
        f"{name}.md": tables.markdown(results.synthetic, tables.parts(results, rows)),
        f"{name}.csv": tables.comma_separated(results, rows),
        f"{name}.tex": tables.latex(results, rows),
    }


def rewrite(out: Path) -> dict[str, str]:
    """Write all tables of a folder and its page anew; returns the Markdown of each.

    Raises: ResultsError if the folder is in use or damaged, or predictions of a table are lost.
    """
    read_document(out)  # before a folder that is none is locked
    with run_lock(out):
        results = Results(out)
        known = results.document["tables"] or {
            "results": {"settings": results.settings, "figure": None, "cells": []}
        }
        lost = sorted({cell for shown in known.values() for cell in shown["cells"]} - results.known.keys())
        if lost:
            raise ResultsError(
                f"{out} has lost the predictions of {', '.join(lost)}; the experiment computes them again"
            )
        found = {
            name: write_table(results, name, shown["settings"], shown["figure"])
            for name, shown in known.items()
        }
        write_page(results)
    return found


def compare(folders: Sequence[Path], mixed: bool = False) -> str:
    """Return the intervals of several results in one table, as Markdown.

    Args:
      folders: the results.
      mixed: whether they may be of different protocols.
    Raises: ResultsError if their protocols differ and `mixed` is False.
    """
    every = [Results(folder) for folder in folders]
    protocols = [{name: one.document[name] for name in PROTOCOL} for one in every]
    other = [i for i, one in enumerate(protocols) if one != protocols[0]]
    if other and not mixed:
        raise ResultsError(
            f"{folders[other[0]]} is of another protocol than {folders[0]} "
            f"({', '.join(differences(protocols[0], protocols[other[0]]))})"
            ", expected results that can be compared; --mixed puts them in one table all the same"
        )
    lines: list[list[str]] = []
    for one in every:
        head, *body = tables.intervals(one, one.rows(one.settings))
        lines += [] if lines else [["results", *head]]
        lines += [[str(one.out), *line] for line in body]
    synthetic = sorted({name for one in every for name in one.synthetic})
    notice = "**Results of different protocols: they cannot be compared line by line.**"
    table = tables.Table("Results", lines, tables.POOLED)
    return tables.markdown(synthetic, [notice, table] if other else [table]).rstrip("\n")


def verify(out: Path) -> list[str]:
    """Recompute every table of a folder; return a sentence for everything that does not fit together.

    Raises: ResultsError if there is no table, or a file is damaged.
    """
    results = Results(out)
    if not results.document["tables"]:
        raise ResultsError(f"{out} holds no table, expected one that an experiment has written")
    every: dict[str, Any] = results.document["tables"]
    expected: dict[str, str] = {}
    for name, shown in every.items():
        expected |= _contents(results, name, results.rows(shown["settings"]))
    if known := attention.read(out):
        expected["attention.md"] = tables.markdown(results.synthetic, [attention.summary(known)])
    wrong = []
    for cell in dict.fromkeys(cell for shown in every.values() for cell in shown["cells"]):
        if cell not in results.known:
            wrong.append(f"{cell}.npz: LOST, expected in {out / 'predictions'}")
        elif cell in results.cells and not _fits(results, results.cells[cell]):
            wrong.append(f"{cell}.npz: OTHER UTTERANCES than the folds of config.json")
    for file, content in expected.items():
        if not (out / file).exists():
            wrong.append(f"{file}: LOST, expected as it follows from what is stored")
        elif (out / file).read_bytes() != content.encode():
            wrong.append(f"{file}: DIFFERS from what is stored")
    return wrong


def _fits(results: Results, found: Predictions) -> bool:
    """Return whether predictions are of utterances that config.json has, each in its fold."""
    folds = [results.document["folds"].get(name, []) for name in found.test]
    if not all(folds):  # a corpus that cannot be divided
        sizes = {corpus["name"]: corpus["utterances"] for corpus in results.document["corpora"]}
        return len(found.utterance) <= sum(sizes[name] for name in found.test)
    part = "dev" if results.description(found).get("tuned") else "test"
    count = max(map(len, folds))
    tested = [{name for own in folds if i < len(own) for name in own[i][part]} for i in range(count)]
    if len(np.unique(found.fold)) == 1:
        tested = [set().union(*tested)] * count
    pairs = zip(found.fold.tolist(), found.utterance.tolist(), strict=True)
    return all(0 <= fold < count and name in tested[fold] for fold, name in pairs)
