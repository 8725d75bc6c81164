"""constraints.txt pins all that an installation for the tests brings, and nothing else."""

import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.11", "3.12", "3.13")


def wanted(requirement, extras):
    """Whether it is, on any Python supported."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({"extra": extra, "python_version": version, "python_full_version": f"{version}.0"})
        for extra in ("", *extras)
        for version in PYTHONS
    )


def reached():
    """All that `pip install .[test]` installs, and what the other Pythons supported need beside it."""
    seen, left = set(), [(Requirement("ser_jax[test]"), frozenset({"test"}))]
    while left:
        own, extras = left.pop()
        name = canonicalize_name(own.name)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name == "ser-jax":
            asked = list(PROJECT["dependencies"])
            for extra in extras:
                asked += PROJECT["optional-dependencies"][extra]
        else:
            try:
                asked = requires(own.name) or []
            except PackageNotFoundError:  # another Python's
                asked = []
        found = map(Requirement, asked)
        left += [(one, frozenset(one.extras)) for one in found if wanted(one, extras)]
    return {name for name, _ in seen} - {"ser-jax"}


def test_every_version_is_pinned_and_no_other():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    # What audioread's standard-aifc needs on Python 3.13, where alone it can be asked.
    assert reached() | {"audioop-lts", "standard-chunk"} == pinned
