"""A stack of runs on disk and back."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from ser_jax import checkpoint, model
from ser_jax.checkpoint import CheckpointError
from ser_jax.model import ModelConfig

CONFIG = ModelConfig(bands=3, frames=60, channels=4, kernel=4, stride=3, pool=4)


@pytest.fixture(scope="module")
def params():
    return jax.vmap(lambda key: model.init(CONFIG, key))(jax.random.split(jax.random.key(0), 3))


def test_a_stack_comes_back_bit_for_bit(tmp_path, params):
    checkpoint.save(tmp_path / "a", params)
    back = checkpoint.restore(tmp_path / "a", CONFIG, 3)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_saving_again_replaces(tmp_path, params):
    checkpoint.save(tmp_path / "a", params)
    checkpoint.save(tmp_path / "a", jax.tree.map(lambda leaf: leaf + 1, params))
    back = checkpoint.restore(tmp_path / "a", CONFIG, 3)
    np.testing.assert_array_equal(back["bias"], params["bias"] + 1)


def test_what_cannot_be_restored_is_named(tmp_path, params):
    with pytest.raises(CheckpointError, match=r"no finished checkpoint in .*nowhere, expected one written"):
        checkpoint.restore(tmp_path / "nowhere", CONFIG, 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no finished checkpoint in .*empty"):
        checkpoint.restore(tmp_path / "empty", CONFIG, 3)
    checkpoint.save(tmp_path / "a", params)
    with pytest.raises(
        CheckpointError,
        match=r"holds arrays .*'bias': \(3, 4\).*expected those of 5 runs: .*'bias': \(5, 4\)",
    ):
        checkpoint.restore(tmp_path / "a", CONFIG, 5)


DAMAGE = """
import sys
from pathlib import Path
import jax, numpy as np
from ser_jax import checkpoint, model
from ser_jax.checkpoint import CheckpointError

folder = Path(sys.argv[1])
config = model.ModelConfig(bands=3, frames=60, channels=4, kernel=4, stride=3, pool=4)
whole = checkpoint.restore(folder, config, 3)
for file in [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]:
    content = file.read_bytes()
    file.write_bytes(b"")
    try:
        jax.tree.map(np.testing.assert_array_equal, checkpoint.restore(folder, config, 3), whole)
        print("whole")
    except CheckpointError as error:
        print("refused" if "delete it to train again" in str(error) else error)
    file.write_bytes(content)
"""


def test_a_damaged_checkpoint_is_restored_bit_for_bit_or_refused(tmp_path, params):
    """Every file of a checkpoint emptied in turn; in a process of its own: Orbax leaves threads behind."""
    checkpoint.save(tmp_path / "a", params)
    done = subprocess.run([sys.executable, "-c", DAMAGE, str(tmp_path / "a")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split("\n")[:-1]
    assert set(answers) <= {"whole", "refused"}, answers
    assert answers.count("refused") >= 3
