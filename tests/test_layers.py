"""The import rule of CONTRIBUTING.md, read off the source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "ser_jax").rglob("*.py")) + sorted((ROOT / "experiments").glob("*.py"))
OURS = ("ser_jax", "experiments")


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path):
    """Modules of ours that a file imports anywhere; `from a import b` is a.b where that is a module."""
    known = {name_of(module) for module in MODULES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return {name for name in found if name.split(".")[0] in OURS}


IMPORTS = {name_of(path): imported(path) for path in MODULES}
IMPORTS["ser_jax"] = set()  # names what others hold, and imports it when it is asked for: test_surface.py


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("ser_jax.arrays", set()),
        ("ser_jax.convolution", set()),
        ("ser_jax.model", {"ser_jax.convolution", "ser_jax.errors"}),
        ("ser_jax.metrics", set()),
        ("ser_jax.runs", {"ser_jax.model"}),
        ("ser_jax.schedule", {"ser_jax.runs"}),
        ("ser_jax.train", {"ser_jax.model", "ser_jax.runs", "ser_jax.schedule"}),
        (
            "ser_jax.stacks",
            {"ser_jax.devices", "ser_jax.model", "ser_jax.runs", "ser_jax.schedule", "ser_jax.train"},
        ),
        ("ser_jax.devices", {"ser_jax.errors"}),
        (
            "ser_jax.engine",
            {"ser_jax.devices", "ser_jax.model", "ser_jax.runs", "ser_jax.train", "ser_jax.stacks"},
        ),
        ("ser_jax.attention", set()),
        ("ser_jax.inference", {"ser_jax.metrics"}),
        ("ser_jax.checkpoint", {"ser_jax.model", "ser_jax.errors", "ser_jax.io"}),
        ("ser_jax.io", {"ser_jax.errors"}),
        ("ser_jax.bar", set()),
    ],
)
def test_the_core_knows_nothing_above_it(module, allowed):
    assert IMPORTS[module] <= allowed | {"ser_jax.arrays"}


def test_nothing_imports_the_experiments():
    assert not [
        name for name in IMPORTS if name.startswith("ser_jax") and "experiments" in str(IMPORTS[name])
    ]


def test_the_command_line_alone_imports_the_recogniser():
    importers = {name for name, names in IMPORTS.items() if "ser_jax.recognizer" in str(names)}
    assert {name for name in importers if not name.startswith("ser_jax.recognizer")} == {"ser_jax.commands"}


def test_what_uses_a_recogniser_imports_nothing_that_trains_one():
    trains = {"ser_jax.train", "ser_jax.engine", "ser_jax.runs", "ser_jax.stacks", "ser_jax.checkpoint"}
    importers = {name for name, names in IMPORTS.items() if names & trains and "recognizer" in name}
    assert importers == {"ser_jax.recognizer.fitting"}
    fits = {name for name, names in IMPORTS.items() if "ser_jax.recognizer.fitting" in names}
    assert fits == {"ser_jax.recognizer.making"}
    assert {name for name, names in IMPORTS.items() if "ser_jax.recognizer.measuring" in names} == importers


def test_data_rooms_import_only_data_and_what_imports_nothing():
    below = ("ser_jax.data", "ser_jax.errors", "ser_jax.devices", "ser_jax.io")
    for name, names in IMPORTS.items():
        if name.startswith("ser_jax.data"):
            assert all(other.startswith(below) for other in names), name


def test_no_import_cycles():
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            path.append(name)
            for other in IMPORTS.get(name, ()):
                visit(other)
            done.add(path.pop())

    for name in IMPORTS:
        visit(name)


def test_the_core_imports_without_the_audio_and_dataset_libraries():
    absent = ("librosa", "soundfile", "soxr", "tensorflow", "tensorflow_datasets", "array_record")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import ser_jax.train, ser_jax.metrics"
    subprocess.run([sys.executable, "-c", code], check=True)


ROOMS = [*MODULES, *sorted((ROOT / "docs").rglob("*.py")), *sorted((ROOT / "examples").glob("*.py"))]


def test_modules_stay_small():
    every = [*ROOMS, *sorted((ROOT / "tests").rglob("*.py"))]
    assert not [str(path) for path in every if len(path.read_text().splitlines()) > 300]


def test_functions_fit_a_screen():
    for path in ROOMS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


PICTURE = (ROOT / "CONTRIBUTING.md").read_text().partition("\nser_jax/\n")[2].partition("\n```")[0]


def test_the_picture_of_the_rooms_says_what_those_of_the_core_import():
    core, said = PICTURE.partition("  recognizer/\n")[0], {}
    for line in core.splitlines():
        if (found := re.match(r"  (\w+)\.py .* imports (.*)", line)) is not None:
            module, column = found[1], found.start(2) - len("imports ")
            said[module] = found[2]
        elif said and said[module].endswith(","):
            said[module] += f" {line[column:].strip()}"
    assert len(said) > 10
    for module, names in said.items():
        found = {name.partition(".")[2] for name in IMPORTS[f"ser_jax.{module}"]}
        wanted = set() if names == "nothing of ours" else set(names.split(", "))
        assert found - {"arrays"} == wanted - {"arrays"}, module


def test_the_picture_of_the_rooms_shows_every_module():
    """A database, the synthesis and the examples as a folder."""
    for path in ROOMS:
        known = (path.name, f"{path.parent.name}/") if path.parent.parent.name == "data" else (path.name,)
        known = ("examples/",) if path.parent.name == "examples" else known
        assert any(name in PICTURE for name in known), path
