"""RECOLA: French dyads solving a task over video, annotated continuously."""

from ser_jax.data.recola.reader import THRESHOLDS, RecolaError, read

__all__ = ["THRESHOLDS", "RecolaError", "read"]
