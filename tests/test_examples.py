"""The examples: each is one file of at most 60 lines that goes all the way on small corpora."""

import functools
import json
import sys
from pathlib import Path

import pytest
from pair import PAIR, shared
from reading import ran

from ser_jax import data

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
}
pytestmark = pytest.mark.usefixtures("hastily", "undrawn")


@pytest.fixture(scope="module")
def speech():
    """The synthetic pair, also prepared with the front end of the example."""
    root = shared()
    sys.path.insert(0, str(FOLDER))
    try:
        from own_features import Projection
    finally:
        sys.path.remove(str(FOLDER))
    source = root / "speech" / "IEMOCAP_full_release"
    options = {"name": PAIR[0], "features": Projection(), "data_dir": root / "data"}
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
