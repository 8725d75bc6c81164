"""Whatever is done to an experiment, it ends as if nothing had happened; see killing.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from disturbances import FAULTS  # noqa: E402
from killing import CHOSEN  # noqa: E402

KILLS = 16


@pytest.fixture(scope="module")
def report():
    """What a laboratory in a process of its own found: it forks, which a process with threads must not."""
    command = [sys.executable, str(HERE / "killing.py"), "--kills", str(KILLS), "--faults"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_killed_at_any_moment_it_goes_on_to_the_same_bits(report):
    moments = [kill["moment"] for kill in report["kills"]]
    assert len(moments) == KILLS
    assert set(CHOSEN) <= set(moments)


@pytest.mark.parametrize("fault", FAULTS)
def test_other_faults_are_named_and_nothing_is_lost(report, fault):
    said = report["faults"][fault]
    if said.startswith("not tried"):
        pytest.skip(said)
    assert said == ""
