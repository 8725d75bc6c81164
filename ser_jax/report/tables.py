"""Read a results folder, and make its tables: scores, and comparisons between settings.

Tables are computed from config.json, the stored predictions and the training logs; no class of the
configuration is imported. For metrics other than UAR and CCC, only the stored scores are used.
"""

import contextlib
import csv
import functools
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from ser_jax import metrics
from ser_jax.data.corpus import SEXES
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.errors import ResultsError
from ser_jax.experiment.config import Config, describe
from ser_jax.experiment.results import Predictions, read_document, read_predictions, read_training
from ser_jax.experiment.settings import slug
from ser_jax.io import atomic_file, markdown_table
from ser_jax.shapes import Float
from ser_jax.statistics import chance_interval, difference_test, holm, interval

PAPER = {  # Table 2, UAR in %: of arousal and valence, by setting and the database of the test corpus
    "monolingual": {"iemocap": (68.09, 62.33), "recola": (60.77, 52.30)},
    "multilingual": {"iemocap": (70.06, 61.73), "recola": (62.51, 49.33)},
    "crosslingual": {"iemocap": (59.32, 49.08), "recola": (61.27, 47.52)},
    "finetuned": {"iemocap": (67.03, 50.42), "recola": (63.07, 49.81)},
    "monolingual_cut": {"iemocap": (68.20, 58.77)},
}
TABLE2 = ("monolingual", "multilingual", "crosslingual", "finetuned")
MANY = 5  # from this number of corpora on, tables and figures summarise the sources of a setting
NAN = float("nan")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # first characters of text that a spreadsheet would run
LATEX = str.maketrans({name: f"\\{name}" for name in "%_&#$"} | {"±": r"$\pm$", "+": "$+$"})
POOLED = (
    "Pooled: score over all utterances at once, with a 95 % interval for other seeds and other speakers "
    "(with one seed: for other speakers only). Chance: the range of 95 % of random guesses. By class: recall "
    "of each class. Others: further scores over all utterances, in the unit of the first. Statistics: the "
    "mode of standardisation. Speakers: in brackets, the number of clusters of speakers who met, if it is "
    "smaller; intervals and tests sample clusters."
)
RATED = (
    "Scores over all utterances against the consensus and each rater, means over runs; CCC with a 95 % "
    "interval as above. Pearson: correlation coefficient. RMSE: root mean squared error; ratings are from -1 "
    "to 1. Human: CCC of the rater with the mean of the other raters."
)
TESTED = (
    "Differences of the pooled scores on the utterances that both settings tested (UAR: percentage points). "
    "p: test that samples both seeds and clusters of speakers (with one seed each: only clusters), with "
    "Holm's correction per corpus and task, separately for comparisons between settings and for those of a "
    "variant with its own setting; * marks values below 0.05."
)
FEWEST = 6  # clusters with which a test without assumptions can reach 0.05
FEW = (
    " A distribution-free test of n clusters cannot reach p below 2 / 2^n (0.0625 for five). With fewer than "
    "six clusters, p below 0.05 is therefore marked ?, not *."
)
PARTS = ("features", "model", "train", "protocol")  # of a configuration whose changes a caption names


class Row(NamedTuple):
    """One cell of a table; UAR and recalls in per cent, other metrics as they are, unknown values NaN."""

    setting: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    task: str
    metric: str = ""  # "UAR", "CCC" or another name; "" if nothing is known of the task
    score_mean: float = NAN  # over the test folds, then over runs
    score_sd: float = NAN  # sample standard deviation over runs
    score_min: float = NAN  # of the runs' scores
    score_max: float = NAN
    runs: int = 0
    folds: int = 0
    speakers: int = 0
    clusters: int = 0  # of speakers who met
    utterances: int = 0
    pooled: float = NAN  # score over all utterances at once, mean over runs
    low: float = NAN  # 95 % interval of `pooled`, over seeds and clusters
    high: float = NAN
    chance: float = NAN  # expected score of guessing
    chance_low: float = NAN  # range of 95 % of guesses
    chance_high: float = NAN
    by_class: tuple[tuple[str, float], ...] = ()  # recalls, means over runs
    others: tuple[tuple[str, float], ...] = ()  # the task's other scores over all utterances, means over runs
    by_sex: tuple[tuple[str, float], ...] = ()  # pooled score of the speakers of each sex
    statistics: str = ""  # that standardize features; "" if it is not known
    paper: float = NAN  # score of this cell and its corpora
    stopped: str = ""  # the seeds that diverged and are left out
    missing: str = ""  # why there are no numbers

    @property
    def slug(self) -> str:
        """Name of its predictions file."""
        return slug(*self[:4])


