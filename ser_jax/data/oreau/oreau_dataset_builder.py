"""Oréau as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per recording."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download one version of Oréau from https://zenodo.org/records/4405783 and unpack it.
    """
