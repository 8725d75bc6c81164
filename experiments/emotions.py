"""Emotions within a corpus, as many classes as it has: SAVEE (7), CASIA (6) and RAVDESS (8).

    python -m experiments.emotions
    python -m experiments.emotions --corpora savee --model attentive_pooling

One speaker is left out at a time, of RAVDESS four (six folds; --protocol.fold-file takes another split), and
all others train. Rows named monolingual_speaker use the statistics of each speaker, tested ones too, and the
others those of the training utterances. Any flag replaces the defaults of this experiment:

    --corpora savee casia ravdess --tasks categories --folds 6 --protocol.dev none
    --features whisper+ --features.pooled --model probe --adapted speaker
    --train.optimizer sgd --train.learning-rate 0.01 --train.weight-decay 0.3 --train.batch 256 --epochs 100
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("emotions", __doc__, "within", fewest=1, defaults=__doc__.partition("experiment:")[2])
