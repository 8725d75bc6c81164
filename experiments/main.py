"""The command line of every experiment: flags, work, report, and one sentence when something is wrong."""

import signal
import sys

import jax

from experiments import harness, report
from experiments.harness import Setting
from experiments.options import parse
from ser_jax import engine
from ser_jax.cli import guarded


def main(description: str, name: str, settings: list[Setting], arguments: list[str] | None = None) -> None:
    """Computes the settings with the flags given, writes the table under `name` and prints it.

    Ends the program: with status 2 and a sentence where the input is wrong, 130 where it is interrupted.
    """
    options = parse(description, name, arguments)

    def work() -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        engine.use_all_cores()
        if options.coordinator is not None:
            engine.join(options.coordinator, options.hosts, options.host)
        harness.run(settings, options)
        if jax.process_index() != 0:
            return
        print(report.write(options.out, name, [setting.name for setting in settings]))
        print(f"Written to {options.out}: {name}.md, .csv, .png, predictions, models.", file=sys.stderr)

    interrupted = f"interrupted; the same command goes on from what {options.out} holds"
    sys.exit(guarded(f"experiments.{name}", work, interrupted))
