"""Sec. 6: does speech start late? How long each utterance is silent before it and after it.

    python -m experiments.speech_onset                                       # IEMOCAP, RECOLA
    python -m experiments.speech_onset --corpora synthetic_en synthetic_fr

The paper checked by voice activity detection whether RECOLA's turns start with silence, which would explain
where its attention lies, and reports that they do not. Nothing is trained.
"""

import argparse
import sys

import numpy as np

from experiments import tables
from experiments.summary import title
from ser_jax import flags
from ser_jax.cli import guarded
from ser_jax.data import Corpus, load
from ser_jax.data.onset import RULE, extent

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def row(corpus: Corpus) -> list[str]:
    """One corpus's line of the table."""
    found = extent(corpus.logmel, corpus.frames)
    lead = found.lead[~np.isnan(found.lead)]
    name = title({"name": corpus.name, "synthetic": corpus.synthetic})
    if not len(lead):
        return [name, str(len(corpus)), *["?"] * (len(QUANTILES) + 3), str(len(corpus))]
    return [
        name,
        str(len(corpus)),
        *(f"{value:.2f}" for value in np.quantile(lead, QUANTILES)),
        f"{100 * np.mean(lead > 0.5):.1f} %",
        f"{np.nanmedian(found.tail):.2f}",
        f"{np.nanmedian(found.contrast):.0f}",
        str(int(np.isnan(found.lead).sum())),
    ]


def table(corpora: list[Corpus]) -> str:
    """All corpora, as Markdown."""
    head = ["", "utterances", *(f"{100 * q:.0f} % start by, s" for q in QUANTILES)]
    head += ["later than 0.5 s", "silent at the end, s", "contrast, dB", "no speech found"]
    return "\n".join(
        [
            tables.lines([head, *map(row, corpora)]),
            "",
            f"Speech: {RULE.lasting} frames in a row that are at most {RULE.below:g} dB below the loud ones "
            f"and {RULE.above:g} dB above the quiet ones. Contrast: median level of loud over quiet frames; "
            "far below 20 dB the room is loud, and an early start says little.",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Prints the table for the corpora given."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.speech_onset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--corpora", nargs="+", default=["iemocap", "recola"], metavar="NAME")
    parser.add_argument(
        "--data-dir", type=flags.folder, help="where they were prepared (default: as ser-jax prepare)"
    )
    options = parser.parse_args(arguments)

    def work() -> None:
        print(table([load(name, options.data_dir) for name in options.corpora]))

    sys.exit(guarded("experiments.speech_onset", work, "interrupted"))


if __name__ == "__main__":
    main()
