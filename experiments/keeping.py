"""What is kept of the models and their training, beside the predictions."""

import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments import predictions
from experiments.plans import Plan, Work
from experiments.pool import Pool
from experiments.predictions import Cell, Predictions
from ser_jax import checkpoint
from ser_jax.engine import Done
from ser_jax.metrics import uar

NAMED = 3  # runs of a cell that are named where they were stopped


class Training(NamedTuple):
    """How a job's runs were trained; their parameters lie in `models` in the same order.

    Attributes:
      target, fold, seed: [R] what names each run.
      loss: [R, epochs], the mean over its training utterances.
      watched: [W] after how many epochs it was asked about its development speakers.
      dev_loss, dev_uar: [R, W] what it said of them; NaN where it has none, or they lack a class.
      stopped: [R, 2] epoch and step, from 1, in which its numbers were not finite any more; zeros where they
        are.
    """

    target: np.ndarray
    fold: np.ndarray
    seed: np.ndarray
    loss: np.ndarray
    watched: np.ndarray
    dev_loss: np.ndarray
    dev_uar: np.ndarray
    stopped: np.ndarray

    def going(self) -> "Training":
        """The runs that were not stopped."""
        rows = self.stopped[:, 0] == 0
        return Training(*(part if name == "watched" else part[rows] for name, part in self._asdict().items()))


class Attention(NamedTuple):
    """Sec. 6 for one corpus, as `ser_jax.attention` counts it.

    Attributes:
      shares: [R, S] of the utterances, those whose largest weight is alpha_i.
      among: [R, S] the same among the segments that hold sound.
      expected: [S] what chance would give among these.
      decided, decided_among: [R] of the utterances, those whose two largest weights differ by more than 0.5.
      padding_weight: [R] how much of the weights lies on padding, the mean over the utterances.
      padding_wins: [R] of the utterances, those whose largest weight is of padding.
      by_length_utterances: [S] how many hold sound in 1, 2, ... segments.
      by_length_among: [R, S, S] `among` of these; NaN where there are none.
    """

    shares: np.ndarray
    among: np.ndarray
    expected: np.ndarray
    decided: np.ndarray
    decided_among: np.ndarray
    padding_weight: np.ndarray
    padding_wins: np.ndarray
    by_length_utterances: np.ndarray
    by_length_among: np.ndarray


def models(out: Path, job: str) -> Path:
    """Where the parameters of a job are kept, by `Work.name`."""
    return out / "models" / job


def _training(out: Path, job: str) -> Path:
    return out / "training" / f"{job}.npz"


def is_done(out: Path, work: Work) -> bool:
    """Whether all that a job yields is there."""
    files = [predictions.file(out, cell) for cell in work.cells]
    files.append(_training(out, work.name))
    return all(file.exists() for file in files) and checkpoint.exists(models(out, work.name))


def trained(out: Path) -> list[str]:
    """The jobs of which it is known how their runs were trained, by `Work.name`."""
    return sorted(file.stem for file in (out / "training").glob("*.npz"))


def write_training(
    out: Path,
    work: Work,
    loss: np.ndarray,
    watched: list[int],
    said: list[tuple[np.ndarray, np.ndarray]],
    stopped: np.ndarray,
) -> None:
    """Stores how a job's runs were trained.

    Args:
      out: the results folder.
      work: the job.
      loss: [R, epochs].
      watched: [W] epochs.
      said: per run the classes [D] of its development utterances and the probabilities [W, D] it gave them.
      stopped: [R, 2] as in `Training`.
    """
    judged = [_judged(labels, probability, len(watched)) for labels, probability in said]
    dev_loss, dev_uar = (np.array(part) for part in zip(*judged, strict=True))
    kept = Training(
        np.array([plan.target for plan in work.plans]),
        np.array([plan.fold for plan in work.plans]),
        np.array([plan.seed for plan in work.plans]),
        loss,
        np.array(watched),
        dev_loss,
        dev_uar,
        stopped,
    )
    predictions.write_arrays(_training(out, work.name), kept._asdict())


def _judged(labels: np.ndarray, probability: np.ndarray, watched: int) -> tuple[np.ndarray, np.ndarray]:
    """Loss and UAR, %, after each of the epochs watched."""
    if not np.bincount(labels, minlength=2).all():
        return np.full(watched, np.nan), np.full(watched, np.nan)
    own = np.clip(np.where(labels == 1, probability, 1 - probability), 1e-7, 1)
    correct = np.array([100 * uar(labels, row > 0.5) for row in probability])
    return -np.log(own).mean(axis=1), np.where(np.isfinite(probability).all(axis=1), correct, np.nan)


