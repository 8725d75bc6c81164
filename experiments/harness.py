"""What all experiments share: plans of runs in, predictions on disk out.

A setting names its jobs (which corpora train, which are tested) and plans the runs of each. The harness
trains, as stacks, what is not on disk yet; tables and figures are made from the predictions alone.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

import ser_jax
from experiments import predictions
from experiments.options import ACROSS, COMPUTING, WITHIN, Options
from experiments.pool import Pool
from experiments.predictions import Cell, Predictions
from ser_jax import checkpoint, engine
from ser_jax.data import load, standardize
from ser_jax.data.corpus import TARGETS
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.engine import Machine
from ser_jax.errors import UserError
from ser_jax.model import ModelConfig
from ser_jax.runs import Runs
from ser_jax.train import TrainConfig


class ExperimentError(UserError):
    """An experiment that cannot be computed as asked."""


@dataclasses.dataclass(frozen=True)
class Job:
    """Runs that are trained on the same corpora: `train`, and tested on each of `test`."""

    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """One run to be trained.

    Attributes:
      target, fold, seed: what names it.
      train: int32 rows of the pool that its weights are fitted to.
      test: rows that it is tested on.
      statistics: rows whose statistics standardisation `train` takes.
    """

    target: str
    fold: int
    seed: int
    train: np.ndarray
    test: np.ndarray
    statistics: np.ndarray


@dataclasses.dataclass(frozen=True)
class Setting:
    """One of the paper's settings (Sec. 4).

    Attributes:
      name: as in the tables.
      standardize: the default standardisation.
      jobs: corpora names -> jobs.
      plans: (pool, options, job, target) -> runs.
      start: the setting whose runs, of the same training corpora, target and seed, these start from.
    """

    name: str
    standardize: str
    jobs: Callable[[tuple[str, ...]], list[Job]]
    plans: Callable[[Pool, Options, Job, str], list[Plan]]
    start: "Setting | None" = None


def run(settings: list[Setting], options: Options) -> None:
    """Trains and tests every setting that `options.out` does not hold yet.

    Where several hosts work together, all must see the same data directory and `options.out`.

    Raises: UserError (a subclass) where a corpus is unknown, a class is missing from a fold, or the folder
      holds other results.
    """
    if len(set(options.corpora)) != len(options.corpora):
        raise ExperimentError(f"corpora {' '.join(options.corpora)}, expected different ones")
    corpora = [load(name, options.data_dir) for name in options.corpora]
    if len({corpus.fingerprint for corpus in corpora}) != len(corpora):
        raise ExperimentError(
            f"corpora {' '.join(options.corpora)} hold the same utterances, expected different ones"
        )
    machine = Machine.here(options.devices, options.memory, options.runs_at_once)
    pool = Pool(corpora, options.folds, options.label_rule, functools.partial(engine.place, machine))
    work = [(setting, job) for setting in _with_starts(settings) for job in setting.jobs(options.corpora)]
    planned = [(setting, job, _plans(pool, options, setting, job)) for setting, job in work]
    if machine.host == 0:
        predictions.claim(options.out, _protocol(options, pool))
    machine.wait("the folder is ours")
    missing = [entry for entry in planned if not _is_done(options, *entry[:2])]
    machine.wait("what is missing is known")
    if not missing:
        print(f"{options.out} holds these results already", file=sys.stderr)
        return
    total = sum(
        len(plan.train) * _epochs(options, setting) for setting, _, plans in missing for plan in plans
    )
    with tqdm(
        total=total,
        unit=" utterance-steps",
        unit_scale=True,
        smoothing=0.05,
        mininterval=0.5,
        disable=machine.host != 0,
    ) as progress:
        for setting, job, plans in missing:
            progress.set_description(f"{setting.name} {_label(job)}")
            _compute(machine, pool, options, setting, job, plans, progress)


def _with_starts(settings: Iterable[Setting]) -> list[Setting]:
    """The settings in order, each after the one whose models it starts from."""
    ordered: dict[str, Setting] = {}
    for setting in settings:
        if setting.start is not None:
            ordered.setdefault(setting.start.name, setting.start)
        ordered.setdefault(setting.name, setting)
    return list(ordered.values())


def _label(job: Job) -> str:
    return (
        "+".join(job.train)
        if set(job.train) == set(job.test)
        else f"{'+'.join(job.train)}>{'+'.join(job.test)}"
    )


def _model(options: Options) -> ModelConfig:
    return ModelConfig(precision=options.precision)


def _epochs(options: Options, setting: Setting) -> int:
    return options.epochs if setting.start is None else options.finetune_epochs


def _mode(options: Options, setting: Setting) -> str:
    return options.standardize or setting.standardize


def _models(options: Options, setting: Setting, job: Job) -> Path:
    return options.out / "models" / f"{setting.name}-{'+'.join(job.train)}"


def _cells(options: Options, setting: Setting, job: Job) -> list[Cell]:
    return [Cell(setting.name, corpus, target) for corpus in job.test for target in options.targets]


def _is_done(options: Options, setting: Setting, job: Job) -> bool:
    files = [predictions.file(options.out, cell) for cell in _cells(options, setting, job)]
    return all(file.exists() for file in files) and checkpoint.exists(_models(options, setting, job))


def _protocol(options: Options, pool: Pool) -> dict:
    """What must be the same for two results to be of one experiment."""
    chosen = dataclasses.asdict(options)
    for key in ("data_dir", "out", "precision", *COMPUTING):  # the precision is the model's
        del chosen[key]
    chosen["version"] = ser_jax.__version__
    chosen["model"] = dataclasses.asdict(_model(options))
    chosen["training"] = {"learning_rate": TrainConfig.learning_rate, "batch": TrainConfig.batch}
    facts = ("name", "builder", "synthetic", "left_out", "fingerprint")
    chosen["corpora"] = [{fact: getattr(c, fact) for fact in facts} for c in pool.corpora.values()]
    chosen["standardize_default"] = {"within": WITHIN, "across": ACROSS}
    return chosen


def _plans(pool: Pool, options: Options, setting: Setting, job: Job) -> list[Plan]:
    plans = [plan for target in options.targets for plan in setting.plans(pool, options, job, target)]
    for plan in plans:
        parts = [("training", plan.train)]
        parts += [(f"{name} test", np.intersect1d(plan.test, pool.rows(name))) for name in job.test]
        for part, rows in parts:
            found = np.bincount(pool.labels(plan.target)[rows], minlength=2)
            if not found.all():
                raise ExperimentError(
                    f"{setting.name} {_label(job)}, fold {plan.fold + 1} of {options.folds}: none of the "
                    f"{len(rows)} {part} utterances has {plan.target} "
                    f"{CLASS_NAMES[plan.target][int(np.argmin(found))]}, expected both classes"
                )
    return plans


def _compute(
    machine: Machine,
    pool: Pool,
    options: Options,
    setting: Setting,
    job: Job,
    plans: list[Plan],
    progress: tqdm,
) -> None:
    """Trains a job's runs and stores their models and predictions."""
    mode = _mode(options, setting)
    params, losses, probability = engine.compute(
        machine,
        _model(options),
        TrainConfig(epochs=_epochs(options, setting), stacking=options.stacking),
        pool.data(mode),
        [_run(pool, mode, plan) for plan in plans],
        [plan.test for plan in plans],
        None if setting.start is None else _start_params(options, setting, job, plans),
        progress.update,
    )
    for plan, loss in zip(plans, losses, strict=True):
        _check_finite(plan, loss)
    if machine.host == 0:
        checkpoint.save(_models(options, setting, job), params)
        for cell in _cells(options, setting, job):
            predictions.write(options.out, cell, _gather(pool, cell, plans, probability))
    machine.wait(f"{setting.name} {_label(job)} is stored")


