"""Recognisers with random weights, and recordings, for tests."""

import jax
import numpy as np
import soundfile

from ser_jax import model
from ser_jax.data.standardize import Scaler
from ser_jax.features import LogMel
from ser_jax.model import AttentiveCNN
from ser_jax.recognizer import Recognizer, TaskModel, Trained, trained
from ser_jax.recognizer.trained import Temperature
from ser_jax.tasks import TASKS

CORPUS = {"name": "made_up", "synthetic": True, "languages": ["de"], "training": {"utterances": 12}}
FACTS = {"name": "random", "synthetic": True, "corpora": [CORPUS]}


def drawn(tasks=("arousal", "valence"), seeds=5, network=AttentiveCNN, frontend=None, **sizes):
    """Return a `Trained` of random weights, none of them zero, with a scaler that suits speech."""
    frontend, rng, models = frontend or LogMel(), np.random.default_rng(0), {}

    def drawn(leaf):
        return rng.uniform(-0.2, 0.2, (seeds, *leaf.shape)).astype(leaf.dtype)

    for i, task in enumerate(TASKS[one] for one in tasks):
        own = network(bands=frontend.dims, frames=frontend.frames, outputs=task.outputs, **sizes)
        params = jax.tree.map(drawn, model.shapes(own))
        temperature = Temperature(0.5 + i, 0.3 * i) if task.class_names else None
        models[task.name] = TaskModel(task, own, params, temperature)
    mean, deviation = rng.normal(-40, 5, frontend.dims), rng.uniform(10, 20, frontend.dims)
    scaler = Scaler(mean.astype(np.float32), (1 / deviation).astype(np.float32))
    return Trained(frontend, scaler, models, {**FACTS, "seeds": seeds})


def kept(path, **options):
    """Write the folder of such a recogniser and return its path."""
    path.mkdir(parents=True)
    trained.write(path, drawn(**options))
    return path


def recogniser(**options):
    """Return such a recogniser."""
    return Recognizer(drawn(**options))


def speech(seconds, rate=16_000, seed=0):
    """Return noise whose level changes with every syllable: [n] float64."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    level = np.repeat(10 ** rng.uniform(-3, -0.5, -(-count // (rate // 5))), rate // 5)[:count]
    return level * rng.uniform(-1, 1, count)


def recordings(root):
    """Fill a folder with recordings of several formats and lengths, one of them of several windows."""
    (root / "deep").mkdir()
    lengths = {"a.wav": 1.0, "b.flac": 12.0, "deep/c.WAV": 3.0, "deep/it's =2+3; $x$.ogg": 8.0}
    for i, (name, seconds) in enumerate(lengths.items()):
        soundfile.write(root / name, speech(seconds, seed=i), 16_000, format=name[-4:].strip(".").upper())
    (root / "deep" / "notes.txt").write_text("no recording")
    return root
