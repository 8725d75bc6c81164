"""The command line of an experiment, made from the configuration's tree: every field is a flag."""

import dataclasses
import functools
import json
import logging
import math
import os
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NoReturn

from ser_jax import shutdown
from ser_jax.data import facts
from ser_jax.data.labels import canonical
from ser_jax.errors import UserError
from ser_jax.experiment.config import KINDS, Config, ConfigError, choose, flag, rebuild
from ser_jax.experiment.settings import Setting
from ser_jax.tasks import TASKS, Categorical

SHORT = {  # what is typed most, without its place in the tree
    "protocol.seeds": "seeds", "protocol.folds": "folds", "train.epochs": "epochs",
    "protocol.finetune_samples": "finetune-samples", "protocol.finetune_epochs": "finetune-epochs",
    "model.precision": "precision",
}  # fmt: skip
DERIVED = {  # follow from features and tasks, or from --protocol.label-rule
    "model.bands", "model.frames", "model.outputs", "task.rule",
}  # fmt: skip
WRITTEN = ".md, .csv, .tex, .png, .svg, report.html, config.json, predictions, training, models"


def parse(
    description: str | None, name: str, arguments: Sequence[str] | None = None, fewest: int = 2
) -> tuple[Config, bool]:
    """Parse the flags of `python -m experiments.<name>`.

    Names that choose parts of the tree are read first; the flags are then those of the parts they chose.

    Args:
      description: of the experiment.
      name: of the script; results go to results/<name> by default.
      arguments: those of the command line by default.
      fewest: corpora that the experiment needs.
    Returns: (the configuration, whether results of changed code are continued). Wrong flags end the program
      with status 2 and a message that names them.
    Raises: UserError (a subclass) for values that no flag can check by itself.
    """
    import tyro

    words = list(sys.argv[1:] if arguments is None else arguments)
    config = dataclasses.replace(Config(), out=Path("results") / name)
    if stored := _values(words, "config"):
        config = dataclasses.replace(_stored(Path(stored[0])), out=config.out)
    chosen = {kind: _values(words, kind) for kind in KINDS}
    for kind, names in chosen.items():
        values = tuple(choose(kind, one) for one in names or ())
        if kind == "tasks" and names is not None:
            tasks = config.tasks if stored and len(values) == len(config.tasks) else values
            config = dataclasses.replace(config, tasks=tuple(map(_fitting, tasks, values)))
        elif values:
            place = kind.split(".")
            before: Any = functools.reduce(getattr, place, config) if stored else values[-1]
            config = _put(config, place, _fitting(before, values[-1]))
    found: Any = tyro.cli(
        _flags(config, chosen), prog=f"python -m experiments.{name}", description=description, args=words,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
    )  # fmt: skip
    config = _with_flags(config, found, "")
    if len(config.corpora) < fewest:
        raise ConfigError(
            f"--corpora {' '.join(config.corpora)}, expected {fewest} or more, separated by blanks"
        )
    return config, bool(found.accept_changed_code)


def _values(words: Sequence[str], name: str) -> list[str] | None:
    """Return what follows the last `--name` or `--name=` in some words, up to the next flag; None if none."""
    found: list[str] | None = None
    for i, word in enumerate(words):
        if word.startswith(f"--{name}="):
            found = [word.partition("=")[2]]
        elif word == f"--{name}":
            rest = words[i + 1 :]
            end = next((n for n, one in enumerate(rest) if one.startswith("-")), len(rest))
            found = list(rest[:end])
    return found


def _stored(path: Path) -> Config:
    """Read the configuration of a results folder's config.json."""
    try:
        found = rebuild(json.loads(path.read_text(encoding="utf-8"))["config"])
        reason = "" if isinstance(found, Config) else "no configuration"
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = str(getattr(error, "strerror", None) or error)
    if reason:
        raise ConfigError(f"--config {path}: {reason}, expected an experiment's config.json")
    return found


def _fitting(stored: Any, chosen: Any) -> Any:
    """Return a stored value of the class that was chosen by name, or else what was chosen."""
    same = type(stored) is type(chosen)
    return (
        stored
        if same and all(getattr(chosen, field.name) == field.default for field in dataclasses.fields(chosen))
        else chosen
    )