class Comparison(NamedTuple):
    """Difference between two cells of the same test corpus and task."""

    one: Row
    other: Row
    difference: float  # pooled score of `one` minus that of `other`, in the units of `Row`
    p: float  # two-sided, over seeds and clusters of speakers
    p_holm: float  # corrected for all comparisons of its kind on the same corpus and task
    clusters: int  # of speakers who met, that both tested


class Results:
    """The contents of a results folder.

    By slug, `cells` are its predictions without the runs that diverged, `logs` the training logs of settings,
    and `known` everything that a table can show: `cells`, and rows of cells that could not be computed.

    Raises: ResultsError if the folder has no config.json, or a file is damaged or belongs to other corpora.
    """

    def __init__(self, out: Path):
        self.out, self.document = out, read_document(out)
        self.names = [corpus["name"] for corpus in self.document["corpora"]]
        self.synthetic = [corpus["name"] for corpus in self.document["corpora"] if corpus["synthetic"]]
        self.cells = {path.stem: self._read(path) for path in sorted((out / "predictions").glob("*.npz"))}
        self.logs = {path.stem: read_training(path) for path in sorted((out / "training").glob("*.npz"))}
        metric = {cell.task: cell.metric for cell in self.cells.values()}
        missing = {}
        for cell in self.document["missing"]:
            place = cell["setting"], tuple(cell["train"]), tuple(cell["test"]), cell["task"]
            row = Row(*place, metric=metric.get(cell["task"], ""), missing=cell["reason"])
            missing[row.slug] = row
        self.known: dict[str, Row | Predictions] = {**missing, **self.cells}
        self._row = functools.cache(self._computed_row)
        self._compared = functools.cache(lambda one, other: compared(self.cells[one], self.cells[other]))

    def _read(self, path: Path) -> Predictions:
        cell = read_predictions(path)
        if other := sorted({*cell.train, *cell.test}.difference(self.names)):
            names = " ".join(self.names)
            raise ResultsError(f"{path} is of {', '.join(other)}, expected corpora of config.json ({names})")
        return cell

    @property
    def many(self) -> bool:
        """Return whether there are too many corpora to show every pair of them by itself."""
        return len(self.names) >= MANY

    @property
    def stopped(self) -> list[str]:
        """Slugs of the settings in which a run diverged."""
        return [name for name, log in self.logs.items() if log.stopped[:, 0].any()]

    @property
    def settings(self) -> list[str]:
        """Names of all settings in the folder, the paper's first."""
        names = {cell.setting for cell in self.known.values()}
        return [name for name in TABLE2 if name in names] + sorted(names.difference(TABLE2))

    def title(self, corpora: Sequence[str]) -> str:
        """Return the names of corpora as tables show them, with synthetic speech marked."""
        return "+".join(marked(name, name in self.synthetic) for name in corpora)

    def description(self, cell: Row | Predictions) -> dict[str, Any]:
        """Return the stored description of a cell's setting; empty if it was derived from other settings."""
        wanted = cell.setting, list(cell.train)
        for about in self.document["settings"].values():
            found, tasks = (about["name"], about["train"]), about["task"]["name"].split("+")  # at once
            if found == wanted and cell.task in tasks and set(cell.test) <= set(about["test"]):
                return about
        return {}

    def rows(self, settings: Sequence[str]) -> list[Row]:
        """Return every cell of some settings, including missing ones, in the order of the tables."""

        def place(cell: Row | Predictions) -> tuple[int, list[int], list[int], str]:
            test, train = ([self.names.index(name) for name in part] for part in (cell.test, cell.train))
            return settings.index(cell.setting), test, train, cell.task

        shown = sorted((cell for cell in self.known.values() if cell.setting in settings), key=place)
        return [self._row(cell.slug) for cell in shown]

    def _computed_row(self, name: str) -> Row:
        cell = self.known[name]
        if isinstance(cell, Row):
            return cell
        about = self.description(cell)
        diverged = sorted(set(range(about.get("seeds", 0))) - set(cell.seed.tolist()))
        stopped = f"seed {', '.join(map(str, diverged))}" if diverged else ""
        missing = "" if len(cell.seed) else f"every run diverged ({stopped})"
        row = measured(cell)._replace(statistics=about.get("standardize", ""))
        return row._replace(paper=self._paper(cell), stopped=stopped, missing=missing)

    def _paper(self, cell: Predictions) -> float:
        """Return the paper's score; NaN unless the corpora are the paper's pair."""
        builders = {corpus["name"]: corpus["builder"] for corpus in self.document["corpora"]}
        if sorted(builders.values()) != ["iemocap", "recola"] or len(cell.test) > 1:
            return NAN
        scores = PAPER.get(cell.setting, {}).get(builders[cell.test[0]], ())
        return dict(zip(("arousal", "valence"), scores, strict=False)).get(cell.task, NAN)

    def comparisons(self, rows: Sequence[Row]) -> list[Comparison]:
        """Compare every setting with the first one of its column and with the one before it.

        The latter has the same training corpora, if possible. A variant of a setting is compared with that
        setting alone. p-values are corrected separately for all comparisons between settings of a column, and
        for all with variants. The settings of a tuning are left out, since the best of them is chosen.
        """
        found = []
        tested = [row for row in rows if not row.missing and not self.description(row).get("tuned")]
        for column in columns(tested):
            own = [row for row in column if not self.beside(row)]
            places = {(row.setting, row.train): row for row in column}
            pairs = dict.fromkeys((row, own[0]) for row in own[1:])
            for i, row in enumerate(own[2:], 2):
                before = [other for other in own[i - 1 : 0 : -1] if other.setting != row.setting]
                before.sort(key=lambda other: other.train != row.train)
                pairs |= dict.fromkeys((row, other) for other in before[:1])
            aside = {
                (row, places[host]): None
                for row in column
                if (host := (self.beside(row), row.train)) in places
            }
            for family in (pairs, aside):
                values = [self._compared(one.slug, other.slug) for one, other in family]
                corrected = holm([p for _, p, _ in values]).tolist()
                found += [
                    Comparison(*pair, difference, p, p_holm, clusters)
                    for pair, (difference, p, clusters), p_holm in zip(family, values, corrected, strict=True)
                ]
        return found

    def beside(self, row: Row) -> str:
        """Return the name of the setting of which a cell's setting is a variant; "" if it is none."""
        return self.description(row).get("beside", "")


