"""Vary features, signal length, dialogues and targets, as the authors' study of 2017 does (ref. 10).

    python -m experiments.study_2017    # IEMOCAP; others: --corpora NAME NAME

Neumann and Vu (2017) recognise four emotions within IEMOCAP by the same network. `prosody` is pitch, loudness
and harmonicity; `views` learns arousal and valence as well; `--systems improvised scripted` trains on and
tests these turns alone. Corpora must be prepared with each front end.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from ser_jax.experiment import start_function

System = Literal["logmel", "mfcc", "egemaps", "prosody", "1s", "2s", "3s", "5s", "views"]
Dialogue = Literal["improvised", "scripted"]
SECONDS = {"1s": 1.0, "2s": 2.0, "3s": 3.0, "5s": 5.0}


def study_2017(
    corpora: tuple[str, ...] = ("iemocap",), data_dir: Path | None = None,
    out: Path = Path("results/study_2017"), seeds: int = 5, epochs: int = 50,
    systems: tuple[System | Dialogue, ...] = get_args(System),
) -> int:  # fmt: skip
    """Train and test every system within each corpus, and print the table.

    Args:
      corpora, data_dir: names of prepared corpora, and where they are.
      out: folder of the systems' folders.
      seeds, epochs: runs per fold, and their epochs.
      systems: features, the first seconds of log-mels, several tasks at once, or the kind of dialogue.
    """
    from ser_jax.experiment.command import complete
    from ser_jax.experiment.config import Config, ProtocolConfig
    from ser_jax.experiment.settings import monolingual
    from ser_jax.features import MFCC, LogMel
    from ser_jax.features.egemaps import EGeMAPS
    from ser_jax.report import means
    from ser_jax.tasks import TASKS, Joint
    from ser_jax.train import TrainConfig

    config = Config(corpora=corpora, data_dir=data_dir, train=TrainConfig(epochs=epochs))
    descriptors, prosody = (EGeMAPS(level=level) for level in ("descriptors", "prosody"))
    front_ends = {"mfcc": MFCC(), "egemaps": descriptors, "prosody": prosody}
    emotion, views = TASKS["emotion"], Joint((TASKS["emotion"], TASKS["arousal"], TASKS["valence"]))
    stopped: list[str] = []
    for name in systems:
        tasks = (views if name == "views" else emotion,)
        part = next((one for one in get_args(Dialogue) if one == name), None)
        protocol = ProtocolConfig(seeds=seeds, seconds=SECONDS.get(name), dialogue=part)
        features, folder = front_ends.get(name, LogMel()), out / name
        own = replace(config, features=features, tasks=tasks, protocol=protocol, out=folder)
        stopped += complete(own, monolingual(own), name)[1]
    print(means([out / name for name in systems]))
    return 1 if stopped else 0


if __name__ == "__main__":
    start_function(study_2017, __doc__)
