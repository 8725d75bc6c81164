"""Analyse the attention of monolingual models (Sec. 6), and write its table and figure.

The paper analyses training utterances and all segments. Since padding has weights too, and short utterances
fill only the first segments, this module also analyses test utterances and segments without padding, and
compares them with chance.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax import attention, engine
from ser_jax.devices import Machine
from ser_jax.errors import ResultsError
from ser_jax.experiment import results as stored
from ser_jax.experiment.config import Config
from ser_jax.experiment.settings import ExperimentError, Pool, Setting, monolingual
from ser_jax.io import write_json
from ser_jax.report import figures, tables
from ser_jax.report.tables import Table
from ser_jax.shapes import Float, Int
from ser_jax.statistics import over_runs

FILE = "attention.json"
PAPER = (
    "Per cent of utterances; monolingual models, all folds; mean ± sample standard deviation over seeds. "
    "The paper, on training utterances: alpha_1 is the largest weight in 31.2 % of IEMOCAP; the two largest "
    "weights differ by more than 0.5 in 73.1 % of IEMOCAP and 5 % of RECOLA."
)
COLUMNS = {  # shares and the head of their column; of shares by segment the table shows the first segment
    "largest": "alpha_1 largest",
    "largest_valid": "alpha_1 largest of valid segments",
    "expected": "the same by chance",
    "decisive": "two largest differ by > 0.5",
    "decisive_valid": "two largest valid differ by > 0.5",
    "padding_weight": "weight on padding",
    "padding_largest": "padding largest",
}
Shares = dict[str, np.ndarray]  # by the names of `COLUMNS`: [R, S] or [R]; `expected` is [S]


def settings(config: Config) -> list[Setting]:
    """Return the settings whose models are analysed: the monolingual ones of the first task.

    If the network can mask padding but does not, settings with masked attention are added.

    Raises: ExperimentError if the network has no attention over several segments.
    """
    if (found := config.network(config.tasks[0]).segments) < 2:
        name = type(config.model).__name__
        raise ExperimentError(f"network {name} has {found} segment, expected one with attention over several")
    every = monolingual(config)
    if not getattr(config.model, "mask_attention", True):
        masked: Any = dataclasses.replace(config.model, mask_attention=True)  # type: ignore[type-var]
        config = dataclasses.replace(config, model=masked)
        every += monolingual(config, "monolingual_masked", beside="monolingual")
    return [setting for setting in every if setting.task.name == config.tasks[0].name]


def analyse(config: Config, pool: Pool, machine: Machine) -> str:
    """Apply the stored models of the first task and write OUT/attention.json, .md, .png and .svg.

    Returns: the table as Markdown.
    Raises: ExperimentError if every run diverged.
    """
    found: dict[str, Shares] = {}
    for setting in settings(config):
        if stored.is_stored(config.out, setting, setting.cells):
            found |= _corpus(config, pool, machine, setting)
    if not found:
        raise ExperimentError(f"every run diverged, expected models of {config.tasks[0].name} to analyse")
    content = {name: {key: value.tolist() for key, value in own.items()} for name, own in found.items()}
    write_json(config.out / FILE, content)
    synthetic = [corpus.name for corpus in pool.corpora.values() if corpus.synthetic]
    table = tables.markdown(synthetic, [summary(found)])
    tables.write(config.out / "attention.md", table)
    figures.write_figure(config.out / "attention", figures.drawn(figures.attention(found), synthetic))
    return table.rstrip("\n")


def _corpus(config: Config, pool: Pool, machine: Machine, setting: Setting) -> dict[str, Shares]:
    """Return the shares of a corpus for training and test utterances; a run is a seed, over all its folds."""
    specs = setting.plan(pool, setting)
    params = stored.read_params(config.out, setting, len(specs))
    seeds = np.array([spec.seed for spec in specs])
    by_seed = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    hop = getattr(setting.model, "segment_frames", setting.model.frames // setting.model.segments)
    data, found = pool.data(setting.standardize, setting.equalized), {}
    for part, rows in (("training", [spec.train for spec in specs]), ("test", [spec.test for spec in specs])):
        outputs = engine.predict_runs(machine, setting.model, data, specs, params, rows)
        each = [np.asarray(output.attention) for output in outputs]
        weights = np.stack([np.concatenate([each[i] for i in own]) for own in by_seed])
        weights = weights[np.isfinite(weights).all(axis=(1, 2))]  # without seeds of which a run diverged
        utterances = np.concatenate([rows[i] for i in by_seed[0]])
        if len(weights):
            masked = ", masked" if setting.beside else ""
            found[f"{setting.train[0]}, {part}{masked}"] = measure(weights, pool.frames[utterances], hop)
    return found


def measure(weights: Float[np.ndarray, "R M S"], frames: Int[np.ndarray, " M"], hop: int) -> Shares:
    """Return the shares of `COLUMNS`; `hop` is the number of frames from one segment to the next."""
    valid = attention.valid_mask(frames, weights.shape[2], hop)
    masked, (weight, largest) = attention.masked(weights, valid), attention.on_padding(weights, valid)
    return {
        "largest": attention.largest(weights),
        "largest_valid": attention.largest(masked),
        "expected": attention.expected_by_chance(valid),
        "decisive": attention.decisive(weights),
        "decisive_valid": attention.decisive(masked),
        "padding_weight": weight,
        "padding_largest": largest,
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


def summary(shares: Mapping[str, Shares]) -> Table:
    """Return the table of where the attention lies, a line per corpus and part."""
    lines = [["", *COLUMNS.values()]]
    for name, own in shares.items():
        first = own | {key: own[key][..., 0] for key in ("largest", "largest_valid", "expected")}
        lines.append([name, *(share(first[key]) for key in COLUMNS)])
    return Table("Where the attention lies", lines, PAPER)


def share(by_run: np.ndarray) -> str:
    """Return shares [R] in per cent: their mean ± sample standard deviation."""
    mean, spread = (100 * float(value) for value in over_runs(np.atleast_1d(by_run)))
    return "?" if np.isnan(mean) else f"{mean:.1f}" + ("" if np.isnan(spread) else f" ± {spread:.1f}")
