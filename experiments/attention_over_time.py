"""Sec. 6, Figs. 2 and 3: where the attention of the monolingual models of the first task lies.

    python -m experiments.attention_over_time                                # IEMOCAP, RECOLA
    python -m experiments.attention_over_time --corpora synthetic_en synthetic_fr --out results/demo

Each network is compared with one whose softmax leaves out the padding. With the `--out` and the flags of
another experiment, its stored models are analysed.

Expected, training utterances: alpha_1 is the largest in 31.2 % on IEMOCAP; the two largest differ by more
than 0.5 in 73.1 % on IEMOCAP, 5 % on RECOLA.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    module = "ser_jax.report.attention"
    start("attention_over_time", __doc__, f"{module}:settings", f"{module}:analyse", fewest=1)
