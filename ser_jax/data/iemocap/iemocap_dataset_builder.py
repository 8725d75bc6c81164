"""IEMOCAP as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per turn of the five sessions."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Request IEMOCAP from https://sail.usc.edu/iemocap/ and unpack IEMOCAP_full_release.
    """
