"""Sec. 6, Figs. 2 and 3: where the attention of the mono-lingual arousal models lies.

    python -m experiments.attention_over_time                                # IEMOCAP, RECOLA
    python -m experiments.attention_over_time --corpora synthetic_en synthetic_fr --out results/demo

With the `--out` and the flags of another experiment the models that are there are asked.

Expected, training utterances: alpha_1 is the largest for 31.2 % on IEMOCAP; the two largest differ by more
than 0.5 for 73.1 % on IEMOCAP, 5 % on RECOLA.

Beyond the paper: the same for the test utterances, among the segments that hold sound, what chance would give
there, and by utterance length; for padding has weights too, and a short utterance fills the first segments
only.
"""

import json
from pathlib import Path

import jax
import numpy as np

from experiments import figures, keeping, report, tables
from experiments.harness import a_run, data_of
from experiments.main import main
from experiments.monolingual import MONOLINGUAL
from experiments.options import Options
from experiments.plans import ExperimentError, Work, planned
from experiments.pool import Pool
from experiments.predictions import whole
from experiments.results import Results
from ser_jax import attention, checkpoint, engine
from ser_jax.attention import OverRuns, over_runs
from ser_jax.data import load
from ser_jax.machine import Machine

TARGET = "arousal"
PARTS = ("training", "test")


def analyse(options: Options) -> None:
    """Asks the stored models where they look, and writes OUT/attention.json, .md, .png and .svg."""
    machine = Machine.here(options.devices, options.memory, options.runs_at_once)
    corpora = [load(name, options.data_dir) for name in options.corpora]
    pool = Pool(corpora, options.folds, options.label_rule, machine.place)
    found = {}
    for work in planned([MONOLINGUAL], pool, options):
        asked = _whole_seeds(options, work)
        if asked:
            for part in PARTS:
                found[f"{work.train}, {part}"] = _corpus(machine, pool, options, work, asked, part)
    if not found:
        raise ExperimentError(f"every seed was stopped, expected models of {TARGET} to ask")
    with whole(options.out / "attention.json") as file:
        file.write_text(json.dumps(found, indent=1) + "\n")
    with whole(options.out / "attention.md") as file:
        file.write_text(markdown(options.out) + "\n")
    results = Results(options.out)
    report.draw(options.out / "attention", figures.attention(results, results.attention))


def _whole_seeds(options: Options, work: Work) -> list[int]:
    """Which runs of a job are asked: those of seeds of which none was stopped."""
    kept = keeping.read_training(options.out, work.name)
    stopped = set(kept.seed[(kept.target == TARGET) & (kept.stopped[:, 0] > 0)].tolist())
    return [i for i, plan in enumerate(work.plans) if plan.target == TARGET and plan.seed not in stopped]


def _corpus(machine: Machine, pool: Pool, options: Options, work: Work, asked: list[int], part: str) -> dict:
    """One corpus's figures; a run of the analysis is a seed, over the utterances of all its folds."""
    config = MONOLINGUAL.model(options)
    params = checkpoint.restore(keeping.models(options.out, work.name), config, len(work.plans))
    plans = [work.plans[i] for i in asked]
    mode = MONOLINGUAL.mode(options)
    own = pool.rows(work.train)
    rows = [plan.train if part == "training" else np.intersect1d(plan.test, own) for plan in plans]
    runs = [a_run(pool, mode, work.job, plan) for plan in plans]
    params = jax.tree.map(lambda leaf: leaf[np.array(asked)], params)
    said = list(engine.ask(machine, config, data_of(pool, mode, work.job), runs, params, rows))
    seeds = np.array([plan.seed for plan in plans])
    weights = np.stack(
        [np.concatenate([said[i].attention for i in np.flatnonzero(seeds == s)]) for s in np.unique(seeds)]
    )
    frames = pool.frames[np.concatenate([rows[i] for i in np.flatnonzero(seeds == seeds[0])])]
    return described(weights, frames, config.segment_frames)


def described(weights: np.ndarray, frames: np.ndarray, hop: int) -> dict:
    """All that is asked of some weights.

    Args:
      weights: [R, M, S].
      frames: [M], frames that hold sound.
      hop: from one segment to the next, frames.
    """
    sound = attention.sounding(frames, weights.shape[2], hop)
    speaking = attention.among(weights, sound)
    padding = attention.on_padding(weights, sound)
    lengths, spoken = attention.by_length(weights, sound), attention.by_length(speaking, sound)
    arrays = {
        "shares": attention.largest(weights),
        "among": attention.largest(speaking),
        "expected": attention.expected(sound),
        "decided": attention.decided(weights),
        "decided_among": attention.decided(speaking),
        "preference": attention.preference(weights, sound),
        "padding_weight": padding.weight,
        "padding_wins": padding.wins,
        "by_length_utterances": lengths.utterances[0],
        "by_length": lengths.largest,
        "by_length_among": spoken.largest,
    }
    return {"utterances": len(frames)} | {
        name: np.where(np.isnan(value), np.array(None), np.round(value.astype(float), 6)).tolist()
        for name, value in arrays.items()
    }


def markdown(out: Path) -> str:
    """The figures as tables."""
    found = json.loads((out / "attention.json").read_text())
    segments = [f"alpha_{i + 1}" for i in range(len(next(iter(found.values()))["expected"]))]
    largest = [["largest weight, % of utterances", *segments]]
    other = [["", "two largest differ by > 0.5", "the same among sound", "weight on padding", "padding wins"]]
    length = [["largest among sound, by segments that hold sound", "utterances, by folds", *segments]]
    for name, one in found.items():
        largest += [
            [f"{name}, all segments", *map(_per_cent, _columns(one["shares"]))],
            [f"{name}, among sound", *map(_per_cent, _columns(one["among"]))],
            [f"{name}, by chance among sound", *(f"{100 * share:.1f}" for share in one["expected"])],
        ]
        kinds = ("decided", "decided_among", "padding_weight", "padding_wins")
        other.append([name, *(_per_cent(over_runs(np.array(one[kind], float))) for kind in kinds)])
        by = np.array(one["by_length_among"], float)
        for n, count in enumerate(one["by_length_utterances"]):
            if count:
                shares = [_per_cent(over_runs(by[:, n, s])) if s <= n else "" for s in range(by.shape[2])]
                length.append([f"{name}: {n + 1}", f"{count:.0f}", *shares])
    seeds = ", ".join(map(str, sorted({len(one["decided"]) for one in found.values()})))
    return tables.notice(Results(out).synthetic) + "\n\n".join(
        [
            tables.lines(largest),
            tables.lines(other),
            tables.lines(length),
            f"Mono-lingual {TARGET} models, all folds; mean ± sample deviation over n = {seeds} seeds. The "
            "paper, training: alpha_1 31.2 % on IEMOCAP; differing by > 0.5: 73.1 % there, 5 % on RECOLA.",
        ]
    )


def _columns(shares: list[list[float]]) -> list[OverRuns]:
    return [over_runs(column) for column in np.array(shares, float).T]


def _per_cent(seen: OverRuns) -> str:
    if np.isnan(seen.mean):
        return "?"
    return f"{100 * seen.mean:.1f}" + ("" if np.isnan(seen.deviation) else f" ± {100 * seen.deviation:.1f}")


if __name__ == "__main__":
    main(__doc__, "attention_over_time", [MONOLINGUAL], after=analyse, printed=markdown, needed=TARGET)
