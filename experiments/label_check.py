"""Check the labels of every corpus by models of all others.

    python -m experiments.label_check --corpora ravdess emodb savee nemo --features whisper --model probe

Models of the other corpora rank two classes with swapped labels in reverse. This checks all corpora in turn;
`ser-jax audit NAME --against CORPORA` checks one.
"""

from ser_jax.shutdown import start_program

if __name__ == "__main__":
    start_program()
    from ser_jax.experiment.command import main
    from ser_jax.report.label_check import NAME, analyse, settings

    main(__doc__, NAME, settings, after=analyse)
