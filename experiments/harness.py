"""What all experiments share: plans of runs in, predictions on disk out.

Runs that can share a stack are given to the engine together; what a job yields is stored as soon as its last
run is done. Tables and figures are made from what is on disk alone.
"""

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments import keeping, predictions, protocol
from experiments.options import Options
from experiments.plans import ExperimentError, Job, Plan, Setting, Work, name_of, planned
from experiments.pool import Pool
from ser_jax import checkpoint, engine, model, runs
from ser_jax.arrays import Tree
from ser_jax.data import load, standardize
from ser_jax.data.corpus import TARGETS
from ser_jax.devices import Machine
from ser_jax.engine import Asked
from ser_jax.errors import Interrupted
from ser_jax.experiment import provenance, resume
from ser_jax.experiment.lock import run_lock
from ser_jax.experiment.resume import Checkpointing, Interval
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, Runs
from ser_jax.shutdown import Shutdown, graceful_shutdown
from ser_jax.train import TrainConfig

WATCHED = 10  # times that development speakers are asked about while a run trains


class Experiment(NamedTuple):
    """What was asked for, and what computes it; `protocol` is the hash of `protocol.of`."""

    machine: Machine
    pool: Pool
    options: Options
    protocol: str


def run(settings: list[Setting], options: Options, after: Callable[[Experiment], None] | None = None) -> None:
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
    with run_lock(options.out) if machine.host == 0 else contextlib.nullcontext():
        if machine.host == 0:
            protocol.claim(options.out, wanted)
            predictions.sweep(options.out)
            keeping.note_missing(options.out, missing)
            _say_missing(missing)
        machine.wait("the folder is ours")
        experiment = Experiment(machine, pool, options, wanted["hash"])
        _compute_missing(experiment, [work for work in works if work.plans])
        if after is not None and machine.host == 0:
            after(experiment)


def _say_missing(missing: dict[predictions.Cell, str]) -> None:
    """Names what no table will have before anybody waits for it; a line for every reason."""
    for reason in dict.fromkeys(missing.values()):
        cells = [cell for cell, why in missing.items() if why == reason]
        named = "; ".join(dict.fromkeys(f"{cell.setting}, {cell.test} {cell.target}" for cell in cells))
        _say(f"Not computed: {named}: {reason}.")


def _show(progress: tqdm, steps: int, before: bool) -> None:
    """Utterance-steps as progress; those done before count, but not in the rate."""
    if progress.disable:
        return
    if before:
        progress.initial += steps
        progress.n += steps
        progress.last_print_n += steps
        progress.refresh()
    else:
        progress.update(steps)


def _say(sentence: str) -> None:
    tqdm.write(sentence, file=sys.stderr)


def _compute_missing(experiment: Experiment, works: list[Work]) -> None:
    machine, _, options, _ = experiment
    ahead = [work for work in works if not keeping.is_done(options.out, work)]
    machine.wait("what is missing is known")
    if not ahead:
        print(f"{options.out} holds these results already", file=sys.stderr)
        _forget(experiment, works)
        return
    total = sum(len(plan.train) * work.setting.epochs(options) for work in ahead for plan in work.plans)
    with (
        protocol.timed(options.out, machine) as note,
        tqdm(
            total=total,
            unit=" utterance-steps",
            unit_scale=True,
            smoothing=0.05,
            mininterval=0.5,
            disable=machine.host != 0,
        ) as progress,
        graceful_shutdown(_say, machine.hosts) as stop,
    ):
        stored = [work for work in works if not _among(ahead, work)]
        for alike in _by_kind(options, works):
            wanted = [work for work in alike if _among(ahead, work)]
            if wanted:
                for work in _computed(experiment, alike, wanted, stop, progress):
                    stored.append(work)
                    note(work.label)
            _forget(experiment, stored)
        if stop.requested is not None:
            raise Interrupted(
                "ended; all is trained and stored, the same command makes the tables", stop.requested
            )


def _among(works: list[Work], work: Work) -> bool:
    return any(work is one for one in works)  # their arrays have no one truth


def _forget(experiment: Experiment, stored: list[Work]) -> None:
    """Discards what is unfinished of works whose results are stored."""
    experiment.machine.wait("the results are stored")
    if experiment.machine.host == 0:
        resume.discard(experiment.options.out, {work.name for work in stored})


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


