"""What all experiments share: plans of runs in, predictions on disk out.

Runs that can share a stack are given to the engine together; what a job yields is stored as soon as its last
run is done. Tables and figures are made from what is on disk alone.
"""

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments import environment, keeping, predictions, protocol, unfinished
from experiments.occupied import occupied
from experiments.options import Options
from experiments.plans import ExperimentError, Job, Plan, Setting, Work, planned
from experiments.pool import Pool
from experiments.predictions import Cell, Predictions
from experiments.stopping import Stop, stopping
from experiments.unfinished import Often, Unfinished
from ser_jax import checkpoint, engine
from ser_jax.data import load, standardize
from ser_jax.data.corpus import TARGETS
from ser_jax.engine import Asked, Done
from ser_jax.errors import Interrupted
from ser_jax.machine import Machine
from ser_jax.runs import Data, Runs
from ser_jax.train import TrainConfig

WATCHED = 10  # times that development speakers are asked about while a run trains


def run(settings: list[Setting], options: Options, after: Callable[[], None] | None = None) -> None:
    """Trains and tests every setting that `options.out` does not hold yet.

    What cannot be computed, a cell whose test or training part lacks a class, say, is noted with its reason.
    What was begun is taken up where it was saved. Where several hosts work together, all must see the same
    data directory and `options.out`.

    Args:
      settings: what is trained.
      options: how.
      after: work on what is stored, while the folder is still ours.
    Raises: UserError (a subclass) where a corpus is unknown or cannot be divided, nothing at all can be
      computed, or the folder holds other results or is in use; Interrupted after Ctrl-C or SIGTERM.
    """
    if len(set(options.corpora)) != len(options.corpora):
        raise ExperimentError(f"corpora {' '.join(options.corpora)}, expected different ones")
    corpora = [load(name, options.data_dir) for name in options.corpora]
    if len({corpus.fingerprint for corpus in corpora}) != len(corpora):
        raise ExperimentError(
            f"corpora {' '.join(options.corpora)} hold the same utterances, expected different ones"
        )
    machine = Machine.here(options.devices, options.memory, options.runs_at_once)
    pool = Pool(corpora, options.folds, options.label_rule, machine.place)
    works = planned(settings, pool, options)
    missing = {cell: reason for work in works for cell, reason in work.missing.items()}
    if not any(work.cells for work in works if work.setting in settings):
        cell, reason = list(missing.items())[-1]
        raise ExperimentError(f"{cell.setting} {cell.test} {cell.target}: {reason}")
    wanted = protocol.of(options, pool)
    with occupied(options.out) if machine.host == 0 else contextlib.nullcontext():
        if machine.host == 0:
            protocol.claim(options.out, wanted)
            keeping.note_missing(options.out, missing)
        machine.wait("the folder is ours")
        _compute_missing(machine, pool, options, [work for work in works if work.plans], wanted["hash"])
        if after is not None and machine.host == 0:
            after()


def _say(sentence: str) -> None:
    tqdm.write(sentence, file=sys.stderr)


def _compute_missing(machine: Machine, pool: Pool, options: Options, works: list[Work], protocol_hash: str):
    ahead = [work for work in works if not keeping.is_done(options.out, work)]
    machine.wait("what is missing is known")
    if not ahead:
        print(f"{options.out} holds these results already", file=sys.stderr)
        return
    total = sum(len(plan.train) * work.setting.epochs(options) for work in ahead for plan in work.plans)
    with (
        protocol.timed(options.out, [work.label for work in ahead], machine),
        tqdm(
            total=total,
            unit=" utterance-steps",
            unit_scale=True,
            smoothing=0.05,
            mininterval=0.5,
            disable=machine.host != 0,
        ) as progress,
        stopping(_say) as stop,
    ):
        for alike in _by_kind(options, works):
            if any(work in ahead for work in alike):
                _compute(machine, pool, options, alike, ahead, protocol_hash, stop, progress)
            machine.wait(f"all of {alike[0].name} is stored")
            if machine.host == 0:
                unfinished.discard(_unfinished(options, alike))
        if stop.asked is not None:
            raise Interrupted(
                "ended; all is trained and stored, the same command makes the tables", stop.asked
            )


def _by_kind(options: Options, works: list[Work]) -> list[list[Work]]:
    """Works whose runs may share a stack: of one network, trained alike from the same on the same corpora."""
    kinds: dict[Hashable, list[Work]] = {}
    for work in works:
        setting = work.setting
        began = None if setting.start is None else setting.start.name
        kind = setting.model(options), setting.epochs(options), setting.mode(options), began, work.job.train
        kinds.setdefault(kind, []).append(work)
    return list(kinds.values())


def _unfinished(options: Options, works: list[Work]) -> Path:
    """Where the stacks of works that share them are kept while they train."""
    names = [work.name for work in works]
    others = f"+{len(names) - 1}-{protocol.sha256(names)[:8]}" if len(names) > 1 else ""
    return options.out / "unfinished" / f"{names[0]}{others}"


