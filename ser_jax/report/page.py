"""A results folder as one page to read, `report.html`: nothing outside it, no script."""

import datetime
import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_jax.report import attention, figures, tables
from ser_jax.report.results import Comparison, Results, Row, columns

TITLES = {
    "table2": "Table 2",
    "monolingual": "Within a corpus",
    "multilingual": "All corpora together",
    "crosslingual": "Across corpora",
    "finetuning": "Fine-tuned",
    "english_1308": "The language, or only more data?",
    "learning_curve": "Utterances of the tested corpus that are needed",
    "related": "Related systems",
    "tuning": "Kernel width and pool size",
    "results": "What is stored so far",
}
ALPHA = 0.05
Block = dict[str, Any]  # a part of a section, as the template renders it


def page(results: Results) -> str:
    """Return the page of a results folder: for the same results always the same bytes.

    Raises: ResultsError if the attention file is damaged.
    """
    shown = _shown(results)
    listed = list(dict.fromkeys(name for one in shown.values() for name in one["settings"]))
    rest = [name for name in results.settings if name not in listed]
    rows = results.rows(listed + rest)
    sections = {TITLES.get(name, name): _table(results, name, one) for name, one in shown.items()}
    if rest:
        beside = tables.intervals(results, results.rows(rest))
        sections["Beside the tables"] = [table(beside, "Cells that are in no table")]
    sections |= {
        "Every corpus on every corpus": _matrix(results),
        "Where the attention lies": _attention(results),
        "How training went": _training(results, listed + rest),
        "The corpora": [_corpora(results, rows)],
        "How it was computed": _protocol(results),
        "What could not be computed": _missing(results),
    }
    names = ", ".join(map(results.title, [[name] for name in results.names]))
    return _template().render(
        title=f"Emotion from speech: {names}",
        lead=_lead(results, rows, names),
        sections=[
            {"id": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), "heading": name, "blocks": blocks}
            for name, blocks in sections.items()
            if blocks
        ],
    )


def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("ser_jax.report", "")
    known = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    known.filters["prose"] = prose
    return known.get_template("page.html.j2")


def prose(plain: str) -> Markup:
    """Return any text as HTML; what stands between backticks is code."""
    found = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(plain))
    return Markup(re.sub(r"(?<=\d) %", "&nbsp;%", found))


def text(plain: str, look: str = "") -> Block:
    """Return a paragraph; its look is "", "note" or "warning"."""
    return {"kind": "text", "text": plain, "look": look}


def table(lines: Sequence[Sequence[str]], caption: str, prose: bool = False) -> Block:
    """Return a table, its head first; the first column names the rows.

    Args:
      lines: all of one length.
      caption: what the table is of.
      prose: whether fields are words rather than numbers.
    """
    return {"kind": "table", "head": lines[0], "body": lines[1:], "caption": caption, "prose": prose}


def fold(title: str, blocks: Sequence[Block]) -> Block:
    """Return blocks that are shown on request."""
    return {"kind": "fold", "title": title, "blocks": blocks}


def gallery(drawn: Mapping[str, Figure], prefix: str) -> list[Block]:
    """Return figures side by side, with the meaning of their marks once below.

    Args:
      drawn: what each shows, as a text for those who cannot see it, to the figure.
      prefix: of the ids in them, different for every gallery of a page.
    """
    if not drawn:
        return []
    notes = [one.get_supxlabel().replace("\n", " ") for one in drawn.values()]
    each = [_inline(one, what, f"{prefix}{i}") for i, (what, one) in enumerate(drawn.items())]
    return [{"kind": "gallery", "figures": each, "note": max(notes, key=len)}]


