"""Implement the attentive CNN in PyTorch, as one would write it there, for the benchmark."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_jax import model
from ser_jax.devices import cores
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
        return self.classifier(self.dropout(torch.cat([attended, segments.flatten(1)], dim=1)))


class Data(NamedTuple):
    """Utterances on a device."""

    features: Tensor  # [N, F, T] float32, dimensions first, as PyTorch's convolution takes them
    frames: Tensor  # [N], that hold sound
    labels: Tensor  # [N] classes
    mean: Tensor  # [F], and so is the next
    scale: Tensor

    def inputs(self, rows: Tensor) -> Tensor:
        """Gather and standardize utterances: [..., F, T], exactly zero in the padding."""
        x = (self.features[rows] - self.mean[:, None]) * self.scale[:, None]
        valid = torch.arange(x.shape[-1], device=x.device) < self.frames[rows].unsqueeze(-1)
        return torch.where(valid.unsqueeze(-2), x, 0)


Step = Callable[[Data, Tensor], Tensor]  # (data, rows) to the loss, after an update


def training_step(config: model.AttentiveCNN, rate: float, device: str, compiled: bool = False) -> Step:
    """Return a training step of one model on rows [B], with Adam, eager or by `torch.compile`.

    bfloat16 is PyTorch's automatic mixed precision.
    """
    module = AttentiveCNN(config).to(device)
    optimizer = torch.optim.Adam(module.parameters(), rate)
    network = torch.compile(module, dynamic=False) if compiled else module

    def step(data: Data, rows: Tensor) -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bfloat16"):
            loss = F.cross_entropy(network(data.inputs(rows)), data.labels[rows])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def trainer(data: Data, step: Step, precision: str, batch: int, seconds: float) -> Callable[[], float]:
    """Return a call that steps on random batches for some seconds and returns the utterances trained on."""

    def train() -> float:
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        start, done, features = time.perf_counter(), 0, data.features
        while not done or time.perf_counter() - start < seconds:
            loss = step(data, torch.randint(len(features), (batch,), device=features.device))
            done += 1
            if done % 16 == 0:
                loss.item()  # waits for a GPU, on which steps are queued
        loss.item()
        return float(done * batch)

    return train


def variants(
    config: model.AttentiveCNN, training: TrainConfig, workload: Any, platform: str, seconds: float
) -> dict[str, Callable[[], float]]:
    """Return calls by name that train for some seconds on the utterances of a `throughput.Workload`.

    Raises: ImportError if JAX computes on a GPU and PyTorch finds none.
    """
    device = "cpu" if platform == "cpu" else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise ImportError("PyTorch finds no GPU")
    torch.set_num_threads(cores())
    features = torch.from_numpy(workload.features).transpose(1, 2).contiguous().to(device)
    labels = torch.from_numpy(workload.labels).long().to(device)
    zeros = torch.zeros(config.bands, device=device)
    frames = torch.from_numpy(workload.frames).to(device)
    data = Data(features, frames, labels, zeros, zeros + 1)

    def variant(compiled: bool) -> Callable[[], float]:
        step = training_step(config, training.learning_rate, device, compiled)
        return trainer(data, step, config.precision, training.batch, seconds)

    return {"torch eager": variant(False), "torch compile": variant(True)}
