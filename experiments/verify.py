"""Recompute every table from the stored predictions and compare it with what is written.

    python -m experiments.verify results/table2

The exit status is 1 if a table differs from the predictions, or predictions are lost or belong to other
utterances than the folds of config.json; it is 2 if config.json or predictions are damaged.
"""

from pathlib import Path

from tyro.conf import Positional

from ser_jax.experiment import start_function


def verify(results: Positional[Path]) -> int:
    """Print what does not fit together; return the exit status.

    Args:
      results: folder that an experiment has written.
    """
    from ser_jax import report

    wrong = report.verify(results)
    print("\n".join(wrong) or f"{results}: every table follows from the stored predictions")
    return 1 if wrong else 0


if __name__ == "__main__":
    start_function(verify, __doc__)
