"""Training throughput: utterances x runs per second, beside PyTorch (extra: bench).

    python -m experiments.throughput                # some minutes on two cores
    python -m experiments.throughput --rounds 25

Runs on a bare accelerator image: of the package's dependencies it takes JAX, Flax, Optax,
jaxtyping and NumPy. Hence argparse, unlike all other scripts.
"""

import argparse
import os
import sys

from ser_jax.experiment import provenance
from ser_jax.shutdown import raise_on_interrupt, run_cli, start_program


def main() -> None:
    """Measure with the flags given and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.throughput", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = ("float32", "tf32", "bfloat16")
    default = "default: all; on a CPU without tf32, which is float32 there"
    parser.add_argument("--precision", nargs="+", choices=names, metavar="P", help=f"{names}; {default}")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="(default: 7)")
    flags = parser.parse_args()

    def work() -> None:
        # JAX would take three quarters of a GPU's memory for itself, and PyTorch needs some.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        if (provenance.load() or 0) > 0.5:  # PyTorch's active waiting is slow on cores that others use
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        start_program()
        from ser_jax import devices, model, train
        from ser_jax.benchmark import throughput

        raise_on_interrupt()
        devices.use_all_cores()
        platform = devices.backend()
        precisions = flags.precision or [name for name in names if platform != "cpu" or name != "tf32"]
        sizes = throughput.CPU_SIZES if platform == "cpu" else throughput.Sizes()
        sizes = sizes._replace(rounds=flags.rounds)
        report = throughput.measure(model.AttentiveCNN(), train.TrainConfig(), sizes, precisions)
        print(throughput.markdown(report))

    sys.exit(run_cli("experiments.throughput", work))


if __name__ == "__main__":
    main()
