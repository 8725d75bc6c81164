"""Fuse several detectors, and compare their equal error rates (ref. 2).

    python -m experiments.fusion --corpora ravdess emodb

Lefter et al. (2010) fuse the scores of four detectors. Here they are the CNN on log-mels, a probe on eGeMAPS,
and a probe and attentive pooling on Whisper, within each corpus. A logistic regression of their
log-probabilities, fitted to the development speakers of each fold, fuses them.
"""

from dataclasses import replace
from pathlib import Path

from ser_jax.experiment import start_function


def fusion(
    corpora: tuple[str, ...], data_dir: Path | None = None, out: Path = Path("results/fusion"),
    seeds: int = 5, epochs: int = 20,
) -> int:  # fmt: skip
    """Train and test the detectors, and write and print the table.

    Args:
      corpora, data_dir: names of corpora prepared with each front end, see `experiments.features`.
      out: folder of the detectors' folders, and of the table.
      seeds, epochs: runs per fold, and the networks' epochs; probes train for 1.5 times as many.
    """
    from ser_jax.experiment.command import complete
    from ser_jax.experiment.config import Config, ProtocolConfig
    from ser_jax.experiment.settings import development, monolingual
    from ser_jax.features import LogMel, egemaps, whisper
    from ser_jax.features.joined import Joined
    from ser_jax.model import AttentiveCNN, AttentivePooling, Probe
    from ser_jax.report.fusion import analyse
    from ser_jax.train import TrainConfig

    encoder, training = whisper.Whisper(layers=(0, 1, 2), stride=8), TrainConfig(epochs=epochs)
    convex = replace(training, epochs=epochs * 3 // 2, optimizer="sgd", batch=256, weight_decay=3.0)
    base = Config(corpora=corpora, data_dir=data_dir, train=training, protocol=ProtocolConfig(seeds=seeds))
    probe = replace(base, model=Probe(), train=convex)
    detectors = {
        "cnn_logmel": replace(base, features=LogMel(), model=AttentiveCNN()),
        "probe_egemaps": replace(probe, features=egemaps.EGeMAPS()),
        "probe_whisper": replace(probe, features=Joined(parts=(encoder,), pooled=True)),
        "attentive_whisper": replace(base, features=encoder, model=AttentivePooling()),
    }
    stopped: list[str] = []
    for name, config in detectors.items():
        held_out = monolingual(config, "development", plan=development, tuned=True)
        stopped += complete(replace(config, out=out / name), [*monolingual(config), *held_out], name)[1]
    print(analyse(replace(base, out=out), [out / name for name in detectors]))
    return 1 if stopped else 0


if __name__ == "__main__":
    start_function(fusion, __doc__)
