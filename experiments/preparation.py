"""Time and memory of preparing and loading a corpus of IEMOCAP's size.

    python -m experiments.preparation                      # by one worker and by two
    python -m experiments.preparation --utterances 500     # in a minute

The corpus is white noise; the datasets are compared byte by byte.
"""

from pathlib import Path

from ser_jax.experiment.provenance import start_script


def preparation(
    utterances: int = 10_000,
    workers: tuple[int, ...] = (1, 2),
    keep: Path | None = None,
    json: Path | None = None,
) -> int:
    """Print the table; return the exit status.

    Args:
      utterances: of white noise; 10,000 take 3 GB of disk.
      workers: numbers of processes; the datasets are compared.
      keep: a new folder to work in; everything stays there.
      json: a file for the numbers.
    """
    from ser_jax.benchmark import publish
    from ser_jax.benchmark.preparation import markdown, measure

    return publish(lambda folder: measure(folder, utterances, workers), markdown, json, keep)


if __name__ == "__main__":
    start_script()
    from ser_jax.experiment.command import run_function

    run_function(preparation, __doc__)
