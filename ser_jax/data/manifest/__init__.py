"""Any labelled speech, described by a CSV file."""

from ser_jax.data.manifest.reader import ManifestError, read

__all__ = ["ManifestError", "read"]
