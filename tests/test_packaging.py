"""The package as others install it: pinned versions, and a wheel that is complete."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import numpy as np
import pytest
import soundfile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pair import PAIR, prepare

import ser_jax

ROOT = Path(__file__).parents[1]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = CONFIGURATION["project"]
PYTHONS = ("3.11", "3.12", "3.13")


def is_wanted(requirement, extras):
    """Whether a requirement applies on any supported Python."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({"extra": extra, "python_version": version, "python_full_version": f"{version}.0"})
        for extra in ("", *extras)
        for version in PYTHONS
    )


def installed_by_tests():
    """Everything that `pip install .[test]` installs on any supported Python."""
    seen, left = set(), [Requirement("ser_jax[test]")]
    while left:
        requirement = left.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name == "ser-jax":
            needed = PROJECT["dependencies"] + [
                each for extra in extras for each in PROJECT["optional-dependencies"][extra]
            ]
        else:
            try:
                needed = requires(requirement.name) or []
            except PackageNotFoundError:  # another Python's
                needed = []
        left += [each for each in map(Requirement, needed) if is_wanted(each, extras)]
    return {name for name, _ in seen} - {"ser-jax"}


def test_every_version_is_pinned_and_no_other():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    # What audioread's standard-aifc needs on Python 3.13, where alone it can be asked.
    assert installed_by_tests() | {"audioop-lts", "standard-chunk"} == pinned


def test_extras_that_messages_name_exist():
    sources = "".join(path.read_text() for path in (ROOT / "ser_jax").rglob("*.py"))
    named = {extra for extras in re.findall(r"ser_jax\[([\w,]+)\]", sources) for extra in extras.split(",")}
    assert named
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_version_is_the_changelogs():
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert ser_jax.__version__.partition(".dev")[0] == heading
    assert f"version: {ser_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def tracked(*paths):
    """Return the files of the repository below some paths, as they are now."""
    listed = subprocess.run(["git", "ls-files", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the tracked files."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked("ser_jax", "experiments", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == tracked("ser_jax", "experiments")


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The commands of an environment in which the wheel is installed, with the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", folder, *install], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def run(*command, cwd, status=0):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_an_installed_wheel_works_in_an_empty_folder(environment, tmp_path):
    where = run(environment / "python", "-c", "import ser_jax; print(ser_jax.__file__)", cwd=tmp_path)
    assert where.startswith(str(environment.parent))
    soundfile.write(tmp_path / "speech.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 3 * 16_000), 16_000)
    assert "arousal" in run(environment / "ser-jax", "predict", "speech.wav", cwd=tmp_path)
    absent = ["-m", "experiments.table2", "--corpora", "one", "two", "--data-dir", tmp_path]
    assert "one" in run(environment / "python", *absent, cwd=tmp_path, status=2)


@pytest.mark.slow
def test_an_installed_wheel_trains_table_2_in_an_empty_folder(environment, tmp_path):
    prepare(tmp_path)
    table2 = [environment / "python", "-m", "experiments.table2", "--corpora", *PAIR, "--data-dir", "data"]
    small = "--seeds 1 --folds 2 --epochs 1 --finetune-samples 10 --finetune-epochs 1 --tasks arousal"
    printed = run(*table2, *small.split(), "--model.channels", "4", "--out", "out", cwd=tmp_path)
    assert "| monolingual" in printed
    assert (tmp_path / "out" / "report.html").exists()
