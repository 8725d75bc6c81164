"""Whatever is done to an experiment, it ends as if nothing had happened; see killing.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from killing import CHOSEN, FAULTS  # noqa: E402


def laboratory(kills):
    """Run a laboratory in a process of its own: it forks, which a process with threads must not."""
    shell = [sys.executable, str(HERE / "killing.py"), "--kills", str(kills)]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def report():
    return laboratory(1)


def test_an_experiment_killed_at_any_moment_ends_in_the_same_bits(report):
    assert report["chosen"] == list(CHOSEN)
    assert report["kills"] == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_other_faults_are_named_and_lose_nothing(report, fault):
    assert report["faults"][fault] == ""


@pytest.mark.slow
def test_200_kills_end_in_the_same_bits():
    assert laboratory(200)["kills"] == 200
