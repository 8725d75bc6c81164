"""Rows as tables: Markdown, CSV and LaTeX of the same numbers, and captions that say what they are."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ser_jax.experiment.config import Config, describe
from ser_jax.report.results import Comparison, Results, Row, columns, labels, scale

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how text begins that a spreadsheet would run
POOLED = (
    "Pooled: over all utterances at once, with a 95 % interval by a bootstrap over speakers. Chance: the "
    "range of guesses with 95 %. By class: recalls, or CCC of each dimension."
)
SWAPPED = "p by swapping the predictions of all utterances of a speaker, corrected by Holm for"
SIZES = ("bands", "frames", "outputs")  # of a network, that follow from features and task
TUNED = ("kernel", "pool")  # that the tuning varies


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return fields, the head first, as a Markdown table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(field.ljust(width) for field, width in zip(line, widths, strict=True)) + " |"
        for line in [lines[0], rule, *lines[1:]]
    )


def markdown(results: Results, rows: Sequence[Row]) -> str:
    """Return everything about some cells: the table, its caption, intervals and comparisons."""
    beside = ". The paper's figures beside it are of IEMOCAP and RECOLA" if _with_paper(rows) else ""
    notice = synthetic_notice(results.synthetic, beside)
    parts = [aligned(grid(results, rows)), caption(results, rows), "\n".join(remarks(results, rows))]
    parts += [aligned(intervals(results, rows)), POOLED]
    if found := results.comparisons(rows):
        parts.append(aligned(differences(results, found)))
        parts.append(
            f"Differences of the pooled score (UAR: points); {SWAPPED} those of the same column; * below "
            "0.05. The runs are taken as they are: how seeds differ is in the deviations above, not in p."
        )
    return "\n\n".join(part for part in [notice, *parts] if part)


def synthetic_notice(synthetic: Sequence[str], more: str = "") -> str:
    """Return a sentence for corpora of synthetic speech; "" if there is none."""
    named = ", ".join(synthetic)
    return f"**Synthetic speech** ({named}): no person spoke it, it is no real corpus{more}." if named else ""


def grid(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return a line per setting and a column per test corpus and task, the head first."""
    shown, names = columns(rows), labels(rows)
    paper = {(row.test, row.task) for row in rows if not math.isnan(row.paper)}
    metric = {(row.test, row.task): row.metric for row in rows if row.metric}
    head = ["UAR, %" if "UAR" in metric.values() else ""]
    for column in shown:
        head += [
            heading(results, *column, metric.get(column, "UAR")),
            *(["paper"] if column in paper else []),
        ]
    there = {(names[row.slug], row.test, row.task): row for row in rows}
    lines = [head]
    for name in dict.fromkeys(names[row.slug] for row in rows):
        line = [name]
        for column in shown:
            row = there.get((name, *column))
            line.append("" if row is None else _mean(row) + _fewer(results, row))
            if column in paper:
                line.append("" if row is None or math.isnan(row.paper) else f"{row.paper:.2f}")
        lines.append(line)
    return lines


def heading(results: Results, test: Sequence[str], task: str, metric: str) -> str:
    """Return what a column is about; the metric is named if it is not UAR."""
    return f"{results.title(test)} {task}" + ("" if metric in ("UAR", "") else f" ({metric})")


