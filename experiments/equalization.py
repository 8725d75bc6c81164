"""Equalize the histograms of features towards the training corpora (ref. 8).

    python -m experiments.equalization --corpora ravdess emodb

Chiou and Chen (2014) map the features of one language's speech to the distribution of another's. The map of
an utterance is computed from unlabelled speech of its corpus, leaving out its own fold. Rows are (c)
from each corpus and, if there are more than two, from all others.
"""

from ser_jax.experiment import start
from ser_jax.experiment.config import Config
from ser_jax.experiment.settings import Setting, crosslingual, other_corpora


def equalization(config: Config) -> list[Setting]:
    """Return the settings, plain and with equalized histograms."""
    found = []
    for made in (crosslingual, other_corpora) if len(config.corpora) > 2 else (crosslingual,):
        name = made.__name__
        found += [*made(config), *made(config, f"{name}_equalized", equalize=True, beside=name)]
    return found


if __name__ == "__main__":
    start("equalization", __doc__, "experiments.equalization:equalization")