def _inline(figure: Figure, what: str, prefix: str) -> dict[str, Any]:
    """Return a figure as SVG in the ink and on the ground of the page, without its explanation."""
    figure.supxlabel("")
    grounds: list[Figure | Axes] = [figure, *figure.axes]
    for ground in grounds:
        ground.patch.set_visible(False)
    found = figures.svg(figure)
    found = found[found.index("<svg") :]
    found = re.sub(r"<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>", "", found, flags=re.DOTALL)
    start, _, rest = found.partition(">")
    rest = rest.replace("#000000", "currentColor").replace("xlink:href", "href")
    rest = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", rest)
    box = re.findall(r'viewBox="[^"]*"', start)[0]
    return {"box": Markup(box), "label": what, "drawing": Markup(re.sub(r">\s+<", "><", rest).strip())}


def _shown(results: Results) -> dict[str, dict[str, Any]]:
    """Return the tables in the order of `TITLES`, without those whose settings are all in another."""
    known = results.document["tables"] or {"results": {"settings": results.settings, "figure": None}}
    inside = {
        name
        for name, own in known.items()
        for other, its in known.items()
        if set(own["settings"]) < set(its["settings"])
        or (set(own["settings"]) == set(its["settings"]) and other < name)
    }
    order = [*TITLES, *sorted(known)]
    return {name: known[name] for name in sorted(known.keys() - inside, key=order.index)}


def _lead(results: Results, rows: Sequence[Row], names: str) -> list[Block]:
    config, trained = results.document["config"], sum(len(log.seed) for log in results.logs.values())
    tasks = list(dict.fromkeys(row.task for row in rows if row.metric))
    network = config["model"]["class"].rpartition(":")[2]
    metric = {row.metric for row in rows}
    blocks = []
    if results.synthetic:
        beside = " The paper's figures beside it are of IEMOCAP and RECOLA."
        paper = any(not np.isnan(row.paper) for row in rows)
        notice = tables.synthetic_notice(results.synthetic).replace("*", "") + (beside if paper else "")
        blocks.append(text(notice, "warning"))
    defined = "UAR is the unweighted average recall. " if "UAR" in metric else ""
    defined += "CCC is the concordance correlation coefficient. " if "CCC" in metric else ""
    seeds, folds = config["protocol"]["seeds"], config["protocol"]["folds"]
    return [
        *blocks,
        text(
            f"How well {network} predicts {' and '.join(tasks) or 'emotion'} within and across the corpora "
            f"{names}, after Neumann and Vu (ICASSP 2018): {seeds} seeds and up to {folds} folds"
            f"{f', {trained:,} models in all' if trained else ''}. {defined}All numbers follow from the "
            "stored predictions of every run for every test utterance."
        ),
    ]  # fmt: skip


def _table(results: Results, name: str, shown: dict[str, Any]) -> list[Block]:
    """Return the section of a table: the table, what differs, every run, and confusions."""
    rows = results.rows(shown["settings"])
    if not rows:
        return []
    about = text(tables.caption(results, rows), "note")
    trusted = [
        table(tables.intervals(results, rows), "How far the numbers can be trusted"),
        text(tables.POOLED, "note"),
    ]
    differing = _differing(results, rows)
    if shown["figure"] is not None:
        what = {"tuning": "Scores by kernel width and pool size"}.get(
            shown["figure"], "Scores by utterances per fold"
        )
        drawn = _by_column(results, rows, figures.WHOLE[shown["figure"]], what, name)
        return [*drawn, about, fold("All numbers", trusted), *differing]
    grid = tables.grid(results, rows)
    beside = " beside the paper's" if "paper" in grid[0] else ""
    classes = [row for row in rows if not row.missing and results.cells[row.slug].class_names]
    matrices = _by_column(results, classes, figures.confusions, "Confusion matrices by setting", name)
    return [
        table(grid, f"Mean ± sample standard deviation over seeds{beside}"),
        about,
        *differing,
        {"kind": "heading", "text": "Every run"},
        *_by_column(results, rows, figures.runs, "Scores of every run by setting", name),
        *trusted,
        *([{"kind": "heading", "text": "Confusion matrices"}] if matrices else []),
        *matrices,
    ]  # fmt: skip