def _compute(
    machine: Machine,
    pool: Pool,
    options: Options,
    works: list[Work],
    ahead: list[Work],
    protocol_hash: str,
    stop: Stop,
    progress: tqdm,
) -> None:
    """Trains the runs of works that share stacks, and stores each work when its last run is done.

    They are divided into stacks as if all were still ahead: so every run has the neighbours it would have had
    without an interruption.
    """
    setting, job = works[0].setting, works[0].job
    mode, config = setting.mode(options), setting.model(options)
    training = TrainConfig(epochs=setting.epochs(options), stacking=options.stacking)
    plans = [plan for work in works for plan in work.plans]
    numbers = iter(range(len(plans)))
    places = {work.name: list(itertools.islice(numbers, len(work.plans))) for work in works}
    wanted = [work for work in works if work in ahead]
    start = None if setting.start is None else _start_params(options, works[0], plans)
    watch = sorted({round(i) for i in np.linspace(0, training.epochs, WATCHED + 1)[1:]} - {0})
    what = {
        "protocol": protocol_hash,
        "runs": [[work.name, len(work.plans)] for work in works],
        "standardisation": mode,
        "model": dataclasses.asdict(config),
        "training": dataclasses.asdict(training),
        "begins with": None if start is None else checkpoint.digest(start),
        "hosts": machine.hosts,
    }
    keep = Unfinished(
        _unfinished(options, works) / f"host-{machine.host}",
        what,
        {"devices": machine.mesh.size, **environment.described()},
        Often(60 * options.save_minutes, options.save_epochs),
        stop,
        _say,
    )
    computed = engine.compute(
        machine,
        config,
        training,
        data_of(pool, mode, job),
        [Asked(a_run(pool, mode, job, plan), plan.test, plan.dev) for plan in plans],
        start,
        progress.update,
        watch,
        keep,
        {place for work in wanted for place in places[work.name]},
    )
    pieces: dict[int, _Piece] = {}
    for work in wanted:
        progress.set_description(work.label)
        while not pieces.keys() >= set(places[work.name]):
            pieces |= _pieces(next(computed))
        if machine.host == 0:
            _store(pool, options, work, [pieces.pop(place) for place in places[work.name]], watch)
        machine.wait(f"{work.label} is stored")


class _Piece(NamedTuple):
    """A run's part of an `engine.Done`."""

    params: dict
    losses: np.ndarray
    said: np.ndarray
    watched: np.ndarray
    stopped: np.ndarray


def _pieces(done: Done) -> dict[int, _Piece]:
    """The results of a stack by run."""
    return {
        run: _Piece(
            jax.tree.map(lambda leaf: leaf[place], done.params),  # noqa: B023
            done.losses[place],
            done.said[place],
            done.watched[place],
            done.stopped[place],
        )
        for place, run in enumerate(done.runs)
    }


def _store(pool: Pool, options: Options, work: Work, pieces: list[_Piece], watch: list[int]) -> None:
    """The models first, the predictions last: where these are, all is."""
    params, losses, said, watched, stopped = zip(*pieces, strict=True)
    for plan, (epoch, step) in zip(work.plans, stopped, strict=True):
        if epoch:
            _say(
                f"{work.label}: {plan.target}, fold {plan.fold + 1}, seed {plan.seed} was stopped in epoch "
                f"{epoch}, step {step}, where its numbers were not finite any more"
            )
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
    checkpoint.save(keeping.models(options.out, work.name), stacked)
    dev = [pool.labels(plan.target)[plan.dev] for plan in work.plans]
    asked = list(zip(dev, watched, strict=True))
    keeping.write_training(options.out, work, np.stack(losses), watch, asked, np.stack(stopped))
    for cell in work.cells:
        predictions.write(options.out, cell, gathered(pool, cell, work.plans, list(said)))


def data_of(pool: Pool, mode: str, job: Job) -> Data:
    """All rows, as the runs of a job hear them."""
    features = pool.features(mode, job.train)
    return Data(features.logmel, features.frames, standardize.grouping(mode, pool.membership))


def a_run(pool: Pool, mode: str, job: Job, plan: Plan) -> Runs:
    """A planned run, as it is computed under standardisation `mode`."""
    number = TARGETS.index(plan.target) if plan.target in TARGETS else len(TARGETS)
    key = jax.random.fold_in(jax.random.key(plan.seed), number)
    seen = plan.statistics if mode in ("train", "histogram") else plan.train
    mean, scale = standardize.affine(mode, pool.features(mode, job.train).moments, pool.membership, seen)
    return Runs(
        key=jax.random.fold_in(key, plan.fold),
        train=plan.train,
        count=np.int32(len(plan.train)),
        labels=pool.labels(plan.target),
        mean=mean,
        scale=scale,
    )


def _start_params(options: Options, work: Work, plans: list[Plan]):
    """For every plan the parameters of the earlier setting's run of its target and seed."""
    [job] = [job for job in work.setting.start.jobs(options.corpora) if job.train == work.job.train]
    start = Work(work.setting.start, job, [], [], {}).name
    before = keeping.read_training(options.out, start)
    names = list(zip(before.target.tolist(), before.seed.tolist(), strict=True))
    params = checkpoint.restore(keeping.models(options.out, start), work.setting.model(options), len(names))
    rows = np.array([names.index((plan.target, plan.seed)) for plan in plans])
    return jax.tree.map(lambda leaf: leaf[rows], params)


def gathered(pool: Pool, cell: Cell, plans: list[Plan], probability: list[np.ndarray]) -> Predictions:
    """One cell's predictions out of a job's: seeds by the utterances tested, in the pool's order."""
    own = [(plan, said) for plan, said in zip(plans, probability, strict=True) if plan.target == cell.target]
    seeds = sorted({plan.seed for plan, _ in own})
    tested = np.unique(np.concatenate([plan.test for plan, _ in own]))
    rows = np.intersect1d(np.concatenate([pool.rows(name) for name in cell.test.split("+")]), tested)
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
