"""Measure time and memory of a recogniser: one utterance, the start of the program, an hour of speech.

    python -m experiments.recognition                      # the default model; a minute
    python -m experiments.recognition --model my-model     # another; the time depends on its tasks and seeds

Every process may use one core; the start of the program is measured with all cores as well.
"""

from ser_jax.experiment import start_function


def recognition(model: str = "default") -> int:
    """Print the table; return the exit status.

    Args:
      model: a folder that `ser-jax train` wrote, or default or small.
    """
    from ser_jax.benchmark import programs

    return programs.publish(lambda folder: programs.measure_recognition(folder, model))


if __name__ == "__main__":
    start_function(recognition, __doc__)
