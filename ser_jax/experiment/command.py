"""Parse the command line of an experiment: tyro makes a flag of every field of the configuration."""

import dataclasses
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import jax
import tyro
from tyro.conf import arg

from ser_jax import shutdown
from ser_jax.experiment.config import KINDS, REGISTRY, Config, ConfigError, choose, rebuild
from ser_jax.experiment.settings import Setting, baselines
from ser_jax.tasks import Task

SHORT = {
    "--seeds": "--protocol.seeds", "--folds": "--protocol.folds", "--epochs": "--train.epochs",
    "--finetune-samples": "--protocol.finetune-samples",
    "--finetune-epochs": "--protocol.finetune-epochs", "--precision": "--model.precision",
    "--adapted": "--protocol.adapted", "--baselines": "--protocol.baselines",
}  # fmt: skip
WRITTEN = ".md, .csv, .tex, .png, .svg, report.html, config.json, predictions, training, models"


def _one_of(kind: str, more: str = "") -> Any:
    return arg(name=kind, help=f"{', '.join(KINDS[kind][0])}, or module:Name{more}.")


@dataclasses.dataclass(frozen=True)
class Names:
    """Flags that are parsed first: names of parts of the configuration, whose fields then become flags.

    Attributes:
      config: config.json of the results to repeat.
      accept_changed_code: continue results of an earlier version of the code.
    """

    tasks: Annotated[tuple[str, ...] | None, _one_of("tasks", ", or several joined by +")] = None
    features: Annotated[str | None, _one_of("features", ", or several joined by +")] = None
    model: Annotated[str | None, _one_of("model")] = None
    augment: Annotated[str | None, _one_of("train.augment")] = None
    objective: Annotated[str | None, _one_of("train.objective")] = None
    config: Path | None = None
    accept_changed_code: bool = False

    def choose(self, config: Config) -> Config:
        """Return a configuration with the chosen parts; a part of the same class keeps its fields."""

        def kinds(value: Any) -> list[type]:
            return [type(value), *map(type, getattr(value, "parts", ()))]

        def chosen(config: Any, prefix: str, *parts: str) -> Any:
            named = {part: name for part in parts if (name := getattr(self, part)) is not None}
            made = {part: choose(prefix + part, name) for part, name in named.items()}
            other = {part: new for part, new in made.items() if kinds(new) != kinds(getattr(config, part))}
            return dataclasses.replace(config, **other)

        train = chosen(config.train, "train.", "augment", "objective")
        tasks = config.tasks if self.tasks is None else tuple(choose("tasks", name) for name in self.tasks)
        return chosen(dataclasses.replace(config, train=train, tasks=tasks), "", "features", "model")


