"""CREMA-D as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per recording."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Clone https://github.com/CheyneyComputerScience/CREMA-D with Git LFS, which fetches AudioWAV.
    """
