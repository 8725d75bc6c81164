"""Compare the speed of the Whisper encoder with CTranslate2's, in float32 on the same weights (extra: bench).

    python -m experiments.encoder                          # the two blocks that come with the package
    python -m experiments.encoder --weights whisper-base   # a folder of safetensors

Both compute alternately in one process, on all cores.
"""

from pathlib import Path

from ser_jax.experiment import start_function


def encoder(weights: Path | None = None, rounds: int = 15, batches: tuple[int, ...] = (1, 8, 32)) -> None:
    """Print the table.

    Args:
      weights: a file or folder of safetensors.
      rounds: measurements, of which the median is printed.
      batches: utterances encoded at a time.
    """
    from ser_jax.benchmark import encoder
    from ser_jax.features.whisper import PACKAGED

    print(encoder.compare(weights or PACKAGED, rounds, batches))


if __name__ == "__main__":
    start_function(encoder, __doc__)
