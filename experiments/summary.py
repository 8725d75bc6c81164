"""What stored predictions say: every cell with its uncertainty, and which settings differ."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import keeping, predictions, protocol
from experiments.pool import LANGUAGE
from experiments.predictions import Cell, Predictions
from ser_jax.data.corpus import TARGETS
from ser_jax.inference import chance, holm, interval, paired_test
from ser_jax.metrics import confusion, pooled_uar, uar

# Table 2, %, by the database that the cell is tested on.
PAPER = {
    ("monolingual", "iemocap"): {"arousal": 68.09, "valence": 62.33},
    ("monolingual", "recola"): {"arousal": 60.77, "valence": 52.30},
    ("multilingual", "iemocap"): {"arousal": 70.06, "valence": 61.73},
    ("multilingual", "recola"): {"arousal": 62.51, "valence": 49.33},
    ("crosslingual", "iemocap"): {"arousal": 59.32, "valence": 49.08},
    ("crosslingual", "recola"): {"arousal": 61.27, "valence": 47.52},
    ("finetuned", "iemocap"): {"arousal": 67.03, "valence": 50.42},
    ("finetuned", "recola"): {"arousal": 63.07, "valence": 49.81},
    ("monolingual_cut", "iemocap"): {"arousal": 68.20, "valence": 58.77},
}
SYNTHETIC = "synthetic"
NAN = float("nan")


class Row(NamedTuple):
    """One cell, in per cent.

    Attributes:
      setting, train, test, target: the cell.
      uar_mean: the mean over the test folds, as a cross-validation reports it; of that the mean over runs.
      uar_std: its sample deviation over the runs; NaN for a single one.
      runs, folds, speakers, utterances: how many.
      uar_pooled: over all utterances at once, the mean over runs.
      low, high: 95 % interval of `uar_pooled` by a bootstrap over speakers; NaN for a single speaker.
      chance_low, chance_high: where guessing falls with 95 %.
      paper_uar: the paper's on the corpora of its cell; NaN where it has none.
      stopped: which of its runs were stopped, whose seeds are left out; empty where none was.
      missing: why there are no numbers; empty where there are.
    """

    setting: str
    train: str
    test: str
    target: str
    uar_mean: float = NAN
    uar_std: float = NAN
    runs: int = 0
    folds: int = 0
    speakers: int = 0
    utterances: int = 0
    uar_pooled: float = NAN
    low: float = NAN
    high: float = NAN
    chance_low: float = NAN
    chance_high: float = NAN
    paper_uar: float = NAN
    stopped: str = ""
    missing: str = ""

    @property
    def cell(self) -> Cell:
        """Which it is."""
        return Cell(*self[:4])


class Comparison(NamedTuple):
    """Two settings that were tested on the same utterances.

    Attributes:
      test, target: on what.
      one, other: the settings, with what they trained on.
      difference: pooled UAR of the one less the other's, points.
      p: two-sided, by swapping the answers to all of a speaker's utterances.
      p_holm: the same, corrected for all comparisons made with it.
    """

    test: str
    target: str
    one: str
    other: str
    difference: float
    p: float
    p_holm: float


def found(out: Path, settings: list[str]) -> list[Cell]:
    """The cells of some settings that are there or are known to be missing, in the order of the tables."""
    corpora = [corpus["name"] for corpus in protocol.read(out)["corpora"]]

    def place(cell: Cell) -> tuple[int, list[int], list[int], str]:
        trained = [corpora.index(name) for name in cell.train.split("+")]
        tested = [corpora.index(name) for name in cell.test.split("+")]
        return settings.index(cell.setting), tested, trained, cell.target

    known = {*stored(out), *keeping.read_missing(out)}
    return sorted((cell for cell in known if cell.setting in settings), key=place)


def stored(out: Path) -> list[Cell]:
    """The cells whose predictions are there.

    Raises: ResultsError where a file is none of them.
    """
    corpora = [corpus["name"] for corpus in protocol.read(out)["corpora"]]
    return [_cell(file, corpora) for file in sorted((out / "predictions").glob("*.npz"))]


def _cell(file: Path, corpora: list[str]) -> Cell:
    parts = file.stem.split("-")
    known = len(parts) == 4 and {*parts[1].split("+"), *parts[2].split("+")} <= set(corpora)
    if not known or parts[3] not in (*TARGETS, LANGUAGE):
        raise predictions.ResultsError(
            f"{file} is no cell of {' and '.join(corpora)}, expected SETTING-TRAIN-TEST-TARGET.npz; "
            "move it elsewhere"
        )
    return Cell(*parts)


def fold_mean_uar(said: Predictions) -> np.ndarray:
    """UAR of every run, %: the mean over the test folds; [R]."""
    folds = np.unique(said.fold)
    decided = decisions(said)
    return np.array(
        [
            100 * np.mean([uar(said.label[said.fold == f], run[said.fold == f]) for f in folds])
            for run in decided
        ]
    )


def decisions(said: Predictions) -> np.ndarray:
    """[R, M] the classes decided for."""
    return (said.probability > 0.5).astype(np.int8)


def confusions(said: Predictions) -> np.ndarray:
    """[2, 2] utterances by true and decided class, the mean over runs."""
    return np.mean([confusion(said.label, run) for run in decisions(said)], axis=0)


def rows(out: Path, settings: list[str]) -> list[Row]:
    """Recomputes every cell of some settings from the predictions in `out`."""
    chosen = protocol.read(out)
    builders = {corpus["name"]: corpus["builder"] for corpus in chosen["corpora"]}
    pair = set(builders.values()) == {"iemocap", "recola"} and len(builders) == 2
    missing = keeping.read_missing(out)
    table = []
    for cell in found(out, settings):
        if not predictions.file(out, cell).exists():
            table.append(Row(*cell, missing=missing[cell]))
            continue
        said, stopped = predictions.read(out, cell), keeping.stops(out, cell)
        lost = sorted(set(range(chosen["seeds"])) - set(said.seed.tolist()))
        if lost and not stopped:
            stopped = f"answers of seed {', '.join(map(str, lost))}, or what they follow from, are no numbers"
        if not len(said.seed):
            table.append(Row(*cell, missing=f"no seed is whole ({stopped})"))
            continue
        known = PAPER.get((cell.setting, builders.get(cell.test, "")), {}) if pair else {}
        table.append(_row(cell, said)._replace(paper_uar=known.get(cell.target, NAN), stopped=stopped))
    return table


def _row(cell: Cell, said: Predictions) -> Row:
    each, decided = fold_mean_uar(said), decisions(said)
    around, guessing = interval(said.label, decided, said.speaker), chance(said.label)
    return Row(
        *cell,
        uar_mean=float(np.mean(each)),
        uar_std=float(np.std(each, ddof=1)) if len(each) > 1 else NAN,
        runs=len(each),
        folds=len(np.unique(said.fold)),
        speakers=len(np.unique(said.speaker)),
        utterances=len(said.label),
        uar_pooled=float(100 * pooled_uar(said.label, decided).mean()),
        low=100 * around.low,
        high=100 * around.high,
        chance_low=100 * guessing.low,
        chance_high=100 * guessing.high,
    )


def label(row: Row, among: list[Row]) -> str:
    """A setting as the tables call it: with what it trained on where that is not clear from the column."""
    alike = [r for r in among if (r.setting, r.test, r.target) == (row.setting, row.test, row.target)]
    return row.setting if len(alike) == 1 else f"{row.setting} from {row.train}"


def comparisons(out: Path, table: list[Row]) -> list[Comparison]:
    """Every setting against the first of its column, and against the one before it.

    p-values are corrected for those of the same column: a question is asked of one corpus and target.
    Combinations that are tuned are not compared, they are chosen among.

    Args:
      out: the results folder.
      table: what `rows` gave for it.
    """
    found = []
    there = [row for row in table if not row.missing and not row.setting.startswith("tuning_")]
    for test, target in columns(there):
        column = [row for row in there if (row.test, row.target) == (test, target)]
        pairs = dict.fromkeys([*((row, column[0]) for row in column[1:]), *_neighbours(column[1:])])
        own = [_compared(out, one, other, table) for one, other in pairs]
        corrected: np.ndarray | list[float] = holm(np.array([c.p for c in own])) if own else []
        found += [c._replace(p_holm=float(p)) for c, p in zip(own, corrected, strict=True)]
    return found


def _neighbours(column: list[Row]) -> list[tuple[Row, Row]]:
    return [(later, former) for former, later in itertools.pairwise(column)]


def _compared(out: Path, one: Row, other: Row, table: list[Row]) -> Comparison:
    """On the utterances that both were tested on."""
    a, b = _common(*(predictions.read(out, row.cell) for row in (one, other)))
    names = label(one, table), label(other, table)
    if len(np.unique(a.label)) < 2:
        return Comparison(one.test, one.target, *names, NAN, NAN, NAN)
    means = [100 * pooled_uar(said.label, decisions(said)).mean() for said in (a, b)]
    p = paired_test(a.label, decisions(a), decisions(b), a.speaker)
    return Comparison(one.test, one.target, *names, float(means[0] - means[1]), p, NAN)


def _common(*both: Predictions) -> tuple[Predictions, ...]:
    names = [list(zip(said.utterance.tolist(), said.speaker.tolist(), strict=True)) for said in both]
    shared = set(names[0]) & set(names[1])
    return tuple(
        _only(said, np.array([name in shared for name in own], bool))
        for said, own in zip(both, names, strict=True)
    )


def _only(said: Predictions, rows: np.ndarray) -> Predictions:
    parts = {name: getattr(said, name)[rows] for name in ("utterance", "speaker", "fold", "label")}
    return Predictions(**parts, seed=said.seed, probability=said.probability[:, rows])


def title(corpus: dict) -> str:
    """A corpus as the tables call it; one of synthetic speech says so."""
    made_up = corpus["synthetic"] and SYNTHETIC not in corpus["name"]
    return f"{corpus['name']} ({SYNTHETIC})" if made_up else corpus["name"]


def columns(table: list[Row]) -> list[tuple[str, str]]:
    """(test, target) of every column, in order."""
    return sorted(
        dict.fromkeys((row.test, row.target) for row in table),
        key=lambda column: list(dict.fromkeys(row.test for row in table)).index(column[0]),
    )


def training_curves(out: Path, settings: list[str]) -> dict[str, keeping.Training]:
    """How the runs of some settings were trained, by setting and what they trained on, but those stopped."""
    jobs = [job.split("-", 2) for job in keeping.trained(out)]
    jobs = sorted((job for job in jobs if job[0] in settings), key=lambda job: settings.index(job[0]))
    starts = [job[:2] for job in jobs]
    return {
        f"{setting} {train}" + (f" > {test}" if starts.count([setting, train]) > 1 else ""): (
            _going(keeping.read_training(out, f"{setting}-{train}-{test}"))
        )
        for setting, train, test in jobs
    }


def _going(kept: keeping.Training) -> keeping.Training:
    return kept.only(np.flatnonzero(kept.stopped[:, 0] == 0))
