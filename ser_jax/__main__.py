"""`ser-jax`, and `python -m ser_jax`; imports nothing that takes time before Ctrl-C is seen to."""

import sys

from ser_jax import shutdown


def main() -> int:
    """Runs the command line; returns the exit status."""
    shutdown.exit_on_interrupt("ser-jax")
    from ser_jax import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
