"""Share what experiments need: configuration, settings, runs, results on disk, and a command line."""

from collections.abc import Callable
from typing import Any, NoReturn

from ser_jax.shutdown import start_program


def start(name: str, description: str | None, settings: str | None = None, **options: Any) -> NoReturn:
    """Run the experiment `experiments.<name>` and end the program.

    Its settings are made by the function `settings` of the module `settings`, that of its name by default;
    for the options see `command.main`.
    """
    start_program()  # before JAX is imported
    from ser_jax.experiment import command
    from ser_jax.experiment import settings as known

    command.main(description, name, getattr(known, settings or name), **options)


def start_function(function: Callable[..., int | None], description: str | None) -> NoReturn:
    """Run a script that trains nothing, the arguments of its function being flags, and end the program."""
    start_program()
    from ser_jax.experiment.command import run_function

    run_function(function, description)
