"""A results folder as one page to read, `report.html`: nothing outside it, no script."""

import re
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from experiments import figures, origin, tables
from experiments.kinds import TABLE2, kind
from experiments.markup import Section, bullets, folded, gallery, paragraph, table, text
from experiments.page_style import STYLE
from experiments.results import Results
from experiments.summary import Comparison, Row, columns

TITLES = {
    "table2": "Table 2",
    "monolingual": "Within a corpus",
    "multilingual": "All corpora together",
    "crosslingual": "Across corpora",
    "finetuning": "Fine-tuned",
    "english_1308": "The language, or only more data?",
    "learning_curve": "How many utterances of the tested corpus it takes",
    "related": "Related systems",
    "tuning": "Kernel width and pool size",
    "results": "What is there so far",
}
ALPHA = 0.05


def page(title: str, lead: str, sections: list[Section]) -> str:
    """A whole HTML document.

    Args:
      title: of it, a plain text.
      lead: HTML that stands before the contents.
      sections: of different headings.
    """
    names = [re.sub(r"[^a-z0-9]+", "-", section.heading.lower()).strip("-") for section in sections]
    contents = "".join(
        f'<li><a href="#{name}">{text(section.heading)}</a></li>'
        for name, section in zip(names, sections, strict=True)
    )
    parts = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{text(section.heading)}</h2>'
        f"{section.body}</section>\n"
        for name, section in zip(names, sections, strict=True)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{text(title)}</h1>{lead}</header>\n"
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>\n'
        f"<main>\n{parts}</main>\n</body>\n</html>\n"
    )


def of(results: Results) -> str:
    """The page of a results folder: the same, to the byte, for the same results.

    Raises: ResultsError where something in it is damaged.
    """
    there = {cell.setting for cell in [*results.stored, *results.missing]}
    first = [name for name in TABLE2 if name in there]
    shown = _shown(results.tables or {"results": [*first, *sorted(there.difference(first))]})
    listed = list(dict.fromkeys(name for settings in shown.values() for name in settings))
    rest = sorted(there - set(listed))
    rows = results.rows(listed + rest)
    sections = [_table(results, name, settings) for name, settings in shown.items()]
    if rest:
        beside = tables.intervals(results, results.rows(rest))
        sections.append(Section("Beside the tables", table(beside, "UAR, %: cells that are in no table")))
    sections += [_matrix(results), _attention(results), _training(results, listed + rest)]
    sections += [
        origin.corpora(results, rows),
        origin.protocol(results.document),
        origin.missing(results.missing),
    ]
    names = ", ".join(map(results.title, results.names))
    lead = _lead(results, rows, names)
    return page(f"Emotion from speech: {names}", lead, [one for one in sections if one.body])


def _shown(known: dict[str, list[str]]) -> dict[str, list[str]]:
    """The tables in the order of `TITLES`, without those whose settings are all in another."""
    inside = {
        name
        for name, own in known.items()
        for other, its in known.items()
        if set(own) < set(its) or (set(own) == set(its) and other < name)
    }
    order = [*TITLES, *sorted(known)]
    return {name: known[name] for name in sorted(known.keys() - inside, key=order.index)}


def _lead(results: Results, rows: list[Row], names: str) -> str:
    chosen, made_up = results.chosen, results.synthetic
    trained = sum(len(one.seed) for one in results.curves(row.setting for row in rows).values())
    notice = f"Synthetic speech ({', '.join(made_up)}){tables.NOBODY}."
    if any(not np.isnan(row.paper_uar) for row in rows):
        notice += " The paper's figures beside it are IEMOCAP's and RECOLA's."
    return paragraph(notice if made_up else "", "warning") + paragraph(
        f"How well an attentive CNN tells {' and '.join(chosen['targets'])} within and across the corpora "
        f"{names}, after Neumann and Vu (ICASSP 2018). {chosen['seeds']} runs per fold and target, "
        f"{chosen['folds']} folds{f', {trained:,} models in all' if trained else ''}. UAR is the unweighted "
        "average recall; guessing gives 50 %. All is computed from what each run said of each test utterance."
    )


def _table(results: Results, name: str, settings: list[str]) -> Section:
    """A table of the experiments with all that belongs to it."""
    rows = results.rows(settings)
    heading = TITLES.get(name, name)
    if not rows:
        return Section(heading, "")
    trusted = table(tables.intervals(results, rows), "UAR, %: how far the numbers can be trusted")
    trusted += paragraph(tables.POOLED, "note")
    about = paragraph(tables.caption(results, rows), "note")
    suited = figures.suited(settings)
    if suited is figures.tuning:
        told = paragraph("Asked about the development speakers; test speakers are not looked at.")
        drawn = _by_column(results, rows, figures.tuning, "UAR by kernel width and pool size", name)
        return Section(heading, told + drawn + about + folded("All combinations", trusted))
    if suited is figures.learning_curve:
        drawn = _by_column(results, rows, figures.learning_curve, "UAR by utterances per fold", name)
        return Section(heading, drawn + about + folded("All numbers", trusted) + _differing(results, rows))
    grid = tables.grid(results, rows)
    beside = " beside the paper's" if "paper" in grid[0] else ""
    return Section(
        heading,
        table(grid, f"UAR, mean ± sample deviation over runs{beside}")
        + about
        + _differing(results, rows)
        + "<h3>Every run</h3>"
        + _by_column(results, rows, figures.runs, "UAR of every run by setting", name)
        + trusted
        + "<h3>Confusion matrices</h3>"
        + _by_column(results, rows, figures.confusions, "Confusion matrices by setting", name),
    )


