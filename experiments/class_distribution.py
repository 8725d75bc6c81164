"""Sec. 3 and footnote 1: how many utterances each class has, beside the published counts.

    ser-jax prepare iemocap --source IEMOCAP_full_release --labels-only   # seconds; needs no recording
    python -m experiments.class_distribution

Ends with status 1 where a count differs from what is published.
"""

import contextlib
import json
from collections import Counter
from pathlib import Path

from ser_jax import data, flags
from ser_jax.data.labels import CLASS_NAMES, RULES, counts
from ser_jax.shutdown import run_script

PAPER, FOOTNOTE = "Sec. 3", "footnote 1"
RELEASE = "the release"  # the paper does not say; counted in its label files
PUBLISHED = {  # database to what is known, where from; classes by label rule
    "iemocap": {
        "utterances": (10039, PAPER),
        "speakers": (10, RELEASE),
        **{f"session {i}": (n, RELEASE) for i, n in enumerate((1819, 1811, 2136, 2103, 2170), start=1)},
        "emotion xxx": (2507, RELEASE),
    },
    "recola": {"utterances": (1308, PAPER), "speakers": (23, PAPER)},
}
CLASSES = {  # database, rule, target to (class 0, class 1, where from)
    ("iemocap", "footnote", "arousal"): (3121, 6918, FOOTNOTE),
    ("iemocap", "footnote", "valence"): (3421, 6618, FOOTNOTE),
    ("iemocap", "table1", "arousal"): (3121, 6918, FOOTNOTE),
    ("iemocap", "table1", "valence"): (5356, 4683, RELEASE),
    **{("recola", rule, "arousal"): (520, 788, FOOTNOTE) for rule in RULES},
    **{("recola", rule, "valence"): (241, 1067, FOOTNOTE) for rule in RULES},
}


def published(database: str, rule: str) -> dict[str, tuple[int, str]]:
    """What is counted to what should be found, and who says so; empty for other databases."""
    known = dict(PUBLISHED.get(database, {}))
    for target, names in CLASS_NAMES.items():
        if (database, rule, target) in CLASSES:
            *counts, where = CLASSES[database, rule, target]
            known |= {f"{target} {name}": (n, where) for name, n in zip(names, counts, strict=True)}
    return known


def count(facts: data.Facts, rule: str) -> dict[str, int]:
    """What a corpus holds: utterances, speakers, sessions, emotions where it names them, classes."""
    found = {"utterances": len(facts), "speakers": len(set(facts.speaker))}
    for what, column in (("session", facts.session), ("emotion", facts.emotion)):
        found |= {f"{what} {name}": n for name, n in sorted(Counter(column.tolist()).items()) if name}
    for target, own in counts(facts, rule).items():
        found |= {f"{target} {name}": n for name, n in own.items()}
    return found


def compare(facts: data.Facts, rule: str) -> list[dict]:
    """One row per count: what, found, published, source, and "equal", "different" or "" (not published)."""
    found, known = count(facts, rule), published(facts.database, rule)
    rows = []
    for what in [*found, *(what for what in known if what not in found)]:
        expected, source = known.get(what, (None, ""))
        n = found.get(what, 0)
        verdict = "" if expected is None else "equal" if n == expected else "different"
        rows.append({"what": what, "found": n, "published": expected, "source": source, "verdict": verdict})
    return rows


def as_dict(facts: data.Facts, rows: list[dict]) -> dict:
    """The rows for programs."""
    return {
        "name": facts.name,
        "builder": facts.database,
        "synthetic": facts.synthetic,
        "labels_only": not isinstance(facts, data.Corpus),
        "left_out": getattr(facts, "left_out", 0),
        "counts": rows,
    }


def table(facts: data.Facts, rows: list[dict]) -> str:
    """The rows for people."""
    kind = "" if isinstance(facts, data.Corpus) else ", labels only"
    if facts.synthetic:
        kind += ", SYNTHETIC SPEECH"
    if left_out := getattr(facts, "left_out", 0):
        kind += f", {left_out:,} utterances left out"
    compared = [row for row in rows if row["verdict"]]
    heading = f"  {'':<24} {'found':>8} {'published' if compared else '':>10}".rstrip()
    lines = [f"{facts.name} ({facts.database}{kind})", heading]
    for row in rows:
        expected = "" if row["published"] is None else f"{row['published']:,}"
        remark = f"{row['verdict']:<9}  {row['source']}".rstrip()
        lines.append(f"  {row['what']:<24} {row['found']:>8,} {expected:>10}  {remark}".rstrip())
    if not compared:
        return "\n".join([*lines, "  counted only: the paper has no counts of it"])
    equal = sum(row["verdict"] == "equal" for row in compared)
    return "\n".join([*lines, f"  {equal} of {len(compared)} published counts are equal"])


def main(arguments: list[str] | None = None) -> None:
    """Prints the counts; ends with status 1 where one differs from what is published."""
    parser = flags.Parser(prog="python -m experiments.class_distribution", description=__doc__)
    parser.add_argument(
        "--corpora",
        nargs="+",
        metavar="NAME",
        help="prepared, whole or with --labels-only (default: iemocap and recola, as far as prepared)",
    )
    place = "where they were prepared (default: as ser-jax prepare)"
    parser.add_argument("--data-dir", type=flags.folder, metavar="DIR", help=place)
    rule = "annotation to class (default: %(default)s)"
    parser.add_argument("--label-rule", choices=RULES, default=RULES[0], help=rule)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    chosen = parser.parse_args(arguments)

    def work() -> int:
        corpora = _corpora(chosen.corpora, chosen.data_dir)
        compared = [compare(facts, chosen.label_rule) for facts in corpora]
        equal = all(row["verdict"] != "different" for rows in compared for row in rows)
        if chosen.json:
            print(json.dumps(list(map(as_dict, corpora, compared)), indent=2))
        else:
            print(f"label rule {chosen.label_rule}\n")
            print("\n\n".join(map(table, corpora, compared)))
        return 0 if equal else 1

    run_script("class_distribution", work)


def _corpora(names: list[str] | None, data_dir: Path | None) -> list[data.Facts]:
    """Those asked for, or of the paper's two those that are there."""
    if names:
        return [data.facts(name, data_dir) for name in names]
    found = []
    for name in PUBLISHED:
        with contextlib.suppress(data.UnknownCorpusError):
            found.append(data.facts(name, data_dir))
    return found or [data.facts(next(iter(PUBLISHED)), data_dir)]


if __name__ == "__main__":
    main()
