"""The attentive CNN in PyTorch, as one would write it there: what the benchmark compares itself with."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from ser_jax.arrays import Array, Tree
from ser_jax.model import ModelConfig


class AttentiveCNN(nn.Module):
    """The network of `ser_jax.model`, with PyTorch's own convolution and pooling."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.pool = config.pool
        self.convolution = nn.Conv1d(config.bands, config.channels, config.kernel, stride=config.stride)
        self.attention = nn.Linear(config.channels, 1, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear((1 + config.segments) * config.channels, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, F, T] standardised log-mels to [B, K] logits."""
        maps = F.relu(self.convolution(x))
        segments = F.max_pool1d(maps, self.pool).transpose(1, 2)
        weights = torch.softmax(self.attention(segments).squeeze(-1), dim=1)
        attended = (weights.unsqueeze(-1) * segments).sum(dim=1)
        features = torch.cat([attended, segments.flatten(1)], dim=1)
        return self.classifier(self.dropout(features))


def converted(parameters: Tree) -> dict[str, Tensor]:
    """Parameters of `ser_jax.model`, or a gradient with respect to them, by this module's names."""

    def tensor(array: Array, *axes: int) -> Tensor:
        return torch.from_numpy(np.array(array).transpose(*axes).copy())

    return {
        "convolution.weight": tensor(parameters["kernel"], 2, 1, 0),
        "convolution.bias": tensor(parameters["bias"], 0),
        "attention.weight": tensor(parameters["attention"], 1, 0),
        "classifier.weight": tensor(parameters["classifier"]["kernel"], 1, 0),
        "classifier.bias": tensor(parameters["classifier"]["bias"], 0),
    }


class Data(NamedTuple):
    """What `ser_jax.runs.Data` and `Runs` hold, for one distribution of lengths and one standardisation.

    Attributes:
      logmel: [N, F, T] float32: bands first, as PyTorch's convolution wants them.
      frames: [N] that hold sound.
      labels: [N] classes.
      mean, scale: [F].
    """

    logmel: Tensor
    frames: Tensor
    labels: Tensor
    mean: Tensor
    scale: Tensor

    def inputs(self, rows: Tensor) -> Tensor:
        """[..., F, T]: utterances gathered and standardised, exactly zero in the padding."""
        x = (self.logmel[rows] - self.mean[:, None]) * self.scale[:, None]
        sound = torch.arange(x.shape[-1], device=x.device) < self.frames[rows].unsqueeze(-1)
        return torch.where(sound.unsqueeze(-2), x, 0)


def allow(precision: str) -> None:
    """Lets products and convolutions of float32 use TF32 on a GPU, or forbids it."""
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def _casting(device: str, precision: str) -> AbstractContextManager:
    return torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def train_one(
    config: ModelConfig, learning_rate: float, device: str, compiled: bool
) -> Callable[[Data, Tensor], Tensor]:
    """A step of one model: step(data, rows [B]) updates it by that batch and returns its loss.

    Args:
      config: sizes and precision; bfloat16 by PyTorch's automatic mixed precision.
      learning_rate: Adam's.
      device: "cpu" or "cuda".
      compiled: by `torch.compile`, else eagerly.
    """
    model = AttentiveCNN(config).to(device)
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)
    network = torch.compile(model, dynamic=False) if compiled else model

    def step(data: Data, rows: Tensor) -> Tensor:
        optimiser.zero_grad()
        with _casting(device, config.precision):
            loss = F.cross_entropy(network(data.inputs(rows)), data.labels[rows])
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def train_stack(
    config: ModelConfig, learning_rate: float, device: str, runs: int
) -> Callable[[Data, Tensor], Tensor]:
    """A step of several models at once by `torch.func`: step(data, rows [R, B]), a batch each."""
    stacked, _ = stack_module_state([AttentiveCNN(config).to(device) for _ in range(runs)])
    # `torch.func` differentiates; what autograd would record beside it nobody asks for.
    stacked = {name: parameter.detach() for name, parameter in stacked.items()}
    optimiser = torch.optim.Adam(stacked.values(), learning_rate)
    empty = AttentiveCNN(config).to("meta")
    learn = vmap(grad_and_value(partial(loss_of, empty)), randomness="different")

    def step(data: Data, rows: Tensor) -> Tensor:
        with _casting(device, config.precision):
            found, losses = learn(stacked, data.inputs(rows), data.labels[rows])
        for name, parameter in stacked.items():
            parameter.grad = found[name]
        optimiser.step()
        return losses.mean()

    return step


def loss_of(network: nn.Module, parameters: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of a batch under these parameters instead of the network's own."""
    return F.cross_entropy(functional_call(network, parameters, (x,)), labels)
