"""Run an experiment: settings in, results on disk out.

Runs that can share a stack are given to the engine together; a setting's results are stored as soon as its
last run is done, and an interrupted experiment is resumed by the same command.
"""

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from ser_jax import engine
from ser_jax.checkpoint import Checkpointing
from ser_jax.data import load
from ser_jax.data.corpus import Corpus, first_seconds, of_dialogue
from ser_jax.data.folds import FoldError
from ser_jax.data.onset import trim
from ser_jax.devices import Machine
from ser_jax.engine import RunResult, RunSpec
from ser_jax.errors import Interrupted
from ser_jax.experiment import provenance, results
from ser_jax.experiment.config import Config, ProtocolConfig, digest
from ser_jax.experiment.settings import Cell, ExperimentError, Pool, Setting
from ser_jax.metrics import labelled
from ser_jax.shutdown import graceful_shutdown
from ser_jax.tasks import Task

UNFINISHED = "unfinished"  # folder of checkpoints in a results folder
DEV_TIMES = 10  # times that development utterances are predicted while a run trains

Specs = dict[Setting, list[RunSpec]]  # the runs of every setting that yields a cell
Missing = dict[tuple[Setting, Cell], str]  # why there is no cell


def run(
    settings: Sequence[Setting],
    config: Config,
    after: Callable[[Config, Pool, Machine], Any] = lambda *_: None,
    accept_changed_code: bool = False,
) -> Any:
    """Train and test every setting whose results `config.out` does not hold yet.

    Cells that cannot be computed, for example because a test or training set lacks a class, are recorded with
    the reason. Interrupted settings are resumed. All hosts must see the data directory and `config.out`.
    `after` is called on the first host while the folder is still locked.

    Returns: what `after` returns; None on other hosts.
    Raises: UserError (a subclass) if a corpus is unknown, nothing at all can be computed, or the folder holds
      other results or is in use; Interrupted after Ctrl-C or SIGTERM.
    """
    if not settings:
        found = f"no setting for corpora {' '.join(config.corpora)}"
        raise ExperimentError(f"{found}, expected two of different languages of known families")
    corpora = [load(name, config.data_dir, config.features) for name in config.corpora]
    if len({corpus.fingerprint for corpus in corpora}) != len(corpora):
        raise ExperimentError(
            f"corpora {' '.join(config.corpora)} hold the same utterances, expected different ones"
        )
    compute = config.compute
    memory = None if compute.memory is None else max(1, int(compute.memory * 1e9))
    options = {"runs_at_once": compute.runs_at_once, "stacking": compute.stacking}
    machine = Machine.here(compute.devices, memory, **options)
    pool = Pool([_used(corpus, config.protocol) for corpus in corpora], config.protocol, machine.place)
    specs, missing = plan(settings, pool)
    if not any(setting in specs for setting in settings):
        setting, cell = next(key for key in reversed(missing) if key[0] in settings)
        raise ExperimentError(f"{setting.name} {_cell_name(cell)}: {missing[setting, cell]}")
    protocol = results.protocol(config, pool)
    first = machine.host == 0
    with results.run_lock(config.out) if first else contextlib.nullcontext():
        if first:
            results.claim(config.out, protocol, specs, accept_changed_code)
            _note_missing(config.out, missing)
        machine.wait("the folder is claimed")
        _compute_missing(config, pool, machine, digest(results.without_code(protocol)), specs, missing)
        return after(config, pool, machine) if first else None


def _used(corpus: Corpus, protocol: ProtocolConfig) -> Corpus:
    """Return the part of a corpus that an experiment uses."""
    if protocol.dialogue is not None:
        corpus = of_dialogue(corpus, protocol.dialogue)
    if protocol.trim is not None:
        corpus = trim(corpus, protocol.trim)
    return corpus if protocol.seconds is None else first_seconds(corpus, protocol.seconds)


