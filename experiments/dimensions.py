"""Rated arousal, valence and dominance within a corpus, by the concordance correlation coefficient (CCC).

    python -m experiments.dimensions                                      # EmoTale's Danish part
    python -m experiments.dimensions --corpora iemocap recola --features logmel --model attentive_cnn

Predictions are compared with the consensus and with every rater, and every rater with the mean of the others.
Rows named monolingual_speaker standardize features by each speaker's own statistics, including test speakers,
other rows by those of the training utterances. Any flag replaces the defaults of this experiment:

    --corpora emotale_da --tasks dimensions --protocol.dev none
    --features whisper --model probe --adapted speaker
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("dimensions", __doc__, "within", fewest=1, defaults=__doc__.partition("experiment:")[2])