def intervals(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return what the mean alone does not tell of each cell, the head first."""
    head = ["cell", "mean of folds ± sd (n)", "pooled [95 %]", "chance", "by class", "speakers", "utterances"]
    lines, names = [head], labels(rows)
    for row in rows:
        name = f"{names[row.slug]}, {heading(results, row.test, row.task, row.metric)}"
        if row.missing:
            lines.append([name, "not computed", "", "", "", "", ""])
            continue
        lines.append(
            [
                name,
                f"{_mean(row)} ({row.runs})",
                f"{number(row, row.pooled)} [{_range(row, row.low, row.high)}]",
                _range(row, row.chance_low, row.chance_high),
                ", ".join(f"{one} {number(row, value)}" for one, value in row.by_class),
                str(row.speakers),
                str(row.utterances),
            ]
        )
    return lines


def differences(results: Results, found: Sequence[Comparison]) -> list[list[str]]:
    """Return the comparisons, the head first."""
    head = ["on", "setting", "against", "difference", "p", "p (Holm)"]
    return [head] + [
        [
            heading(results, one.test, one.task, one.metric),
            one.one,
            one.other,
            ("+" if one.difference >= 0 else "") + number(one, one.difference),
            _p(one.p),
            _p(one.p_holm) + (" *" if one.p_holm < 0.05 else ""),
        ]
        for one in found
    ]  # fmt: skip


def comma_separated(results: Results, rows: Sequence[Row]) -> str:
    """Return one line per cell; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in rows:
        shown = row._asdict() | {
            "train": "+".join(row.train),
            "test": results.title(row.test),
            "by_class": "; ".join(f"{name} {value:.4f}" for name, value in row.by_class),
        }
        writer.writerow(csv_field(shown[name]) for name in Row._fields)
    return text.getvalue()


def csv_field(value: float | str) -> float | str:
    """Return a field of CSV; text that a spreadsheet would run as a formula is put behind an apostrophe."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def latex(results: Results, rows: Sequence[Row]) -> str:
    """Return a `tabular` of booktabs."""
    body = [" & ".join(map(_escaped, line)) + r" \\" for line in grid(results, rows)]
    return "\n".join(
        [
            "% " + caption(results, rows),
            rf"\begin{{tabular}}{{l{'r' * (len(grid(results, rows)[0]) - 1)}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    for plain in "%_&#$":
        text = text.replace(plain, f"\\{plain}")
    return text.replace("±", r"$\pm$").replace("+", "$+$")


def remarks(results: Results, rows: Sequence[Row]) -> list[str]:
    """Return a sentence for every cell that is missing, or some of whose runs were stopped."""
    names = labels(rows)

    def cell(row: Row) -> str:
        return f"{names[row.slug]}, {results.title(row.test)} {row.task}"

    return [f"Not computed: {cell(row)}: {row.missing}." for row in rows if row.missing] + [
        f"Stopped, since numbers were not finite, and left out: {cell(row)}: {row.stopped}."
        for row in rows
        if row.stopped and not row.missing
    ]


def caption(results: Results, rows: Sequence[Row]) -> str:
    """Return what the numbers of some cells are, from what is stored of each setting."""
    protocol, default = results.document["config"]["protocol"], describe(Config())
    about: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        own = results.description(row)
        if own and own not in about.setdefault(row.setting, []):
            about[row.setting].append(own)

    def each(text: Callable[[dict[str, Any]], str]) -> str:
        """Return what settings have in common, or else each text with the settings that it is true of."""
        return _grouped({name: _distinct(map(text, own)) for name, own in about.items()})

    seeds = protocol["seeds"]
    spread = "Mean ± sample standard deviation" if seeds > 1 else "Score"
    sentences = [
        f"{spread} over n = {seeds} seed{'s' if seeds > 1 else ''} of the mean over {_folds(results, rows)}",
        f"chance is {_chance(rows)}",
        each(_epochs),
        each(lambda one: f"standardization `{one['standardize']}`"),
        each(lambda one: "histograms equalized towards the training corpora" if one["equalize"] else ""),
        each(lambda one: f"label rule `{one['task']['rule']}`" if "rule" in one["task"] else ""),
        each(lambda one: "scores of development speakers" if one["tuned"] else ""),
        each(lambda one: _changed("network", one["model"], default["model"], SIZES + TUNED * one["tuned"])),
        each(lambda one: _changed("front end", one["frontend"], default["features"], ())),
        each(lambda one: _changed("training", one["training"], default["train"], ("epochs",))),
    ]
    lacking = [
        f"{one['left_out']} of {one['name']}" for one in results.document["corpora"] if one["left_out"]
    ]
    without = f" Left out as unusable: {', '.join(lacking)}." if lacking else ""
    derived = sorted({row.setting for row in rows if not row.missing} - about.keys())
    follow = f" Not trained, but combined from other settings: {', '.join(derived)}." if derived else ""
    return "; ".join(one for one in sentences if one) + "." + follow + without


def _folds(results: Results, rows: Sequence[Row]) -> str:
    """Return the number of folds, of corpora that have fewer, and settings that have a single test part."""
    asked = results.document["config"]["protocol"]["folds"]
    tested = {name for row in rows for name in row.test if row.folds > 1}
    counts = {name: len(results.document["folds"].get(name, [])) for name in results.names if name in tested}
    fewer = [
        f"{name}: {count}, which has too few speakers for more"
        for name, count in counts.items()
        if count < asked
    ]
    whole = list(dict.fromkeys(row.setting for row in rows if row.folds == 1))
    notes = fewer + ([f"{', '.join(whole)}: all utterances at once"] if whole else [])
    return f"{asked} folds" + (f" ({'; '.join(notes)})" if notes else "")  # fmt: skip


def _chance(rows: Sequence[Row]) -> str:
    known = {row.task: row for row in rows if not row.missing}
    each = {task: f"{row.chance:.3g}" + (" %" if row.metric == "UAR" else "") for task, row in known.items()}
    if len(set(each.values())) < 2:
        return next(iter(each.values()), "not known")
    return ", ".join(f"{value} ({task})" for task, value in each.items())


def _epochs(one: dict[str, Any]) -> str:
    epochs = one["training"]["epochs"]
    plural = "" if epochs == 1 else "s"
    if one["start"] is None:
        return f"{epochs} epoch{plural}"
    drawn = ", drawn anew for every seed" if one["draw"] == "seed" else ""
    return f"fine-tuning of {epochs} epoch{plural} on {one['samples']} utterances per fold{drawn}"


def _changed(what: str, own: dict[str, Any], default: dict[str, Any], ignored: Iterable[str]) -> str:
    """Return the class of a part of the configuration, if it is not the default, and its other values."""
    same = own["class"] == default["class"]
    found = [] if same else [own["class"].rpartition(":")[2]]
    for key, value in own.items():
        if key in ("class", *ignored) or (same and value == default.get(key)):
            continue
        if isinstance(value, dict):
            inner = _changed("", value, default[key] if same else {"class": ""}, ())
            found += [f"{key.replace('_', ' ')} {inner.strip()}"]
        else:
            found.append(f"{key.replace('_', ' ')} {value}")
    return f"{what} {', '.join(found)}" if found else ""


def _distinct(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(text for text in texts if text))


def _grouped(texts: dict[str, str]) -> str:
    by_text: dict[str, list[str]] = {}
    for name, text in texts.items():
        by_text.setdefault(text, []).append(name)
    if len(by_text) == 1:
        return next(iter(by_text))
    return ", ".join(f"{text} ({', '.join(names)})" for text, names in by_text.items() if text)


def _with_paper(rows: Sequence[Row]) -> bool:
    return any(not math.isnan(row.paper) for row in rows)


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
