"""A dataset as far as a cache looks at it, and loading it through one."""

import numpy as np

from ser_jax.data import cache
from ser_jax.data.corpus import NUMBERS, TEXTS

SHAPE = (40, 750, 26)
LONGEST = 30  # frames of all rows but one


def columns(seed=0):
    """The columns of a dataset: rows of many lengths, one of them all zeros, one that ends in -0."""
    draw = np.random.default_rng(seed)
    frames = draw.integers(1, LONGEST + 1, SHAPE[0]).astype(np.int32)
    frames[:2] = 1, SHAPE[1]
    features = np.zeros(SHAPE, np.float32)
    for row, count in zip(features[1:], frames[1:], strict=True):
        row[:count] = draw.normal(-50, 8, (count, SHAPE[2]))
    features[2, -1] = -0.0
    numbers = {name: draw.uniform(1, 5, SHAPE[0]).astype(dtype) for name, dtype in NUMBERS.items()}
    texts = {name: np.array([f"é{i:03d}" for i in range(SHAPE[0])]) for name in TEXTS}
    return texts | numbers | {"frames": frames, "features": features}


class Reader:
    """Stands for the reading of a dataset; counts how often, and calls `on_row` before each row."""

    def __init__(self, seed=0):
        self.held, self.calls = columns(seed), 0
        self.on_row = lambda i: None

    def __call__(self):
        self.calls += 1
        for i in range(SHAPE[0]):
            self.on_row(i)
            facts = {name: values[i] for name, values in self.held.items() if name != "features"}
            yield facts, self.held["features"][i]


def same(found, held):
    assert found.keys() == held.keys()
    for name, values in held.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].tobytes() == values.tobytes(), name


def load(folder, reader=None):
    """Load through the cache; whichever way the columns came, they are right."""
    reader = Reader() if reader is None else reader
    found, digest = cache.through(folder, SHAPE, reader)
    same(found, reader.held)
    assert len(digest) == 64
    assert not found["features"].flags.writeable
    return reader.calls


def dataset(root):
    """A dataset's folder, as far as a cache looks at it."""
    place = root / "root/manifest/tiny/2.0.0"
    place.mkdir(parents=True)
    (place / "dataset_info.json").write_text("{}")
    (place / "manifest-utterances.array_record-00000-of-00001").write_bytes(bytes(100))
    return place


def files(folder):
    """The cache's columns and features."""
    (place,) = folder.parent.glob("cache-*.npz")
    return place, place.with_suffix(".features")


def siblings(folder):
    return sorted(path.name for path in folder.parent.iterdir())
