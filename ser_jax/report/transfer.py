"""Summarise what transfers between corpora: a matrix ordered by language family, and what is significant.

Scores are pooled over the utterances of the tested corpus. Intervals and tests are for other seeds and other
speakers of the same corpora (`ser_jax.statistics`). Where several corpora train models for one tested corpus,
their runs count as runs of one setting.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ser_jax.experiment.config import Config
from ser_jax.experiment.results import Predictions
from ser_jax.report import tables
from ser_jax.report.tables import Results, Row, Table
from ser_jax.statistics import Interval, holm, mean_interval

FILE = "matrix"  # OUT/matrix.md
PAIRS = "crosslingual"
MANY = ("other_corpora", "other_languages")
FAMILIES = {  # of languages by their ISO 639 codes
    "Germanic": "en de da nl sv no nb nn is fy af yi", "Romance": "fr it es pt ro ca gl oc",
    "Slavic": "pl cs sk ru uk be bg sr hr sl mk", "Greek": "el", "Baltic": "lt lv", "Celtic": "cy ga gd br",
    "Indo-Iranian": "ur hi bn fa pa gu mr ne si ku ps tg", "Uralic": "fi et hu", "Turkic": "tr az kk uz",
    "Semitic": "ar arz he am mt", "Sinitic": "zh cmn yue", "Koreanic": "ko", "Japonic": "ja",
    "Dravidian": "ta te kn ml", "Austroasiatic": "vi km", "Austronesian": "id ms tl jv", "Tai": "th lo",
}  # fmt: skip
NOTE = (
    "Rows: the corpora trained on. Columns: the corpus tested. Corpora are ordered by language family. "
    "Scores are pooled over utterances, means over runs; bold ones are above chance: their 95 % interval "
    "lies above it. Means are over the other corpora."
)
FAMILY_NOTE = (
    "Pairs of different languages; means over the tested corpora that have pairs of both kinds. Intervals "
    "are for other speakers, and treat the corpora trained on as runs, apart for each tested corpus."
)
BEST_NOTE = (
    "The corpus whose models score highest on each tested corpus, and the next. p: test of their difference, "
    "with Holm's correction over the tested corpora; * marks values below 0.05. The pair is chosen by these "
    "scores, so p is somewhat too small."
)


class Group(NamedTuple):
    """The cells of one task and one variant of the settings, by corpus trained on and corpus tested."""

    title: str
    pairs: dict[tuple[str, str], Row]
    many: dict[str, dict[str, Row]]  # by setting of `MANY`, then by the corpus tested


def family(languages: list[str]) -> str:
    """Return the family of a corpus's languages: "several", or "unknown" if any is not in `FAMILIES`.

    >>> family(["en", "de"]), family(["en", "fr"]), family(["tlh"])
    ('Germanic', 'several', 'unknown')
    """
    known = {name: set(codes.split()) for name, codes in FAMILIES.items()}
    found = {next((n for n, codes in known.items() if one in codes), "unknown") for one in languages}
    return "unknown" if "unknown" in found else found.pop() if len(found) == 1 else "several"


def families_of(results: Results) -> dict[str, str]:
    """Return the family of each corpus, ordered by family."""
    found = {one["name"]: family(one["languages"]) for one in results.document["corpora"]}
    places = [*FAMILIES, "several", "unknown"]
    return dict(sorted(found.items(), key=lambda item: places.index(item[1])))


def analyse(config: Config, *_: Any) -> str:
    """Write the summary of stored predictions as OUT/matrix.md, and return it as Markdown."""
    results = Results(config.out)
    text = tables.markdown(results.synthetic, parts(results))
    tables.write(config.out / f"{FILE}.md", text)
    return text.rstrip("\n")


def parts(results: Results) -> list[str | Table]:
    """Return tables and sentences for every task and variant."""
    families = families_of(results)
    order = list(families)
    found: list[str | Table] = []
    for group in groups(results):
        found.append(Table(group.title, _matrix(results, group, order, families), NOTE))
        found.append(Table(f"{group.title}, by family", _by_family(results, group, families), FAMILY_NOTE))
        lines, sentences = _best(results, group, order)
        found += [Table(f"{group.title}, best corpora to train on", lines, BEST_NOTE), *sentences]
    return found


def groups(results: Results) -> list[Group]:
    """Return the cells of pairs of corpora, and beside them those of many corpora to each."""
    found: dict[tuple[str, str], Group] = {}
    for row in results.rows([name for name in results.settings if name.startswith((PAIRS, *MANY))]):
        setting = next(name for name in (PAIRS, *MANY) if row.setting.startswith(name))
        variant = row.setting.removeprefix(setting).strip("_")
        title = f"{tables.task_name(row)}{f', {variant}' if variant else ''}"
        group = found.setdefault((row.task, variant), Group(title, {}, {}))
        if setting == PAIRS:
            group.pairs[row.train[0], row.test[0]] = row
        else:
            group.many.setdefault(setting, {})[row.test[0]] = row
    return [group for group in found.values() if group.pairs]


def _matrix(results: Results, group: Group, order: list[str], families: Mapping[str, str]) -> list[list[str]]:
    def shown(row: Row | None) -> str:
        if row is None or row.missing:
            return "-"
        text = tables.number(row, row.pooled)
        return f"**{text}**" if _is_above(row) else text

    def mean(rows: list[Row | None]) -> str:
        known = [row for row in rows if row is not None and not row.missing]
        return tables.number(known[0], float(np.mean([row.pooled for row in known]))) if known else "-"

    lines = [["trained on", *(f"{results.title([name])} ({families[name]})" for name in order), "mean"]]
    for one in order:
        own = [group.pairs.get((one, other)) for other in order]
        lines.append([results.title([one]), *map(shown, own), mean(own)])
    columns = [mean([group.pairs.get((one, other)) for one in order]) for other in order]
    lines.append(["mean", *columns, mean(list(group.pairs.values()))])
    for setting, each in group.many.items():
        own = [each.get(name) for name in order]
        lines.append([setting.replace("_", " "), *map(shown, own), mean(own)])
    return lines


def _by_family(results: Results, group: Group, families: Mapping[str, str]) -> list[list[str]]:
    kinds: dict[str, list[Row]] = {"within a family": [], "across families": []}
    languages = {one["name"]: set(one["languages"]) for one in results.document["corpora"]}
    for pair, row in group.pairs.items():
        one, other = (families[name] for name in pair)
        is_known = {"unknown", "several"}.isdisjoint((one, other))
        if is_known and languages[pair[0]] != languages[pair[1]] and not row.missing:
            kinds["within a family" if one == other else "across families"].append(row)
    tested = set.intersection(*({row.test for row in rows} for rows in kinds.values()))
    lines = [["pairs of corpora", "number", "mean"]]
    for title, every in kinds.items():
        rows = [row for row in every if row.test in tested]
        text = "-"
        if rows:
            value, interval = _mean([results.cells[row.slug] for row in rows])
            scale = tables.scale(rows[0].metric)
            score, low, high = (tables.number(rows[0], scale * one) for one in (value, *interval))
            text = f"{score} [{low}, {high}]"
        lines.append([title, str(len(rows)), text])
    return lines


def _mean(cells: list[Predictions]) -> tuple[float, Interval]:
    """Return the mean score over tested corpora of the mean over training corpora, and its interval."""
    corpora, scores = [], []
    for test in dict.fromkeys(cell.test for cell in cells):
        own = [cell for cell in cells if cell.test == test]
        predictions = np.concatenate([cell.predictions for cell in own])
        corpora.append((own[0].labels, predictions, own[0].cluster))
        scores.append(np.mean([tables.pooled_score(cell) for cell in own]) / tables.scale(own[0].metric))
    return float(np.mean(scores)), mean_interval(
        cells[0].metric, corpora, classes=max(2, len(cells[0].class_names))
    )


def _best(results: Results, group: Group, order: list[str]) -> tuple[list[list[str]], list[str]]:
    tests, found = [], []
    for test in order:
        own = [row for (_, tested), row in group.pairs.items() if tested == test and not row.missing]
        ranked = sorted(own, key=lambda row: -row.pooled)
        if len(ranked) > 1:
            found.append((test, ranked[0], ranked[1]))
            tests.append(tables.compared(*(results.cells[row.slug] for row in ranked[:2])))
    lines = [["tested", "best to train on", "score", "next", "score", "p (Holm)"]]
    for (test, best, following), p in zip(found, holm([p for _, p, _ in tests]).tolist(), strict=True):
        shown = [[results.title(row.train), tables.number(row, row.pooled)] for row in (best, following)]
        lines.append([results.title([test]), *shown[0], *shown[1], tables.p_value(p) + " *" * (p < 0.05)])
    above = sum(map(_is_above, group.pairs.values()))
    sentences = [f"{group.title}: {above} of {len(group.pairs)} pairs are above chance."]
    for setting, each in group.many.items():
        names = [results.title([name]) for name in order if name in each and _is_above(each[name])]
        listed = f" ({', '.join(names)})" if names else ""
        start = f"Trained on all {setting.replace('_', ' ')}: {len(names)} of {len(each)} corpora"
        sentences.append(f"{start} are above chance{listed}.")
    return lines, sentences


def _is_above(row: Row) -> bool:
    return row.low > row.chance
