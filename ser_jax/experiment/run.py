"""Run an experiment: settings in, results on disk out.

Runs that can share a stack are given to the engine together; a setting's results are stored as soon as its
last run is done, and an interrupted experiment is resumed by the same command.
"""

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from ser_jax import checkpoint, engine, model, shutdown
from ser_jax.arrays import Tree
from ser_jax.data import load
from ser_jax.data.folds import FoldError
from ser_jax.devices import Machine
from ser_jax.engine import RunResult, RunSpec
from ser_jax.errors import Interrupted
from ser_jax.experiment import provenance, results
from ser_jax.experiment.config import Config, describe, digest
from ser_jax.experiment.lock import run_lock
from ser_jax.experiment.pool import Pool
from ser_jax.experiment.resume import UNFINISHED, Checkpointing, Interval, discard
from ser_jax.experiment.settings import ExperimentError, Setting
from ser_jax.runs import Data
from ser_jax.shutdown import Shutdown

DEV_TIMES = 10  # times that development utterances are predicted while a run trains
NAMED = 3  # runs of a setting that are named if they were stopped


class Planned(NamedTuple):
    """A setting with its runs, the cells it yields, and the cells it cannot, with the reason."""

    setting: Setting
    specs: list[RunSpec]
    cells: list[tuple[str, ...]]
    missing: dict[tuple[str, ...], str]


class Experiment(NamedTuple):
    """An experiment in progress: its configuration, its corpora, and what computes it."""

    config: Config
    pool: Pool
    machine: Machine
    hash: str


def run(
    settings: Sequence[Setting],
    config: Config,
    after: Callable[[Experiment], None] | None = None,
    accept_changed_code: bool = False,
) -> None:
    """Train and test every setting whose results `config.out` does not hold yet.

    Cells that cannot be computed, since a test or training part lacks a class for example, are noted with the
    reason. Interrupted settings are resumed. Several hosts must all see the data directory and `config.out`.

    Args:
      settings: what is trained and tested.
      config: of the experiment.
      after: further work on what is stored, while this process still holds the folder.
      accept_changed_code: whether results of changed code are continued.
    Raises: UserError (a subclass) if a corpus is unknown, nothing at all can be computed, or the folder holds
      other results or is in use; Interrupted after Ctrl-C or SIGTERM.
    """
    corpora = [load(name, config.data_dir, config.features) for name in config.corpora]
    if len({corpus.fingerprint for corpus in corpora}) != len(corpora):
        raise ExperimentError(
            f"corpora {' '.join(config.corpora)} hold the same utterances, expected different ones"
        )
    compute = config.compute
    memory = None if compute.memory is None else max(1, int(compute.memory * 1e9))
    machine = Machine.here(compute.devices, memory, compute.runs_at_once, compute.stacking)
    pool = Pool(corpora, config.protocol.folds, machine.place)
    every = plan(settings, pool)
    if not any(one.cells for one in every if one.setting in settings):
        one = [one for one in every if one.setting in settings][-1]
        test, reason = list(one.missing.items())[-1]
        raise ExperimentError(f"{one.setting.name} {'+'.join(test)} {one.setting.task.name}: {reason}")
    wanted = results.protocol(config, pool)
    experiment = Experiment(config, pool, machine, wanted["hash"])
    first = machine.host == 0
    with run_lock(config.out) if first else contextlib.nullcontext():
        if first:
            results.claim(config.out, wanted, accept_changed_code)
            results.check_settings(config.out, [one.setting for one in every])
            _note_missing(config.out, every)
        machine.wait("the folder is claimed")
        _compute_missing(experiment, [one for one in every if one.specs])
        if after is not None and first:
            after(experiment)


def plan(settings: Sequence[Setting], pool: Pool) -> list[Planned]:
    """Plan the runs of all settings, each after the one whose models it starts from."""
    ordered: dict[str, Setting] = {}
    for setting in settings:
        if setting.start is not None:
            ordered.setdefault(setting.start.slug, setting.start)
        ordered.setdefault(setting.slug, setting)
    found: dict[str, Planned] = {}
    for name, setting in ordered.items():
        found[name] = _planned(setting, pool, found)
    return list(found.values())


