"""CaFE as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per recording."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download CaFE_48k.zip from https://zenodo.org/records/1478765 and unpack it.
    """
