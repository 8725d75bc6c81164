"""Sec. 5: is it the language, or only more data? IEMOCAP cut to the size of RECOLA.

    python -m experiments.english_1308    # IEMOCAP cut to RECOLA's 1,308; others: --corpora NAME NAME

Expected: arousal 68.20, valence 58.77; whole (Table 2): 68.09, 62.33. The first corpus is cut to the size of
the smallest, once for every seed, fold and task.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("english_1308", __doc__)
