"""EMOVO as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per recording."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Obtain EMOVO from its authors, see https://aclanthology.org/L14-1478/, and unpack it.
    """
