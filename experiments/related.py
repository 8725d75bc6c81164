"""Related systems that the paper cites, as settings.

    python -m experiments.related    # IEMOCAP, RECOLA; others: --corpora NAME NAME

language      which corpus an utterance is from, predicted by the same network
identified    the model of the corpus so predicted ([7])
voted         the mean of all corpora's models, against the merged one ([4])
*_equalized   histograms of the features equalized towards the training corpora first ([8])

The model of the tested corpus is the monolingual one of its fold; those of other corpora are the
cross-lingual ones. The paper reports none of these systems. Corpora differ in more than language: a network
may distinguish them by the room.
"""

from ser_jax.experiment import start

SHOWN = (
    "monolingual", "identified", "voted", "multilingual", "multilingual_equalized", "crosslingual",
    "crosslingual_equalized", "language",
)  # fmt: skip

if __name__ == "__main__":
    start("related", __doc__, after="ser_jax.experiment.results:combine", shown=SHOWN)
