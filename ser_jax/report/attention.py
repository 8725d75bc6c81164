"""Where the attention of mono-lingual models lies (Sec. 6): analysis of stored models, and its table.

Beyond the paper: test utterances, segments without those of padding, and what chance would give there.
Padding has weights as well, and a short utterance fills the first segments only.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ser_jax import attention, engine, model
from ser_jax.devices import Machine
from ser_jax.errors import ResultsError
from ser_jax.experiment import results as stored
from ser_jax.experiment.config import Config
from ser_jax.experiment.pool import Pool
from ser_jax.experiment.results import read_training
from ser_jax.experiment.settings import ExperimentError, Setting, monolingual
from ser_jax.io import write_json
from ser_jax.report.results import Results
from ser_jax.report.tables import Table, markdown
from ser_jax.statistics import over_runs

FILE = "attention.json"
PAPER = (
    "Per cent of utterances; mono-lingual models, all folds; mean ± sample standard deviation over seeds. "
    "The paper, training utterances: alpha_1 is the largest weight in 31.2 % on IEMOCAP; the two largest "
    "differ by more than 0.5 in 73.1 % there, in 5 % on RECOLA."
)
COLUMNS = {  # shares to the head of their column; of those by segment, the first
    "largest": "alpha_1 largest",
    "largest_valid": "alpha_1 largest of valid segments",
    "expected": "the same by chance",
    "decisive": "two largest differ by > 0.5",
    "decisive_valid": "two largest valid differ by > 0.5",
    "padding_weight": "weight on padding",
    "padding_largest": "padding largest",
}
Shares = dict[str, np.ndarray]  # as `measure` returns them


def check(config: Config) -> None:
    """Check that the network has attention to analyse.

    Raises: ExperimentError.
    """
    if (found := config.network(config.tasks[0]).segments) < 2:
        name = type(config.model).__name__
        raise ExperimentError(f"network {name} has {found} segment, expected one with attention over several")


def analyse(config: Config, pool: Pool, machine: Machine) -> None:
    """Predict by the stored models of the first task and write OUT/attention.json, .md, .png and .svg.

    Raises: ExperimentError if every seed was stopped.
    """
    from ser_jax.report import figures
    from ser_jax.report.folder import write_figure, write_text

    found: dict[str, Any] = {}
    for setting in monolingual(config):
        if setting.task == config.tasks[0] and stored.is_stored(config.out, setting, setting.cells):
            for part, shares in _corpus(config, pool, machine, setting).items():
                rounded = {name: np.round(value, 6).tolist() for name, value in shares.items()}
                found[f"{setting.train[0]}, {part}"] = rounded
    if not found:
        raise ExperimentError(f"every seed was stopped, expected models of {config.tasks[0].name} to analyse")
    write_json(config.out / FILE, found)
    synthetic = [corpus.name for corpus in pool.corpora.values() if corpus.synthetic]
    written = read(config.out)
    write_text(config.out / "attention.md", markdown(synthetic, [summary(written)]))
    write_figure(config.out / "attention", figures.drawn(figures.attention(written), synthetic))


def printed(results: Results) -> str:
    """Return the table that `analyse` wrote."""
    return (results.out / "attention.md").read_text(encoding="utf-8").rstrip("\n")


def _corpus(config: Config, pool: Pool, machine: Machine, setting: Setting) -> dict[str, Shares]:
    """Return the shares of a corpus by part; a run is a seed, over the utterances of all its folds."""
    specs = setting.plan(pool, setting)
    log = read_training(config.out / "training" / f"{setting.slug}.npz")
    stopped = set(log.seed[log.stopped[:, 0] > 0].tolist())
    wanted = [i for i, spec in enumerate(specs) if spec.seed not in stopped]
    if not wanted:
        return {}

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((len(specs), *leaf.shape), leaf.dtype)

    params = stored.read_params(config.out, setting, jax.tree.map(shape, model.shapes(setting.model)))
    params = jax.tree.map(lambda leaf: leaf[np.array(wanted)], params)
    specs = [specs[i] for i in wanted]
    seeds = np.array([spec.seed for spec in specs])
    hop = getattr(setting.model, "segment_frames", setting.model.frames // setting.model.segments)
    data, found = pool.data(setting.standardize, setting.equalized), {}
    for part, rows in (("training", [one.train for one in specs]), ("test", [one.test for one in specs])):
        outputs = engine.predict_runs(machine, setting.model, data, specs, params, rows)
        each = [np.asarray(one.attention) for one in outputs]
        own = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
        weights = np.stack([np.concatenate([each[i] for i in runs]) for runs in own])
        first = np.concatenate([rows[i] for i in own[0]])
        found[part] = measure(weights, pool.frames[first], hop)
    return found


def measure(weights: np.ndarray, frames: np.ndarray, hop: int) -> Shares:
    """Return everything that is told about some weights.

    Args:
      weights: [R, M, S].
      frames: [M] valid frames.
      hop: frames from one segment to the next.
    Returns: shares [R, S] or [R]; `expected` is [S].
    """
    valid = attention.valid_mask(frames, weights.shape[2], hop)
    among, padding = attention.masked(weights, valid), attention.on_padding(weights, valid)
    return {
        "largest": attention.largest(weights),
        "largest_valid": attention.largest(among),
        "expected": attention.expected_by_chance(valid),
        "decisive": attention.decisive(weights),
        "decisive_valid": attention.decisive(among),
        "padding_weight": padding.weight,
        "padding_largest": padding.largest,
    }


def read(out: Path) -> dict[str, Shares]:
    """Return the shares by corpus and part; empty if there was no analysis.

    Raises: ResultsError if the file is damaged.
    """
    path = out / FILE
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8")).items()
        return {name: {key: np.array(one[key], float) for key in COLUMNS} for name, one in known}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ResultsError(f"{path} is not an attention file ({error}); delete it") from None


def summary(found: Mapping[str, Shares]) -> Table:
    """Return where the attention of each corpus and part lies."""
    lines = [["", *COLUMNS.values()]]
    for name, one in found.items():
        first = one | {key: one[key][..., 0] for key in ("largest", "largest_valid", "expected")}
        lines.append([name, *(share(first[key]) for key in COLUMNS)])
    return Table("Where the attention lies", lines, PAPER)


def share(by_run: np.ndarray) -> str:
    """Return shares [R] in %: their mean over runs ± sample standard deviation."""
    mean, spread = (100 * float(value) for value in over_runs(np.atleast_1d(by_run)))
    return "?" if np.isnan(mean) else f"{mean:.1f}" + ("" if np.isnan(spread) else f" ± {spread:.1f}")
