"""Sec. 4 (d): the models of (c), fine-tuned on a few utterances of the tested corpus.

    python -m experiments.finetuning                                         # IEMOCAP, RECOLA
    python -m experiments.finetuning --corpora synthetic_en synthetic_fr --finetune-samples 50

Expected (Table 2): IEMOCAP arousal 67.03, valence 50.42; RECOLA 63.07, 49.81.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("finetuning", __doc__, "finetuned")
