"""What a manifest describes, as a tfds dataset."""

from ser_jax.data.builder import CorpusBuilder


class Builder(CorpusBuilder):
    """One record per row of the manifest."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Write a CSV file with the columns path, speaker, arousal and valence beside the recordings.
    """
