"""Train on every corpus, on all others, and on all of other languages, and test each corpus.

    python -m experiments.transfer --corpora ravdess emodb savee nemo --adapted corpus speaker
    python -m experiments.transfer --features whisper --model attentive_pooling --protocol.most 300

As in Sec. 4 (c), it trains on and tests whole corpora; `--protocol.most` limits the training utterances of
each.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("transfer", __doc__, after="ser_jax.report.transfer:analyse")
