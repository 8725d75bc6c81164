"""A stack of runs on disk and back."""

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
