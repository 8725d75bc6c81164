"""Rooms import only rooms below them, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "ser_jax").rglob("*.py")) + sorted((ROOT / "experiments").glob("*.py"))
ROOMS = (  # from the bottom to the top
    "errors arrays io shutdown devices flags",
    "features",
    "data",
    "convolution model probe metrics statistics attention checkpoint",
    "objectives tasks augment runs train engine",
    "experiment",
    "report",
    "experiment.command benchmark",
    "recognizer",
    "cli __main__",
)
LEVELS = {f"ser_jax.{name}": level for level, names in enumerate(ROOMS) for name in names.split()}


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path):
    """Modules of ours that a file imports anywhere; `from a import b` is a.b if that is a module."""
    known = {name_of(module) for module in MODULES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return {name for name in found if name.split(".")[0] in ("ser_jax", "experiments")}


IMPORTS = {name_of(path): imported(path) for path in MODULES}
IMPORTS["ser_jax"] = set()  # names what others hold, and imports it when it is first used: test_surface.py


def level(name):
    """The level of a module, by the longest name that is known; scripts are above all."""
    if name == "ser_jax":
        return 0
    parts = name.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 1, -1))
    return len(ROOMS) if parts[0] == "experiments" else next(LEVELS[one] for one in names if one in LEVELS)


@pytest.mark.parametrize("module", IMPORTS)
def test_a_module_imports_only_rooms_below(module):
    assert {other for other in IMPORTS[module] if level(other) > level(module)} == set()


def test_the_command_line_alone_imports_the_recogniser():
    importers = {name for name, names in IMPORTS.items() if "ser_jax.recognizer" in str(names)}
    assert {name for name in importers if not name.startswith("ser_jax.recognizer")} <= {"ser_jax.cli"}


def test_what_uses_a_recogniser_imports_nothing_that_trains_one():
    trains = {"ser_jax.train", "ser_jax.engine", "ser_jax.runs", "ser_jax.checkpoint"}
    own = {name: names for name, names in IMPORTS.items() if name.startswith("ser_jax.recognizer")}
    assert {name for name, names in own.items() if names & trains} == {"ser_jax.recognizer.train"}
    assert not [name for name, names in own.items() if "ser_jax.recognizer.train" in names]


def test_the_core_imports_without_the_audio_and_dataset_libraries():
    absent = ("librosa", "soundfile", "soxr", "tensorflow", "tensorflow_datasets", "array_record")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import ser_jax.train, ser_jax.metrics"
    subprocess.run([sys.executable, "-c", code], check=True)
