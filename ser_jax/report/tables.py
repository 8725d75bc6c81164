"""Turn rows of results into tables: text for Markdown and the page, CSV and LaTeX."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict

from ser_jax.experiment.config import Config, describe
from ser_jax.io import atomic_file, markdown_table
from ser_jax.report.results import Results, Row, columns, labels, scale

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # first characters of text that a spreadsheet would run
LATEX = str.maketrans({name: f"\\{name}" for name in "%_&#$"} | {"±": r"$\pm$", "+": "$+$"})
POOLED = (
    "Pooled: score over all utterances at once, with a 95 % interval from a bootstrap over speakers. Chance: "
    "the range that 95 % of random guesses fall in. By class: recall of each class, or CCC of each dimension."
)
PERMUTED = (
    "Differences of the pooled scores (UAR: percentage points). p: permutation test that swaps the "
    "predictions of whole speakers, with Holm's correction for all comparisons on the same corpus and task; "
    "* marks values below 0.05. With n speakers p cannot be below 2 / 2^n, so that after the correction even "
    "large differences on few speakers are not significant. The test takes the trained runs as given: the "
    "variation between seeds shows in the standard deviations above, not in p."
)
PARTS = ("features", "model", "train", "protocol")  # of a configuration whose changes a caption names


class Table(NamedTuple):
    """A table of a report."""

    title: str
    lines: list[list[str]]  # text of the cells, the head first; all lines have the same length
    note: str = ""  # how to read it


def parts(results: Results, rows: Sequence[Row]) -> list[str | Table]:
    """Return the tables and remarks about some cells, in reading order."""
    compared = differences(results, rows)
    return [
        Table("Scores", grid(results, rows), caption(results, rows)),
        *remarks(results, rows),
        Table("Intervals", intervals(results, rows), POOLED),
        *([Table("Differences between settings", compared, PERMUTED)] if compared[1:] else []),
    ]


def markdown(synthetic: Sequence[str], parts: Sequence[str | Table]) -> str:
    """Return parts of a report as Markdown, below a warning if corpora are of synthetic speech."""
    blocks = [f"**{warning}**" if (warning := synthetic_warning(synthetic)) else ""]
    for part in parts:
        if isinstance(part, Table):
            blocks += [f"**{part.title}**", markdown_table(part.lines), part.note]
        else:
            blocks.append(part)
    return "\n\n".join(filter(None, blocks)) + "\n"


def write(path: Path, text: str) -> None:
    """Write text as `atomic_file` does."""
    with atomic_file(path) as stream:
        stream.write(text.encode())


def comma_separated(results: Results, rows: Sequence[Row]) -> str:
    """Return one line of CSV per cell; unknown values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in rows:
        by_class = "; ".join(f"{name} {value:.4f}" for name, value in row.by_class)
        shown = row._asdict() | {"train": "+".join(row.train), "test": results.title(row.test)}
        writer.writerow(map(csv_field, (shown | {"by_class": by_class}).values()))
    return text.getvalue()


def csv_field(value: Any) -> Any:
    """Return a field of CSV; text that a spreadsheet would run as a formula starts with an apostrophe."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def latex(results: Results, rows: Sequence[Row]) -> str:
    """Return the scores as a `tabular` for the package booktabs."""
    head, *body = ([field.translate(LATEX) for field in line] for line in grid(results, rows))
    lines = [f"% {caption(results, rows)}", rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
    lines += [rf"{' & '.join(head)} \\", r"\midrule", *(rf"{' & '.join(line)} \\" for line in body)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def synthetic_warning(synthetic: Sequence[str]) -> str:
    """Return a sentence that names corpora of synthetic speech; "" if there are none."""
    return f"Synthetic speech, generated and not recorded: {', '.join(synthetic)}." if synthetic else ""


def task_name(row: Row) -> str:
    """Return the name of a task, with its metric if that is not UAR."""
    return row.task + ("" if row.metric in ("UAR", "") else f" ({row.metric})")


def heading(results: Results, row: Row) -> str:
    """Return the tested corpora and the task."""
    return f"{results.title(row.test)} {task_name(row)}"


def grid(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return the scores, the head first.

    Lines are settings, and columns are test corpora and tasks; of `Results.many` corpora, lines are test
    corpora, and columns are settings and tasks, with the mean and the range over the training corpora.
    """
    names, cells = labels(rows), dict[tuple[str, str], list[Row]]()
    for row in rows if results.many else (row for column in columns(rows) for row in column):
        line, head = names[row.slug], heading(results, row)
        if results.many:
            line, head = results.title(row.test), f"{row.setting} {task_name(row)}"
        cells.setdefault((line, head), []).append(row)
    ordered = dict.fromkeys(results.title(row.test) if results.many else names[row.slug] for row in rows)
    heads = list(dict.fromkeys(head for _, head in cells))
    body = [[line, *(_score(cells.get((line, head), [])) for head in heads)] for line in ordered]
    return [["UAR, %" if any(row.metric == "UAR" for row in rows) else "", *heads], *body]