def read_training(out: Path, job: str) -> Training:
    """How a job's runs were trained.

    Raises: ResultsError where it is not there, or damaged.
    """
    return Training(**predictions.read_arrays(_training(out, job), Training._fields))


class Piece(NamedTuple):
    """A run's part of an `engine.Done`."""

    params: dict
    losses: np.ndarray
    said: np.ndarray
    watched: np.ndarray
    stopped: np.ndarray


def pieces(done: Done) -> dict[int, Piece]:
    """The results of a stack by run."""
    return {
        run: Piece(
            jax.tree.map(lambda leaf: leaf[place], done.params),  # noqa: B023
            done.losses[place],
            done.said[place],
            done.watched[place],
            done.stopped[place],
        )
        for place, run in enumerate(done.runs)
    }


def store(pool: Pool, out: Path, work: Work, pieces: list[Piece], watch: list[int]) -> None:
    """The models first, the predictions last: where these are, all is."""
    params, losses, said, watched, stopped = zip(*pieces, strict=True)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
    checkpoint.save(models(out, work.name), stacked)
    dev = [pool.labels(plan.target)[plan.dev] for plan in work.plans]
    asked = list(zip(dev, watched, strict=True))
    write_training(out, work, np.stack(losses), watch, asked, np.stack(stopped))
    for cell in work.cells:
        predictions.write(out, cell, gathered(pool, cell, work.plans, list(said)))


def gathered(pool: Pool, cell: Cell, plans: list[Plan], probability: list[np.ndarray]) -> Predictions:
    """One cell's predictions out of a job's: seeds by the utterances tested, in the pool's order."""
    own = [(plan, said) for plan, said in zip(plans, probability, strict=True) if plan.target == cell.target]
    seeds = sorted({plan.seed for plan, _ in own})
    tested = np.unique(np.concatenate([plan.test for plan, _ in own]))
    rows = np.intersect1d(np.concatenate([pool.rows(name) for name in cell.tested]), tested)
    position = {row: i for i, row in enumerate(rows)}
    found = np.full((len(seeds), len(rows)), np.nan, np.float32)
    fold = np.zeros(len(rows), np.int32)
    for plan, said in own:
        for row, value in zip(plan.test, said, strict=True):
            if row in position:
                found[seeds.index(plan.seed), position[row]] = value
                fold[position[row]] = plan.fold
    # Speakers of different corpora may be called alike.
    speaker = pool.voice[rows] if "+" in cell.test else pool.speaker[rows]
    return Predictions(pool.id[rows], speaker, fold, pool.labels(cell.target)[rows], np.array(seeds), found)


def stops(kept: Training, target: str) -> str:
    """Which of a job's runs of a target were stopped, where; empty where none was."""
    lost = np.flatnonzero((kept.target == target) & (kept.stopped[:, 0] > 0))
    named = [
        f"seed {kept.seed[run]} in epoch {kept.stopped[run, 0]}, step {kept.stopped[run, 1]} of fold "
        f"{kept.fold[run] + 1}"
        for run in lost
    ]
    return ", ".join(named[:NAMED]) + (f" and {len(lost) - NAMED} more" if len(lost) > NAMED else "")


def read_attention(out: Path) -> dict[str, Attention]:
    """Where attention lies, by corpus and part, in the order it was stored; nothing where it was not asked.

    Raises: ResultsError where the file is damaged.
    """
    path = out / "attention.json"
    if not path.exists():
        return {}
    try:
        return {
            name: Attention(*(np.array(one[field], float) for field in Attention._fields))
            for name, one in json.loads(path.read_text()).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise predictions.ResultsError(
            f"{path} does not say where attention lies ({error}); delete it"
        ) from None


def note_missing(out: Path, missing: dict[Cell, str]) -> None:
    """Keeps which cells cannot be computed, and why, beside what was noted before."""
    known = read_missing(out) | missing
    if not missing:
        return
    with predictions.whole(out / "missing.json") as file:
        file.write_text(json.dumps([[*cell, reason] for cell, reason in known.items()], indent=2) + "\n")


def read_missing(out: Path) -> dict[Cell, str]:
    """The cells that cannot be computed, with the reason; none that were since."""
    path = out / "missing.json"
    if not path.exists():
        return {}
    try:
        noted = {Cell(*cell): reason for *cell, reason in json.loads(path.read_text())}
        return {cell: reason for cell, reason in noted.items() if not predictions.file(out, cell).exists()}
    except (ValueError, TypeError, RecursionError) as error:
        raise predictions.ResultsError(f"{path} is not a list of cells ({error}); delete it") from None