def marked(name: str, synthetic: bool) -> str:
    """Return the name of a corpus, marked if its speech is synthetic."""
    return f"{name} (synthetic)" if synthetic and "synthetic" not in name else name


def scale(metric: str) -> int:
    """Return the factor by which a metric is multiplied for display."""
    return 100 if metric == "UAR" else 1


def fold_means(cell: Predictions) -> Float[np.ndarray, " R"]:
    """Return the score of every run as tables show it: the mean over the test folds."""
    return scale(cell.metric) * cell.scores[:, 1:].mean(axis=1)


def measured(cell: Predictions) -> Row:
    """Return the row of a cell; without runs it has no scores."""
    by_run, factor = fold_means(cell), scale(cell.metric)
    row = Row(cell.setting, cell.train, cell.test, cell.task, cell.metric, chance=factor * cell.chance)
    if not len(by_run):
        return row
    row = row._replace(
        score_mean=float(by_run.mean()),
        score_sd=float(by_run.std(ddof=1)) if len(by_run) > 1 else NAN,
        score_min=float(by_run.min()),
        score_max=float(by_run.max()),
        runs=len(by_run),
        folds=len(np.unique(cell.fold)),
        speakers=len(np.unique(cell.speaker)),
        clusters=len(np.unique(cell.cluster)),
        utterances=len(cell.labels),
        pooled=float(factor * cell.scores[:, 0].mean()),
        others=_named(cell.other_scores, factor * cell.others),
    )
    with contextlib.suppress(ValueError):  # another metric, or a class without utterances
        classes = max(2, len(cell.class_names))
        around = interval(cell.metric, cell.labels, cell.predictions, cell.cluster, classes=classes)
        guesses = chance_interval(cell.metric, cell.labels, classes=classes)
        row = row._replace(
            low=factor * around.low,
            high=factor * around.high,
            chance_low=factor * guesses.low,
            chance_high=factor * guesses.high,
            by_class=_named(cell.class_names, factor * by_class(cell)),
        )
    by_sex = {sex: pooled_score(cell.only(rows=cell.sex == sex)) for sex in SEXES[:2]}
    return row._replace(by_sex=tuple((sex, value) for sex, value in by_sex.items() if not math.isnan(value)))


