"""Sec. 6: does speech start late? How long each utterance is silent before it and after it.

    python -m experiments.speech_onset    # IEMOCAP, RECOLA; others: --corpora NAME NAME

The paper reports that RECOLA's turns do not start with silence, which would explain the position of the
attention. Nothing is trained.
"""

from pathlib import Path

from ser_jax.experiment import start_function


def speech_onset(corpora: tuple[str, ...] = ("iemocap", "recola"), data_dir: Path | None = None) -> None:
    """Print when speech starts.

    Args:
      corpora: prepared with log-mels.
      data_dir: folder of prepared corpora; the default of `ser-jax prepare`.
    """
    from ser_jax.data import load
    from ser_jax.report.corpora import onset_table

    print(onset_table(load(name, data_dir) for name in corpora))


if __name__ == "__main__":
    start_function(speech_onset, __doc__)
