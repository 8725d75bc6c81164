"""What is noted of where a program runs."""

import os
import platform
import shutil
import signal
import subprocess

import jax
import pytest

from ser_jax.experiment import provenance
from ser_jax.experiment.provenance import EnvironmentVariableError, check_environment, start_script


def test_the_environment_names_the_device_and_the_versions():
    found = provenance.describe_environment()
    assert found["backend"] == jax.default_backend()
    assert found["jax"] == jax.__version__
    assert found["python"] == platform.python_version()
    assert found["cores"] >= 1
    assert found["device"]


@pytest.mark.parametrize(("load", "busy"), [(0.5, False), (0.51, True)])
def test_other_work_is_noticed(monkeypatch, load, busy):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert provenance.busy(provenance.load()) is busy


@pytest.mark.skipif(shutil.which("git") is None, reason="a system without git")
def test_a_changed_source_is_noted_and_a_changed_page_is_not(tmp_path, monkeypatch):
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
    assert provenance.commit() == git("rev-parse", "HEAD")
    page.write_text("more")
    assert provenance.commit() == git("rev-parse", "HEAD")
    source.write_text("more = 1")
    assert provenance.commit() == git("rev-parse", "HEAD") + "+"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        *(
            ("JAX_NUM_CPU_DEVICES", value, f"is '{value}', expected a whole number from 1 to 1,024")
            for value in ("0", "-2", "two", "99999")
        ),
        ("XLA_FLAGS", "nonsense", "XLA_FLAGS is 'nonsense', expected flags like --xla_force_host_platform"),
        ("XLA_FLAGS", "--nonsense=1", "XLA_FLAGS holds '--nonsense=1', expected flags like --xla_force"),
        (
            "XLA_FLAGS",
            "--xla_force_host_platform_device_count=two",
            "in XLA_FLAGS is 'two', expected a whole",
        ),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentVariableError, match=sentence):
        check_environment()


def test_right_variables_are_taken(monkeypatch, tmp_path):
    (tmp_path / "flags").touch()
    for flags in ("--xla_force_host_platform_device_count=8 --xla_dump_to=/tmp", str(tmp_path / "flags"), ""):
        monkeypatch.setenv("XLA_FLAGS", flags)
        check_environment()


def test_importing_the_experiments_changes_nothing(monkeypatch):
    code = """
import os, signal, sys
before, handler = dict(os.environ), signal.getsignal(signal.SIGINT)
sys.argv = ["-m"]
import experiments
assert dict(os.environ) == before and signal.getsignal(signal.SIGINT) is handler and "jax" not in sys.modules
"""
    monkeypatch.setenv("XLA_FLAGS", "nonsense")
    assert subprocess.run(["python", "-c", code], executable=os.sys.executable).returncode == 0


def test_a_script_starts_without_a_display_and_ends_at_ctrl_c(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        start_script("experiments.x")
        assert os.environ["MPLBACKEND"] == "agg"
        assert signal.getsignal(signal.SIGINT).args == ("experiments.x",)
    finally:
        signal.signal(signal.SIGINT, before)
