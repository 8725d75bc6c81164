"""IEMOCAP: English dyads, acted and improvised, annotated turn by turn."""

from ser_jax.data.iemocap.reader import THRESHOLDS, IemocapError, read

__all__ = ["THRESHOLDS", "IemocapError", "read"]