def plan(settings: Sequence[Setting], pool: Pool) -> tuple[Specs, Missing]:
    """Plan the runs of all settings, each after the one whose models it starts from.

    Raises: ExperimentError if two settings have the same name and corpora.
    """
    ordered: dict[str, Setting] = {}
    for setting in settings:
        for one in (setting,) if setting.start is None else (setting.start, setting):
            if ordered.setdefault(one.slug, one) != one:
                raise ExperimentError(f"two settings are called {one.label}, expected different names")
    specs: Specs = {}
    missing: Missing = {}
    for setting in ordered.values():
        start = setting.start
        try:
            if start is not None and start not in specs:
                raise ExperimentError(f"there is no {start.name} model of {start.task.name} to start from")
            planned = setting.plan(pool, setting)
            for spec in planned:
                if both := len(np.intersect1d(spec.train, spec.test)):
                    found = f"fold {spec.fold + 1}: {both} utterances are in both training and test"
                    raise ExperimentError(f"{found}, expected none")
            if setting.equalize and (shared := sorted({*setting.train} & {*setting.test})):
                found = f"equalized histograms of {', '.join(shared)}, which it trains on and tests"
                raise ExperimentError(f"{found}, expected to test other corpora than it trains on")
        except (ExperimentError, FoldError) as error:
            missing |= dict.fromkeys(((setting, cell) for cell in setting.cells), str(error))
            continue
        for cell in setting.cells:
            try:
                _check_cell(setting, pool, planned, cell)
                specs[setting] = planned
            except ExperimentError as error:
                missing[setting, cell] = str(error)
    return specs, missing


def _cell_name(cell: Cell) -> str:
    test, task = cell
    return f"{'+'.join(test)} {task.name}"


def _check_cell(setting: Setting, pool: Pool, planned: list[RunSpec], cell: Cell) -> None:
    """Raise ExperimentError if the training or the tested corpora do not suffice for a cell."""
    test, task = cell
    if setting.start is None:  # a few utterances for fine-tuning may all be of one class
        for spec in planned:
            _check_part(pool, task, spec.fold, "training", spec.train)
    rows = np.concatenate([pool.rows(name) for name in test])
    foreign = set(test) - {pool.names[i] for i in np.unique(pool.corpus[planned[0].train])}
    groups = {name: len(np.unique(pool.membership.fold[pool.rows(name)])) for name in foreign}
    if (setting.standardize == "corpus" or setting.equalize) and 1 in groups.values():
        raise ExperimentError(
            f"{'+'.join(test)} has a single session, expected two or more for statistics or histograms of "
            "other speakers"
        )
    tested = [(spec.fold, np.intersect1d(spec.test, rows)) for spec in planned]
    anywhere = any(len(own) for _, own in tested)
    for fold, own in tested:  # a corpus of fewer folds is not in every test
        if len(own) or not anywhere:
            _check_part(pool, task, fold, f"{'+'.join(test)} test", own)


def _check_part(pool: Pool, task: Task, fold: int, part: str, rows: np.ndarray) -> None:
    """Raise ExperimentError if a part of a run lacks a class of a task, or labels at all."""
    classes, labels = task.class_names, pool.labels(task)
    rows = rows[labelled(labels[rows])]
    if len(rows) < (1 if classes else 2):
        wanted = "all classes" if classes else "at least two"
        raise ExperimentError(
            f"fold {fold + 1}: {len(rows)} {part} utterances have {task.name}, expected {wanted}"
        )
    if classes and not (counts := np.bincount(labels[rows], minlength=task.outputs)).all():
        raise ExperimentError(
            f"fold {fold + 1}: none of the {len(rows)} {part} utterances has {task.name} "
            f"{classes[int(np.argmin(counts))]}, expected all classes"
        )


def _note_missing(out: Path, missing: Missing) -> None:
    """Record and print the cells that cannot be computed, before training; one line per reason."""
    each = [
        {"setting": s.name, "train": s.train, "test": test, "task": task.name, "reason": why}
        for (s, (test, task)), why in missing.items()
    ]
    results.note_missing(out, each)
    for reason in dict.fromkeys(missing.values()):
        named = dict.fromkeys(
            f"{s.name}, {_cell_name(cell)}" for (s, cell), why in missing.items() if why == reason
        )
        _print(f"Not computed: {'; '.join(named)}: {reason}.")


