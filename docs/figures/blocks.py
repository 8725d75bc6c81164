"""The tables that stand in marked places, from docs/measured.json alone (see docs/places.py)."""

from collections.abc import Callable, Iterable
from typing import Any

from experiments.kinds import TABLE2
from experiments.markdown import aligned
from figures.origin import origin
from ser_jax.data.corpus import TARGETS

ACTED = {"ravdess": "RAVDESS", "emodb": "EmoDB"}
SYNTHETIC = ("synthetic_en", "synthetic_fr")
SAMPLES = ("10", "25", "50", "100", "200", "400")
MODES = ("none", "train", "corpus", "speaker")
RELATED = {
    "identified": "the model of the language that was identified",
    "voted": "a vote of one model per corpus",
    "multilingual_histogram": "merged, histograms equalised",
    "crosslingual_histogram": "across languages, histograms equalised",
}


def _columns(corpora: Iterable[str]) -> list[tuple[str, str]]:
    return [(corpus, target) for corpus in corpora for target in TARGETS]


def _mean(cell, runs: int = 5) -> str:
    """Mean ± deviation; how many runs, where they are not as many as expected."""
    fewer = "" if cell["n"] == runs else f" (n = {cell['n']})"
    return f"{cell['mean']:.1f} ± {cell['deviation']:.1f}{fewer}" if cell["n"] > 1 else f"{cell['mean']:.1f}"


def _means(cells, corpora: Iterable[str]) -> list[str]:
    """One setting's, by corpus and target; empty where it was not computed."""
    return [
        _mean(cells[corpus][target]) if corpus in cells and target in cells[corpus] else ""
        for corpus, target in _columns(corpora)
    ]


def _heads(corpora: Iterable[str]) -> list[str]:
    return [f"{corpus} {target}" for corpus, target in _columns(corpora)]


def _said(value: float) -> str:
    """A p-value, marked where it is below 0.05."""
    return ("< 0.001" if value < 0.001 else f"{value:.3f}") + ("*" if value < 0.05 else "")


def demo_table2(known, found) -> str:
    cells, head = known["demo"]["cells"], ["UAR, %"]
    for name in _heads(SYNTHETIC):
        head += [name, "paper"]
    rows = []
    for setting in TABLE2:
        row = [setting]
        for corpus, target in _columns(SYNTHETIC):
            cell = cells[setting][corpus][target]
            row += [_mean(cell), f"{cell['paper']:.2f}"]
        rows.append(row)
    return aligned([head, *rows])


def demo_front(known, found) -> str:
    cells, rows = known["demo"]["cells"], []
    for setting in TABLE2:
        each = [cells[setting][corpus][target] for corpus, target in _columns(SYNTHETIC)]
        rows.append([setting, *(f"{_mean(cell)} ({cell['paper']:.2f})" for cell in each)])
    return f"{aligned([['UAR, % (the paper)', *_heads(SYNTHETIC)], *rows])}\n\n{origin(found, 'demo')}"


def _printed(*lines: str) -> str:
    return "\n".join(["<!-- test: output -->", "```text", *lines, "```"])


def demo_first_lines(known, found) -> str:
    lines = demo_table2(known, found).splitlines()
    return _printed(*lines[:2], lines[2 + TABLE2.index("crosslingual")])


def demo_lines(known, found) -> str:
    return _printed(*demo_table2(known, found).splitlines()[2:])


def demo_doubtful(known, found) -> str:
    cell, one = known["demo"]["cells"]["crosslingual"]["synthetic_fr"]["valence"], known["demo"]["doubtful"]
    fields = [
        "crosslingual, synthetic_fr valence",
        f"{_mean(cell)} ({cell['n']})".ljust(22),
        f"{one['pooled']:.1f} [{one['low']:.1f}, {one['high']:.1f}]",
        f"{one['guessing_low']:.1f}, {one['guessing_high']:.1f}",
        f"{one['speakers']}".ljust(8),
        f"{one['utterances']}".ljust(10),
    ]
    return _printed("| " + " | ".join(fields) + " |")


def acted_front(known, found) -> str:
    cells, rows = known["acted"]["cells"], []
    for setting in TABLE2:
        each = [cells[setting][corpus][target] for corpus, target in _columns(ACTED)]
        rows.append([setting, *(f"{_mean(cell)} [{cell['low']:.1f}, {cell['high']:.1f}]" for cell in each)])
    return f"{aligned([['UAR, %', *_heads(ACTED)], *rows])}\n\n{origin(found, 'acted')}"


def acted_table2(known, found) -> str:
    cells, rows = known["acted"]["cells"], []
    for setting in TABLE2:
        each = [cells[setting][corpus][target] for corpus, target in _columns(ACTED)]
        rows.append([setting, *map(_mean, each)])
        pooled = (f"{cell['pooled']:.1f} [{cell['low']:.1f}, {cell['high']:.1f}]" for cell in each)
        rows.append([f"{setting}, pooled", *pooled])
    chance = [known["acted"]["guessing"][corpus][target] for corpus, target in _columns(ACTED)]
    rows.append(["guessing", *(f"[{one['low']:.1f}, {one['high']:.1f}]" for one in chance)])
    return f"{aligned([['UAR, %', *_heads(ACTED)], *rows])}\n\n{origin(found, 'acted')}"


def _differences(differences, corpora, rows: Iterable[tuple[str, str]]) -> list[list[str]]:
    lines = []
    for one, other in rows:
        line = [f"{one} - {other}"]
        for corpus, target in _columns(corpora):
            pair = differences[f"{one}-{other}"]
            if corpus not in pair or target not in pair[corpus]:
                line.append("")
                continue
            cell = pair[corpus][target]
            line.append(f"{cell['difference']:+.1f}, p = {_said(cell['p'])}".replace("= <", "<"))
        lines.append(line)
    return lines


