"""Speech with known answers: two synthesised databases in the layouts of IEMOCAP and RECOLA.

The real recordings cannot be redistributed, so demonstrations, tests and benchmarks run on these. Arousal is
carried by the same cues in both languages, valence by different ones: a recogniser should transfer the first
and fail to transfer the second, which is the paper's finding in a case where the reason is known.
"""

import csv
from collections.abc import Callable
from pathlib import Path

from ser_jax.data.synthetic import plan, trees
from ser_jax.data.synthetic.plan import SynthesisError
from ser_jax.io import atomic_folder

__all__ = ["SynthesisError", "read_truth", "synthesize"]


def read_truth(out: Path) -> dict[str, dict[str, str]]:
    """Return utterance id to {"arousal": "low" | "high", "valence": "negative" | "positive"}."""
    with (Path(out) / "truth.csv").open(newline="", encoding="utf-8") as file:
        return {row.pop("utterance"): row for row in csv.DictReader(file)}


def synthesize(
    out: Path, utterances: int = 240, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write both databases and their truth, atomically: OUT/IEMOCAP_full_release, OUT/RECOLA, OUT/truth.csv.

    The same arguments give the same bytes in every file.

    Args:
      out: a folder that does not exist yet or is empty.
      utterances: per language, spread evenly over 10 English and 23 French speakers.
      seed: not negative.
      progress: called with (utterances done, utterances in all), if given.
    Raises: SynthesisError if `out` is not empty, or `utterances` or `seed` is out of range.
    """
    if seed < 0:
        raise SynthesisError(f"seed: found {seed}, expected an integer that is not negative")
    turns = plan.plan(utterances, seed)
    with atomic_folder(out, SynthesisError) as partial:
        trees.write(partial, turns, seed, progress)
