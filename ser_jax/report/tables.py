"""Rows as tables: grids of text that Markdown and the page show alike, CSV and LaTeX."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ser_jax.experiment.config import Config, describe
from ser_jax.experiment.settings import Setting
from ser_jax.io import markdown_table
from ser_jax.report.results import Comparison, Results, Row, columns, labels, scale

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how text begins that a spreadsheet would run
LATEX = str.maketrans({name: f"\\{name}" for name in "%_&#$"} | {"±": r"$\pm$", "+": "$+$"})
WIDE = 12  # columns; a wider table has a line for each setting and corpus
POOLED = (
    "Pooled: over all utterances at once, with a 95 % interval by a bootstrap over speakers. Chance: the "
    "range of 95 % of guesses. By class: recall of each class, or CCC of each dimension."
)
SWAPPED = (
    "Differences of the pooled score (UAR: points). p: swapping the predictions of all utterances of a "
    "speaker, corrected by Holm for the comparisons on the same corpus and task; * below 0.05. The runs are "
    "taken as they are: how seeds differ is in the standard deviations above, not in p."
)
ELSEWHERE = (  # parts of a setting's description that other columns tell, or that follow from the task
    "name", "train", "test", "task", "seeds", "standardize", "plan", "start", "code", "samples",
    "training.epochs", "model.bands", "model.frames", "model.outputs",
)  # fmt: skip


class Table(NamedTuple):
    """A table of a report.

    Attributes:
      title: what it shows.
      lines: fields, the head first, all of one length.
      note: how to read it.
    """

    title: str
    lines: list[list[str]]
    note: str = ""


def markdown(synthetic: Sequence[str], parts: Sequence[str | Table]) -> str:
    """Return parts of a report as Markdown, below a notice if corpora are of synthetic speech."""
    blocks = [f"**{notice}**" if (notice := synthetic_notice(synthetic)) else ""]
    for part in parts:
        blocks += (
            [part] if isinstance(part, str) else [f"**{part.title}**", markdown_table(part.lines), part.note]
        )
    return "\n\n".join(block for block in blocks if block) + "\n"


def synthetic_notice(synthetic: Sequence[str]) -> str:
    """Return a sentence for corpora of synthetic speech; "" if there is none."""
    named = ", ".join(synthetic)
    return f"Synthetic speech ({named}): no person spoke it, it is no real corpus." if named else ""


def parts(results: Results, rows: Sequence[Row]) -> list[str | Table]:
    """Return what there is to read about some cells."""
    found: list[str | Table] = [
        Table("Scores", grid(results, rows), caption(results, rows)),
        *remarks(results, rows),
        Table("Settings", settings(results, rows)),
        Table("How far the scores can be trusted", intervals(results, rows), POOLED),
    ]
    if compared := results.comparisons(rows):
        note = SWAPPED + few_speakers(results, rows, compared)
        found.append(Table("Differences between settings", differences(results, compared), note))
    return found


def task_name(row: Row | Comparison) -> str:
    """Return a task; the metric is named if it is not UAR."""
    return row.task + ("" if row.metric in ("UAR", "") else f" ({row.metric})")


def heading(results: Results, row: Row | Comparison) -> str:
    """Return the tested corpora and the task."""
    return f"{results.title(row.test)} {task_name(row)}"


def grid(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return scores by setting, tested corpus and task, the head first.

    Columns are corpora and tasks; tasks alone if there would be more than `WIDE`.
    """
    names, by_test = labels(rows), [row for own in columns(rows) for row in own]
    with_paper = any(not math.isnan(row.paper) for row in rows)
    wide = 1 + len(columns(rows)) * (1 + with_paper) > WIDE

    def place(row: Row) -> tuple[str, str]:
        name = names[row.slug]
        if wide:
            return f"{results.title(row.test)}: {name}", task_name(row)
        return name, heading(results, row)

    there = {place(row): row for row in rows}
    heads = list(dict.fromkeys(place(row)[1] for row in by_test))
    paper = {head for (_, head), row in there.items() if not math.isnan(row.paper)}
    lines = [["UAR, %" if any(row.metric == "UAR" for row in rows) else ""]]
    for head in heads:
        lines[0] += [head, "paper"] if head in paper else [head]
    for name in dict.fromkeys(place(row)[0] for row in (by_test if wide else rows)):
        line = [name]
        for head in heads:
            row = there.get((name, head))
            line.append("" if row is None else _mean(row) + _fewer(results, row))
            if head in paper:
                line.append("" if row is None or math.isnan(row.paper) else f"{row.paper:.2f}")
        lines.append(line)
    return lines


