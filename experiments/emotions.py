"""Emotions within a corpus, as many classes as it has: SAVEE (7), CASIA (6) and RAVDESS (8).

    python -m experiments.emotions
    python -m experiments.emotions --corpora savee --model attentive_pooling

Each fold leaves out one speaker, or four of RAVDESS (six folds; --protocol.fold-file reads another split);
all others are used for training. Rows named monolingual_speaker standardize features by each speaker's own
statistics, including test speakers, other rows by those of the training utterances. Any flag replaces the
defaults of this experiment:

    --corpora savee casia ravdess --tasks categories --folds 6 --protocol.dev none
    --features whisper+ --features.pooled --model probe --adapted speaker
    --train.optimizer sgd --train.learning-rate 0.01 --train.weight-decay 0.3 --train.batch 256 --epochs 100
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    start("emotions", __doc__, "within", fewest=1, defaults=__doc__.partition("experiment:")[2])