def parse(
    description: str | None,
    name: str,
    arguments: Sequence[str] | None = None,
    fewest: int = 2,
    defaults: str = "",
) -> tuple[Config, bool]:
    """Parse the flags of `python -m experiments.<name>`.

    Results go to results/<name> by default; for the other arguments see `main`.

    Returns: (the configuration, whether results of changed code are continued). Wrong flags end the program
      with status 2 and a message that names them.
    Raises: UserError (a subclass) for values that no flag can check by itself.
    """
    words = []
    for word in sys.argv[1:] if arguments is None else arguments:
        flag, equals, value = word.partition("=")
        words.append(f"{SHORT.get(flag, flag)}{equals}{value}")
    options: dict[str, Any] = {
        "prog": f"python -m experiments.{name}", "args": words, "registry": REGISTRY,
        "config": (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    }  # fmt: skip
    names, _ = tyro.cli(Names, add_help=False, return_unknown_args=True, **options)
    config = parse(None, name, defaults.split(), fewest)[0] if defaults else Config()
    config = config if names.config is None else _stored(names.config)
    config = names.choose(dataclasses.replace(config, out=Path("results") / name))
    groups: list[tuple[str, Any, Any]] = [
        ("names", Annotated[Names, arg(name="")], dataclasses.field(default=Names())),
        ("config", Annotated[Config, arg(name="")], dataclasses.field(default=config)),
    ]
    if len(config.tasks) == 1:
        groups.append(("task", Task, dataclasses.field(default=config.tasks[0])))
    flags = dataclasses.make_dataclass("Flags", groups)
    short = ", ".join(SHORT)
    with warnings.catch_warnings(action="ignore"):  # of tyro, which cannot check that values meet a protocol
        found: Any = tyro.cli(flags, description=f"{description}\n\nShort forms: {short}.", **options)
    if len(config.tasks) == 1:
        if getattr(found.task, "rule", None) != getattr(config.tasks[0], "rule", None):
            raise ConfigError("--task.rule follows from --protocol.label-rule, expected only that flag")
        found.config = dataclasses.replace(found.config, tasks=(found.task,))
    config = found.config
    if len(config.corpora) < fewest:
        raise ConfigError(
            f"--corpora {' '.join(config.corpora)}, expected {fewest} or more, separated by spaces"
        )
    return config, names.accept_changed_code


def _stored(path: Path) -> Config:
    """Read the configuration of a results folder's config.json."""
    try:
        found = rebuild(json.loads(path.read_text(encoding="utf-8"))["config"])
        if isinstance(found, Config):
            return found
        reason = "no configuration"
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = str(getattr(error, "strerror", None) or error)
    raise ConfigError(f"--config {path}: {reason}, expected an experiment's config.json")


def main(
    description: str | None,
    name: str,
    settings: Callable[[Config], list[Setting]],
    arguments: Sequence[str] | None = None,
    *,
    shown: Sequence[str] | None = None,
    figure: str | None = None,
    after: Callable[..., str | None] | None = None,
    fewest: int = 2,
    defaults: str = "",
) -> NoReturn:
    """Run an experiment with the flags given, write its table under `name`, print it and end the program.

    The status is 1 if runs were stopped, 2 with a sentence if the input is wrong, 130 or 143 if interrupted.

    Args:
      description, name: of the experiment and its files.
      settings: makes its settings from the configuration, or raises UserError.
      arguments: flags; those of the command line by default.
      shown: names of the settings in the table; those of `settings` by default.
      figure: see `report.write_table`.
      after: called with (config, pool, machine) before the table is made; returns the text to print instead.
      fewest: the number of corpora that it needs.
      defaults: flags whose values are the defaults of this experiment.
    """

    def work() -> int:
        config, accept_changed_code = parse(description, name, arguments, fewest, defaults)
        options: dict[str, Any] = {"shown": shown, "figure": figure, "after": after}
        text, stopped = complete(config, settings(config), name, accept_changed_code, **options)
        print(text)
        print(f"Written to {config.out}: {name}{WRITTEN}.", file=sys.stderr)
        return 1 if stopped else 0

    interrupted = "interrupted; run the same command again to resume"
    status = shutdown.run_cli(f"experiments.{name}", work, interrupted)
    if status and jax.distributed.is_initialized():
        sys.stdout.flush()  # a normal exit would wait for hosts that wait for this one
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def complete(
    config: Config,
    settings: list[Setting],
    name: str,
    accept_changed_code: bool = False,
    *,
    shown: Sequence[str] | None = None,
    figure: str | None = None,
    after: Callable[..., str | None] | None = None,
) -> tuple[str, list[str]]:
    """Compute the missing results of an experiment and write its table and page; arguments as in `main`.

    Returns: the text to print, and the slugs of settings in which a run was stopped; both empty on all hosts
      but the first.
    """
    compared = baselines(config, settings)
    _start(config)
    from ser_jax.experiment.run import run  # imported late, since it starts JAX

    def report(*everything: Any) -> tuple[str, list[str]]:
        from ser_jax import report  # imported late, since it takes matplotlib

        text = None if after is None else after(*everything)
        found = report.Results(config.out)
        names = [*(shown or (one.name for one in settings)), *(one.name for one in compared)]
        table = report.write_table(found, name, list(dict.fromkeys(names)), figure)
        report.write_page(found)
        return text or table, found.stopped

    text, stopped = run([*settings, *compared], config, report, accept_changed_code) or ("", [])
    if stopped:
        print(f"Stopped because of non-finite numbers, and left out: {', '.join(stopped)}.", file=sys.stderr)
    return text, stopped


def _start(config: Config) -> None:
    """Set up this process: signals, logging, its devices, and the hosts it computes with."""
    from ser_jax.devices import join, use_all_cores

    shutdown.raise_on_interrupt()
    for name in ("absl", "asyncio"):  # threads of Orbax print beside an error that is raised as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    shown = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            shown(unraisable)

    sys.unraisablehook = hook
    use_all_cores()
    compute = config.compute
    if compute.coordinator is not None:
        join(compute.coordinator, compute.hosts, compute.host)
