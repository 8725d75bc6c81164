"""From a results folder to tables, figures and a page.

    python -m experiments.report RESULTS               # all its tables and report.html, anew
    python -m experiments.report RESULTS OTHER         # one table of several: of one protocol, or --mixed

Everything is recomputed from the predictions; nothing is trained.
"""

import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments import drawing, figures, keeping, page, protocol, summary, tables
from experiments.occupied import occupied
from experiments.predictions import ResultsError, sweep, whole
from ser_jax import flags
from ser_jax.ending import guarded


def write(out: Path, name: str, settings: list[str]) -> str:
    """Writes OUT/name.md, .csv, .tex, .png, .svg and report.html; returns the Markdown.

    Args:
      out: the results folder.
      name: of the table.
      settings: in it.
    """
    chosen, table = protocol.read(out), summary.rows(out, settings)
    if not table:
        raise ResultsError(f"{out} holds no predictions of {', '.join(settings)}")
    protocol.note_table(out, name, settings, [str(row.cell) for row in table])
    written = contents(out, name, table, chosen)
    for file, content in written.items():
        with whole(out / file) as temporary:
            temporary.write_text(content)
    for kind, figure in drawings(out, table, chosen).items():
        draw(out / f"{name}{kind}", figure)
    with whole(out / "report.html") as temporary:
        temporary.write_text(page.of(out))
    return written[f"{name}.md"].rstrip("\n")


def contents(out: Path, name: str, table: list[summary.Row], chosen: dict) -> dict[str, str]:
    """What is written of some cells, by the file it belongs in."""
    return {
        f"{name}.md": text(table, summary.comparisons(out, table), chosen) + "\n",
        f"{name}.csv": tables.comma_separated(table, chosen),
        f"{name}.tex": tables.latex(table, chosen),
    }


def text(table: list[summary.Row], found: list[summary.Comparison], chosen: dict) -> str:
    """All that is said of some cells, as Markdown."""
    parts = [tables.markdown(table, chosen), tables.lines(tables.intervals(table, chosen))]
    parts.append(
        "Pooled: over all utterances at once, with a 95 % interval by a bootstrap over speakers. Guessing: "
        "where chance falls with 95 %."
    )
    if found:
        parts.append(tables.lines(tables.differences(found, chosen)))
        parts.append(
            "Differences of the pooled UAR, points; p by swapping the answers to all of a speaker's "
            "utterances, corrected by Holm for those of the same column; * below 0.05. The runs are "
            "taken as they are: that other seeds would differ is in the deviations above, not in p."
        )
    return "\n\n".join(parts)


def drawings(out: Path, table: list[summary.Row], chosen: dict) -> dict[str, Figure]:
    """The figures that suit a table, by what is added to its name."""
    settings = list(dict.fromkeys(row.setting for row in table))
    if all(map(figures.TUNED.fullmatch, settings)):
        return {"": figures.tuning(table, chosen)}
    if all(figures.refined_on(name) is not None for name in settings) and len(settings) > 1:
        return {"": figures.learning_curve(out, table, chosen)}
    found = {"": figures.runs(out, table, chosen), "_confusions": figures.confusions(out, table, chosen)}
    curves = summary.training_curves(out, settings)
    if curves:
        found["_training"] = figures.training(curves, chosen)
    if len(chosen["corpora"]) > 2 and "crosslingual" in settings:
        found["_matrix"] = figures.matrix(table, chosen)
    return found


def draw(path: Path, figure: Figure) -> None:
    """Writes a figure as PATH.png and PATH.svg."""
    with whole(path.with_name(f"{path.name}.png")) as file, file.open("wb") as stream:
        FigureCanvasAgg(figure).print_png(stream)
    with whole(path.with_name(f"{path.name}.svg")) as file:
        file.write_text(drawing.svg(figure))


def together(folders: list[Path], mixed: bool) -> str:
    """The intervals of several results in one table, as Markdown.

    Raises: ResultsError where their protocols differ and `mixed` was not asked for.
    """
    hashes = [protocol.document(out)["hash"] for out in folders]
    other = [out for out, value in zip(folders, hashes, strict=True) if value != hashes[0]]
    if other and not mixed:
        differences = ", ".join(protocol.differences(protocol.read(folders[0]), protocol.read(other[0])))
        raise ResultsError(
            f"{other[0]} is of another protocol than {folders[0]} ({differences}), expected results that can "
            "be compared; --mixed puts them in one table all the same"
        )
    lines: list[list[str]] = []
    for out in folders:
        settings = list(dict.fromkeys(name for names in protocol.tables(out).values() for name in names))
        head, *body = tables.intervals(summary.rows(out, settings), protocol.read(out))
        lines += [] if lines else [["results", *head]]
        lines += [[str(out), *line] for line in body]
    notice = "**Results of different protocols: they cannot be compared line by line.**\n\n" if other else ""
    corpora = [corpus for out in folders for corpus in protocol.read(out)["corpora"]]
    synthetic = sorted({corpus["name"] for corpus in corpora if corpus["synthetic"]})
    spoken = f"**Synthetic speech** ({', '.join(synthetic)}).\n\n" if synthetic else ""
    return spoken + notice + tables.lines(lines)


def _check_complete(out: Path) -> None:
    """Raises: ResultsError where a cell that a table showed is not there any more."""
    shown = [cell for table in protocol.document(out)["tables"].values() for cell in table["cells"]]
    there = {str(cell) for cell in [*summary.stored(out), *keeping.read_missing(out)]}
    lost = sorted(set(shown) - there)
    if lost:
        raise ResultsError(
            f"{out} has lost the predictions of {', '.join(lost)}; the experiment computes them again"
        )


def main(arguments: list[str] | None = None) -> None:
    """Writes the tables of one folder anew, or prints those of several."""
    parser = flags.Parser(prog="python -m experiments.report", description=__doc__)
    add = parser.add_argument
    add("results", nargs="+", type=Path, metavar="RESULTS", help="folder that an experiment has written")
    add("--mixed", action="store_true", help="put results of different protocols in one table")
    options = parser.parse_args(arguments)

    def work() -> None:
        if len(options.results) > 1:
            print(together(options.results, options.mixed))
            return
        [out] = options.results
        protocol.document(out)
        with occupied(out):
            sweep(out)
            known = protocol.tables(out) or {
                "results": sorted({cell.setting for cell in summary.stored(out)})
            }
            _check_complete(out)
            for name, settings in known.items():
                print(write(out, name, settings))
        tables_written = ", ".join(f"{name}.md, .csv, .tex, .png, .svg" for name in known)
        print(f"Written to {out}: {tables_written}, report.html.", file=sys.stderr)

    sys.exit(guarded("experiments.report", work, "interrupted"))


if __name__ == "__main__":
    main()
