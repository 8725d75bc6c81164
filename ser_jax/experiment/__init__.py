"""What experiments share: configuration, settings, runs, results on disk, and their command line."""

from typing import Any, NoReturn


def start(name: str, description: str | None, settings: str | None = None, **options: Any) -> NoReturn:
    """Run the script `experiments.<name>` and end the program.

    Args:
      name: of the script and its table.
      description: of the experiment.
      settings: the function of `settings` that makes its settings; that of its name by default.
      options: see `command.main`.
    """
    from ser_jax.experiment.provenance import start_script

    start_script()  # before JAX is imported
    from ser_jax.experiment import command
    from ser_jax.experiment import settings as known

    command.main(description, name, getattr(known, settings or name), **options)
