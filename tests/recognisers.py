"""Recognisers for tests: of the real make, with weights by lot."""

import jax
import numpy as np
import soundfile

from ser_jax import model
from ser_jax.features.logmel import filterbank
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import Recognizer, trained
from ser_jax.recognizer.trained import Target, Temperature, Trained

FACTS = {
    "name": "by-lot",
    "synthetic": True,
    "corpora": [
        {"name": "made_up", "builder": "manifest", "synthetic": True, "utterances": 12, "speakers": 3}
    ],
}


def drawn(targets=("arousal", "valence"), seeds=5, sizes=None, draw=0) -> Trained:
    """Weights as training would find them in size, and a standardisation that suits speech."""
    sizes = sizes or AttentiveCNN()
    keys = jax.random.split(jax.random.key(draw), (len(targets), seeds))
    params = jax.vmap(jax.vmap(lambda key: model.init(sizes, key)))(keys)
    rng = np.random.default_rng(draw)
    return Trained(
        sizes=sizes,
        filters=filterbank().toarray(),
        mean=rng.normal(-40, 5, sizes.bands).astype(np.float32),
        scale=(1 / rng.uniform(10, 20, sizes.bands)).astype(np.float32),
        targets={name: _target(params, i) for i, name in enumerate(targets)},
        facts={**FACTS, "seeds": seeds},
    )


def _target(params, i) -> Target:
    own = jax.tree.map(lambda leaf: np.asarray(leaf[i]), params)
    return Target(Temperature(0.5 + i, 0.3 * i), own)


def kept(path, **options):
    """The folder of such a recogniser."""
    path.mkdir(parents=True)
    trained.write(path, drawn(**options))
    return path


def speech(seconds, rate=16_000, seed=0):
    """Noise whose level changes from syllable to syllable: [n] float64."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    level = np.repeat(10 ** rng.uniform(-3, -0.5, -(-count // (rate // 5))), rate // 5)[:count]
    return level * rng.uniform(-1, 1, count)


def recordings(root):
    """A folder of recordings of several formats and lengths, one of them in several windows."""
    (root / "deep").mkdir()
    for i, (name, seconds) in enumerate(
        {"a.wav": 1.0, "b.flac": 12.0, "deep/c.WAV": 3.0, "deep/it's =2+3; $x$.ogg": 8.0}.items()
    ):
        soundfile.write(root / name, speech(seconds, seed=i), 16_000, format=name[-4:].strip(".").upper())
    (root / "deep" / "notes.txt").write_text("no recording")
    return root


def recogniser(**options) -> Recognizer:
    """Such a recogniser, loaded."""
    return Recognizer(drawn(**options))
