"""The examples: each is one file of at most 60 lines that goes all the way on small corpora."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pair import PAIR, prepare
from reading import run

from ser_jax import data

FOLDER = Path(__file__).parents[1] / "examples"
QUICK = ["--seeds", "1", "--folds", "2", "--epochs", "1", "--model.channels", "4"]
EXAMPLES = {  # flags, settings, metric and outputs
    "own_task": (QUICK, {"monolingual"}, "UAR", 4),
    "own_regression": (QUICK, {"monolingual", "crosslingual"}, "CCC", 2),
    "own_features": ([*QUICK[:6], "--model", "probe"], {"monolingual"}, "UAR", 2),
    "own_objective": (QUICK, {"crosslingual"}, "UAR", 2),
    "own_augmentation": (QUICK, {"crosslingual"}, "UAR", 2),
    "own_network": ([*QUICK[:6], "--model.width", "4"], {"monolingual"}, "UAR", 2),
}
pytestmark = pytest.mark.usefixtures("hastily")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """The synthetic pair, also prepared with the front end of the example."""
    root = tmp_path_factory.mktemp("speech")
    prepare(root)
    sys.path.insert(0, str(FOLDER))
    try:
        from own_features import Projection
    finally:
        sys.path.remove(str(FOLDER))
    source = root / "trees" / "IEMOCAP_full_release"
    options = {"name": PAIR[0], "features": Projection(), "data_dir": root / "data"}
    data.prepare("iemocap", source, workers=1, **options)
    return root / "data"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_goes_all_the_way(speech, tmp_path, name):
    flags, settings, metric, outputs = EXAMPLES[name]
    path, where = FOLDER / f"{name}.py", ["--data-dir", str(speech), "--out", str(tmp_path / "out")]
    assert len(path.read_text().splitlines()) <= 60
    corpora = PAIR if "crosslingual" in settings else PAIR[:1]
    status, printed = run(["python", str(path), "--corpora", *corpora, *where, *flags])
    assert status == 0, printed
    assert metric in printed
    document = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {setting["name"] for setting in document["settings"].values()} == settings
    assert {setting["model"]["outputs"] for setting in document["settings"].values()} == {outputs}
    assert all(setting["code"] for setting in document["settings"].values()) == (name != "own_regression")
    assert not document["missing"]


def test_an_example_can_be_repeated_from_its_configuration(speech, tmp_path):
    own = [sys.executable, str(FOLDER / "own_network.py"), "--data-dir", str(speech)]
    flags = EXAMPLES["own_network"][0]
    first, second = tmp_path / "first", tmp_path / "second"
    for rest in (
        ["--corpora", PAIR[0], *flags, "--out", str(first)],
        ["--config", str(first / "config.json"), "--out", str(second)],
    ):
        subprocess.run(
            [*own, *rest], check=True, capture_output=True, cwd=FOLDER.parent
        )  # whose file is __main__
    hashes = [json.loads((out / "config.json").read_text())["hash"] for out in (first, second)]
    assert hashes[0] == hashes[1]
