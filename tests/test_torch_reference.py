"""The PyTorch reference computes and learns what the network does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ser_jax import model
from ser_jax.benchmark.throughput import Workload
from ser_jax.model import AttentiveCNN
from ser_jax.train import TrainConfig

torch = pytest.importorskip("torch")
from ser_jax.benchmark import torch_reference  # noqa: E402
from ser_jax.benchmark.torch_reference import Data, training_step  # noqa: E402

pytestmark = pytest.mark.usefixtures("hastily")
CONFIG = AttentiveCNN()
FRAMES = np.array([750, 748, 91, 90, 58, 300, 500, 1], np.int32)


@pytest.fixture(scope="module")
def both():
    """The same utterances and parameters for both: (standardized features, labels, parameters), Data."""
    draw = np.random.default_rng(0)
    features = draw.normal(-40, 9, (8, 750, 26)).astype(np.float32)
    mean, scale = (part.astype(np.float32) for part in (draw.normal(-40, 3, 26), draw.uniform(0.05, 0.2, 26)))
    labels = draw.integers(0, 2, 8)
    params = [
        jax.tree.map(
            lambda leaf: leaf + draw.normal(0, 0.02, leaf.shape).astype(np.float32),
            model.init(CONFIG, jax.random.key(seed)),
        )
        for seed in range(2)
    ]
    tensors = map(torch.from_numpy, (features.transpose(0, 2, 1).copy(), FRAMES, labels, mean, scale))
    return (model.standardize(features, FRAMES, mean, scale), labels, params), Data(*tensors)


def convert(params):
    """Parameters of `ser_jax.model`, or their gradient, by the names of the PyTorch module."""
    found = {
        "convolution.weight": np.transpose(params["kernel"], (2, 1, 0)),
        "convolution.bias": params["bias"],
        "attention.weight": np.transpose(params["attention"]),
        "classifier.weight": np.transpose(params["classifier"]["kernel"]),
        "classifier.bias": params["classifier"]["bias"],
    }
    return {name: torch.from_numpy(np.array(array)) for name, array in found.items()}


def gradient(params, x, labels):
    def own(params):
        outputs = model.apply(CONFIG, params, x).outputs
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()

    return convert(jax.grad(own)(params))


def test_outputs_and_gradient_are_the_same(both):
    (x, labels, params), data = both
    rows = np.array([3, 5, 1, 0, 7, 4])
    inputs = data.inputs(torch.from_numpy(rows))
    np.testing.assert_allclose(inputs.transpose(1, 2), x[rows], rtol=1e-6, atol=1e-6)
    network = torch_reference.AttentiveCNN(CONFIG).eval()
    network.load_state_dict(convert(params[0]))
    outputs = network(inputs)
    expected = model.apply(CONFIG, params[0], x[rows]).outputs
    np.testing.assert_allclose(outputs.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    torch.nn.functional.cross_entropy(outputs, data.labels[rows]).backward()
    ours = gradient(params[0], x[rows], jnp.asarray(labels[rows]))
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(parameter.grad, ours[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns(both, precision):
    torch.manual_seed(0)
    step = training_step(dataclasses.replace(CONFIG, precision=precision), 1e-3, "cpu")
    losses = [float(step(both[1], torch.arange(8))) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_call_trains_at_least_one_batch():
    made = torch_reference.variants(CONFIG, TrainConfig(), Workload.of(CONFIG, 40), "cpu", 0)
    assert list(made) == ["torch eager", "torch compile"]
    assert made["torch eager"]() == 32
