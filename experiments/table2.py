"""Table 2: all four settings on two corpora or more, all combinations, every task.

    python -m experiments.table2                                             # IEMOCAP, RECOLA
    python -m experiments.table2 --corpora synthetic_en synthetic_fr --epochs 12 --finetune-samples 40

Writes OUT/report.html and OUT/table2.*. If OUT holds results of the same configuration, only what is missing
is computed.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("table2", __doc__)