def settings(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return how the models of each setting are trained, the head first."""
    lines = [["setting", "standardize", "epochs", "differences from the defaults"]]
    for name in dict.fromkeys(row.setting for row in rows if not row.missing):
        own = [one for row in rows if row.setting == name and (one := results.description(row))]
        each = [(one["standardize"], str(one["training"]["epochs"]), _changes(one)) for one in own]
        columns = [" or ".join(filter(None, dict.fromkeys(column))) for column in zip(*each, strict=True)]
        lines.append([name, *(columns or ["", "", "not trained, but combined from other settings"])])
    return lines


def _changes(one: Mapping[str, Any]) -> str:
    """Return what a setting starts from, and its parts that differ from the defaults."""
    default = describe(Config())
    usual: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Setting)}
    usual |= {"frontend": default["features"], "model": default["model"], "training": default["train"]}
    known = dict(_flat(usual))
    found = [] if one["start"] is None else [f"fine-tunes {one['start']['name']} on {one['samples']} samples"]
    for name, value in _flat(one):
        if name not in ELSEWHERE and not name.startswith("task.") and value != known.get(name, ...):
            found.append(f"{name} {value}")
    return ", ".join(found)


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a tree with their places, as in ("training.epochs", 50)."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and before + name not in ELSEWHERE:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def caption(results: Results, rows: Sequence[Row]) -> str:
    """Return what the scores of some cells are."""
    protocol, corpora = results.document["config"]["protocol"], results.document["corpora"]
    about, seeds, folds = list(map(results.description, rows)), protocol["seeds"], protocol["folds"]
    tested = {name for row in rows if row.folds > 1 for name in row.test}
    fewer = [
        f"{name} {len(own)}"
        for name, own in results.document["folds"].items()
        if len(own) < folds and name in tested
    ]
    whole = dict.fromkeys(row.setting for row in rows if row.folds == 1)
    lacking = [f"{one['left_out']} of {one['name']}" for one in corpora if one["left_out"]]
    rules = {one["task"]["rule"] for one in about if one and "rule" in one["task"]}
    sentences = [
        (seeds == 1, f"Mean over {folds} folds, of 1 seed"),
        (seeds > 1, f"Mean over {folds} folds, then mean ± sample standard deviation over n = {seeds} seeds"),
        (fewer, f"Fewer folds, since there are too few speakers: {', '.join(fewer)}"),
        (whole, f"All utterances at once, without folds: {', '.join(whole)}"),
        (any(one.get("tuned") for one in about), "Scores are those of development speakers"),
        (True, f"Chance is {_chance(rows)}"),
        (rules, f"The label rule is {' and '.join(sorted(rules))}"),
        (any(not math.isnan(row.paper) for row in rows), "The paper's scores are of IEMOCAP and RECOLA"),
        (lacking, f"Left out as unusable: {', '.join(lacking)}"),
    ]
    return " ".join(f"{sentence}." for condition, sentence in sentences if condition)


def _chance(rows: Sequence[Row]) -> str:
    known = {row.task: row for row in rows if not row.missing}
    each = {task: f"{row.chance:.3g}" + (" %" if row.metric == "UAR" else "") for task, row in known.items()}
    if len(set(each.values())) < 2:
        return next(iter(each.values()), "not known")
    return ", ".join(f"{value} ({task})" for task, value in each.items())


def remarks(results: Results, rows: Sequence[Row]) -> list[str]:
    """Return a sentence for every cell that is missing, or some of whose runs were stopped."""
    found, names = [], labels(rows)
    for row in rows:
        cell = f"{names[row.slug]}, {results.title(row.test)} {row.task}"
        if row.missing:
            found.append(f"Not computed: {cell}: {row.missing}.")
        elif row.stopped:
            found.append(f"Stopped, since numbers were not finite, and left out: {cell}: {row.stopped}.")
    return found


def intervals(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return what the mean alone does not tell of each cell, the head first."""
    head = ["cell", "mean of folds ± sd (n)", "pooled [95 %]", "chance", "by class", "speakers", "utterances"]
    lines, names = [head], labels(rows)
    for row in rows:
        line = [f"{names[row.slug]}, {heading(results, row)}", _mean(row)]
        if not row.missing:
            line[1] += f" ({row.runs})"
            line += [
                f"{number(row, row.pooled)} [{_range(row, row.low, row.high)}]",
                _range(row, row.chance_low, row.chance_high),
                ", ".join(f"{one} {number(row, value)}" for one, value in row.by_class),
                str(row.speakers),
                str(row.utterances),
            ]
        lines.append(line + [""] * (len(head) - len(line)))
    return lines


def differences(results: Results, found: Sequence[Comparison]) -> list[list[str]]:
    """Return the comparisons, the head first."""
    lines = [["on", "setting", "against", "difference", "p", "p (Holm)"]]
    for one in found:
        difference = ("+" if one.difference >= 0 else "") + number(one, one.difference)
        holm = _p(one.p_holm) + (" *" if one.p_holm < 0.05 else "")
        lines.append([heading(results, one), one.one, one.other, difference, _p(one.p), holm])
    return lines


def few_speakers(results: Results, rows: Sequence[Row], compared: Sequence[Comparison]) -> str:
    """Return a warning if the speakers are too few for any p below 0.05 once it is corrected."""
    fewest = min((row for row in rows if not row.missing), key=lambda row: row.speakers)
    least = 2 / 2**fewest.speakers
    if least * sum((one.test, one.task) == (fewest.test, fewest.task) for one in compared) <= 0.05:
        return ""
    return (
        f" The {fewest.speakers} speakers of {results.title(fewest.test)} allow no p below {least:.3g}: "
        "corrected, even a large difference may count as chance."
    )


def comma_separated(results: Results, rows: Sequence[Row]) -> str:
    """Return one line per cell; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in rows:
        by_class = "; ".join(f"{name} {value:.4f}" for name, value in row.by_class)
        shown = row._asdict() | {"train": "+".join(row.train), "test": results.title(row.test)}
        writer.writerow(map(csv_field, (shown | {"by_class": by_class}).values()))
    return text.getvalue()


def csv_field(value: float | str) -> float | str:
    """Return a field of CSV; text that a spreadsheet would run as a formula is put behind an apostrophe."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def latex(results: Results, rows: Sequence[Row]) -> str:
    """Return the scores as a `tabular` of booktabs."""
    head, *body = [[field.translate(LATEX) for field in line] for line in grid(results, rows)]
    lines = [rf"{' & '.join(line)} \\" for line in [head, *body]]
    lines[1:1] = [r"\midrule"]
    start = rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}"
    comment = f"% {caption(results, rows)}"
    return "\n".join([comment, start, r"\toprule", *lines, r"\bottomrule", r"\end{tabular}", ""])


def number(row: Row | Comparison, value: float) -> str:
    """Return a score as its metric is shown: UAR in per cent with one decimal, others with three."""
    return "?" if math.isnan(value) else f"{value:.{1 if scale(row.metric) == 100 else 3}f}"


def _mean(row: Row) -> str:
    if row.missing:
        return "not computed"
    spread = "" if math.isnan(row.score_sd) else f" ± {number(row, row.score_sd)}"
    return number(row, row.score_mean) + spread


def _fewer(results: Results, row: Row) -> str:
    """Return the number of runs, if seeds are missing."""
    seeds = results.description(row).get("seeds", results.document["config"]["protocol"]["seeds"])
    return "" if row.missing or row.runs == seeds else f" (n = {row.runs})"


def _range(row: Row, low: float, high: float) -> str:
    return "?" if math.isnan(low) else f"{number(row, low)}, {number(row, high)}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "?"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
