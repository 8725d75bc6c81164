"""Sec. 6: does speech start late? How long each utterance is silent before it and after it.

    python -m experiments.speech_onset                                       # IEMOCAP, RECOLA
    python -m experiments.speech_onset --corpora synthetic_en synthetic_fr

The paper checked by voice activity detection whether RECOLA's turns start with silence, which would explain
where its attention lies, and reports that they do not. Nothing is trained.
"""

from typing import NamedTuple

import numpy as np

from experiments.markdown import aligned
from experiments.summary import title
from ser_jax import flags
from ser_jax.data import Corpus, load
from ser_jax.data.onset import RULE, extent
from ser_jax.io import write_json
from ser_jax.shutdown import run_script

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Onset(NamedTuple):
    """When the utterances of one corpus start to speak.

    Attributes:
      corpus: its name.
      utterances, without: how many, and in how many of them no speech was found.
      start: s, by which a share of `QUANTILES` has started; empty where no speech was found at all.
      late: share that starts later than 0.5 s.
      silent_at_the_end: s, the median.
      contrast: dB, the median.
    """

    corpus: str
    utterances: int
    without: int
    start: list[float]
    late: float
    silent_at_the_end: float
    contrast: float


def found(corpus: Corpus) -> Onset:
    """What there is to say of one corpus."""
    seen = extent(corpus.logmel, corpus.frames)
    lead = seen.lead[~np.isnan(seen.lead)]
    name = title({"name": corpus.name, "synthetic": corpus.synthetic})
    if not len(lead):
        return Onset(name, len(corpus), len(corpus), [], *[float("nan")] * 3)
    return Onset(
        name,
        len(corpus),
        int(np.isnan(seen.lead).sum()),
        np.quantile(lead, QUANTILES).tolist(),
        float(np.mean(lead > 0.5)),
        float(np.nanmedian(seen.tail)),
        float(np.nanmedian(seen.contrast)),
    )


def row(one: Onset) -> list[str]:
    """One corpus's line of the table."""
    if not one.start:
        return [one.corpus, str(one.utterances), *["?"] * (len(QUANTILES) + 3), str(one.without)]
    return [
        one.corpus,
        str(one.utterances),
        *(f"{value:.2f}" for value in one.start),
        f"{100 * one.late:.1f} %",
        f"{one.silent_at_the_end:.2f}",
        f"{one.contrast:.0f}",
        str(one.without),
    ]


def table(onsets: list[Onset]) -> str:
    """All corpora, as Markdown."""
    head = ["", "utterances", *(f"{100 * q:.0f} % start by, s" for q in QUANTILES)]
    head += ["later than 0.5 s", "silent at the end, s", "contrast, dB", "no speech found"]
    return "\n".join(
        [
            aligned([head, *map(row, onsets)]),
            "",
            f"Speech: {RULE.lasting} frames in a row that are at most {RULE.below:g} dB below the loud ones "
            f"and {RULE.above:g} dB above the quiet ones. Contrast: median level of loud over quiet frames; "
            "far below 20 dB the room is loud, and an early start says little.",
        ]
    )


def _number(value: object) -> object:
    """JSON has no NaN."""
    return None if isinstance(value, float) and np.isnan(value) else value


def main(arguments: list[str] | None = None) -> None:
    """Prints the table for the corpora given."""
    parser = flags.Parser(prog="python -m experiments.speech_onset", description=__doc__)
    add = parser.add_argument
    both = ["iemocap", "recola"]
    add("--corpora", nargs="+", default=both, metavar="NAME", help="prepared (default: iemocap recola)")
    place = "where they were prepared (default: as ser-jax prepare)"
    add("--data-dir", type=flags.folder, metavar="DIR", help=place)
    add("--json", type=flags.new_file, metavar="FILE", help="write the numbers there as well")
    options = parser.parse_args(arguments)

    def work() -> None:
        onsets = [found(load(name, options.data_dir)) for name in options.corpora]
        print(table(onsets))
        if options.json is not None:
            content = [{key: _number(value) for key, value in one._asdict().items()} for one in onsets]
            write_json(options.json, content)

    run_script("speech_onset", work)


if __name__ == "__main__":
    main()