def _computed(
    experiment: Experiment, works: list[Work], wanted: list[Work], stop: Shutdown, progress: tqdm
) -> Iterator[Work]:
    """Trains the runs of works that share stacks, stores each that is wanted when its last run is done, and
    yields it.

    They are divided into stacks as if all were wanted: so every run has the neighbours it would have had
    without an interruption.
    """
    machine, pool, options, _ = experiment
    setting, job = works[0].setting, works[0].job
    mode, config = setting.mode(options), setting.model(options)
    training = TrainConfig(epochs=setting.epochs(options), stacking=options.stacking)
    plans = [plan for work in works for plan in work.plans]
    numbers = iter(range(len(plans)))
    places = {work.name: list(itertools.islice(numbers, len(work.plans))) for work in works}
    start = None if setting.start is None else _start_params(options, works[0], plans)
    watch = sorted({round(i) for i in np.linspace(0, training.epochs, WATCHED + 1)[1:]} - {0})
    computed = engine.compute(
        machine,
        config,
        training,
        data_of(pool, mode, job),
        [Asked(a_run(pool, mode, job, plan), plan.test, plan.dev) for plan in plans],
        start,
        partial(_show, progress),
        watch,
        _kept(experiment, works, config, training, start, stop),
        {place for work in wanted for place in places[work.name]},
    )
    pieces: dict[int, keeping.Piece] = {}
    for work in wanted:
        progress.set_description(work.label)
        while not pieces.keys() >= set(places[work.name]):
            pieces |= keeping.pieces(next(computed))
        if machine.host == 0:
            _name_stops(work, [pieces[place] for place in places[work.name]])
            keeping.store(pool, options.out, work, [pieces.pop(place) for place in places[work.name]], watch)
        machine.wait(f"{work.label} is stored")
        yield work


def _kept(
    experiment: Experiment,
    works: list[Work],
    config: ModelConfig,
    training: TrainConfig,
    start: Tree,
    stop: Shutdown,
) -> Checkpointing:
    machine, _, options, protocol_hash = experiment
    what = {
        "protocol": protocol_hash,
        "runs": [[work.name, len(work.plans)] for work in works],
        "standardisation": works[0].setting.mode(options),
        "model": dataclasses.asdict(config),
        "training": dataclasses.asdict(training),
        "begins with": None if start is None else checkpoint.digest(start),
        "hosts": machine.hosts,
    }
    by = {"devices": machine.mesh.size, **provenance.describe_environment()}
    interval = Interval(60 * options.save_minutes, options.save_epochs)
    label = ", ".join(work.label for work in works)
    folder = _unfinished(options, works) / f"host-{machine.host}"
    return Checkpointing(folder, what, by, interval, label, stop, _say, enabled=machine.host == 0)


def _name_stops(work: Work, pieces: list[keeping.Piece]) -> None:
    for plan, piece in zip(work.plans, pieces, strict=True):
        epoch, step = piece.stopped.tolist()
        if epoch:
            _say(
                f"{work.label}: {plan.target}, fold {plan.fold + 1}, seed {plan.seed} was stopped in epoch "
                f"{epoch}, step {step}, where its numbers were not finite any more"
            )


def data_of(pool: Pool, mode: str, job: Job) -> Data:
    """All rows, as the runs of a job hear them."""
    features = pool.features(mode, job.train)
    return Data(features.logmel, features.frames, standardize.grouping(mode, pool.membership))


def a_run(pool: Pool, mode: str, job: Job, plan: Plan) -> Runs:
    """A planned run, as it is computed under standardisation `mode`."""
    number = TARGETS.index(plan.target) if plan.target in TARGETS else len(TARGETS)
    seen = plan.statistics if mode in ("train", "histogram") else plan.train
    mean, scale = standardize.affine(mode, pool.features(mode, job.train).moments, pool.membership, seen)
    return Runs(
        key=runs.key(plan.seed, number, plan.fold),
        train=plan.train,
        count=np.int32(len(plan.train)),
        labels=pool.labels(plan.target),
        mean=mean,
        scale=scale,
    )


def _start_params(options: Options, work: Work, plans: list[Plan]) -> Tree:
    """For every plan the parameters of the earlier setting's run of its target and seed."""
    begin = work.setting.start
    assert begin is not None  # whoever starts from nothing does not ask
    [job] = [job for job in begin.jobs(options.corpora) if job.train == work.job.train]
    start = name_of(begin, job)
    before = keeping.read_training(options.out, start)
    names = list(zip(before.target.tolist(), before.seed.tolist(), strict=True))
    like = model.shapes(work.setting.model(options))
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(names), *leaf.shape), leaf.dtype), like)
    params = checkpoint.restore(keeping.models(options.out, start), like)
    rows = np.array([names.index((plan.target, plan.seed)) for plan in plans])
    return jax.tree.map(lambda leaf: leaf[rows], params)