def _run(pool: Pool, mode: str, plan: Plan) -> Runs:
    key = jax.random.fold_in(jax.random.key(plan.seed), TARGETS.index(plan.target))
    seen = plan.statistics if mode == "train" else plan.train
    mean, scale = standardize.affine(mode, pool.moments, pool.membership, seen)
    return Runs(
        key=jax.random.fold_in(key, plan.fold),
        train=plan.train,
        count=np.int32(len(plan.train)),
        labels=pool.labels(plan.target),
        mean=mean,
        scale=scale,
    )


def _start_params(options: Options, setting: Setting, job: Job, plans: list[Plan]):
    """For every plan the parameters of the earlier setting's run of its target and seed."""
    names = [(target, seed) for target in options.targets for seed in range(options.seeds)]
    params = checkpoint.restore(_models(options, setting.start, job), _model(options), len(names))
    rows = np.array([names.index((plan.target, plan.seed)) for plan in plans])
    return jax.tree.map(lambda leaf: leaf[rows], params)


def _check_finite(plan: Plan, losses: np.ndarray) -> None:
    wrong = np.flatnonzero(~np.isfinite(losses))
    if len(wrong):
        raise ExperimentError(
            f"{plan.target}, fold {plan.fold + 1}, seed {plan.seed}: the loss is {losses[wrong[0]]} in epoch "
            f"{wrong[0] + 1}, expected a finite number"
        )


def _gather(pool: Pool, cell: Cell, plans: list[Plan], probability: list[np.ndarray]) -> Predictions:
    """One cell's predictions out of a job's: seeds by test utterances of its corpus, in the pool's order."""
    own = [(plan, said) for plan, said in zip(plans, probability, strict=True) if plan.target == cell.target]
    seeds = sorted({plan.seed for plan, _ in own})
    position = {row: i for i, row in enumerate(pool.rows(cell.corpus))}
    found = np.full((len(seeds), len(position)), np.nan, np.float32)
    fold = np.zeros(len(position), np.int32)
    for plan, said in own:
        for row, value in zip(plan.test, said, strict=True):
            if row in position:
                found[seeds.index(plan.seed), position[row]] = value
                fold[position[row]] = plan.fold
    rows = pool.rows(cell.corpus)
    return Predictions(
        pool.id[rows], pool.speaker[rows], fold, pool.labels(cell.target)[rows], np.array(seeds), found
    )
