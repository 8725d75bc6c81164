"""The examples: each is one file of at most 60 lines that goes all the way on small corpora."""

import functools
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from pair import PAIR, shared
from reading import ran

from ser_jax import data, model
from ser_jax.features import Waveform

FOLDER = Path(__file__).parents[1] / "examples"
QUICK = ["--seeds", "1", "--folds", "2", "--epochs", "1", "--model", "probe"]
EXAMPLES = {  # flags, settings, metric and outputs
    "own_task": (QUICK, {"monolingual"}, "UAR", 4),
    "own_regression": (QUICK, {"monolingual", "crosslingual"}, "CCC", 2),
    "own_features": (QUICK, {"monolingual"}, "UAR", 2),
    "own_objective": (QUICK, {"crosslingual"}, "UAR", 2),
    "own_augmentation": (QUICK, {"crosslingual"}, "UAR", 2),
    "own_setting": (QUICK, {"women_to_women", "women_to_men"}, "UAR", 2),
    "own_network": ([*QUICK[:6], "--model.width", "4"], {"monolingual"}, "UAR", 2),
    "own_waveform": (
        [*QUICK[:6], "--features.seconds", "1", "--model.width", "4"], {"monolingual"}, "CCC", 3,
    ),
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("hastily", "undrawn")


@pytest.fixture(scope="module")
def speech():
    """The synthetic pair, also prepared with the front ends of the examples."""
    root = shared()
    sys.path.insert(0, str(FOLDER))
    try:
        from own_features import Projection
    finally:
        sys.path.remove(str(FOLDER))
    source = root / "speech" / "IEMOCAP_full_release"
    for frontend in (Projection(), Waveform(seconds=1.0)):
        options = {"name": PAIR[0], "features": frontend, "data_dir": root / "data"}
        data.prepare("iemocap", source, workers=1, **options)
    return root / "data"


@pytest.fixture(scope="module")
def done(speech, tmp_path_factory):
    """Return a function that runs an example once: (printed, its folder)."""

    @functools.cache
    def run(name):
        flags, settings, *_ = EXAMPLES[name]
        out, corpora = tmp_path_factory.mktemp(name), PAIR if "crosslingual" in settings else PAIR[:1]
        where = ["--corpora", *corpora, "--data-dir", speech, "--out", out]
        return ran(["python", FOLDER / f"{name}.py", *where, *flags])[0], out

    return run


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_goes_all_the_way(done, name):
    _, settings, metric, outputs = EXAMPLES[name]
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) <= 60
    printed, out = done(name)
    assert metric in printed
    document = json.loads((out / "config.json").read_text())
    assert {setting["name"] for setting in document["settings"].values()} == settings
    assert {setting["model"]["outputs"] for setting in document["settings"].values()} == {outputs}
    assert all(setting["code"] for setting in document["settings"].values()) == (name != "own_regression")
    assert not document["missing"]


def test_an_example_can_be_repeated_from_its_configuration(done, speech, tmp_path):
    _, first = done("own_network")
    stored = ["--config", first / "config.json", "--data-dir", speech, "--out", tmp_path]
    ran(["python", FOLDER / "own_network.py", *stored])
    hashes = [json.loads((out / "config.json").read_text())["hash"] for out in (first, tmp_path)]
    assert hashes[0] == hashes[1]


@pytest.fixture
def end_to_end(monkeypatch):
    """Return the network of the waveform of this many samples, and its module."""
    monkeypatch.syspath_prepend(FOLDER)
    import own_waveform

    return lambda samples: own_waveform.EndToEnd(frames=samples, width=4), own_waveform


def test_samples_after_the_end_do_not_change_the_waveform_network(end_to_end):
    """Utterances of any length have the same outputs however much padding follows them."""
    network, module = end_to_end
    step = module.SHORT * module.POOL * module.LONG
    params = model.init(network(step), jax.random.key(0))
    speech = np.random.default_rng(0).normal(size=(1, 4 * step, 1)).astype(np.float32)
    for length in (1, 39, 41, 161, step - 1, step, step + 1, 3 * step - 7):
        spoken = np.where(np.arange(4 * step)[None, :, None] < length, speech, 0)
        least = -(-length // step) * step
        each = [model.apply(network(n), params, np.asarray(spoken[:, :n])) for n in (least, 4 * step)]
        np.testing.assert_allclose(*(one.outputs for one in each), rtol=1e-5, atol=1e-6)
        louder = model.apply(network(4 * step), params, 2 * spoken)
        assert not np.allclose(louder.outputs, each[1].outputs)


def test_windows_of_the_waveform_are_those_of_a_convolution(end_to_end):
    x = np.random.default_rng(0).normal(size=(2, 23, 3)).astype(np.float32)
    found = end_to_end[1].windows(x, 4, 2)
    padded = np.pad(x[:, :20], [(0, 0), (0, 4), (0, 0)])
    wanted = np.stack([padded[:, 4 * i : 4 * i + 8].reshape(2, -1) for i in range(5)], axis=1)
    np.testing.assert_array_equal(found, wanted)
