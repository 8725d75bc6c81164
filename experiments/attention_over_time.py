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

import jax
import numpy as np

from experiments import figures, keeping, report, tables
from experiments.harness import Experiment, a_run, data_of
from experiments.main import main
from experiments.monolingual import MONOLINGUAL
from experiments.options import Options
from experiments.plans import ExperimentError, Work, planned
from experiments.predictions import whole
from experiments.results import Results
from ser_jax import attention, checkpoint, engine, model

TARGET = "arousal"
PARTS = ("training", "test")


def analyse(experiment: Experiment) -> None:
    """Asks the stored models where they look, and writes OUT/attention.json, .md, .png and .svg."""
    options, found = experiment.options, {}
    for work in planned([MONOLINGUAL], experiment.pool, options):
        asked = _whole_seeds(options, work)
        if asked:
            for part in PARTS:
                found[f"{work.train}, {part}"] = _corpus(experiment, work, asked, part)
    if not found:
        raise ExperimentError(f"every seed was stopped, expected models of {TARGET} to ask")
    with whole(options.out / "attention.json") as file:
        file.write_text(json.dumps(found, indent=1) + "\n")
    results = Results(options.out)
    with whole(options.out / "attention.md") as file:
        file.write_text(tables.attention(results) + "\n")
    report.draw(options.out / "attention", figures.attention(results, results.attention))


def _whole_seeds(options: Options, work: Work) -> list[int]:
    """Which runs of a job are asked: those of seeds of which none was stopped."""
    kept = keeping.read_training(options.out, work.name)
    stopped = set(kept.seed[(kept.target == TARGET) & (kept.stopped[:, 0] > 0)].tolist())
    return [i for i, plan in enumerate(work.plans) if plan.target == TARGET and plan.seed not in stopped]


def _corpus(experiment: Experiment, work: Work, asked: list[int], part: str) -> dict:
    """One corpus's figures; a run of the analysis is a seed, over the utterances of all its folds."""
    machine, pool, options, _ = experiment
    config = MONOLINGUAL.model(options)
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((len(work.plans), *leaf.shape), leaf.dtype), model.shapes(config)
    )
    params = checkpoint.restore(keeping.models(options.out, work.name), like)
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


if __name__ == "__main__":
    main(
        __doc__,
        "attention_over_time",
        [MONOLINGUAL],
        after=analyse,
        printed=tables.attention,
        needed=TARGET,
        fewest=1,
    )
