"""EmoDB as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per recording."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download EmoDB from http://emodb.bilderbar.info/ and unpack it.
    """