def _by_column(
    results: Results, rows: Sequence[Row], draw: Callable[..., Figure], what: str, name: str
) -> list[Block]:
    """Return a figure for each test corpus and task."""
    drawn = {}
    for test, task in columns(rows):
        own = [row for row in rows if (row.test, row.task) == (test, task)]
        if any(not row.missing for row in own):
            drawn[f"{what}, {results.title(test)} {task}"] = draw(results, own)
    return gallery(drawn, f"{name}-{draw.__name__}-")


def _differing(results: Results, rows: Sequence[Row]) -> list[Block]:
    """Return which settings differ by more than chance explains, in words and as a table."""
    compared = results.comparisons(rows)
    if not compared:
        return []
    certain = [one for one in compared if one.p_holm < ALPHA]
    verdict = (
        f"{len(certain) or 'None'} of {len(compared)} differences {'is' if len(certain) < 2 else 'are'} "
        f"larger than chance explains (p < {ALPHA}, Holm)"
    )
    found = []
    for test, task in dict.fromkeys((one.test, one.task) for one in certain):
        each = [
            f"{one.one} {'above' if one.difference > 0 else 'below'} {one.other} by "
            f"{tables.number(one, abs(one.difference))}"
            for one in certain
            if (one.test, one.task) == (test, task)
        ]
        found.append(f"{results.title(test)} {task}: {', '.join(each)}")
    lines = table(tables.differences(results, compared), "Differences")
    return [
        {"kind": "heading", "text": "What differs"},
        text(verdict + (", in the pooled score (UAR: points):" if found else ".")),
        *([{"kind": "list", "entries": found}] if found else []),
        fold(f"All {len(compared)} differences", [lines]),
        text(f"{tables.SWAPPED} those of the same column.{_few(results, rows, compared)}", "note"),
    ]


def _few(results: Results, rows: Sequence[Row], compared: Sequence[Comparison]) -> str:
    """Return a warning if the speakers are too few for any p below `ALPHA` once it is corrected."""
    fewest = min((row for row in rows if not row.missing), key=lambda row: row.speakers)
    least = 2 / 2**fewest.speakers
    beside = sum((one.test, one.task) == (fewest.test, fewest.task) for one in compared)
    if least * beside <= ALPHA:
        return ""
    return (
        f" The {fewest.speakers} speakers of {results.title(fewest.test)} allow no p below {least:.3g}: "
        "corrected, even a large difference may count as chance."
    )  # fmt: skip


def _matrix(results: Results) -> list[Block]:
    rows, drawn = results.rows(["monolingual", "crosslingual"]), {}
    if figures.is_matrix(results, rows):
        for task in dict.fromkeys(row.task for row in rows):
            own = [row for row in rows if row.task == task]
            drawn[f"Scores by corpus trained on and tested on, {task}"] = figures.matrix(results, own)
    return gallery(drawn, "matrix-")


def _attention(results: Results) -> list[Block]:
    known = attention.read(results.out)
    if not known:
        return []
    drawn = {
        f"How often each segment has the largest weight, {name}": figures.attention(
            results.synthetic, {name: one}
        )
        for name, one in known.items()
    }
    lines = table(attention.summary(known), "Where the attention lies")
    return [text(attention.PAPER), lines, *gallery(drawn, "attention-")]  # fmt: skip


def _training(results: Results, settings: Sequence[str]) -> list[Block]:
    """Return training curves; those of settings of which there are many are shown on request."""
    about = results.document["settings"].values()
    many = {one["name"] for one in about if one["tuned"] or one["draw"] == "seed"}
    drawn: tuple[dict[str, Figure], dict[str, Figure]] = {}, {}
    for name in settings:
        for title, one in results.curves([name]).items():
            drawn[name in many][f"Training of {title}"] = figures.training(results, {title: one})
    rest = gallery(drawn[1], "training-more-")
    return gallery(drawn[0], "training-") + ([fold("Training of the many settings", rest)] if rest else [])


