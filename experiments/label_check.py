"""Check the labels of every corpus by models of all others.

    python -m experiments.label_check --corpora ravdess emodb savee nemo --features whisper --model probe

Models of the other corpora rank two classes with swapped labels in reverse. This checks all corpora in turn;
`ser-jax audit NAME --against CORPORA` checks one.
"""

from ser_jax.experiment import start

if __name__ == "__main__":
    module = "ser_jax.report.label_check"
    start("label_check", __doc__, f"{module}:settings", f"{module}:analyse")
