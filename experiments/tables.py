"""Cells as tables: Markdown, CSV and LaTeX of the same numbers."""

import csv
import io
import math

import numpy as np

from experiments.kinds import kind
from experiments.markdown import aligned
from experiments.results import Results
from experiments.summary import Comparison, Row, columns, label
from ser_jax.attention import over_runs

COLUMNS = list(Row._fields)
POOLED = (
    "Pooled: over all utterances at once, with a 95 % interval by a bootstrap over speakers. Guessing: where "
    "chance falls with 95 %."
)
NOBODY = ": nobody spoke this, it is neither database"
SWAPPED = "p by swapping the answers to all of a speaker's utterances, corrected by Holm for"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how text begins that a spreadsheet runs


def markdown(results: Results, table: list[Row]) -> str:
    """A row per setting, UAR ± deviation over runs beside the paper's where it has one, and a caption."""
    beside = ". The paper's figures beside them are IEMOCAP's and RECOLA's" if _with_paper(table) else ""
    parts = [aligned(grid(results, table)), "", caption(results, table)]
    reasons = _reasons(table) + _stops(table)
    return notice(results.synthetic, NOBODY + beside) + "\n".join(
        [*parts, *([""] if reasons else []), *reasons]
    )


def grid(results: Results, table: list[Row]) -> list[list[str]]:
    """The table's fields, its head first; a column per test corpus and target."""
    with_paper = _with_paper(table)
    head = ["UAR, %"]
    for test, target in columns(table):
        head += [f"{results.title(test)} {target}"] + (["paper"] if with_paper else [])
    lines = [head]
    for name in dict.fromkeys(label(row, table) for row in table):
        line = [name]
        for column in columns(table):
            row = next((r for r in table if (label(r, table), r.test, r.target) == (name, *column)), None)
            line.append(_mean(row) + _fewer(row, results.chosen["seeds"]))
            if with_paper:
                line.append("" if row is None or math.isnan(row.paper_uar) else f"{row.paper_uar:.2f}")
        lines.append(line)
    return lines


def intervals(results: Results, table: list[Row]) -> list[list[str]]:
    """Per cell what the mean alone does not say, the head first."""
    head = ["cell", "mean of folds ± sd (n)", "pooled [95 %]", "guessing", "speakers", "utterances"]
    lines = [head]
    for row in table:
        name = f"{label(row, table)}, {results.title(row.test)} {row.target}"
        if row.missing:
            lines.append([name, "not computed", "", "", "", ""])
            continue
        lines.append(
            [
                name,
                f"{_mean(row)} ({row.runs})",
                f"{row.uar_pooled:.1f} [{_range(row.low, row.high)}]",
                _range(row.chance_low, row.chance_high),
                str(row.speakers),
                str(row.utterances),
            ]
        )
    return lines


def differences(results: Results, found: list[Comparison]) -> list[list[str]]:
    """The comparisons, the head first."""
    head = ["on", "setting", "against", "difference", "p", "p (Holm)"]
    return [head] + [
        [
            f"{results.title(one.test)} {one.target}",
            one.one,
            one.other,
            "?" if math.isnan(one.difference) else f"{one.difference:+.1f}",
            _p(one.p),
            _p(one.p_holm) + (" *" if one.p_holm < 0.05 else ""),
        ]
        for one in found
    ]


def attention(results: Results) -> str:
    """Where attention lies, as Markdown."""
    found = results.attention
    segments = [f"alpha_{i + 1}" for i in range(len(next(iter(found.values())).expected))]
    largest = [["largest weight, % of utterances", *segments]]
    other = [["", "two largest differ by > 0.5", "the same among sound", "weight on padding", "padding wins"]]
    length = [["largest among sound, by segments that hold sound", "utterances, by folds", *segments]]
    for name, one in found.items():
        largest += [
            [f"{name}, all segments", *map(share, one.shares.T)],
            [f"{name}, among sound", *map(share, one.among.T)],
            [f"{name}, by chance among sound", *(f"{100 * chance:.1f}" for chance in one.expected)],
        ]
        kinds = (one.decided, one.decided_among, one.padding_weight, one.padding_wins)
        other.append([name, *map(share, kinds)])
        by = one.by_length_among
        for n, count in enumerate(one.by_length_utterances):
            if count:
                shares = [share(by[:, n, s]) if s <= n else "" for s in range(by.shape[2])]
                length.append([f"{name}: {n + 1}", f"{count:.0f}", *shares])
    seeds = ", ".join(map(str, sorted({len(one.decided) for one in found.values()})))
    return notice(results.synthetic) + "\n\n".join(
        [
            *map(aligned, (largest, other, length)),
            f"Mono-lingual arousal models, all folds; mean ± sample deviation over n = {seeds} seeds. The "
            "paper, training: alpha_1 31.2 % on IEMOCAP; differing by > 0.5: 73.1 % there, 5 % on RECOLA.",
        ]
    )


