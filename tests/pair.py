"""Corpora of noise as an experiment loads them, and the synthetic pair prepared from files."""

import contextlib
import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np
from corpora import noise_corpus

from ser_jax import data, model
from ser_jax.data.synthetic import synthesize
from ser_jax.experiment import run
from ser_jax.experiment.config import Config, ProtocolConfig
from ser_jax.experiment.settings import Pool
from ser_jax.train import TrainConfig

PAIR = ("synthetic_en", "synthetic_fr")
TREES = {"iemocap": "IEMOCAP_full_release", "recola": "RECOLA"}
PROTOCOL = ProtocolConfig(seeds=2, finetune_samples=20, finetune_epochs=1)


def noise(*names, **facts):
    """Corpora by name, that of place i with i sessions more than five."""
    return {name: noise_corpus(name, sessions=5 + i, seed=i, **facts) for i, name in enumerate(names)}


def with_facts(corpus, **columns):
    """A corpus with other columns; what is shorter is repeated."""
    full = {name: np.resize(value, len(corpus)) for name, value in columns.items()}
    return dataclasses.replace(corpus, **full)


def config(*names, protocol=PROTOCOL, **changes):
    """A configuration of few channels and an epoch."""
    small = {"model": model.AttentiveCNN(channels=2), "train": TrainConfig(epochs=1)}
    return Config(corpora=names or ("one", "two"), protocol=protocol, **(small | changes))


def changed(config, **protocol):
    """A configuration with another protocol."""
    return dataclasses.replace(config, protocol=dataclasses.replace(config.protocol, **protocol))


def pool(corpora, folds=5):
    """Corpora for plans, of which nothing is computed."""
    return Pool(list(corpora.values()), ProtocolConfig(folds=folds), lambda *features: features)


def planned(settings, corpora, folds=5):
    return run.plan(settings, pool(corpora, folds))


def loaded(monkeypatch, corpora):
    """Experiments load these corpora, wherever they are told to look."""
    monkeypatch.setattr(run, "load", lambda name, *_: corpora[name])
    return corpora


SHARED = Path(os.environ["SER_JAX_SHARED"]) / "pair"


def share(root):
    """Let other tests use a folder with `speech`, the synthetic pair as released, and `data`, as prepared."""
    with contextlib.suppress(FileExistsError):
        SHARED.symlink_to(root)


def shared():
    """Return such a folder, which holds what the tutorial makes."""
    if not SHARED.exists():
        root = Path(tempfile.mkdtemp(dir=SHARED.parent))
        prepare(root)
        share(root)
    return SHARED.resolve()


def prepare(root, utterances=92):
    """Fill such a folder."""
    synthesize(root / "speech", utterances)
    for name, (database, tree) in zip(PAIR, TREES.items(), strict=True):
        data.prepare(database, root / "speech" / tree, name=name, data_dir=root / "data", workers=1)
