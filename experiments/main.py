"""The command line of experiments that train: flags, work, report, a sentence where something is wrong."""

import logging
import os
import sys
from collections.abc import Callable
from types import TracebackType

from experiments import harness, report
from experiments.harness import Experiment
from experiments.options import Options, parse
from experiments.plans import ExperimentError, Setting
from experiments.results import Results
from ser_jax.devices import join, use_all_cores
from ser_jax.experiment.provenance import start_script
from ser_jax.shutdown import raise_on_interrupt, raise_on_sigterm, run_cli

FILES = ".md, .csv, .tex, .png, .svg, report.html, protocol.json, predictions, training, models"


def main(
    description: str,
    name: str,
    settings: list[Setting],
    arguments: list[str] | None = None,
    shown: list[str] | None = None,
    after: Callable[[Experiment], None] | None = None,
    printed: Callable[[Results], str] | None = None,
    needed: str | None = None,
    fewest: int = 2,
) -> None:
    """Computes the settings with the flags given, writes the table under `name` and prints it.

    Ends the program: with status 1 where runs were stopped, 2 and a sentence where the input is wrong, 130 or
    143 where it is interrupted.

    Args:
      description: of the experiment, for its help.
      name: of its files.
      settings: what is trained.
      arguments: the flags; those of the command line by default.
      shown: the settings in the table; those trained by default.
      after: work on what is stored, before the table is made.
      printed: what the results folder is shown by instead of the table.
      needed: a target that it is about.
      fewest: corpora that it takes, one or two.
    """
    start_script(f"experiments.{name}")
    options = parse(description, name, arguments, fewest)

    lost: list[str] = []

    def tell(experiment: Experiment) -> None:
        if after is not None:
            after(experiment)
        results = Results(options.out)
        text = report.write(results, name, shown or [setting.name for setting in settings])
        report.write_page(results)
        print(text if printed is None else printed(results))
        print(f"Written to {options.out}: {name}{FILES}.", file=sys.stderr)
        lost.extend(results.stopped_jobs)

    def work() -> int:
        if needed is not None and needed not in options.targets:
            raise ExperimentError(f"--targets {' '.join(options.targets)}, expected {needed} among them")
        _begin(options)
        harness.run(settings, options, tell)
        if lost:
            print(
                f"Runs were stopped, their numbers not finite, and are left out: {', '.join(lost)}.",
                file=sys.stderr,
            )
        return 1 if lost else 0

    interrupted = f"interrupted; the same command goes on from what {options.out} holds"
    status = run_cli(f"experiments.{name}", work, interrupted)
    if status and options.coordinator is not None:  # else it would wait for hosts that wait for it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _begin(options: Options) -> None:
    """Readies this process: what signals do, what is not printed, its devices, the hosts it works with."""
    raise_on_interrupt()
    raise_on_sigterm()
    _quieten()
    use_all_cores()
    if options.coordinator is not None:
        join(options.coordinator, options.hosts, options.host)


def _quieten() -> None:
    """What Orbax raises, its threads and TensorStore's print as well, and that their event loop is gone."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not (kind is RuntimeError and str(error) == "Event loop is closed"):
            shown(kind, error, trace)

    sys.excepthook = hook