def _named(names: Sequence[str], scores: Float[np.ndarray, "R S"]) -> tuple[tuple[str, float], ...]:
    return tuple(zip(names, scores.mean(axis=0).tolist(), strict=False))


def pooled_score(cell: Predictions) -> float:
    """Return the score over all utterances at once, the mean over runs; NaN if it is not defined."""
    if cell.metric not in ("UAR", "CCC") or not len(cell.labels):
        return NAN
    each = by_class(cell)
    known = each if cell.metric == "UAR" else each[..., ~np.isnan(cell.labels).all(axis=0)]
    return float(scale(cell.metric) * known.mean())


def by_class(cell: Predictions) -> Float[np.ndarray, "R K"]:
    """Return the recall of each class or the CCC of each dimension; NaN without labels."""
    if cell.metric == "UAR":
        return metrics.recalls(cell.labels, cell.predictions, max(2, len(cell.class_names)))
    return metrics.ccc(cell.labels, cell.predictions)


def compared(one: Predictions, other: Predictions) -> tuple[float, float, int]:
    """Return the difference of the pooled scores over the utterances tested in both cells, p, and clusters.

    The first two are NaN if the metric is neither UAR nor CCC, or is not defined on these utterances, or if
    the classes differ.
    """
    both = (one, other), (other, one)
    one, other = (cell.only(rows=np.isin(cell.utterance, shared.utterance)) for cell, shared in both)
    predictions, classes = (one.predictions, other.predictions), max(2, len(one.class_names))
    clusters = len(np.unique(one.cluster))
    if one.class_names != other.class_names:
        return NAN, NAN, clusters
    try:
        p = difference_test(one.metric, one.labels, *predictions, one.cluster, classes=classes)
    except ValueError:
        return NAN, NAN, clusters
    return (NAN if np.isnan(p) else pooled_score(one) - pooled_score(other)), p, clusters


def labels(rows: Sequence[Row]) -> dict[str, str]:
    """Return the names of rows in tables, by slug: the setting, with its training corpora where needed."""
    alike = Counter((row.setting, row.test, row.task) for row in rows)
    return {
        row.slug: row.setting
        if alike[row.setting, row.test, row.task] == 1
        else f"{row.setting} from {'+'.join(row.train)}"
        for row in rows
    }


