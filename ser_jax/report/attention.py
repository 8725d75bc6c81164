"""Where the attention of mono-lingual models lies (Sec. 6): analysis of stored models, and its table.

Beyond the paper: test utterances, segments without those of padding, what chance would give there, and
utterance lengths. Padding has weights as well, and a short utterance fills the first segments only.
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
from ser_jax.experiment.predictions import read_training
from ser_jax.experiment.settings import ExperimentError, Setting, monolingual
from ser_jax.io import write_json
from ser_jax.report.results import Results
from ser_jax.report.tables import aligned, synthetic_notice
from ser_jax.statistics import over_runs

FILE = "attention.json"
PARTS = ("training", "test")
PAPER = (
    "Shares of utterances. The paper, training utterances: the first segment has the largest weight in "
    "31.2 % on IEMOCAP; the two largest differ by > 0.5 in 73.1 % there, in 5 % on RECOLA."
)
NAMES = (
    "largest", "largest_valid", "expected", "decisive", "decisive_valid", "padding_weight", "padding_largest",
    "by_length_utterances", "by_length",
)  # fmt: skip
Shares = dict[str, np.ndarray]  # of `NAMES`, as `measure` returns them


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
    from ser_jax.report.figures import attention as drawn
    from ser_jax.report.folder import write_figure, write_text

    found: dict[str, Shares] = {}
    for setting in monolingual(config):
        if setting.task != config.tasks[0] or not stored.is_stored(config.out, setting, setting.cells):
            continue
        for part, shares in _corpus(config, pool, machine, setting).items():
            found[f"{setting.train[0]}, {part}"] = shares
    if not found:
        raise ExperimentError(f"every seed was stopped, expected models of {config.tasks[0].name} to analyse")
    write_json(config.out / FILE, {name: _json(one) for name, one in found.items()})
    synthetic = [corpus.name for corpus in pool.corpora.values() if corpus.synthetic]
    written = read(config.out)
    write_text(config.out / "attention.md", table(written, synthetic) + "\n")
    write_figure(config.out / "attention", drawn(synthetic, written))


def printed(results: Results) -> str:
    """Return the table that `analyse` wrote."""
    return (results.out / "attention.md").read_text(encoding="utf-8").rstrip("\n")


def _json(shares: Shares) -> dict[str, list]:
    rounded = {name: np.round(value, 6) for name, value in shares.items()}
    return {name: np.where(np.isnan(v), np.array(None), v).tolist() for name, v in rounded.items()}


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
    found = {}
    for part, rows in zip(PARTS, ([s.train for s in specs], [s.test for s in specs]), strict=True):
        data = pool.data(setting.standardize, setting.equalized)
        outputs = engine.predict_runs(machine, setting.model, data, specs, params, rows)
        each = [np.asarray(one.attention) for one in outputs]
        weights = np.stack(
            [np.concatenate([each[i] for i in np.flatnonzero(seeds == s)]) for s in np.unique(seeds)]
        )
        first = np.concatenate([rows[i] for i in np.flatnonzero(seeds == seeds[0])])
        found[part] = measure(weights, pool.frames[first], hop)
    return found  # fmt: skip


def measure(weights: np.ndarray, frames: np.ndarray, hop: int) -> Shares:
    """Return everything that is told about some weights.

    Args:
      weights: [R, M, S].
      frames: [M] valid frames.
      hop: frames from one segment to the next.
    Returns: [R, S], [S] or [R] shares; `by_length` is [R, S, S] for valid segments, by how many there are.
    """
    valid = attention.valid_mask(frames, weights.shape[2], hop)
    among, padding = attention.masked(weights, valid), attention.on_padding(weights, valid)
    lengths = attention.by_length(among, valid)
    values = (
        attention.largest(weights),
        attention.largest(among),
        attention.expected_by_chance(valid),
        attention.decisive(weights),
        attention.decisive(among),
        padding.weight,
        padding.largest,
        lengths.utterances[0].astype(float),
        lengths.largest,
    )
    return dict(zip(NAMES, values, strict=True))


def read(out: Path) -> dict[str, Shares]:
    """Return the shares by corpus and part; empty if there was no analysis.

    Raises: ResultsError if the file is damaged.
    """
    path = out / FILE
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8")).items()
        return {name: {key: np.array(one[key], float) for key in NAMES} for name, one in known}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ResultsError(f"{path} is not an attention file ({error}); delete it") from None


def table(found: Mapping[str, Shares], synthetic: list[str]) -> str:
    """Return where attention lies, as Markdown."""
    lines = [
        ["largest weight, % of utterances"],
        ["largest of valid segments, by their number", "utterances, by folds"],
    ]
    widest = max(one["largest"].shape[1] for one in found.values())
    for head in lines:
        head += [f"alpha_{i + 1}" for i in range(widest)]
    largest, length = [lines[0]], [lines[1]]

    def padded(line: list[str], width: int) -> list[str]:
        return line + [""] * (width - len(line))

    for name, one in found.items():
        chance = [f"{100 * value:.1f}" for value in one["expected"]]
        largest += [
            padded([f"{name}, all segments", *map(share, one["largest"].T)], widest + 1),
            padded([f"{name}, without padding", *map(share, one["largest_valid"].T)], widest + 1),
            padded([f"{name}, by chance without padding", *chance], widest + 1),
        ]
        for n, count in enumerate(one["by_length_utterances"]):
            if count:
                shares = [share(one["by_length"][:, n, s]) for s in range(n + 1)]
                length.append(padded([f"{name}: {n + 1}", f"{count:.0f}", *shares], widest + 2))
    seeds = ", ".join(map(str, sorted({len(one["decisive"]) for one in found.values()})))
    about = (
        f"Mono-lingual models, all folds; mean ± sample standard deviation over n = {seeds} seeds. {PAPER}"
    )
    parts = [synthetic_notice(synthetic), *map(aligned, (largest, summary(found), length)), about]
    return "\n\n".join(part for part in parts if part)  # fmt: skip


def summary(found: Mapping[str, Shares]) -> list[list[str]]:
    """Return what the attention of each corpus is like as a line of a table, the head first."""
    head = ["%", "two largest differ by > 0.5", "without padding", "weight on padding", "padding largest"]
    lines = [[*head, "first segment largest", "without padding", "there by chance"]]
    for name, one in found.items():
        kinds = ("decisive", "decisive_valid", "padding_weight", "padding_largest")
        firsts = share(one["largest"][:, 0]), share(one["largest_valid"][:, 0])
        lines.append([name, *(share(one[k]) for k in kinds), *firsts, f"{100 * one['expected'][0]:.1f}"])
    return lines


def share(by_run: np.ndarray) -> str:
    """Return shares [R] in %: their mean over runs ± sample standard deviation."""
    mean, spread = (100 * float(value) for value in over_runs(by_run))
    return "?" if np.isnan(mean) else f"{mean:.1f}" + ("" if np.isnan(spread) else f" ± {spread:.1f}")
