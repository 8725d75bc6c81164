"""Sec. 4 (c): train on all of one corpus, and test all of every other.

    python -m experiments.crosslingual    # IEMOCAP, RECOLA; others: --corpora NAME NAME
    python -m experiments.crosslingual --adapted corpus speaker    # with statistics of the tested corpus, too

Expected (Table 2): IEMOCAP arousal 59.32, valence 49.08; RECOLA 61.27, 47.52.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("crosslingual", __doc__, "across")
