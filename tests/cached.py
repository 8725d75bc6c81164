"""A dataset as far as a cache looks at it, and loading it through one."""

import numpy as np

from ser_jax.data import cache
from ser_jax.data.corpus import NUMBERS, TEXTS

SHAPE = (40, 750, 26)
LONGEST = 30  # frames of all rows but one
FILES = ("logmel.npy", "facts.npz", "key.json")


def columns(seed=0):
    """What a dataset holds, sorted: rows of many lengths, one of them all zeros, one that ends in -0."""
    draw = np.random.default_rng(seed)
    frames = draw.integers(1, LONGEST + 1, SHAPE[0]).astype(np.int32)
    frames[:2] = 1, SHAPE[1]
    logmel = np.zeros(SHAPE, np.float32)
    for row, count in zip(logmel[1:], frames[1:], strict=True):
        row[:count] = draw.normal(-50, 8, (count, SHAPE[2]))
    logmel[2, -1] = -0.0
    numbers = {name: draw.uniform(1, 5, SHAPE[0]).astype(dtype) for name, dtype in NUMBERS.items()}
    texts = {name: np.array([f"é{i:03d}" for i in range(SHAPE[0])]) for name in TEXTS}
    return texts | numbers | {"frames": frames, "logmel": logmel}


class Reader:
    """Stands for the dataset's own reading, in the shuffled order of its records; counts how often."""

    def __init__(self, seed=0, order=None):
        self.held, self.calls = columns(seed), 0
        self.order = np.random.default_rng(1).permutation(SHAPE[0]) if order is None else order
        self.on_row = lambda i: None

    def __call__(self, make):
        self.calls += 1
        rows = make(SHAPE)
        for i, row in enumerate(self.order):
            self.on_row(i)
            rows.put(row, self.held["logmel"][row])
        return self.held | {"logmel": rows.array()}, "fingerprint of it"


def same(found, held):
    assert found.keys() == held.keys()
    for name, values in held.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].tobytes() == values.tobytes(), name


def load(folder, reader=None):
    """Through the cache; what comes out is right whatever way it came."""
    reader = Reader() if reader is None else reader
    found, fingerprint = cache.through(folder, reader)
    same(found, reader.held)
    assert fingerprint == "fingerprint of it"
    assert not found["logmel"].flags.writeable
    return reader.calls


def dataset(root):
    """A dataset's folder, as far as a cache looks at it."""
    place = root / "root/manifest/tiny/1.0.0"
    place.mkdir(parents=True)
    (place / "dataset_info.json").write_text("{}")
    (place / "manifest-utterances.array_record-00000-of-00001").write_bytes(bytes(100))
    return place


def home(folder):
    return folder.parent / "cache-1.0.0"


def siblings(folder):
    return sorted(path.name for path in folder.parent.iterdir())
