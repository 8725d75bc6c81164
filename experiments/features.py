"""Compare front ends and networks, within corpora and from all other languages to each corpus.

    python -m experiments.features --corpora ravdess emodb savee nemo --without savee

Corpora must be prepared with each front end, `whisper` with --features.layers 0 1 2 --features.stride 8. Each
system has its own results folder. The table has means over the tested corpora.
"""

from dataclasses import replace
from pathlib import Path

from ser_jax.experiment import start_function


def features(
    corpora: tuple[str, ...], data_dir: Path | None = None, out: Path = Path("results/features"),
    systems: tuple[str, ...] = (), without: tuple[str, ...] = (), weights: str = "",
    layers: tuple[int, ...] = (0, 1, 2), most: int = 300, seeds: int = 5,
) -> None:  # fmt: skip
    """Train and test every system, and print the table.

    Args:
      corpora, data_dir: names of prepared corpora, and where they are.
      out: folder of the systems' folders.
      systems: some of them; all by default.
      without: corpora that the means in brackets leave out.
      weights, layers: of `whisper`.
      most: utterances of each corpus that train.
      seeds: runs per fold; 1 of a probe, which is convex.
    """
    from ser_jax.experiment import command, settings
    from ser_jax.experiment.config import Config, ConfigError, ProtocolConfig
    from ser_jax.features import LogMel, egemaps, joined, whisper
    from ser_jax.model import AttentiveCNN, AttentivePooling, Probe
    from ser_jax.report import means
    from ser_jax.train import TrainConfig

    functionals, encoder = egemaps.EGeMAPS(), whisper.Whisper(weights=weights, layers=layers, stride=8)
    pooled, both = (joined.Joined(parts=(encoder, *more), pooled=True) for more in ((), (functionals,)))
    training = TrainConfig(epochs=20, class_weights="corpora")
    convex = replace(training, epochs=30, optimizer="sgd", batch=256, weight_decay=3.0)
    protocol = ProtocolConfig(most=most, seeds=seeds, adapted=("corpus", "speaker"))
    base = Config(corpora=corpora, data_dir=data_dir, protocol=protocol, train=training)
    probe = replace(base, model=Probe(), train=convex, protocol=replace(protocol, seeds=1))
    every = {
        "cnn_logmel": replace(base, features=LogMel(), model=AttentiveCNN()),
        "probe_egemaps": replace(probe, features=functionals),
        "probe_whisper": replace(probe, features=pooled),
        "probe_whisper_egemaps": replace(probe, features=both),
        "attentive_pooling_whisper": replace(base, features=encoder, model=AttentivePooling()),
    }
    for name in (chosen := systems or tuple(every)):
        if name not in every:
            raise ConfigError(f"--systems {name}, expected some of {', '.join(every)}")
        config = replace(every[name], out=out / name)
        across = settings.with_adapted(config, settings.other_languages)
        command.complete(config, [*settings.within(config), *across], name)
    print(means([out / name for name in chosen], without))


if __name__ == "__main__":
    start_function(features, __doc__)