def _planned(setting: Setting, pool: Pool, before: dict[str, Planned]) -> Planned:
    try:
        if setting.start is not None and not before[setting.start.slug].specs:
            raise ExperimentError(
                f"there is no {setting.start.name} model of {setting.task.name} to start from"
            )
        specs = setting.plan(pool, setting)
        if setting.start is None:  # a few utterances for fine-tuning may all be of one class
            for spec in specs:
                _check_part(pool, setting, spec, "training", spec.train)
    except (ExperimentError, FoldError) as error:
        return Planned(setting, [], [], dict.fromkeys(setting.cells, str(error)))
    cells, missing = [], {}
    for test in setting.cells:
        rows = np.concatenate([pool.rows(name) for name in test])
        try:
            tested = [(spec, np.intersect1d(spec.test, rows)) for spec in specs]
            for spec, own in tested:
                if len(own) or all(not len(other) for _, other in tested):
                    _check_part(pool, setting, spec, f"{'+'.join(test)} test", own)
            cells.append(test)
        except ExperimentError as error:
            missing[test] = str(error)
    return Planned(setting, specs if cells else [], cells, missing)


def _check_part(pool: Pool, setting: Setting, spec: RunSpec, part: str, rows: np.ndarray) -> None:
    """Raise ExperimentError if a part of a run lacks a class, or labels at all."""
    task = setting.task
    if not task.class_names:
        if len(rows) < 2:
            raise ExperimentError(
                f"fold {spec.fold + 1}: {len(rows)} {part} utterances are rated ({task.name}), expected at "
                "least two"
            )
        return
    counts = np.bincount(pool.labels(task)[rows], minlength=task.outputs)
    if not counts.all():
        raise ExperimentError(
            f"fold {spec.fold + 1}: none of the {len(rows)} {part} utterances has {task.name} "
            f"{task.class_names[int(np.argmin(counts))]}, expected all classes"
        )


def _note_missing(out: Path, every: Sequence[Planned]) -> None:
    """Note and print what no table will have, before anybody waits for it; a line for every reason."""
    cells = [(one.setting, test, why) for one in every for test, why in one.missing.items()]
    if cells:
        results.note_missing(
            out,
            [
                {"setting": s.name, "train": s.train, "test": test, "task": s.task.name, "reason": why}
                for s, test, why in cells
            ],
        )
    for reason in dict.fromkeys(why for *_, why in cells):
        named = dict.fromkeys(
            f"{s.name}, {'+'.join(test)} {s.task.name}" for s, test, why in cells if why == reason
        )
        _print(f"Not computed: {'; '.join(named)}: {reason}.")


def _compute_missing(experiment: Experiment, every: list[Planned]) -> None:
    config, _, machine, _ = experiment
    ahead = [one for one in every if not results.is_stored(config.out, one.setting, one.cells)]
    machine.wait("what is missing is known")
    if not ahead:
        print(f"{config.out} holds these results already", file=sys.stderr)
        _discard_checkpoints(experiment, every)
        return
    names = {one.setting.slug for one in ahead}
    steps = sum(len(spec.train) * one.setting.training.epochs for one in ahead for spec in one.specs)
    with (
        results.session(config.out, machine) as computed,
        tqdm(
            total=steps, unit=" utterance-steps", unit_scale=True, smoothing=0.05, mininterval=0.5,
            disable=machine.host != 0,
        ) as progress,
        shutdown.graceful_shutdown(_print, machine.hosts) as stop,
    ):  # fmt: skip
        stored = [one for one in every if one.setting.slug not in names]
        for alike in by_stack(every):
            wanted = [one for one in alike if one.setting.slug in names]
            for one in _computed(experiment, alike, wanted, stop, progress) if wanted else ():
                stored.append(one)
                computed(one.setting.label)
            _discard_checkpoints(experiment, stored)
        if stop.requested is not None:
            raise Interrupted(
                "ended; everything is trained and stored, the same command makes the tables", stop.requested
            )


def by_stack(every: Sequence[Planned]) -> list[list[Planned]]:
    """Group settings whose runs may share a stack: of one network and loss, trained alike on the same."""
    kinds: dict[Hashable, list[Planned]] = {}
    for one in every:
        s = one.setting
        start = None if s.start is None else s.start.name
        kind = s.model, s.training, s.task.loss, s.standardize, s.equalize, s.train, start
        kinds.setdefault(kind, []).append(one)
    return list(kinds.values())


