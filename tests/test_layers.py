"""The direction of imports: a room imports only rooms below it."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = (
    "ser_jax.errors",
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
del MODULES["ser_jax"]  # its public names are imported when they are first used, see test_surface.py


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


def test_the_core_imports_without_the_audio_and_dataset_libraries():
    absent = ("librosa", "soundfile", "soxr", "tensorflow", "tensorflow_datasets", "array_record")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import ser_jax.engine, ser_jax.tasks"
    subprocess.run([sys.executable, "-c", code], check=True)
