"""Where results come from: machine, versions, commit, and the code they depend on."""

import importlib
import linecache
import subprocess
import sys

import pytest

from ser_jax.augment import SpecAugment
from ser_jax.experiment import provenance
from ser_jax.experiment.config import choose
from ser_jax.experiment.provenance import code_digest, own_digest
from ser_jax.model import Probe


def test_the_commit_says_whether_python_files_were_changed(monkeypatch, tmp_path):
    def git(*words):
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    source, page = tmp_path / "ser_jax" / "experiment" / "provenance.py", tmp_path / "README.md"
    monkeypatch.setattr(provenance, "__file__", str(source))
    source.parent.mkdir(parents=True)
    assert provenance.commit() is None
    for file in (source, page):
        file.write_text("")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    page.write_text("more")
    assert provenance.commit() == git("rev-parse", "HEAD")
    source.write_text("more = 1")
    assert provenance.commit() == git("rev-parse", "HEAD") + "+"


def test_the_digest_covers_the_code_that_results_depend_on():
    modules = set(provenance.modules())
    needed = """augment convolution engine metrics model objectives tasks train features
        data.folds data.labels data.standardize
        experiment.config experiment.results experiment.run experiment.settings"""
    assert modules >= {f"ser_jax.{name}" for name in needed.split()}
    neutral = {"recognizer", "report", "benchmark", "cli", "shutdown", "io", "devices"}
    assert not {module for module in modules if module.split(".")[1] in neutral}


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('"""The cost."""\nx = 1', "# a comment\nx = (1)", True),
        ('def f(x):\n    """Double."""\n    return 2 * x', "def f(x):\n    return 2 * x", True),
        ('raise ValueError("expected 1")', 'raise ConfigError(f"expected {1}")', True),
        ("def f(x):\n    return 2 * x", "def f(x):\n    return x * 2", False),
        ("if x < 1:\n    raise ValueError", "if x < 2:\n    raise ValueError", False),
    ],
)
def test_the_digest_changes_with_code_and_not_with_sentences(monkeypatch, tmp_path, before, after, same):
    file = tmp_path / "train.py"
    monkeypatch.setattr(provenance, "_known", lambda: {"ser_jax.train": file})
    monkeypatch.setattr(provenance, "modules", lambda: ("ser_jax.train",))
    found = []
    for text in (before, after):
        file.write_text(text)
        code_digest.cache_clear()
        found.append(code_digest())
    code_digest.cache_clear()
    assert (found[0] == found[1]) is same


def test_classes_of_the_user_count_with_their_module(tmp_path, monkeypatch):
    source = "from ser_jax.augment import NoAugmentation\nclass Mine(NoAugmentation): size = 1\n"
    (tmp_path / "own_digested.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("own_digested").Mine()
    assert own_digest([Probe(), SpecAugment(), choose]) == ""
    found = own_digest([Probe(), mine])
    assert found == own_digest([mine, mine])
    (tmp_path / "own_digested.py").write_text(source.replace("1", "2"))
    linecache.clearcache()
    assert own_digest([mine]) != found
    del sys.modules["own_digested"]
