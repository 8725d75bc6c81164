"""Compare front ends and networks, within corpora and from all other languages to each corpus.

    python -m experiments.features --corpora ravdess emodb savee nemo --without savee

Corpora must be prepared with each front end, `whisper` with --features.layers 0 1 2 --features.stride 8. At
most 300 utterances of each train. Every system has a results folder; the table shows means over the corpora.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from ser_jax.experiment import start_function

System = Literal["cnn_logmel", "probe_egemaps", "probe_whisper", "probe_whisper_egemaps", "attentive"]


def features(
    corpora: tuple[str, ...], data_dir: Path | None = None, out: Path = Path("results/features"),
    systems: tuple[System, ...] = get_args(System), without: tuple[str, ...] = (), seeds: int = 5,
) -> None:  # fmt: skip
    """Train and test every system, and print the table.

    Args:
      corpora, data_dir: names of prepared corpora, and where they are.
      out: folder of the systems' folders.
      systems: front ends and networks.
      without: corpora that the means in brackets leave out.
      seeds: runs per fold; 1 of a probe, which is convex.
    """
    from ser_jax.experiment.command import complete
    from ser_jax.experiment.config import Config, ProtocolConfig
    from ser_jax.experiment.settings import other_languages, with_adapted, within
    from ser_jax.features import LogMel, egemaps, whisper
    from ser_jax.features.joined import Joined
    from ser_jax.model import AttentiveCNN, AttentivePooling, Probe
    from ser_jax.report import means
    from ser_jax.train import TrainConfig

    functionals, encoder = egemaps.EGeMAPS(), whisper.Whisper(layers=(0, 1, 2), stride=8)
    training = TrainConfig(epochs=20, class_weights="corpora")
    convex = replace(training, epochs=30, optimizer="sgd", batch=256, weight_decay=3.0)
    protocol = ProtocolConfig(most=300, seeds=seeds, adapted=("corpus", "speaker"))
    base = Config(corpora=corpora, data_dir=data_dir, protocol=protocol, train=training)
    probe = replace(base, model=Probe(), train=convex, protocol=replace(protocol, seeds=1))
    every = {
        "cnn_logmel": replace(base, features=LogMel(), model=AttentiveCNN()),
        "probe_egemaps": replace(probe, features=functionals),
        "probe_whisper": replace(probe, features=Joined(parts=(encoder,), pooled=True)),
        "probe_whisper_egemaps": replace(probe, features=Joined(parts=(encoder, functionals), pooled=True)),
        "attentive": replace(base, features=encoder, model=AttentivePooling()),
    }
    for name in systems:
        config = replace(every[name], out=out / name)
        complete(config, within(config) + with_adapted(config, other_languages), name)
    print(means([out / name for name in systems], without))


if __name__ == "__main__":
    start_function(features, __doc__)
