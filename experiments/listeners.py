"""Compare every rater with the consensus of the other raters, beside a network (ref. 9).

    python -m experiments.listeners                                               # EmoTale's Danish part
    python -m experiments.listeners --corpora iemocap --tasks arousal valence emotion dimensions
    python -m experiments.listeners --corpora recola --features logmel --model attentive_cnn

Jeon et al. (2013) compare automatic recognition with human listeners. Here the listeners are the raters of a
corpus: each is a classifier of what the others agree on. The network, trained within the corpus on the
consensus of all, is scored against the same references. IEMOCAP's actors, who rate themselves, are left out.
Any flag replaces the defaults of this experiment:

    --corpora emotale_da --tasks arousal valence dimensions --protocol.dev none
    --features whisper --model probe
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    module, defaults = "ser_jax.report.listeners", __doc__.partition("experiment:")[2]
    start("listeners", __doc__, f"{module}:settings", f"{module}:analyse", fewest=1, defaults=defaults)
