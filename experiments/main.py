"""The command line of every experiment: flags, work, report, and one sentence when something is wrong."""

import sys

from experiments import harness, report
from experiments.harness import Setting
from experiments.options import parse
from ser_jax.errors import UserError


def run(description: str, name: str, settings: list[Setting], arguments: list[str] | None = None) -> None:
    """Runs the settings with the flags given, writes the table under `name` and prints it.

    Ends the program with status 2 and a sentence where the input is wrong, 130 where it is interrupted.
    """
    options = parse(description, name, arguments)
    try:
        harness.run(settings, options)
        print(report.write(options.out, name, [setting.name for setting in settings]))
    except UserError as error:
        sys.exit(_say(name, str(error), status=2))
    except KeyboardInterrupt:
        sys.exit(
            _say(name, f"interrupted; the same command goes on from what {options.out} holds", status=130)
        )


def _say(name: str, sentence: str, status: int) -> int:
    print(f"experiments.{name}: {sentence}", file=sys.stderr)
    return status
