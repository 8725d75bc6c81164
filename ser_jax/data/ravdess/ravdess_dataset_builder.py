"""RAVDESS as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per recording."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download Audio_Speech_Actors_01-24.zip from https://zenodo.org/records/1188976 and unpack it.
    """
