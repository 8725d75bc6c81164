"""Sec. 4: kernel width and pool size, by the scores of the development speakers.

    python -m experiments.tuning                                             # IEMOCAP, RECOLA
    python -m experiments.tuning --corpora synthetic_en synthetic_fr --seeds 1 --epochs 10

The paper chose 10 frames and 30 positions and gives no figures. Test speakers are not used.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("tuning", __doc__, figure="tuning", fewest=1)