def _put(value: Any, place: Sequence[str], new: Any) -> Any:
    """Return a dataclass value with a new value at a place of the tree."""
    first, *rest = place
    return dataclasses.replace(value, **{first: _put(getattr(value, first), rest, new) if rest else new})


def _flags(config: Config, chosen: dict[str, list[str] | None]) -> type:
    """Return a dataclass whose fields are the flags: the tree, and names that choose parts of it.

    A single task's own fields are flags, too (`--task.class-names`).
    """
    import tyro

    def named(kind: str) -> tuple[str, Any, Any]:
        several = kind == "tasks"
        known = ", ".join(KINDS[kind][0])
        text = tyro.conf.arg(name=kind, help=f"{kind.partition('.')[2] or kind}: {known}, or module:Name")
        names = chosen[kind] or ([one.name for one in config.tasks] if several else [_name(config, kind)])
        hint: Any = Annotated[tuple[str, ...] if several else str, text]
        return f"name_of_{kind.replace('.', '_')}", hint, tuple(names) if several else names[-1]

    def other(kind: Any, help_: str, default: Any) -> tuple[Any, Any]:
        return Annotated[kind, tyro.conf.arg(help=help_)], default

    fields: list[tuple[str, Any, Any]] = [
        ("corpora", tuple[str, ...], config.corpora),
        ("data_dir", Path | None, config.data_dir),
        ("out", Path, config.out),
        *map(named, KINDS),
        ("config", *other(Path | None, "config.json of the results to repeat", None)),
        ("accept_changed_code", *other(bool, "continue results whose code was changed since", False)),
    ]
    if len(config.tasks) == 1:
        fields.append(("task", *_mirrored(config.tasks[0], "task")))
    for group in ("features", "model", "train", "protocol", "compute"):
        fields.append((group, *_mirrored(getattr(config, group), group)))
    return _dataclass("Experiment", fields, Config.__doc__)


def _name(config: Config, kind: str) -> str:
    """Return the name by which a part of the tree would be chosen."""
    value: Any = functools.reduce(getattr, kind.split("."), config)
    own = type(value)
    known = (name for name, one in KINDS[kind][0].items() if one is own)
    return next(known, f"{own.__module__}:{own.__qualname__}")