def _compute_missing(
    config: Config, pool: Pool, machine: Machine, protocol: str, specs: Specs, missing: Missing
) -> None:
    """Train and store every setting that is not stored yet."""
    out = config.out
    cells = {one: [cell for cell in one.cells if (one, cell) not in missing] for one in specs}
    stored = {one for one in specs if results.is_stored(out, one, cells[one])}
    machine.wait("what is missing is known")
    if len(stored) == len(specs):
        print(f"{out} holds these results already", file=sys.stderr)
        _discard(machine, out / UNFINISHED)
        return
    steps = sum(len(spec.train) * s.training.epochs for s in specs if s not in stored for spec in specs[s])
    with (
        results.session(out, machine) as computed,
        tqdm(
            total=steps, unit=" utterance-steps", unit_scale=True, smoothing=0.05, mininterval=0.5,
            disable=machine.host != 0,
        ) as progress,
        graceful_shutdown(_print) as signals,
    ):  # fmt: skip
        for group in by_stack(specs):
            ahead, first = [one for one in group if one not in stored], group[0]
            if not ahead:
                continue
            # The runs are stacked as if none were stored, so that each has the same neighbours as without an
            # interruption.
            own = {one: _with_params(out, one, specs[one]) for one in group}
            numbers = iter(range(sum(map(len, own.values()))))
            places = {one: [next(numbers) for _ in own[one]] for one in group}
            checkpointing = _checkpointing(config, machine, protocol, own, signals)
            trained = engine.compute(
                machine,
                first.model,
                first.training,
                pool.data(first.standardize, first.equalized),
                [spec for one in group for spec in own[one]],
                loss=first.task.loss,
                dev_epochs=dev_epochs(first),
                on_epoch=progress.update,
                checkpointing=checkpointing,
                needed={place for one in ahead for place in places[one]},
            )
            found: dict[int, RunResult] = {}
            for setting in ahead:
                progress.set_description(setting.label)
                while not found.keys() >= set(places[setting]):
                    found |= next(trained)
                each = [found.pop(place) for place in places[setting]]
                if machine.host == 0:
                    _name_stopped(setting, specs[setting], each)
                    results.store(
                        pool, out, setting, cells[setting], specs[setting], each, dev_epochs(setting)
                    )
                machine.wait(f"{setting.label} is stored")
                computed(setting.label)
            _discard(machine, checkpointing.folder.parent)
        _discard(machine, out / UNFINISHED)
        if signals:
            sentence = "ended; everything is trained and stored; run the same command to write the tables"
            raise Interrupted(sentence, signals[0])


def by_stack(settings: Iterable[Setting]) -> list[list[Setting]]:
    """Group settings whose runs may share a stack: of one network and loss, trained alike on the same."""

    def kind(s: Setting) -> Hashable:
        start = None if s.start is None else kind(s.start)
        return s.plan, s.model, s.training, s.task.loss, s.standardize, s.equalize, s.train, start

    kinds: dict[Hashable, list[Setting]] = {}
    for one in settings:
        kinds.setdefault(kind(one), []).append(one)
    return list(kinds.values())


def dev_epochs(setting: Setting) -> list[int]:
    """Return the epochs after which development utterances are predicted."""
    return sorted({round(i) for i in np.linspace(0, setting.training.epochs, DEV_TIMES + 1)[1:]} - {0})


def _with_params(out: Path, setting: Setting, specs: list[RunSpec]) -> list[RunSpec]:
    """Return the runs of a setting, with the parameters that they start from, if they do."""
    start = setting.start
    if start is None:
        return specs
    seeds = results.read_training(out / "training" / f"{start.slug}.npz").seed.tolist()
    params = results.read_params(out, start, len(seeds))
    each = [jax.tree.map(lambda leaf: leaf[seeds.index(spec.seed)], params) for spec in specs]  # noqa: B023
    return [dataclasses.replace(spec, params=own) for spec, own in zip(specs, each, strict=True)]


def _checkpointing(
    config: Config, machine: Machine, protocol: str, specs: Specs, signals: list[int]
) -> Checkpointing:
    """Return the checkpoints of settings that share stacks: a folder of them, with one of this host in it."""
    first, *others = specs
    settings = [results.without_code(one.describe()) for one in specs]
    work = {"protocol": protocol, "settings": settings, "hosts": machine.hosts}
    more = f"+{len(others)}" if others else ""
    folder = config.out / UNFINISHED / f"{first.slug}{more}-{digest(work)[:8]}"
    environment = {"devices": machine.mesh.size, "stacking": machine.stacking}
    return Checkpointing(
        folder / f"host-{machine.host}",
        environment=environment | provenance.describe_environment(),
        epochs=first.training.epochs,
        interval=(60 * config.compute.save_minutes, config.compute.save_epochs),
        label=", ".join(one.label for one in specs),
        signals=signals,
        say=_print,
        enabled=machine.host == 0,
    )


def _discard(machine: Machine, folder: Path) -> None:
    """Delete checkpoints whose results are stored."""
    machine.wait("the results are stored")
    if machine.host == 0:
        shutil.rmtree(folder, ignore_errors=True)


def _name_stopped(setting: Setting, specs: Sequence[RunSpec], found: Sequence[RunResult]) -> None:
    for spec, one in zip(specs, found, strict=True):
        epoch, step = one.stopped.tolist()
        if epoch:
            _print(
                f"{setting.label}: fold {spec.fold + 1}, seed {spec.seed} was stopped in epoch {epoch}, "
                f"step {step}: its loss or weights became non-finite"
            )


def _print(sentence: str) -> None:
    tqdm.write(sentence, file=sys.stderr)