def acted_differences(known, found) -> str:
    differences = known["acted"]["differences"]
    rows = _differences(differences, ACTED, (tuple(name.split("-")) for name in differences))
    return aligned([["difference", *_heads(ACTED)], *rows])


def acted_cut(known, found) -> str:
    cells, cut = known["acted"]["cells"]["monolingual"]["ravdess"], known["acted"]["cut"]
    rows = [
        ["all utterances", *(_mean(cells[target]) for target in TARGETS)],
        ["cut to as many as EmoDB", *(_mean(cut[target]) for target in TARGETS)],
    ]
    told = [f"{cut[target]['difference']:+.1f}, p = {_said(cut[target]['p'])}" for target in TARGETS]
    rows.append(["difference, pooled", *(one.replace("= <", "<") for one in told)])
    return aligned([["UAR, %", *_heads(["ravdess"])], *rows])


def acted_learning_curve(known, found) -> str:
    curve = known["acted"]["learning_curve"]
    rows = [["0", *_means(known["acted"]["cells"]["crosslingual"], ACTED)]]
    rows += [[count, *_means(curve[count], ACTED)] for count in SAMPLES]
    return aligned([["utterances a fold", *_heads(ACTED)], *rows])


def acted_related(known, found) -> str:
    cells, related = known["acted"]["cells"], known["acted"]["related"]
    rows = [["mono-lingual, for comparison", *_means(cells["monolingual"], ACTED)]]
    rows += [[RELATED[name], *_means(related[name], ACTED)] for name in ("identified", "voted")]
    rows += [["merged, for comparison", *_means(cells["multilingual"], ACTED)]]
    rows += [[RELATED["multilingual_histogram"], *_means(related["multilingual_histogram"], ACTED)]]
    rows += [["across languages, for comparison", *_means(cells["crosslingual"], ACTED)]]
    rows += [[RELATED["crosslingual_histogram"], *_means(related["crosslingual_histogram"], ACTED)]]
    language = _mean(related["language"])
    return f"{aligned([['UAR, %', *_heads(ACTED)], *rows])}\n\nTelling the corpora apart: {language}."


def acted_related_differences(known, found) -> str:
    differences = known["acted"]["related_differences"]
    rows = _differences(differences, ACTED, (tuple(name.split("-")) for name in differences))
    return aligned([["difference", *_heads(ACTED)], *rows])


def _share(one) -> str:
    return f"{one['mean']:.1f} ± {one['deviation']:.1f}"


def acted_attention(known, found) -> str:
    rows, padding = [], []
    for corpus, name in ACTED.items():
        seen = known["acted"]["attention"][corpus]
        for kind, words in (("all", "all"), ("sound", "sound")):
            rows.append([f"{name}, {words}", *(_share(seen[kind][segment]) for segment in seen[kind])])
        rows.append([f"{name}, chance", *(f"{seen['chance'][segment]:.1f}" for segment in seen["chance"])])
        kinds = ("padding_weight", "padding_wins", "decided", "decided_among_sound")
        padding.append([name, *(_share(seen[kind]) for kind in kinds)])
    heads = [
        "weight on padding, %",
        "padding wins, %",
        "two largest differ by > 0.5, %",
        "the same among sound",
    ]
    largest = aligned([["largest, % of utterances", *(f"{n}." for n in range(1, 9))], *rows])
    return f"{largest}\n\n{aligned([['', *heads], *padding])}"


def tuning(known, found) -> str:
    cells = known["tuning"]["cells"]
    rows = [
        [kernel.removeprefix("k"), pool.removeprefix("p"), *_tuned(cells[kernel][pool])]
        for kernel in cells
        for pool in cells[kernel]
    ]
    head = ["kernel, frames", "pool, positions", *_heads(ACTED)]
    return f"{aligned([head, *rows])}\n\n{origin(found, 'tuning')}"


def _tuned(cells) -> list[str]:
    return [f"{cells[corpus][target]:.1f}" for corpus, target in _columns(ACTED)]


def standardize(known, found) -> str:
    rows, averages = [], {}
    for setting in TABLE2:
        for mode in MODES:
            if (setting, mode) == ("monolingual", "corpus"):
                continue
            name = "acted" if mode == "corpus" else f"standardize-{mode}"
            cells = known[name]["cells"][setting]
            each = [cells[corpus][target]["mean"] for corpus, target in _columns(ACTED)]
            averages[setting, mode] = sum(each) / len(each)
            rows.append([f"{setting}, `{mode}`", *_means(cells, ACTED), f"{averages[setting, mode]:.1f}"])
    for mode in MODES:
        across = [averages[setting, mode] for setting in TABLE2[1:]]
        rows.append([f"the last three, `{mode}`", *[""] * 4, f"{sum(across) / len(across):.1f}"])
    text = aligned([["UAR, %", *_heads(ACTED), "average"], *rows])
    return f"{text}\n\n{origin(found, *(f'standardize-{mode}' for mode in MODES if mode != 'corpus'))}"


BLOCKS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "demo.front": demo_front,
    "demo.first_lines": demo_first_lines,
    "demo.lines": demo_lines,
    "demo.doubtful": demo_doubtful,
    "acted.front": acted_front,
    "acted.table2": acted_table2,
    "acted.differences": acted_differences,
    "acted.cut": acted_cut,
    "acted.learning_curve": acted_learning_curve,
    "acted.related": acted_related,
    "acted.related_differences": acted_related_differences,
    "acted.attention": acted_attention,
    "tuning": tuning,
    "standardize": standardize,
}
