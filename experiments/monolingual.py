"""Sec. 4 (a): cross-validation within each corpus, the baseline.

    python -m experiments.monolingual                                        # IEMOCAP, RECOLA
    python -m experiments.monolingual --corpora synthetic_en synthetic_fr
    python -m experiments.monolingual --tasks emotion                        # four classes of emotion

Expected (Table 2): IEMOCAP arousal 68.09, valence 62.33; RECOLA 60.77, 52.30.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("monolingual", __doc__, "within", fewest=1)
