"""From a results folder to tables, figures and a page.

    python -m experiments.report RESULTS               # all its tables and report.html, anew
    python -m experiments.report RESULTS OTHER         # one table of several: of one protocol, or --mixed

Everything is recomputed from the predictions; nothing is trained.
"""

import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments import drawing, figures, page, protocol, tables
from experiments.markdown import aligned
from experiments.predictions import ResultsError, sweep, whole
from experiments.results import Results
from experiments.summary import Row
from ser_jax import flags
from ser_jax.experiment.lock import run_lock
from ser_jax.shutdown import run_script


def write(results: Results, name: str, settings: list[str]) -> str:
    """Writes a table as OUT/name.md, .csv, .tex, .png and .svg; returns the Markdown.

    Args:
      results: the folder; that it has the table is noted there.
      name: of the table.
      settings: in it.
    """
    out, table = results.out, results.rows(settings)
    if not table:
        raise ResultsError(f"{out} holds no predictions of {', '.join(settings)}")
    results.document = protocol.note_table(out, name, settings, [str(row.cell) for row in table])
    written = contents(results, name, table)
    for file, content in written.items():
        with whole(out / file) as temporary:
            temporary.write_text(content)
    for kind, figure in drawings(results, table).items():
        draw(out / f"{name}{kind}", figure)
    return written[f"{name}.md"].rstrip("\n")


def write_page(results: Results) -> None:
    """Writes OUT/report.html."""
    with whole(results.out / "report.html") as temporary:
        temporary.write_text(page.of(results))


def contents(results: Results, name: str, table: list[Row]) -> dict[str, str]:
    """What is written of some cells, by the file it belongs in."""
    return {
        f"{name}.md": text(results, table) + "\n",
        f"{name}.csv": tables.comma_separated(results, table),
        f"{name}.tex": tables.latex(results, table),
    }


def text(results: Results, table: list[Row]) -> str:
    """All that is said of some cells, as Markdown."""
    parts = [tables.markdown(results, table), aligned(tables.intervals(results, table)), tables.POOLED]
    if found := results.comparisons(table):
        parts.append(aligned(tables.differences(results, found)))
        parts.append(
            f"Differences of the pooled UAR, points; {tables.SWAPPED} those of the same column; * below "
            "0.05. The runs are taken as they are: that other seeds would differ is in the deviations above, "
            "not in p."
        )
    return "\n\n".join(parts)


def drawings(results: Results, table: list[Row]) -> dict[str, Figure]:
    """The figures that suit a table, by what is added to its name."""
    settings = list(dict.fromkeys(row.setting for row in table))
    if suited := figures.suited(settings):
        return {"": suited(results, table)}
    found = {"": figures.runs(results, table), "_confusions": figures.confusions(results, table)}
    if curves := results.curves(settings):
        found["_training"] = figures.training(results, curves)
    if figures.fills_matrix(results, table):
        found["_matrix"] = figures.matrix(results, table)
    return found


def draw(path: Path, figure: Figure) -> None:
    """Writes a figure as PATH.png and PATH.svg."""
    with whole(path.with_name(f"{path.name}.png")) as file, file.open("wb") as stream:
        FigureCanvasAgg(figure).print_png(stream)
    figure.set_layout_engine("none")  # it is laid out, which takes as long as drawing it
    with whole(path.with_name(f"{path.name}.svg")) as file:
        file.write_text(drawing.svg(figure))


def together(folders: list[Path], mixed: bool) -> str:
    """The intervals of several results in one table, as Markdown.

    Raises: ResultsError where their protocols differ and `mixed` was not asked for.
    """
    first, *_ = every = list(map(Results, folders))
    other = [one for one in every if one.document["hash"] != first.document["hash"]]
    if other and not mixed:
        differences = ", ".join(protocol.differences(first.chosen, other[0].chosen))
        raise ResultsError(
            f"{other[0].out} is of another protocol than {first.out} ({differences}), expected results that "
            "can be compared; --mixed puts them in one table all the same"
        )
    lines: list[list[str]] = []
    for one in every:
        settings = list(dict.fromkeys(name for names in one.tables.values() for name in names))
        head, *body = tables.intervals(one, one.rows(settings))
        lines += [] if lines else [["results", *head]]
        lines += [[str(one.out), *line] for line in body]
    notice = "**Results of different protocols: they cannot be compared line by line.**\n\n" if other else ""
    synthetic = sorted({name for one in every for name in one.synthetic})
    return tables.notice(synthetic) + notice + aligned(lines)


def _check_complete(results: Results) -> None:
    """Raises: ResultsError where a cell that a table showed is not there any more."""
    shown = [cell for table in results.document["tables"].values() for cell in table["cells"]]
    there = {str(cell) for cell in [*results.stored, *results.missing]}
    lost = sorted(set(shown) - there)
    if lost:
        raise ResultsError(
            f"{results.out} has lost the predictions of {', '.join(lost)}; the experiment computes them again"
        )


def main(arguments: list[str] | None = None) -> None:
    """Writes the tables of one folder anew, or prints those of several."""
    parser = flags.Parser(prog="python -m experiments.report", description=__doc__)
    add = parser.add_argument
    add(
        "results",
        nargs="+",
        type=flags.folder,
        metavar="RESULTS",
        help="folder that an experiment has written",
    )
    add("--mixed", action="store_true", help="put results of different protocols in one table")
    options = parser.parse_args(arguments)

    def work() -> None:
        if len(options.results) > 1:
            print(together(options.results, options.mixed))
            return
        [out] = options.results
        protocol.document(out)
        with run_lock(out):
            sweep(out)
            results = Results(out)
            known = results.tables or {"results": sorted({cell.setting for cell in results.stored})}
            _check_complete(results)
            for name, settings in known.items():
                print(write(results, name, settings))
            write_page(results)
        tables_written = ", ".join(f"{name}.md, .csv, .tex, .png, .svg" for name in known)
        print(f"Written to {out}: {tables_written}, report.html.", file=sys.stderr)

    run_script("report", work)


if __name__ == "__main__":
    main()
