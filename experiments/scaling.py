"""Measure time and memory of an experiment on a corpus of 100,000 utterances, and check them against limits.

    python -m experiments.scaling                       # two cores: 9 min, 9 GB of disk
    python -m experiments.scaling --utterances 10000    # as many as IEMOCAP has

Prepares and loads white noise, trains one epoch of `experiments.crosslingual`, makes the report and verifies
it. The status is 1 if a stage takes more time or memory than `ser_jax.benchmark.programs` allows.
"""

from ser_jax.experiment import start_function


def scaling(utterances: int = 100_000) -> int:
    """Print the table; return the exit status.

    Args:
      utterances: of white noise.
    """
    from ser_jax.benchmark import programs

    return programs.publish(lambda folder: programs.measure_experiment(folder, utterances))


if __name__ == "__main__":
    start_function(scaling, __doc__)
