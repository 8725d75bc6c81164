"""What an experiment consists of: settings, their jobs, and the runs each job needs.

A setting names its jobs (which corpora train, which are tested) and plans the runs of each. What cannot be
computed is known before anything is trained, by cell and with the reason.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from experiments.options import Options
from experiments.pool import Pool
from experiments.predictions import Cell
from ser_jax.engine import NOBODY
from ser_jax.errors import UserError
from ser_jax.model import ModelConfig


class ExperimentError(UserError):
    """An experiment that cannot be computed as asked."""


class Job(NamedTuple):
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
      dev: rows that it is asked about while it trains, of speakers in neither of the other two.
    """

    target: str
    fold: int
    seed: int
    train: np.ndarray
    test: np.ndarray
    statistics: np.ndarray
    dev: np.ndarray = dataclasses.field(default_factory=lambda: NOBODY)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to train and test.

    Attributes:
      name: as in the tables.
      standardize: the default standardisation.
      jobs: corpora names -> jobs.
      plans: (pool, options, job, target) -> runs.
      start: the setting whose runs, of the same training corpora, target and seed, these start from.
      sizes: what differs from `ModelConfig`'s sizes.
      fixed: whether `standardize` is meant whatever the options say.
      target: the only one it knows; None for those of the options.
    """

    name: str
    standardize: str
    jobs: Callable[[tuple[str, ...]], list[Job]]
    plans: Callable[[Pool, Options, Job, str], list[Plan]]
    start: "Setting | None" = None
    sizes: tuple[tuple[str, int], ...] = ()
    fixed: bool = False
    target: str | None = None

    def targets(self, options: Options) -> tuple[str, ...]:
        """What its runs are trained to tell."""
        return options.targets if self.target is None else (self.target,)

    def mode(self, options: Options) -> str:
        """The standardisation."""
        return self.standardize if self.fixed or options.standardize is None else options.standardize

    def epochs(self, options: Options) -> int:
        """Passes over the training utterances."""
        return options.epochs if self.start is None else options.finetune_epochs

    def model(self, options: Options) -> ModelConfig:
        """The network's sizes."""
        return ModelConfig(precision=options.precision, **dict(self.sizes))


class Work(NamedTuple):
    """A setting on a job, planned.

    Attributes:
      setting, job: which.
      plans: the runs, all of one target together.
      cells: what they yield.
      missing: the cells that cannot be computed, with the reason.
    """

    setting: Setting
    job: Job
    plans: list[Plan]
    cells: list[Cell]
    missing: dict[Cell, str]

    @property
    def train(self) -> str:
        """The corpora that train, in one word."""
        return "+".join(self.job.train)

    @property
    def name(self) -> str:
        """What its models are kept under."""
        return name_of(self.setting, self.job)

    @property
    def label(self) -> str:
        """What is computed, for people to read."""
        apart = not set(self.job.test) & set(self.job.train)
        return f"{self.setting.name} {self.train}" + (f">{'+'.join(self.job.test)}" if apart else "")


def name_of(setting: Setting, job: Job) -> str:
    """What a job's models are kept under."""
    return f"{setting.name}-{'+'.join(job.train)}-{'+'.join(job.test)}"


def planned(settings: Iterable[Setting], pool: Pool, options: Options) -> list[Work]:
    """All jobs of the settings, each after the one whose models it starts from."""
    works: dict[tuple[str, Job], Work] = {}
    for setting in _with_starts(settings):
        for job in setting.jobs(options.corpora):
            works[setting.name, job] = _work(setting, pool, options, job, works)
    return list(works.values())


def _with_starts(settings: Iterable[Setting]) -> list[Setting]:
    """The settings in order, each after the one whose models it starts from."""
    ordered: dict[str, Setting] = {}
    for setting in settings:
        if setting.start is not None:
            ordered.setdefault(setting.start.name, setting.start)
        ordered.setdefault(setting.name, setting)
    return list(ordered.values())


def _cells(setting: Setting, job: Job, target: str) -> list[Cell]:
    train = "+".join(job.train)
    # Of the language spoken a corpus by itself has one class only.
    tested = ["+".join(job.test)] if setting.target is not None else job.test
    return [Cell(setting.name, train, test, target) for test in tested]


def _work(setting: Setting, pool: Pool, options: Options, job: Job, works: dict[Any, Work]) -> Work:
    plans: list[Plan] = []
    found: list[Cell] = []
    missing: dict[Cell, str] = {}
    for target in setting.targets(options):
        own = _cells(setting, job, target)
        try:
            _check_start(setting, job, target, works)
            wanted = setting.plans(pool, options, job, target)
            if setting.start is None:  # a few utterances to refine on may be of one class
                _check(pool, target, [("training", plan, plan.train) for plan in wanted])
        except ExperimentError as error:
            missing |= dict.fromkeys(own, str(error))
            continue
        for cell in own:
            rows = np.concatenate([pool.rows(name) for name in cell.tested])
            try:
                tested = [(f"{cell.test} test", plan, np.intersect1d(plan.test, rows)) for plan in wanted]
                _check(pool, target, tested)
                found.append(cell)
            except ExperimentError as error:
                missing[cell] = str(error)
        if any(cell.target == target for cell in found):
            plans += wanted
    return Work(setting, job, plans, found, missing)


def _check_start(setting: Setting, job: Job, target: str, works: dict[Any, Work]) -> None:
    if setting.start is None:
        return
    before = [w for (name, _), w in works.items() if name == setting.start.name and w.job.train == job.train]
    if not any(plan.target == target for work in before for plan in work.plans):
        raise ExperimentError(f"there is no {setting.start.name} model of {target} to start from")


def _check(pool: Pool, target: str, parts: list[tuple[str, Plan, np.ndarray]]) -> None:
    """Raises: ExperimentError where a class is missing."""
    for name, plan, rows in parts:
        members = np.bincount(pool.labels(target)[rows], minlength=2)
        if not members.all():
            raise ExperimentError(
                f"fold {plan.fold + 1}: none of the {len(rows)} {name} utterances has {target} "
                f"{pool.classes(target)[int(np.argmin(members))]}, expected both classes"
            )
