"""Train on other languages of the same family, and of other families (ref. 6).

    python -m experiments.families --corpora ravdess emodb savee emotale_da nemo casia

Feraru et al. (2015) test eight languages of four families. A corpus is tested by models of other languages
of its own family (`same_family`), if there are any, and of all other families (`other_families`); corpora of
unknown families are left out. `experiments.transfer` compares families with one training corpus at a time.
"""

from ser_jax.experiment import start
from ser_jax.experiment.config import Config
from ser_jax.experiment.settings import Setting, from_many, languages
from ser_jax.report.transfer import family


def families(config: Config) -> list[Setting]:
    """Return (c) to each corpus from all of its family, and from all of others."""
    spoken = languages(config)
    known = {one: own for one in spoken if (own := family(spoken[one])) not in ("several", "unknown")}

    def sources(of_same: bool) -> dict[str, tuple[str, ...]]:
        other = {test: [one for one in known if not set(spoken[one]) & set(spoken[test])] for test in known}
        return {
            test: tuple(one for one in own if (known[one] == known[test]) == of_same)
            for test, own in other.items()
        }

    return [
        *from_many(config, "same_family", sources(of_same=True)),
        *from_many(config, "other_families", sources(of_same=False)),
    ]


if __name__ == "__main__":
    start("families", __doc__, "experiments.families:families")