def _mirrored(value: Any, path: str) -> tuple[Any, Any]:
    """Return the type and default of a group of flags for a dataclass value."""
    import tyro

    hints = typing.get_type_hints(type(value), include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(value):
        own, place = getattr(value, field.name), f"{path}.{field.name}"
        if place in DERIVED or not field.init:
            continue
        hint, default = hints[field.name], own
        if dataclasses.is_dataclass(own):
            hint, default = _mirrored(own, place)
        elif place in SHORT:
            hint = Annotated[hint, tyro.conf.arg(aliases=(f"--{SHORT[place]}",))]
        fields.append((field.name, hint, default))
    kind = _dataclass(type(value).__name__, fields, type(value).__doc__)
    return kind, kind()


def _dataclass(name: str, fields: list[tuple[str, Any, Any]], doc: str | None) -> type:
    each = [(key, hint, dataclasses.field(default=default)) for key, hint, default in fields]
    made = dataclasses.make_dataclass(name, each, frozen=True)
    made.__doc__ = doc
    return made


def _with_flags(value: Any, flags: Any, path: str) -> Any:
    """Return a dataclass value with what was typed.

    Raises: UserError if a value of these kinds is refused, with the group of flags.
    """
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(flags):
        own = getattr(flags, field.name)
        if field.name == "task" and not path:
            changes["tasks"] = (_with_flags(value.tasks[0], own, "task"),)
        elif hasattr(value, field.name):
            before = getattr(value, field.name)
            inner = f"{path}.{field.name}".strip(".")
            changes[field.name] = _with_flags(before, own, inner) if dataclasses.is_dataclass(before) else own
            if isinstance(own, float) and not math.isfinite(own):
                raise ConfigError(f"{flag(path, field.name)} is {own}, expected a finite number")
    try:
        return dataclasses.replace(value, **changes)
    except UserError as error:
        prefix = "" if str(error).startswith("--") else f"--{path}: "
        raise ConfigError(f"{prefix}{error}") from error
    except (TypeError, ValueError) as error:  # of one's own class
        raise ConfigError(f"--{path}: {error}, expected values that {type(value).__name__} takes") from error


def main(
    description: str | None,
    name: str,
    settings: Callable[[Config], list[Setting]],
    arguments: Sequence[str] | None = None,
    *,
    shown: Sequence[str] | None = None,
    figure: str | None = None,
    after: Callable[..., None] | None = None,
    printed: Callable[[Any], str] | None = None,
    check: Callable[[Config], None] | None = None,
    fewest: int = 2,
) -> NoReturn:
    """Run an experiment with the flags given, write its table under `name`, print it and end the program.

    The status is 1 if runs were stopped, 2 with a sentence if the input is wrong, 130 or 143 if interrupted.

    Args:
      description: of the experiment.
      name: of its files.
      settings: makes its settings from the configuration.
      arguments: flags; those of the command line by default.
      shown: names of the settings in the table; those of `settings` by default.
      figure: the figure that shows the whole table, "tuning" or "learning_curve"; None for the usual ones.
      after: work on (config, pool, machine) once everything is stored, before the table is made.
      printed: what is printed of the results folder instead of the table.
      check: raises UserError for configurations that the experiment cannot use.
      fewest: corpora that it needs.
    """
    coordinated: list[bool] = []

    def work() -> int:
        config, accept_changed_code = parse(description, name, arguments, fewest)
        coordinated.append(config.compute.coordinator is not None)
        if check is not None:
            check(config)
        config = with_occurring_emotions(config)
        own = settings(config)
        _start(config)
        from ser_jax.experiment.run import run  # imported late, since it starts JAX

        stopped: list[str] = []

        def report(*everything: Any) -> None:
            from ser_jax import report  # imported late, since it takes matplotlib

            if after is not None:
                after(*everything)
            found = report.Results(config.out)
            names = list(shown or dict.fromkeys(one.name for one in own))
            table = report.write_table(found, name, names, figure)
            report.write_page(found)
            print(table if printed is None else printed(found))
            print(f"Written to {config.out}: {name}{WRITTEN}.", file=sys.stderr)
            stopped.extend(found.stopped)

        run(own, config, report, accept_changed_code)
        if stopped:
            named = ", ".join(stopped)
            print(
                f"Runs whose numbers were not finite were stopped and are left out: {named}.", file=sys.stderr
            )
        return 1 if stopped else 0

    interrupted = "interrupted; the same command goes on from what is stored"
    status = shutdown.run_cli(f"experiments.{name}", work, interrupted)
    if status and any(coordinated):
        sys.stdout.flush()  # a normal exit would wait for hosts that wait for this one
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def run_function(
    function: Callable[..., int | None], description: str | None, arguments: Sequence[str] | None = None
) -> NoReturn:
    """Run the function of an experiment that trains nothing, its arguments being flags, and exit.

    The status is what the function returns, 2 if a flag or the input is wrong.
    """
    import tyro

    def work() -> int | None:
        return tyro.cli(
            function, prog=f"python -m experiments.{function.__name__}", description=description,
            args=arguments, config=(tyro.conf.FlagCreatePairsOff,),
        )  # fmt: skip

    shutdown.run_script(function.__name__, work)


def with_occurring_emotions(config: Config) -> Config:
    """Restrict the task `all`, if it is asked for, to the emotions that occur in every corpus."""
    every = TASKS["all"]
    if every not in config.tasks or not isinstance(every, Categorical):
        return config
    found = [set(canonical(facts(name, config.data_dir)).tolist()) for name in config.corpora]
    names = tuple(name for name in every.class_names if all(name in own for own in found))
    restricted = dataclasses.replace(every, class_names=names)
    return dataclasses.replace(config, tasks=tuple(restricted if t == every else t for t in config.tasks))


def _start(config: Config) -> None:
    """Set up this process: signals, logging, its devices, and the hosts it computes with."""
    from ser_jax.devices import join, use_all_cores

    shutdown.raise_on_interrupt()
    shutdown.raise_on_sigterm()
    _quiet_orbax()
    use_all_cores()
    compute = config.compute
    if compute.coordinator is not None:
        join(compute.coordinator, compute.hosts, compute.host)


def _quiet_orbax() -> None:
    """Silence what threads of Orbax and TensorStore print beside an error that is raised as well."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not (kind is RuntimeError and str(error) == "Event loop is closed"):
            shown(kind, error, trace)

    sys.excepthook = hook
