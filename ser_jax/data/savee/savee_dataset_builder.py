"""SAVEE as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per recording."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Register at http://kahlan.eps.surrey.ac.uk/savee/, download AudioData.zip and unpack it.
    """
