"""PyTorch's counterpart of the network computes and learns the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ser_jax import model
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, Runs, inputs

pytestmark = pytest.mark.usefixtures("hastily")


@pytest.fixture(scope="module")
def pair():
    """The same utterances, of several lengths, and the same parameters for both: (ours, PyTorch's)."""
    torch = pytest.importorskip("torch")
    from experiments import torch_model

    draw = np.random.default_rng(0)
    config, count = ModelConfig(), 8
    logmel = draw.normal(-40, 9, (count, 750, 26)).astype(np.float32)
    frames = np.array([750, 748, 91, 90, 58, 300, 500, 1], np.int32)
    mean, scale = draw.normal(-40, 3, 26), draw.uniform(0.05, 0.2, 26)
    labels = draw.integers(0, 2, count, dtype=np.int8)
    run = Runs(
        jax.random.key(0), np.arange(count), count, labels, *(np.float32(a)[None] for a in (mean, scale))
    )
    data = Data(jnp.asarray(logmel), jnp.asarray(frames), jnp.zeros(count, jnp.int32))
    theirs = torch_model.Data(
        torch.from_numpy(logmel).transpose(1, 2).contiguous(),
        torch.from_numpy(frames),
        torch.from_numpy(labels).long(),
        *(torch.from_numpy(np.float32(a)) for a in (mean, scale)),
    )
    params = [model.init(config, jax.random.key(seed)) for seed in range(2)]
    params = [
        jax.tree.map(lambda leaf: leaf + draw.normal(0, 0.02, leaf.shape).astype(np.float32), one)
        for one in params
    ]
    return (config, data, run, params), theirs


def our_gradient(config, params, x, labels):
    def loss(params):
        logits = model.apply(config, params, x).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.grad(loss)(params)


def test_pytorch_computes_the_same_logits_and_gradient(pair):
    import torch

    from experiments import torch_model

    (config, data, run, params), theirs = pair
    rows = np.array([3, 5, 1, 0, 7, 4])
    x = inputs(data, run, jnp.asarray(rows))
    np.testing.assert_allclose(
        theirs.inputs(torch.from_numpy(rows)).transpose(1, 2), np.asarray(x), rtol=1e-6, atol=1e-6
    )
    network = torch_model.AttentiveCNN(config).eval()
    network.load_state_dict(torch_model.converted(params[0]))
    logits = network(theirs.inputs(torch.from_numpy(rows)))
    np.testing.assert_allclose(
        logits.detach().numpy(), np.asarray(model.apply(config, params[0], x).logits), rtol=1e-4, atol=1e-5
    )
    torch.nn.functional.cross_entropy(logits, theirs.labels[torch.from_numpy(rows)]).backward()
    ours = torch_model.converted(our_gradient(config, params[0], x, jnp.asarray(run.labels[rows], int)))
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(parameter.grad, ours[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_pytorchs_stack_computes_what_each_of_its_models_would(pair):
    import torch
    from torch.func import grad, vmap

    from experiments import torch_model

    (config, data, run, params), theirs = pair
    rows = np.array([[3, 5, 1], [0, 7, 2]])
    network = torch_model.AttentiveCNN(config).eval()
    each = [torch_model.converted(one) for one in params]
    stacked = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    chosen = torch.from_numpy(rows)
    loss = torch_model.loss_of
    found = vmap(grad(lambda *one: loss(network, *one)))(
        stacked, theirs.inputs(chosen), theirs.labels[chosen]
    )
    for i, one in enumerate(params):
        x = inputs(data, run, jnp.asarray(rows[i]))
        ours = torch_model.converted(our_gradient(config, one, x, jnp.asarray(run.labels[rows[i]], int)))
        for name, gradient in found.items():
            np.testing.assert_allclose(gradient[i], ours[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pytorch_learns(pair, precision):
    """Both of its ways fit a handful of utterances."""
    import torch

    from experiments import torch_model

    (config, *_), theirs = pair
    config = dataclasses.replace(config, precision=precision)
    torch_model.allow(precision)
    for runs, make in (
        (0, lambda: torch_model.train_one(config, 1e-3, "cpu", compiled=False)),
        (2, lambda: torch_model.train_stack(config, 1e-3, "cpu", 2)),
    ):
        torch.manual_seed(0)
        rows, step = torch.arange(8).expand(*([runs] if runs else []), 8), make()
        losses = [float(step(theirs, rows)) for _ in range(30)]
        assert losses[-1] < 0.5 * losses[0]
