"""`ser-jax`, and `python -m ser_jax`: handles Ctrl-C before it imports anything that takes time."""

import sys

from ser_jax import shutdown


def main() -> int:
    """Run the command line; return the exit status."""
    shutdown.exit_on_interrupt("ser-jax")
    from ser_jax import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