def _computed(
    experiment: Experiment, alike: list[Planned], wanted: list[Planned], stop: Shutdown, progress: tqdm
) -> Iterator[Planned]:
    """Train the runs of settings that share stacks; yield each wanted one once it is stored.

    The runs are stacked as if all settings were wanted, so that each has the same neighbours as without an
    interruption.
    """
    config, pool, machine, _ = experiment
    setting = alike[0].setting
    training = setting.training
    numbers = itertools.count()
    places = {one.setting.slug: [next(numbers) for _ in one.specs] for one in alike}
    specs = [spec for one in alike for spec in _with_params(config.out, one)]
    dev_epochs = sorted({round(i) for i in np.linspace(0, training.epochs, DEV_TIMES + 1)[1:]} - {0})
    computed = engine.compute(
        machine,
        setting.model,
        training,
        pool.data(setting.standardize, setting.equalized),
        specs,
        loss=setting.task.loss,
        dev_epochs=dev_epochs,
        on_epoch=partial(_show, progress),
        checkpointing=_checkpointing(experiment, alike, specs, stop),
        needed={place for one in wanted for place in places[one.setting.slug]},
    )
    found: dict[int, RunResult] = {}
    for one in wanted:
        progress.set_description(one.setting.label)
        own = places[one.setting.slug]
        while not found.keys() >= set(own):
            found |= next(computed)
        if machine.host == 0:
            runs = [found.pop(place) for place in own]
            _name_stopped(one, runs)
            results.store(pool, config.out, one.setting, one.cells, one.specs, runs, dev_epochs)
        machine.wait(f"{one.setting.label} is stored")
        yield one


def _with_params(out: Path, one: Planned) -> list[RunSpec]:
    """Return the runs of a setting, with the parameters that they start from, if they do."""
    start = one.setting.start
    if start is None:
        return one.specs
    seeds = results.read_training(out / "training" / f"{start.slug}.npz").seed.tolist()
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((len(seeds), *leaf.shape), leaf.dtype), model.shapes(start.model)
    )
    params = results.read_params(out, start, like)

    def of(seed: int) -> Tree:
        return jax.tree.map(lambda leaf: leaf[seeds.index(seed)], params)

    return [dataclasses.replace(spec, params=of(spec.seed)) for spec in one.specs]


def _checkpointing(
    experiment: Experiment, alike: list[Planned], specs: Sequence[RunSpec], stop: Shutdown
) -> Checkpointing:
    config, _, machine, protocol_hash = experiment
    setting = alike[0].setting
    params = [spec.params for spec in specs]
    work = {
        "protocol": protocol_hash,
        "runs": [[one.setting.slug, len(one.specs)] for one in alike],
        "settings": digest([one.setting.describe() for one in alike]),
        "training": describe(setting.training),
        "starts from": None if params[0] is None else checkpoint.digest(params),
        "hosts": machine.hosts,
    }
    return Checkpointing(
        checkpoints_folder(config.out, alike) / f"host-{machine.host}",
        work=work,
        environment={"devices": machine.mesh.size, **provenance.describe_environment()},
        interval=Interval(60 * config.compute.save_minutes, config.compute.save_epochs),
        label=", ".join(one.setting.label for one in alike),
        shutdown=stop,
        say=_print,
        enabled=machine.host == 0,
    )


def checkpoints_folder(out: Path, alike: Sequence[Planned]) -> Path:
    """Return where the stacks of settings that share them are saved while they train."""
    names = [one.setting.slug for one in alike]
    others = f"+{len(names) - 1}-{digest(names)[:8]}" if len(names) > 1 else ""
    return out / UNFINISHED / f"{names[0]}{others}"


def _discard_checkpoints(experiment: Experiment, stored: Sequence[Planned]) -> None:
    """Discard the checkpoints of settings whose results are stored."""
    experiment.machine.wait("the results are stored")
    if experiment.machine.host == 0:
        discard(experiment.config.out, {one.setting.slug for one in stored})


def _name_stopped(one: Planned, runs: Sequence[RunResult]) -> None:
    for spec, run in zip(one.specs, runs, strict=True):
        epoch, step = run.stopped.tolist()
        if epoch:
            _print(
                f"{one.setting.label}: fold {spec.fold + 1}, seed {spec.seed} was stopped in epoch {epoch}, "
                f"step {step}: its numbers were not finite any more"
            )


def _show(progress: tqdm, steps: int, before: bool) -> None:
    """Advance the progress bar; steps done before an interruption count, but not in the rate."""
    if progress.disable:
        return
    if before:
        progress.initial += steps
        progress.n += steps
        progress.last_print_n += steps
        progress.refresh()
    else:
        progress.update(steps)


def _print(sentence: str) -> None:
    tqdm.write(sentence, file=sys.stderr)


def stored_data(experiment: Experiment, setting: Setting) -> Data:
    """Return the features of all rows as a setting's runs see them."""
    return experiment.pool.data(setting.standardize, setting.equalized)
