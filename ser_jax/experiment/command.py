"""The command line of an experiment, made from the configuration's tree: every field is a flag."""

import dataclasses
import json
import logging
import os
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NoReturn

from ser_jax import shutdown
from ser_jax.experiment.config import KINDS, Config, ConfigError, choose, rebuild
from ser_jax.experiment.settings import Setting

SHORT = {  # what is typed most, without its place in the tree
    "protocol.seeds": "seeds", "protocol.folds": "folds", "train.epochs": "epochs",
    "protocol.finetune_samples": "finetune-samples", "protocol.finetune_epochs": "finetune-epochs",
    "model.precision": "precision",
}  # fmt: skip
DERIVED = {"model.bands", "model.frames", "model.outputs"}  # they follow from features and tasks
WRITTEN = ".md, .csv, .tex, .png, .svg, report.html, config.json, predictions, training, models"


def parse(
    description: str, name: str, arguments: Sequence[str] | None = None, fewest: int = 2
) -> tuple[Config, bool]:
    """Parse the flags of `python -m experiments.<name>`.

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
    stored = _values(words, "config")
    if stored:
        config = dataclasses.replace(_stored(Path(stored[0])), out=config.out)
    chosen = {kind: _values(words, kind) for kind in KINDS}
    config = _replaced(config, {k: tuple(choose(k, one) for one in v) for k, v in chosen.items() if v})
    kind = _flags(config, chosen)
    found: Any = tyro.cli(
        kind, prog=f"python -m experiments.{name}", description=description, args=words,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
    )  # fmt: skip
    config = _rebuilt(config, found, "")
    if len(config.corpora) < fewest:
        raise ConfigError(
            f"--corpora {' '.join(config.corpora)}, expected {fewest} or more, separated by blanks"
        )
    return config, bool(found.accept_changed_code)


def _values(words: Sequence[str], name: str) -> list[str]:
    """Return what follows the last `--name` or `--name=` in some words, up to the next flag."""
    found: list[str] = []
    spelled = f"--{name}"
    for i, word in enumerate(words):
        if word.startswith(f"{spelled}="):
            found = [word.partition("=")[2]]
        elif word == spelled:
            rest = words[i + 1 :]
            end = next((n for n, one in enumerate(rest) if one.startswith("-")), len(rest))
            found = list(rest[:end])
    return found


def _stored(path: Path) -> Config:
    """Read the configuration of a results folder's config.json."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))["config"]
        config = rebuild(tree)
    except OSError as error:
        raise ConfigError(
            f"--config {path}: {error.strerror}, expected an experiment's config.json"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"--config {path}: {error}, expected an experiment's config.json") from error
    if not isinstance(config, Config):
        raise ConfigError(f"--config {path}: no configuration, expected an experiment's config.json")
    return config


def _replaced(config: Config, chosen: dict[str, tuple]) -> Config:
    """Put what names chose into the tree."""
    for kind, values in chosen.items():
        group, _, field = kind.partition(".")
        if field:
            inner = dataclasses.replace(getattr(config, group), **{field: values[0]})
            changes: dict[str, Any] = {group: inner}
        else:
            changes = {group: values if group == "tasks" else values[0]}
        config = dataclasses.replace(config, **changes)
    return config


