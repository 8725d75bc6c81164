"""RECOLA as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per speech turn of the annotated participants."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Request RECOLA from https://diuf.unifr.ch/main/diva/recola/ and unpack RECOLA-Annotation,
    RECOLA-Audio-recordings, RECOLA-Audio_timings and, where it is had, RECOLA-Metadata into one folder.
    """
