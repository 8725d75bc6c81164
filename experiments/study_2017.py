"""Vary features, signal length, dialogues and targets, as the study before the paper does (ref. 10).

    python -m experiments.study_2017    # IEMOCAP; others: --corpora NAME NAME

Neumann and Vu (2017) recognise four emotions within IEMOCAP by the same network. Corpora must be prepared
with each front end. `prosody` is pitch, loudness and harmonicity; `views` learns classes of arousal and
valence beside the emotions; `improvised` and `scripted` train on and test these turns alone.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from ser_jax.experiment import start_function

Acted = Literal["logmel", "mfcc", "egemaps", "prosody", "1s", "2s", "3s", "5s", "views"]
System = Acted | Literal["improvised", "scripted"]
SECONDS = {"1s": 1.0, "2s": 2.0, "3s": 3.0, "5s": 5.0}


def study_2017(
    corpora: tuple[str, ...] = ("iemocap",), data_dir: Path | None = None,
    out: Path = Path("results/study_2017"), systems: tuple[System, ...] = get_args(Acted), seeds: int = 5,
    epochs: int = 50,
) -> None:  # fmt: skip
    """Train and test every system within each corpus, and print the table.

    Args:
      corpora, data_dir: names of prepared corpora, and where they are.
      out: folder of the systems' folders.
      systems: features, the first seconds of log-mels, several tasks at once, or the kind of dialogue.
      seeds, epochs: runs per fold, and their epochs.
    """
    from ser_jax.experiment.command import complete
    from ser_jax.experiment.config import Config, ProtocolConfig
    from ser_jax.experiment.settings import monolingual
    from ser_jax.features import MFCC, LogMel
    from ser_jax.features.egemaps import EGeMAPS
    from ser_jax.report import means
    from ser_jax.tasks import TASKS, Joint
    from ser_jax.train import TrainConfig

    emotion = TASKS["emotion"]
    config = Config(corpora=corpora, data_dir=data_dir, tasks=(emotion,), train=TrainConfig(epochs=epochs))
    descriptors = {"egemaps": EGeMAPS(level="descriptors"), "prosody": EGeMAPS(level="prosody")}
    views = Joint((emotion, TASKS["arousal"], TASKS["valence"]))
    for name in systems:
        kind = name if name in ("improvised", "scripted") else None
        own = replace(
            config,
            out=out / name,
            features=MFCC() if name == "mfcc" else descriptors.get(name, LogMel()),
            tasks=(views if name == "views" else emotion,),
            protocol=ProtocolConfig(seeds=seeds, seconds=SECONDS.get(name), dialogue=kind),
        )
        complete(own, monolingual(own), name)
    print(means([out / name for name in systems]))


if __name__ == "__main__":
    start_function(study_2017, __doc__)
