"""Compare what helps on a new language: statistics, trimming, histograms, objectives, and a few labels.

    python -m experiments.adaptation --corpora ravdess emodb savee nemo --without savee

Every row trains the attentive CNN on log-mels of all other languages, at most 300 utterances of each corpus.
Statistics of the tested corpus or its speakers, and equalized histograms, take unlabelled speech of that
corpus; `labelled` takes 10 to 100 of its labels per fold. Nothing else knows more than the recording.
"""

from dataclasses import replace
from itertools import chain
from pathlib import Path

from ser_jax.experiment import start_function

SAMPLES = (10, 20, 50, 100)


def adaptation(
    corpora: tuple[str, ...], data_dir: Path | None = None, out: Path = Path("results/adaptation"),
    without: tuple[str, ...] = (), seeds: int = 5, epochs: int = 20,
) -> None:  # fmt: skip
    """Train and test all rows, and print the table.

    Args:
      corpora, data_dir: names of corpora prepared with log-mels, and where they are.
      out: folder of the rows' folders.
      without: corpora that the means in brackets leave out.
      seeds, epochs: runs, and epochs of each.
    """
    from ser_jax.experiment.command import complete
    from ser_jax.experiment.config import Config, ProtocolConfig
    from ser_jax.experiment.settings import finetuned, other_languages, with_adapted
    from ser_jax.objectives import DomainAdversarial, SupervisedContrastive
    from ser_jax.report import means
    from ser_jax.train import TrainConfig

    training = TrainConfig(epochs=epochs, class_weights="corpora")
    protocol = ProtocolConfig(most=300, seeds=seeds, adapted=("utterance", "corpus", "speaker"))
    base = Config(corpora=corpora, data_dir=data_dir, protocol=protocol, train=training)
    plain = replace(base, protocol=replace(protocol, adapted=()))
    trimmed = replace(base, protocol=replace(protocol, trim=25.0, adapted=("corpus",)))
    adversarial = replace(plain, train=replace(training, objective=DomainAdversarial()))
    contrastive = replace(plain, train=replace(training, objective=SupervisedContrastive()))
    few = [finetuned(plain, f"finetuned_{n:03}", other_languages, samples=n) for n in SAMPLES]
    rows = {
        "statistics": (base, with_adapted(base, other_languages)),
        "trimmed": (trimmed, with_adapted(trimmed, other_languages)),
        "equalized": (plain, other_languages(plain, equalize=True)),
        "adversarial": (adversarial, other_languages(adversarial)),
        "contrastive": (contrastive, other_languages(contrastive)),
        "labelled": (plain, [*other_languages(plain), *chain(*few)]),
    }
    for name, (config, settings) in rows.items():
        complete(replace(config, out=out / name), settings, name)
    print(means([out / name for name in rows], without))


if __name__ == "__main__":
    start_function(adaptation, __doc__)
