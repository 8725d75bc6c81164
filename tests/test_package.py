"""The package as a whole: the direction of imports, the public names, what importing brings."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ser_jax

ROOT = Path(__file__).parents[1]
ORDER = (
    "ser_jax.errors ser_jax.shapes",
    "ser_jax.metrics",
    "ser_jax.attention ser_jax.devices ser_jax.io ser_jax.shutdown",
    "ser_jax.features ser_jax.statistics",
    "ser_jax.data",
    "ser_jax.convolution",
    "ser_jax.model",
    "ser_jax.checkpoint ser_jax.objectives ser_jax.augment",
    "ser_jax.tasks",
    "ser_jax.train",
    "ser_jax.engine",
    "ser_jax.recognizer ser_jax.experiment",
    "ser_jax.report",
    "ser_jax.experiment.command ser_jax.cli",
    "ser_jax.benchmark ser_jax.__main__",
    "experiments",
)
RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms.split()}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("ser_jax", "experiments")
    for path in (ROOT / folder).rglob("*.py")
}
del MODULES["ser_jax"]  # its public names are imported when they are first used


def imports(path):
    """Return our modules that a file imports anywhere; `from a import b` is a.b if that is a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found & MODULES.keys()


def room(name):
    return max((room for room in RANKS if f"{name}.".startswith(f"{room}.")), key=len)


def test_a_room_imports_only_rooms_below_it():
    starts = ("ser_jax.experiment", "ser_jax.experiment.command")  # the way in, for a script to call
    wrong = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imports(path)
        if room(name) != room(other) and RANKS[room(name)] <= RANKS[room(other)] and (name, other) != starts
    ]
    assert not wrong


def test_what_uses_a_recogniser_imports_nothing_that_trains_one():
    trains = {"ser_jax.train", "ser_jax.engine", "ser_jax.checkpoint"}
    users = {name for name, path in MODULES.items() if "recognizer" in name and imports(path) & trains}
    assert users == {"ser_jax.recognizer.train"}


def printed(code):
    """Return the lines that code prints in a process of its own."""
    shell = [sys.executable, "-c", code]
    return subprocess.run(shell, check=True, capture_output=True, text=True).stdout.splitlines()


def test_the_core_imports_without_the_audio_and_dataset_libraries():
    absent = ("librosa", "soundfile", "soxr", "tensorflow", "tensorflow_datasets", "array_record")
    printed(f"import sys; sys.modules.update(dict.fromkeys({absent})); import ser_jax.engine, ser_jax.tasks")


def test_libraries_are_imported_when_they_are_needed():
    """By each line after those before it; importing the experiments changes nothing else."""
    lines = (
        "import ser_jax",
        "import ser_jax.data, experiments; assert state() == before",
        "from ser_jax.devices import cores; cores()",
        "import ser_jax.recognizer.predict",
        "import ser_jax.recognizer.plot",
    )
    code = "import os, signal, sys; state = lambda: (dict(os.environ), signal.getsignal(signal.SIGINT))\n"
    code += "before, bare = state(), set(sys.modules)\n"
    code += "\n".join(f"{line}; print(*set(sys.modules) - bare)" for line in lines)
    package, data, cores, predict, plot = (set(line.split()) for line in printed(code))
    assert {name.partition(".")[0] for name in package} - {"ser_jax"} <= sys.stdlib_module_names
    assert not {"tensorflow_datasets", "librosa", "soxr", "scipy", "jax"} & data
    assert "jax" not in cores
    assert "matplotlib" not in predict
    assert "matplotlib.pyplot" not in plot  # which may open windows


def test_the_front_page_lists_every_name_and_no_other():
    page = ser_jax.__doc__.partition("The public interface")[2]
    lines = re.findall(r"^    (\S.*?)   ", page, re.M)
    assert {name for line in lines for name in line.strip().split(", ")} == set(ser_jax.__all__)
    assert ser_jax.__all__ == sorted(ser_jax.__all__)
    assert dir(ser_jax) == sorted([*ser_jax.__all__, "__version__"])
    with pytest.raises(AttributeError, match=r"^module 'ser_jax' has no attribute 'nonsense'$"):
        _ = ser_jax.nonsense


def test_a_type_checker_sees_the_names_that_are_there():
    [block] = [node for node in ast.parse(inspect.getsource(ser_jax)).body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(seen) == set(ser_jax.__all__)
    for name, home in seen.items():
        assert getattr(ser_jax, name) is getattr(importlib.import_module(home), name)
        hidden = (ROOT / "ser_jax" / name).with_suffix(".py").exists() or (ROOT / "ser_jax" / name).is_dir()
        assert hidden == inspect.ismodule(getattr(ser_jax, name))  # no name hides a module
