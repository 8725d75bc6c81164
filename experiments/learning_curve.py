"""Utterances of the tested corpus that are needed: Sec. 4 (d) with none, 10, ... 400 of them per fold.

    python -m experiments.learning_curve    # IEMOCAP, RECOLA; others: --corpora NAME NAME

The paper uses only 100. Each seed draws its own utterances, so the standard deviation includes the variation
between draws; larger draws contain the smaller ones.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("learning_curve", __doc__, figure="learning_curve")
