"""What crosses from every corpus to every other, from all others to one, and from all other languages to one.

    python -m experiments.transfer --corpora ravdess emodb savee nemo --adapted corpus speaker
    python -m experiments.transfer --features whisper --model attentive_pooling --protocol.most 300

All of the training corpora train (at most `--protocol.most` utterances of each), and all of the tested one is
tested, as in Sec. 4 (c).
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("transfer", __doc__)
