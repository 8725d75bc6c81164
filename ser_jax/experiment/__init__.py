"""Share what experiments need: configuration, settings, runs, results on disk, and a command line."""

import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ser_jax.shutdown import raise_on_interrupt, run_cli, start_program


def start(
    name: str, description: str | None, settings: str = "", after: str | None = None, **options: Any
) -> NoReturn:
    """Run the experiment `experiments.<name>` and end the program.

    Args:
      settings: the function that makes its settings, as "module:name", or its name in the module `settings`;
        by default that of the experiment.
      after: a function as "module:name", or None; for it and the options see `command.main`.
    """
    start_program()  # before JAX is imported
    from ser_jax.experiment import command

    place = settings if ":" in settings else f"ser_jax.experiment.settings:{settings or name}"
    options["after"] = after and pkgutil.resolve_name(after)
    command.main(description, name, pkgutil.resolve_name(place), **options)


def start_function(
    function: Callable[..., int | None], description: str | None, arguments: Sequence[str] | None = None
) -> NoReturn:
    """Run a function as a script, its arguments being flags, and end the program.

    The status is what the function returns, 2 if a flag or the input is wrong.
    """
    start_program()
    import tyro

    program = f"experiments.{function.__name__}"

    def work() -> int | None:
        return tyro.cli(
            function, prog=f"python -m {program}", description=description, args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )  # fmt: skip

    raise_on_interrupt()
    sys.exit(run_cli(program, work))