def _corpora(results: Results, rows: Sequence[Row]) -> Block:
    """Return every corpus with its facts, and the classes of each task in its largest cell."""
    tasks = sorted({row.task for row in rows if not row.missing and len(row.test) == 1})
    lines = [
        [
            "corpus",
            "database",
            "speech",
            "languages",
            "utterances",
            "speakers",
            *tasks,
            "left out",
            "fingerprint",
        ]
    ]
    for corpus in results.document["corpora"]:
        counts = []
        for task in tasks:
            own = [r for r in rows if (r.test, r.task) == ((corpus["name"],), task) and not r.missing]
            largest = max(own, key=lambda row: row.utterances, default=None)
            counts.append("not known" if largest is None else _sizes(results, largest))
        lines.append(
            [
                corpus["name"],
                corpus["builder"],
                "synthetic" if corpus["synthetic"] else "recorded",
                ", ".join(corpus["languages"]),
                f"{corpus['utterances']:,}",
                f"{corpus['speakers']:,}",
                *counts,
                f"{corpus['left_out']}",
                f"`{corpus['fingerprint'][:12]}`",
            ]
        )
    return table(lines, "What was trained and tested on", prose=True)  # fmt: skip


def _sizes(results: Results, row: Row) -> str:
    """Return the utterances of every class, or how many are rated."""
    found = results.cells[row.slug]
    if not found.class_names:
        return f"{row.utterances:,} rated"
    counts = np.bincount(found.labels, minlength=len(found.class_names)).tolist()
    return ", ".join(f"{n:,} {name}" for n, name in zip(counts, found.class_names, strict=True))


def _protocol(results: Results) -> list[Block]:
    """Return what is in config.json: hash, options, and the sessions that computed it."""
    document = results.document
    options = [["option", "value"], *_flat(document["config"])]
    for name, folds in document["folds"].items():
        sizes = ", ".join(str(len(one["test"])) for one in folds)
        options.append([f"folds of {name}", f"{len(folds)}, testing {sizes} utterances" if folds else "none"])
    options.append(["digest of the code", f"`{document['code'][:12]}`"])
    head = ["started", "took, h:min:s", "finished", "on", "with", "source", "computed"]
    sessions = [head, *map(_session, document["sessions"])]
    return [
        text(f"Hash of configuration, corpora, folds, code and settings: `{document['hash']}`."),
        *([table(sessions, "Sessions", prose=True)] if document["sessions"] else []),
        table(options, "Configuration", prose=True),
    ]


def _flat(options: Mapping[str, Any], before: str = "") -> Iterable[list[str]]:
    """Yield a line for every option, also of options within options."""
    for key, value in options.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
            for i, one in enumerate(value, start=1):
                yield from _flat(one, f"{name} {i}: ")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield [name, "default" if shown is None else str(shown)]


def _session(one: Mapping[str, Any]) -> list[str]:
    versions = ("python", "jax", "jaxlib", "flax", "optax", "numpy")
    device = f"{one.get('device', '?')}, {one.get('devices', '?')} x {one.get('backend', '?')}"
    commit = one.get("commit")
    return [
        one["started"].replace("T", " ").replace("+00:00", " UTC"),
        "?" if one["seconds"] is None else str(datetime.timedelta(seconds=round(one["seconds"]))),
        "yes" if one["finished"] else "no",
        device + (f", {one['hosts']} hosts" if one.get("hosts", 1) > 1 else ""),
        ", ".join(f"{name} {one[name]}" for name in versions if one.get(name)),
        f"`{commit[:12]}{'+' if commit.endswith('+') else ''}`" if commit else "?",
        ", ".join(one["computed"]),
    ]


def _missing(results: Results) -> list[Block]:
    lines = [["setting", "trained on", "tested on", "task", "reason"]]
    for row in sorted(results.missing.values(), key=lambda row: row[:4]):
        lines.append([row.setting, "+".join(row.train), "+".join(row.test), row.task, row.missing])
    return [table(lines, "What could not be computed", prose=True)] if results.missing else []