def columns(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of each pair of test corpus and task, in order."""
    tests = list(dict.fromkeys(row.test for row in rows))
    found: dict[Any, list[Row]] = {}
    for row in sorted(rows, key=lambda row: tests.index(row.test)):
        found.setdefault((row.test, row.task), []).append(row)
    return list(found.values())


class Table(NamedTuple):
    """A table of a report."""

    title: str
    lines: list[list[str]]  # text of the cells, the head first; all lines have the same length
    note: str = ""  # how to read it


def parts(results: Results, rows: Sequence[Row]) -> list[str | Table]:
    """Return the tables and remarks about some cells, in reading order."""
    compared = differences(results, rows)
    return [
        *scores(results, rows),
        *remarks(results, rows),
        Table("Intervals", intervals(results, rows), POOLED),
        *([Table("Dimensions", rated, RATED)] if (rated := dimensions(results, rows))[1:] else []),
        *([Table("Differences between settings", compared, how_tested(rows))] if compared[1:] else []),
    ]


def how_tested(rows: Sequence[Row]) -> str:
    """Return the sentences that explain the p-values of some cells."""
    return TESTED + (FEW if any(0 < row.clusters < FEWEST for row in rows) else "")


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
        shown = row._asdict() | {"train": "+".join(row.train), "test": results.title(row.test)}
        for name in ("by_class", "others", "by_sex"):
            shown[name] = "; ".join(f"{each} {value:.4f}" for each, value in shown[name])
        writer.writerow(map(csv_field, shown.values()))
    return text.getvalue()


def csv_field(value: Any) -> Any:
    """Return a field of CSV; text that a spreadsheet would run as a formula starts with an apostrophe."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def latex(results: Results, rows: Sequence[Row]) -> str:
    """Return the scores, each table as a `tabular` for the package booktabs."""
    lines = []
    for table in scores(results, rows):
        head, *body = ([field.translate(LATEX) for field in line] for line in table.lines)
        lines += [f"% {table.note}"] if table.note else []
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
        lines += [rf"{' & '.join(head)} \\", r"\midrule", *(rf"{' & '.join(line)} \\" for line in body)]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)


def synthetic_warning(synthetic: Sequence[str]) -> str:
    """Return a sentence that names corpora of synthetic speech; "" if there are none."""
    return f"Synthetic speech, generated and not recorded: {', '.join(synthetic)}." if synthetic else ""


def task_name(row: Row) -> str:
    """Return the name of a task, with its metric if that is not UAR."""
    return row.task + ("" if row.metric in ("UAR", "") else f" ({row.metric})")


def heading(results: Results, row: Row) -> str:
    """Return the tested corpora and the task."""
    return f"{results.title(row.test)} {task_name(row)}"


def scores(results: Results, rows: Sequence[Row]) -> list[Table]:
    """Return the scores of some cells.

    Lines are settings, and columns are test corpora and tasks. `Results.many` corpora make a table per task,
    whose lines are test corpora and whose columns are settings; each cell is the mean over the training
    corpora, with their range, and the last line the mean over all cells above.
    """
    if not results.many:
        return [Table("Scores", grid(results, rows), caption(results, rows))]
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        tasks.setdefault(task_name(row), []).append(row)
    found = []
    for task, own in tasks.items():
        head, *body = grid(results, own)
        last = ["mean", *(mean([row for row in own if row.setting == setting]) for setting in head[1:])]
        found.append(Table(f"Scores of {task}", [head, *body, *([last] if body[1:] else [])]))
    return [*found[:-1], found[-1]._replace(note=caption(results, rows))]


