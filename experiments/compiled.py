"""Compile training, prediction and Whisper for accelerators that are not there (extra: aot).

    python -m experiments.compiled
    python -m experiments.compiled --cards h100 --runs 40 --precision tf32

Prints what the compilers of TPUs and NVIDIA GPUs say of memory and kernels, and the least time that follows
from bandwidth and peak. Install the extra in an environment of its own: without such a device, it makes JAX
print errors in other programs.

Flags of its own: --cards, by default all (v5e, v5p, v6e, a100, h100, h200); --runs in a stack, by default all
seeds, folds and tasks; --utterances, by default those of IEMOCAP and RECOLA. All others are as in other
experiments.
"""

import argparse
import sys

from ser_jax.shutdown import raise_on_interrupt, run_cli, start_program


def main() -> None:
    """Compile with the flags given and print the table."""

    def work() -> None:
        from ser_jax.benchmark import RECOLA, TURNS, compiled
        from ser_jax.experiment.command import parse

        parser = argparse.ArgumentParser("python -m experiments.compiled", add_help=False, allow_abbrev=False)
        parser.add_argument("--cards", nargs="+", choices=compiled.CARDS, default=list(compiled.CARDS))
        parser.add_argument("--runs", type=int)
        parser.add_argument("--utterances", type=int, default=TURNS + RECOLA)
        own, others = parser.parse_known_args()
        config, _ = parse(__doc__, "compiled", others, fewest=1)
        protocol = config.protocol
        runs = protocol.seeds * protocol.folds * len(config.tasks) if own.runs is None else own.runs
        raise_on_interrupt()
        compiled.use_compilers()
        print(compiled.report(config, own.cards, runs, own.utterances))

    start_program()
    sys.exit(run_cli("experiments.compiled", work))


if __name__ == "__main__":
    main()
