"""The attentive CNN in PyTorch, as one would write it there: what the benchmark compares with."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from ser_jax import model
from ser_jax.devices import cores
from ser_jax.model import Tree
from ser_jax.train import TrainConfig


class AttentiveCNN(nn.Module):
    """The network of `ser_jax.model`, with PyTorch's own convolution and pooling."""

    def __init__(self, config: model.AttentiveCNN):
        super().__init__()
        self.pool = config.pool
        self.convolution = nn.Conv1d(config.bands, config.channels, config.kernel, stride=config.stride)
        self.attention = nn.Linear(config.channels, 1, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear((1 + config.segments) * config.channels, config.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map standardized features [B, F, T] to outputs [B, K]."""
        maps = F.relu(self.convolution(x))
        segments = F.max_pool1d(maps, self.pool).transpose(1, 2)
        weights = torch.softmax(self.attention(segments).squeeze(-1), dim=1)
        attended = (weights.unsqueeze(-1) * segments).sum(dim=1)
        features = torch.cat([attended, segments.flatten(1)], dim=1)
        return self.classifier(self.dropout(features))


def convert(parameters: Tree) -> dict[str, Tensor]:
    """Return parameters of `ser_jax.model`, or their gradient, by this module's names."""
    dense = parameters["classifier"]
    found = {
        "convolution.weight": np.transpose(parameters["kernel"], (2, 1, 0)),
        "convolution.bias": parameters["bias"],
        "attention.weight": np.transpose(parameters["attention"]),
        "classifier.weight": np.transpose(dense["kernel"]),
        "classifier.bias": dense["bias"],
    }
    return {name: torch.from_numpy(np.array(array)) for name, array in found.items()}


class Data(NamedTuple):
    """Utterances, for one distribution of lengths.

    Attributes:
      features: [N, F, T] float32, dimensions first, as PyTorch's convolution takes them.
      frames: [N] that hold sound.
      labels: [N] classes.
      mean, scale: [F] of the standardization.
    """

    features: Tensor
    frames: Tensor
    labels: Tensor
    mean: Tensor
    scale: Tensor

    def inputs(self, rows: Tensor) -> Tensor:
        """Gather and standardize utterances: [..., F, T], exactly zero in the padding."""
        x = (self.features[rows] - self.mean[:, None]) * self.scale[:, None]
        valid = torch.arange(x.shape[-1], device=x.device) < self.frames[rows].unsqueeze(-1)
        return torch.where(valid.unsqueeze(-2), x, 0)


Step = Callable[[Data, Tensor], Tensor]  # (data, rows) to the loss, after an update


def _autocast(device: str, precision: str) -> AbstractContextManager:
    return torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def single_step(
    config: model.AttentiveCNN, learning_rate: float, device: str, compiled: bool = False
) -> Step:
    """Return a training step of one model on rows [B], eager or by `torch.compile`.

    Args:
      config: sizes and precision; bfloat16 by PyTorch's automatic mixed precision.
      learning_rate: of Adam.
      device: "cpu" or "cuda".
    """
    module = AttentiveCNN(config).to(device)
    optimizer = torch.optim.Adam(module.parameters(), learning_rate)
    network = torch.compile(module, dynamic=False) if compiled else module

    def step(data: Data, rows: Tensor) -> Tensor:
        optimizer.zero_grad()
        with _autocast(device, config.precision):
            loss = F.cross_entropy(network(data.inputs(rows)), data.labels[rows])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def stacked_step(config: model.AttentiveCNN, learning_rate: float, device: str, runs: int) -> Step:
    """Return a training step of several models at once by `torch.func`, on rows [R, B]."""
    stacked, _ = stack_module_state([AttentiveCNN(config).to(device) for _ in range(runs)])
    # `torch.func` differentiates; autograd need not record anything beside it.
    stacked = {name: parameter.detach() for name, parameter in stacked.items()}
    optimizer = torch.optim.Adam(stacked.values(), learning_rate)
    learn = vmap(grad_and_value(partial(loss, AttentiveCNN(config).to("meta"))), randomness="different")

    def step(data: Data, rows: Tensor) -> Tensor:
        with _autocast(device, config.precision):
            gradients, losses = learn(stacked, data.inputs(rows), data.labels[rows])
        for name, parameter in stacked.items():
            parameter.grad = gradients[name]
        optimizer.step()
        return losses.mean()

    return step


def loss(network: nn.Module, parameters: dict[str, Tensor], x: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of a batch with `parameters` in place of the network's own."""
    return F.cross_entropy(functional_call(network, parameters, (x,)), labels)


class Trainer:
    """Repeats a step on random batches, as often per call as fits into some seconds."""

    def __init__(
        self, data: dict[str, Data], step: Step, precision: str, shape: tuple[int, ...], limit: tuple
    ):
        """Prepare to step with rows of `shape`; `limit` is (s, steps) of a call."""
        self._data, self._step, self._precision, self._shape = data, step, precision, shape
        self._limit, self._calls, self._count = limit, 0, 1

    def __call__(self, lengths: str) -> float:
        """Train and wait for the end; return utterances x runs."""
        start, data = time.perf_counter(), self._data[lengths]
        torch.backends.cudnn.allow_tf32 = self._precision == "tf32"
        torch.set_float32_matmul_precision("high" if self._precision == "tf32" else "highest")
        for rows in torch.randint(
            len(data.features), (self._count, *self._shape), device=data.features.device
        ):
            self._step(data, rows)
        if data.features.is_cuda:
            torch.cuda.synchronize()
        units = float(self._count * np.prod(self._shape))
        self._calls += 1
        if self._calls == 2:  # the first call compiles; this one tells how long a step takes
            seconds, most = self._limit
            self._count = int(np.clip(seconds / (time.perf_counter() - start), 1, most))
        return units


def variants(
    config: model.AttentiveCNN, training: TrainConfig, workload: Any, platform: str, limit: tuple[float, int]
) -> dict[str, Trainer]:
    """Return trainers by name, each to train for `limit` = (s, steps) a call at most.

    Raises: ImportError if JAX computes on a GPU and PyTorch finds none.
    """
    device = "cpu" if platform == "cpu" else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise ImportError("PyTorch finds no GPU")
    torch.set_num_threads(cores())
    features = torch.from_numpy(workload.features).transpose(1, 2).contiguous().to(device)
    labels, mean = (
        torch.from_numpy(workload.labels).long().to(device),
        torch.zeros(config.bands, device=device),
    )
    data = {
        name: Data(features, torch.from_numpy(frames).to(device), labels, mean, mean + 1)
        for name, frames in workload.frames.items()
    }
    own, batch = (config, training.learning_rate, device), training.batch
    trainer = partial(Trainer, data, precision=config.precision, limit=limit)
    return {
        "torch eager": trainer(single_step(*own), shape=(batch,)),
        "torch compile": trainer(single_step(*own, compiled=True), shape=(batch,)),
        "torch func": trainer(stacked_step(*own, 5), shape=(5, batch)),
    }
