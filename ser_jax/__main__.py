"""Run the program `ser-jax`, also as `python -m ser_jax`."""

import sys

from ser_jax import shutdown


def main() -> int:
    """Run the command line; return the exit status."""
    shutdown.start_program()
    from ser_jax import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
