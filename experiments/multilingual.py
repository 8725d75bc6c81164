"""Sec. 4 (b): the training folds of all corpora merged, tested on each corpus's test fold.

    python -m experiments.multilingual    # IEMOCAP, RECOLA; others: --corpora NAME NAME

Expected (Table 2): IEMOCAP arousal 70.06, valence 61.73; RECOLA 62.51, 49.33.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("multilingual", __doc__)