def grid(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return the lines of a table of `scores`, the head first."""
    names, cells = labels(rows), dict[tuple[str, str], list[Row]]()
    for row in rows if results.many else (row for column in columns(rows) for row in column):
        place = (
            (results.title(row.test), row.setting)
            if results.many
            else (names[row.slug], heading(results, row))
        )
        cells.setdefault(place, []).append(row)
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
    seeds, most = results.document["config"]["protocol"]["seeds"], max((row.runs for row in rows), default=1)
    runs = f"{seeds} seeds" if most <= seeds else "runs"  # runs may differ in more than the seed
    spread = f"; mean ± sample standard deviation over {runs}" if max(seeds, most) > 1 else "; one seed"
    same = [_same(row) for row in rows if row.runs > 1]
    if same and all(same):
        spread = f"; the same for all {runs}"
    unmarked = "with neither ± nor a range, except means," if results.many else "without ±"
    tuned = any(results.description(row).get("tuned") for row in rows)
    levels = Counter(task for task, _ in {(row.task, row.chance) for row in rows if not row.missing})
    chance = {}
    for row in (row for row in rows if not row.missing):  # a task may have fewer classes in some corpora
        name = row.task if levels[row.task] == 1 else heading(results, row)
        chance[name] = f"{number(row, row.chance)} ({name})"
    corpora = results.document["corpora"]
    partners = [one["name"] for one in corpora if one["partners"]]
    drawn = dict.fromkeys(filter(None, (_drawn(results, row) for row in rows)))
    binary = any(row.task in CLASS_NAMES for row in rows)
    by_emotion = [one["name"] for one in corpora if one.get("by_emotion")]  # earlier results lack it
    left_out = ", ".join(f"{one['left_out']} of {one['name']}" for one in corpora if one["left_out"])
    sentences = {
        f"Mean over the folds of the test corpus{spread}": True,
        f"Scores {unmarked} are the same for all seeds": any(same) and not all(same),
        "Brackets give the range over training corpora": results.many,
        "Scores are those of the development speakers": tuned,
        f"Chance: {', '.join(chance.values())}": chance,
        f"Options that differ from the defaults: {(changed := options(results))}": changed,
        "The paper's scores are those of IEMOCAP and RECOLA": any(not math.isnan(row.paper) for row in rows),
        f"Fine-tuning draws {', '.join(drawn)}": drawn,
        f"Training sets contain dialogue partners of development speakers: {', '.join(partners)}": partners,
        f"Arousal and valence follow from the emotions: {', '.join(by_emotion)}": by_emotion and binary,
        f"Unusable recordings left out: {left_out}": left_out,
    }
    return " ".join(f"{sentence}." for sentence, applies in sentences.items() if applies)


def _drawn(results: Results, row: Row) -> str:
    """Return on how many utterances of the tested corpus a cell was fine-tuned, the same in every run."""
    about, log = results.description(row), results.logs.get(row.slug)
    if log is None or not about["samples"] or about["draw_by_seed"]:
        return ""
    return f"{log.different} different utterances of {results.title(row.test)} ({row.task})"


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
    head = ["cell", "mean of folds ± sd (n)", "pooled [95 %]", "chance", "by class", "others", "by sex",
            "statistics", "folds", "speakers", "utterances"]  # fmt: skip
    lines, names = [head], labels(rows)
    for row in rows:
        line = [
            f"{names[row.slug]}, {heading(results, row)}",
            f"{_mean(row)} ({row.runs})",
            f"{number(row, row.pooled)} [{_range(row, row.low, row.high)}]",
            _range(row, row.chance_low, row.chance_high),
            *(
                ", ".join(f"{name} {number(row, value)}" for name, value in each)
                for each in (row.by_class, row.others, row.by_sex)
            ),
            row.statistics,
            str(row.folds),
            str(row.speakers) + (f" ({row.clusters})" if row.clusters < row.speakers else ""),
            str(row.utterances),
        ]
        lines.append([line[0], _mean(row), *[""] * (len(head) - 2)] if row.missing else line)
    return lines


def dimensions(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return the scores of every dimension against the consensus and against every rater, the head first."""
    head = ["cell", "against", "CCC [95 %]", "Pearson", "RMSE", "human", "utterances"]
    lines, names = [head], labels(rows)
    for row in (row for row in rows if not row.missing and results.cells[row.slug].dimensions):
        cell = results.cells[row.slug]
        for k, dimension in enumerate(cell.dimensions):
            ratings, predictions = cell.ratings[:, :, k], cell.predictions[:, :, k]
            every = {"consensus": cell.labels[:, k]} | dict(zip(cell.raters, ratings.T, strict=True))
            for name, truth in every.items():
                if not (count := np.count_nonzero(known := np.isfinite(truth))):
                    continue
                low, high = interval("CCC", truth, predictions, cell.cluster)
                scores = (metrics.ccc, metrics.pearson, metrics.rmse)
                mean, *further = (number(row, float(one(truth, predictions).mean())) for one in scores)
                human = ""
                if name in cell.raters:
                    others = _mean_rating(ratings[:, [rater != name for rater in cell.raters]])
                    own = np.where(known, others, NAN), np.nan_to_num(truth)
                    human = number(row, float(metrics.ccc(*own)))
                place = f"{names[row.slug]}, {results.title(row.test)} {dimension}"
                lines.append([place, name, f"{mean} [{_range(row, low, high)}]", *further, human, str(count)])
    return lines


def _mean_rating(ratings: Float[np.ndarray, "M Q"]) -> Float[np.ndarray, "M"]:
    """Return the mean over the raters of each utterance, NaN without any."""
    known = np.isfinite(ratings)
    return metrics.divide(np.where(known, ratings, 0).sum(axis=1), known.sum(axis=1))


def differences(results: Results, rows: Sequence[Row]) -> list[list[str]]:
    """Return the comparisons between settings, the head first."""
    lines, names = [["on", "setting", "against", "difference", "p", "p (Holm)"]], labels(rows)
    for one, other, difference, p, p_holm, clusters in results.comparisons(rows):
        signed = ("+" if difference >= 0 else "") + number(one, difference)
        mark = "" if not p_holm < 0.05 else " ?" if clusters < FEWEST else " *"
        p_values = p_value(p), p_value(p_holm) + mark
        lines.append([heading(results, one), names[one.slug], names[other.slug], signed, *p_values])
    return lines


def number(row: Row, value: float) -> str:
    """Return a score: UAR in per cent with one decimal, other metrics with three."""
    return "?" if math.isnan(value) else f"{value:.{1 if scale(row.metric) == 100 else 3}f}"


def mean(rows: Sequence[Row], without: Sequence[str] = ()) -> str:
    """Return the mean score of cells, and in brackets that of cells of other corpora than those named."""
    scored = [row for row in rows if not row.missing]
    each = [[row for row in scored if not set(names) & set(row.test)] for names in ((), without)]
    shown = [number(own[0], sum(row.score_mean for row in own) / len(own)) if own else "?" for own in each]
    return f"{shown[0]} ({shown[1]})" if without else shown[0]


def _mean(row: Row) -> str:
    spread = "" if math.isnan(row.score_sd) or _same(row) else f" ± {number(row, row.score_sd)}"
    return "not computed" if row.missing else number(row, row.score_mean) + spread


def _same(row: Row) -> bool:
    """Return whether several seeds score the same, to the digits shown."""
    return row.runs > 1 and number(row, row.score_min) == number(row, row.score_max) != "?"


def _range(row: Row, low: float, high: float) -> str:
    return "?" if math.isnan(low) else f"{number(row, low)}, {number(row, high)}"


def p_value(value: float) -> str:
    """Return a p-value as tables show it."""
    return "?" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def scored(
    metric: str, labels: np.ndarray, predictions: np.ndarray, cluster: np.ndarray, classes: int
) -> str:
    """Return the mean score of runs with its interval, UAR in %."""
    is_uar = metric == "UAR"
    score = metrics.uar(labels, predictions, classes) if is_uar else metrics.ccc(labels, predictions)
    ends = interval(metric, labels, predictions, cluster, classes=classes)
    values = scale(metric) * np.array([score.mean(), *ends])
    mean, low, high = (("?" if np.isnan(v) else f"{v:.{1 if is_uar else 3}f}") for v in values.tolist())
    return f"{mean} [{low}, {high}]"
