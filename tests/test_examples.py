"""The examples: each is one file of at most 60 lines that goes all the way on small corpora."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pair import PAIR, prepare

from ser_jax import data

FOLDER = Path(__file__).parents[1] / "examples"
QUICK = ["--seeds", "1", "--folds", "2", "--epochs", "1", "--model.channels", "4"]
EXAMPLES = {  # flags beside the quickest, settings, metric and outputs
    "own_task": (QUICK, {"monolingual"}, "UAR", 4),
    "own_regression": (QUICK, {"monolingual", "crosslingual"}, "CCC", 2),
    "own_features": ([*QUICK[:6], "--model", "probe"], {"monolingual"}, "UAR", 2),
    "own_objective": (QUICK, {"crosslingual"}, "UAR", 2),
    "own_augmentation": (QUICK, {"crosslingual"}, "UAR", 2),
    "own_network": ([*QUICK[:6], "--model.width", "4"], {"monolingual"}, "UAR", 2),
}


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


def ran(name, *flags):
    shell = [sys.executable, str(FOLDER / f"{name}.py"), *map(str, flags)]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_goes_all_the_way_and_can_be_repeated(speech, tmp_path, name):
    flags, settings, metric, outputs = EXAMPLES[name]
    corpora = PAIR if "crosslingual" in settings else PAIR[:1]
    where = ["--data-dir", speech, "--out", tmp_path / "out"]
    done = ran(name, "--corpora", *corpora, *where, *flags)
    assert metric in done.stdout
    document = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {one["name"] for one in document["settings"].values()} == settings
    assert {one["model"]["outputs"] for one in document["settings"].values()} == {outputs}
    assert all(one["code"] for one in document["settings"].values()) == (name != "own_regression")
    assert not document["missing"]
    again = ran(name, "--config", tmp_path / "out" / "config.json", *where)
    assert "holds these results already" in again.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_page_that_uses_the_package_alone(name):
    text = (FOLDER / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 60
    imported = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert all(one.split(".")[0] in ("ser_jax", "flax", "typing") for one in imported)
