"""What predictions say: a cell with its uncertainty, and how two of them differ."""

from typing import Any, NamedTuple

import numpy as np

from experiments.predictions import Cell, Predictions
from ser_jax.inference import chance, interval, paired_test
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


def paper_uar(cell: Cell, corpora: list[dict[str, Any]]) -> float:
    """The paper's figure for a cell, %; NaN where it has none, or the corpora are not the paper's pair."""
    builders = {corpus["name"]: corpus["builder"] for corpus in corpora}
    pair = sorted(builders.values()) == ["iemocap", "recola"]
    known = PAPER.get((cell.setting, builders.get(cell.test, "")), {}) if pair else {}
    return known.get(cell.target, NAN)


def row(cell: Cell, said: Predictions) -> Row:
    """A cell's numbers, from what its runs said."""
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


def compared(one: Predictions, other: Predictions) -> tuple[float, float]:
    """Pooled UAR of the one less the other's, points, and p; of the utterances that both were tested on."""
    one, other = _common(one, other)
    if len(np.unique(one.label)) < 2:
        return NAN, NAN
    means = [100 * pooled_uar(said.label, decisions(said)).mean() for said in (one, other)]
    p = paired_test(one.label, decisions(one), decisions(other), one.speaker)
    return float(means[0] - means[1]), p


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