def _by_column(results: Results, rows: list[Row], draw: Callable[..., Figure], what: str, name: str) -> str:
    """A figure for each test corpus and target."""
    drawn = {}
    for test, target in columns(rows):
        own = [row for row in rows if (row.test, row.target) == (test, target)]
        if any(not row.missing for row in own):
            drawn[f"{what}, {results.title(test)} {target}"] = draw(results, own)
    return gallery(drawn, f"{name}-{draw.__name__}-")


def _differing(results: Results, rows: list[Row]) -> str:
    """Which settings differ by more than chance explains, in words and as a table."""
    compared = results.comparisons(rows)
    if not compared:
        return ""
    certain = [one for one in compared if one.p_holm < ALPHA]
    count = f"{len(certain) or 'None'} of {len(compared)} differences"
    verdict = f"{count} {'is' if len(certain) < 2 else 'are'} larger than chance explains (p < {ALPHA}, Holm)"
    said = []
    for test, target in dict.fromkeys((one.test, one.target) for one in certain):
        own = [one for one in certain if (one.test, one.target) == (test, target)]
        each = [
            f"{one.one} {'above' if one.difference > 0 else 'below'} {one.other} by {abs(one.difference):.1f}"
            for one in own
        ]
        said.append(f"{results.title(test)} {target}: {', '.join(each)}")
    return (
        "<h3>What differs</h3>"
        + paragraph(verdict + (", in points of pooled UAR:" if said else "."))
        + (bullets(said) if said else "")
        + folded(
            f"All {len(compared)} differences",
            table(tables.differences(results, compared), "Differences"),
        )
        + paragraph(
            f"{tables.SWAPPED} those of the same column.{_few(rows, compared)}",
            "note",
        )
    )


def _few(rows: list[Row], compared: list[Comparison]) -> str:
    """What must be known of the p-values, which are corrected by column, where speakers are few."""
    fewest = min((row for row in rows if not row.missing), key=lambda row: row.speakers)
    least = 2 / 2**fewest.speakers
    beside = sum((one.test, one.target) == (fewest.test, fewest.target) for one in compared)
    if least * beside <= ALPHA:
        return ""
    return (
        f" The {fewest.speakers} speakers of {fewest.test} allow no p below {least:.3g}: corrected, even a "
        "large difference may count as chance."
    )


def _matrix(results: Results) -> Section:
    rows = results.rows(["monolingual", "crosslingual"])
    drawn = {}
    if figures.fills_matrix(results, rows):
        for target in dict.fromkeys(row.target for row in rows):
            own = [row for row in rows if row.target == target]
            drawn[f"UAR by corpus trained on and tested on, {target}"] = figures.matrix(results, own)
    return Section("Every corpus on every corpus", gallery(drawn, "matrix-"))


def _attention(results: Results) -> Section:
    heading = "Where the attention lies"
    known = results.attention
    if not known:
        return Section(heading, "")
    head = ["%", "weight on padding", "first segment wins", "among sound", "there by chance"]
    lines = [[*head, "two largest differ by > 0.5"]]
    for name, one in known.items():
        padding, first, among, decided = (
            tables.share(values)
            for values in (one.padding_weight, one.shares[:, 0], one.among[:, 0], one.decided)
        )
        lines.append([name, padding, first, among, f"{100 * one.expected[0]:.1f}", decided])
    said = (
        "A segment wins where its weight is the largest (Sec. 6). The paper, on training utterances: the "
        "first wins 31.2 % on IEMOCAP; the two largest differ by > 0.5 for 73.1 % there, 5 % on RECOLA."
    )
    drawn = {
        f"How often each segment wins, {name}": figures.attention(results, {name: one})
        for name, one in known.items()
    }
    return Section(heading, paragraph(said) + table(lines, heading) + gallery(drawn, "attention-"))


def _training(results: Results, settings: list[str]) -> Section:
    drawn: tuple[dict, dict] = {}, {}
    for name, one in results.curves(row.setting for row in results.rows(settings)).items():
        setting = kind(name.split()[0])
        many = bool(setting.sizes or setting.samples)
        drawn[many][f"Training of {name}"] = figures.training(results, {name: one})
    rest = gallery(drawn[1], "training-more-")
    return Section(
        "How training went",
        gallery(drawn[0], "training-") + (folded("Training of the many settings", rest) if rest else ""),
    )