def _score(rows: Sequence[Row]) -> str:
    """Return the score of a cell, or the mean and range of cells that differ in their training corpora."""
    scored = [row for row in rows if not row.missing]
    if len(rows) > 1 and scored:
        values = [row.score_mean for row in scored]
        each = sum(values) / len(values), min(values), max(values)
        return "{} ({} to {})".format(*(number(scored[0], value) for value in each))
    return "".join(
        _mean(row) + ("" if math.isnan(row.paper) else f" (paper: {row.paper:.2f})") for row in rows[:1]
    )


def caption(results: Results, rows: Sequence[Row]) -> str:
    """Return how the scores of some cells were computed."""
    seeds = results.document["config"]["protocol"]["seeds"]
    spread = f"; mean ± sample standard deviation over {seeds} seeds" if seeds > 1 else "; one seed"
    tuned = any(results.description(row).get("tuned") for row in rows)
    chance = {row.task: f"{number(row, row.chance)} ({row.task})" for row in rows if not row.missing}
    corpora = results.document["corpora"]
    left_out = ", ".join(f"{one['left_out']} of {one['name']}" for one in corpora if one["left_out"])
    sentences = {
        f"Mean over the folds of the test corpus{spread}": True,
        "In brackets, the range over training corpora": results.many,
        "Scores are those of the development speakers": tuned,
        f"Chance: {', '.join(chance.values())}": chance,
        f"Options that differ from the defaults: {(changed := options(results))}": changed,
        "The paper's scores are those of IEMOCAP and RECOLA": any(not math.isnan(row.paper) for row in rows),
        f"Unusable recordings left out: {left_out}": left_out,
    }
    return " ".join(f"{sentence}." for sentence, applies in sentences.items() if applies)


def options(results: Results) -> str:
    """Return the options of the experiment that differ from the defaults."""
    trees = describe(Config()), results.document["config"]
    default, own = (flatten_dict({name: tree[name] for name in PARTS}, sep=".") for tree in trees)
    return ", ".join(f"{name} {value}" for name, value in own.items() if value != default.get(name))


def remarks(results: Results, rows: Sequence[Row]) -> list[str]:
    """Return a sentence about every cell that is missing or lacks runs."""
    found, names = [], labels(rows)
    for row in rows:
        reason = "Not computed" if row.missing else "Left out because it diverged"
        if what := row.missing or row.stopped:
            found.append(f"{reason}: {names[row.slug]}, {results.title(row.test)} {row.task}: {what}.")
    return found


def intervals(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return intervals, recalls and sizes of each cell, the head first."""
    head = ["cell", "mean of folds ± sd (n)", "pooled [95 %]", "chance", "by class", "folds", "speakers",
            "utterances"]  # fmt: skip
    lines, names = [head], labels(rows)
    for row in rows:
        line = [
            f"{names[row.slug]}, {heading(results, row)}",
            f"{_mean(row)} ({row.runs})",
            f"{number(row, row.pooled)} [{_range(row, row.low, row.high)}]",
            _range(row, row.chance_low, row.chance_high),
            ", ".join(f"{name} {number(row, value)}" for name, value in row.by_class),
            *map(str, (row.folds, row.speakers, row.utterances)),
        ]
        lines.append([line[0], _mean(row), *[""] * (len(head) - 2)] if row.missing else line)
    return lines


def differences(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return the comparisons between settings, the head first."""
    lines, names = [["on", "setting", "against", "difference", "p", "p (Holm)"]], labels(rows)
    for one, other, difference, p, p_holm in results.comparisons(rows):
        signed = ("+" if difference >= 0 else "") + number(one, difference)
        p_values = _p(p), _p(p_holm) + (" *" if p_holm < 0.05 else "")
        lines.append([heading(results, one), names[one.slug], names[other.slug], signed, *p_values])
    return lines


def number(row: Row, value: float) -> str:
    """Return a score: UAR in per cent with one decimal, other metrics with three."""
    return "?" if math.isnan(value) else f"{value:.{1 if scale(row.metric) == 100 else 3}f}"


def _mean(row: Row) -> str:
    spread = "" if math.isnan(row.score_sd) else f" ± {number(row, row.score_sd)}"
    return "not computed" if row.missing else number(row, row.score_mean) + spread


def _range(row: Row, low: float, high: float) -> str:
    return "?" if math.isnan(low) else f"{number(row, low)}, {number(row, high)}"


def _p(value: float) -> str:
    return "?" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