def _flags(config: Config, chosen: dict[str, list[str]]) -> type:
    """Return a dataclass whose fields are the flags: the tree, and names that choose parts of it.

    A single task's own fields are flags, too (`--task.class-names`).
    """
    import tyro

    def named(kind: str, default: Any, several: bool = False) -> tuple[str, Any, Any]:
        known = ", ".join(KINDS[kind])
        text = tyro.conf.arg(name=kind, help=f"{kind.partition('.')[2] or kind}: {known}, or module:Name")
        kind_ = tuple[str, ...] if several else str
        return f"name_of_{kind.replace('.', '_')}", Annotated[kind_, text], default

    fields: list[tuple[str, Any, Any]] = [
        ("corpora", tuple[str, ...], config.corpora),
        ("data_dir", Path | None, config.data_dir),
        ("out", Path, config.out),
        named("tasks", tuple(chosen["tasks"] or (one.name for one in config.tasks)), several=True),
        *(named(kind, (chosen[kind] or [_name(config, kind)])[0]) for kind in KINDS if kind != "tasks"),
    ]
    help_ = "config.json of the results to repeat"
    fields.append(("config", Annotated[Path | None, tyro.conf.arg(help=help_)], None))
    help_ = "continue results whose code was changed since"
    fields.append(
        (
            "accept_changed_code",
            Annotated[bool, tyro.conf.arg(help=help_)],
            False,
        )
    )
    if len(config.tasks) == 1 and dataclasses.is_dataclass(config.tasks[0]):
        fields.append(("task", *_mirrored(config.tasks[0], "task")))
    for group in ("features", "model", "train", "protocol", "compute"):
        fields.append((group, *_mirrored(getattr(config, group), group)))
    return _dataclass("Experiment", fields, Config.__doc__)


def _name(config: Config, kind: str) -> str:
    """Return the name by which a part of the tree would be chosen."""
    value: Any = config
    for part in kind.split("."):
        value = getattr(value, part)
    own = type(value)
    return next(
        (name for name, one in KINDS[kind].items() if one is own), f"{own.__module__}:{own.__qualname__}"
    )


def _mirrored(value: Any, path: str) -> tuple[Any, Any]:
    """Return the type and default of a group of flags for a dataclass value."""
    import tyro

    hints = typing.get_type_hints(type(value), include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(value):
        own, place = getattr(value, field.name), f"{path}.{field.name}"
        if place in DERIVED or not field.init:
            continue
        if dataclasses.is_dataclass(own):
            fields.append((field.name, *_mirrored(own, place)))
        elif place in SHORT:
            alias = tyro.conf.arg(aliases=(f"--{SHORT[place]}",))
            fields.append((field.name, Annotated[hints[field.name], alias], own))
        else:
            fields.append((field.name, hints[field.name], own))
    kind = _dataclass(type(value).__name__, fields, type(value).__doc__)
    return kind, kind()


def _dataclass(name: str, fields: list[tuple[str, Any, Any]], doc: str | None) -> type:
    made = dataclasses.make_dataclass(
        name, [(key, hint, dataclasses.field(default=default)) for key, hint, default in fields], frozen=True
    )
    made.__doc__ = doc
    return made


def _rebuilt(value: Any, flags: Any, path: str) -> Any:
    """Return a dataclass value with what its flags say."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(flags):
        own = getattr(flags, field.name)
        if field.name == "task" and not path:
            changes["tasks"] = (_rebuilt(value.tasks[0], own, "task"),)
        elif hasattr(value, field.name):
            before = getattr(value, field.name)
            changes[field.name] = (
                _rebuilt(before, own, field.name) if dataclasses.is_dataclass(before) else own
            )
    return dataclasses.replace(value, **changes)


def main(
    description: str,
    name: str,
    settings: Callable[[Config], list[Setting]],
    arguments: Sequence[str] | None = None,
    *,
    shown: Sequence[str] | None = None,
    figure: str | None = None,
    after: Callable[[Any], None] | None = None,
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
      after: work on the `Experiment` once everything is stored, before the table is made.
      printed: what is printed of the results folder instead of the table.
      check: raises UserError for configurations that the experiment cannot use.
      fewest: corpora that it needs.
    """
    coordinated: list[bool] = []
    stopped: list[str] = []

    def work() -> int:
        config, accept_changed_code = parse(description, name, arguments, fewest)
        coordinated.append(config.compute.coordinator is not None)
        if check is not None:
            check(config)
        own = settings(config)
        _start(config)
        from ser_jax.experiment.run import run  # imported late, since it starts JAX

        def report(experiment: Any) -> None:
            from ser_jax import report

            if after is not None:
                after(experiment)
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
