"""Speech with annotations: from a database's files to arrays.

    from ser_jax import data
    data.prepare("iemocap", "IEMOCAP_full_release")     # once; minutes
    corpus = data.load("iemocap")                       # a Corpus: arrays, facts only

Importing this is cheap: tfds and librosa load when they are first needed.
"""

from ser_jax.data.corpus import Corpus, CorpusError, Facts, batches
from ser_jax.data.preparation import prepare
from ser_jax.data.store import DamagedCorpusError, UnknownCorpusError, facts, load

__all__ = [
    "Corpus", "CorpusError", "DamagedCorpusError", "Facts", "UnknownCorpusError", "batches", "facts", "load",
    "prepare",
]  # fmt: skip
