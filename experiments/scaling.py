"""Time and memory of every stage with a corpus of 100,000 utterances, and whether that is too much.

    python -m experiments.scaling                       # two cores: 9 min, 9 GB of disk
    python -m experiments.scaling --utterances 5000     # in a minute

Prepares and loads white noise, trains one epoch of `experiments.crosslingual`, makes the report and verifies
it. The status is 1 if a stage takes more time or memory than it may (`ser_jax.benchmark.preparation`).
"""

from pathlib import Path

from ser_jax.experiment.provenance import start_script


def scaling(utterances: int = 100_000, keep: Path | None = None, json: Path | None = None) -> int:
    """Print the table; return the exit status.

    Args:
      utterances: of white noise.
      keep: a new folder to work in; everything stays there.
      json: a file for the numbers.
    """
    from ser_jax.benchmark import publish
    from ser_jax.benchmark.preparation import markdown, measure_scaling

    return publish(lambda folder: measure_scaling(folder, utterances), markdown, json, keep)


if __name__ == "__main__":
    start_script()
    from ser_jax.experiment.command import run_function

    run_function(scaling, __doc__)
