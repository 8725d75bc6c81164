"""Whatever is done to an experiment, it ends as if nothing had happened; see killing.py."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kills", [1, pytest.param(200, marks=pytest.mark.slow)])
def test_an_experiment_killed_starved_or_disturbed_at_any_moment_ends_in_the_same_bits(kills):
    """In a process of its own: it forks, which a process with threads must not."""
    shell = [sys.executable, str(Path(__file__).parent / "killing.py"), str(kills)]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{kills} random kills, all to the same bits" in done.stdout