def share(by_run: np.ndarray) -> str:
    """[R] a share as %: its mean over runs ± sample deviation."""
    seen = over_runs(by_run)
    if math.isnan(seen.mean):
        return "?"
    return f"{100 * seen.mean:.1f}" + ("" if math.isnan(seen.deviation) else f" ± {100 * seen.deviation:.1f}")


def comma_separated(results: Results, table: list[Row]) -> str:
    """One line per cell, in %; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table:
        shown = row._replace(test=results.title(row.test))._asdict()
        writer.writerow(_field(shown[name]) for name in COLUMNS)
    return text.getvalue()


def latex(results: Results, table: list[Row]) -> str:
    """A `tabular` of booktabs."""
    body = [[_escaped(field) for field in line] for line in grid(results, table)]
    rows = [" & ".join(line) + r" \\" for line in body]
    columns = "l" + "r" * (len(body[0]) - 1)
    return "\n".join(
        [
            "% " + caption(results, table),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def caption(results: Results, table: list[Row]) -> str:
    """How the numbers came about."""
    protocol, settings = results.chosen, {row.setting for row in table}
    kinds = list(map(kind, settings))
    ways = {one.way for one in kinds}
    several = protocol["seeds"] > 1
    spread = "Mean ± sample deviation" if several else "UAR"
    whole = " (cross-lingual: all utterances at once)" if "crosslingual" in ways else ""
    if all(one.sizes for one in kinds):
        whole = ", of development speakers"
    refined = f", fine-tuned {protocol['finetune_epochs']}"
    if "finetuned" in settings:
        refined += f" on {protocol['finetune_samples']} utterances a fold"
    plural = "" if protocol["epochs"] == 1 else "s"
    epochs = f"{protocol['epochs']} epoch{plural}{refined if 'finetuned' in ways else ''}"
    precision = protocol["model"]["precision"]
    products = "" if precision == "float32" else f", products in {precision}"
    lacking = [
        f"{corpus['left_out']} of {corpus['name']}" for corpus in protocol["corpora"] if corpus["left_out"]
    ]
    without = f" Left out as unusable: {', '.join(lacking)}." if lacking else ""
    return (
        f"{spread} over n = {protocol['seeds']} run{'s' if several else ''} of the mean UAR of "
        f"{protocol['folds']} folds{whole}; guessing gives 50. {epochs}{products}; standardisation "
        f"{_standardisation(settings, protocol)}; label rule `{protocol['label_rule']}`.{without}"
    )


def _standardisation(settings: set[str], protocol: dict) -> str:
    equalised = {name for name in settings if kind(name).equalised}
    within = {name for name in settings if kind(name).within_a_corpus}
    default = protocol["standardize_default"]
    modes = [f"`{protocol['standardize']}`"] if protocol["standardize"] else []
    if not modes and within:
        modes.append(f"`{default['within']}` within a corpus")
    if not protocol["standardize"] and settings - within - equalised:
        modes.append(f"`{default['across']}` across corpora")
    if protocol["standardize"] and "language" in settings:
        modes.append("`train` for language")
    return ", ".join(modes + (["`histogram` where it is named"] if equalised else []))


def notice(synthetic: list[str], more: str = "") -> str:
    """That some corpora are of synthetic speech, as a paragraph before a table; empty where none is."""
    return f"**Synthetic speech** ({', '.join(synthetic)}){more}.\n\n" if synthetic else ""


def _reasons(table: list[Row]) -> list[str]:
    return [
        f"Not computed: {label(row, table)}, {row.test} {row.target}: {row.missing}."
        for row in table
        if row.missing
    ]


def _stops(table: list[Row]) -> list[str]:
    return [
        f"Stopped, its numbers not finite, and left out: {label(row, table)}, {row.test} {row.target}: "
        f"{row.stopped}."
        for row in table
        if row.stopped and not row.missing
    ]


def _fewer(row: Row | None, seeds: int) -> str:
    """How many runs, where that is not as many as there are seeds."""
    return "" if row is None or row.missing or row.runs == seeds else f" (n = {row.runs})"


def _with_paper(table: list[Row]) -> bool:
    return any(not math.isnan(row.paper_uar) for row in table)


def _mean(row: Row | None) -> str:
    if row is None or row.missing:
        return "" if row is None else "not computed"
    return f"{row.uar_mean:.1f}" + ("" if math.isnan(row.uar_std) else f" ± {row.uar_std:.1f}")


def _range(low: float, high: float) -> str:
    return "?" if math.isnan(low) else f"{low:.1f}, {high:.1f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "?"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _field(value: float | str) -> float | str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    # Behind an apostrophe it is text.
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _escaped(text: str) -> str:
    for plain, escaped in (("%", r"\%"), ("_", r"\_"), ("±", r"$\pm$"), ("+", r"$+$")):
        text = text.replace(plain, escaped)
    return text
