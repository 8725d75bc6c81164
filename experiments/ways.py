"""Ways to train runs, each as a call that does some of it: what `experiments.throughput` times."""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from experiments import workload
from experiments.workload import Corpus
from ser_jax import train
from ser_jax.devices import Machine
from ser_jax.model import ModelConfig
from ser_jax.runs import Data, default_stacking, fill, spread
from ser_jax.train import TrainConfig

if TYPE_CHECKING:
    from experiments import torch_model

TITLES = {
    "one": "one run",
    "five_after_another": "five runs, one after another",
    "five_engine": "five runs, the engine",
    "five_vmap": "five runs, under vmap",
    "five_map": "five runs, under lax.map",
    "five_streamed": "five runs, features streamed from the host",
    "cell_engine": "a full cell's 25 runs, the engine",
    "torch_eager": "PyTorch, eager",
    "torch_compile": "PyTorch, torch.compile",
    "torch_stacked": "PyTorch, torch.func, five stacked",
}
STACKED = 5  # runs; the paper's of one fold


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is done to be timed.

    Attributes:
      utterances: N.
      epoch: the most utterances that a run trains on in a call.
      cell: the same for each run of a full cell.
      products: rows and columns of the matrices whose fastest product is the peak.
      triad: MB, of each array that measures the memory.
      peak: s, of a call that measures a peak.
      seconds: of a call of PyTorch, at most.
      rounds: of everything.
      limit: s, after which no further round begins.
      runs, trained, heard: the numbers of runs, utterances, and seconds that the cost is shown against.
      swept: the most utterances that a run trains on where the number of runs varies.
    """

    utterances: int
    epoch: int
    cell: int
    products: tuple[int, ...]
    triad: int
    peak: float
    seconds: float
    rounds: int
    limit: float
    runs: tuple[int, ...]
    trained: tuple[int, ...]
    heard: tuple[float, ...]
    swept: int


RUNS = (1, 2, 5, 10, 25, 50, 100)
SECONDS = (0.9, 1.8, 2.7, 3.6, 4.5, 5.4, 6.3, 7.5)
CPU = Sizes(
    utterances=10_039, epoch=512, cell=64, products=(512, 1024, 2048), triad=128, peak=0.25, seconds=0.8,
    rounds=7, limit=45, runs=RUNS, trained=(32, 128, 512, 2048), heard=SECONDS, swept=64,
)  # fmt: skip
GPU = Sizes(
    utterances=10_039, epoch=10_039, cell=10_039, products=(2048, 4096, 8192), triad=1024, peak=0.2,
    seconds=1, rounds=7, limit=60, runs=RUNS, trained=(32, 128, 512, 2048, 8192), heard=SECONDS, swept=2048,
)  # fmt: skip


def sizes(backend: str, full: bool) -> Sizes:
    """What suits a device: a call of seconds on a CPU, whole epochs elsewhere; `full` asks for more."""
    if backend != "cpu":
        return dataclasses.replace(GPU, rounds=25, limit=600) if full else GPU
    if full:
        return dataclasses.replace(CPU, epoch=2048, cell=256, rounds=15, limit=900, swept=256)
    return CPU


class Noise(NamedTuple):
    """What is trained on, by distribution of lengths.

    Attributes:
      corpus: the whole.
      machine: what computes stacks.
      on_host, on_one, on_mesh: its features on the host, on one device, and on all of the machine's.
    """

    corpus: Corpus
    machine: Machine
    on_host: dict[str, Data]
    on_one: dict[str, Data]
    on_mesh: dict[str, Data]

    @classmethod
    def of(cls, corpus: Corpus) -> "Noise":
        """A corpus brought to where it is used."""
        machine = Machine.here()
        on_mesh = corpus.on(machine)
        on_one = on_mesh if machine.mesh.size == 1 else corpus.on(Machine.here(devices=1))
        return cls(corpus, machine, corpus.on_host(), on_one, on_mesh)


class Stack:
    """Runs trained as a stack, an epoch a call, as the engine does it.

    Attributes:
      state: what they have learnt so far.
    """

    def __init__(
        self,
        config: ModelConfig,
        training: TrainConfig,
        noise: Noise,
        count: int,
        most: int,
        streamed: bool = False,
    ):
        """Runs as `workload.runs` makes them; their features on the devices or streamed from the host."""
        mesh = noise.machine.mesh
        self._epoch = partial(train.epoch, config, training)
        self._data, self._mesh = noise.on_host if streamed else noise.on_mesh, mesh
        stack = fill(workload.runs(noise.corpus, count, most), -(-count // mesh.size) * mesh.size)
        self._runs = spread(stack, mesh)
        self.state = spread(train.start_runs(config, training, self._runs), mesh)
        self._done = 0
        self._utterances = int(np.sum(stack.count))

    def __call__(self, lengths: str) -> float:
        """Trains, waits for the end of it, and returns utterances x runs."""
        self.state, losses = self._epoch(
            self._data[lengths], self._runs, self.state, self._done, mesh=self._mesh
        )
        jax.block_until_ready((self.state, losses))
        self._done += 1
        return self._utterances


class OneAfterAnother:
    """Runs trained by themselves, by the function that `train.fit` calls.

    Attributes:
      states: what each has learnt so far.
    """

    def __init__(
        self,
        config: ModelConfig,
        training: TrainConfig,
        noise: Noise,
        count: int,
        most: int,
        epochs: int = 1,
    ):
        """Runs as `workload.runs` makes them, each `epochs` epochs a call."""
        stack = jax.device_put(workload.runs(noise.corpus, count, most))
        self._epoch = partial(jax.jit(train.one_epoch, static_argnums=(0, 1)), config, training)
        self._data = noise.on_one
        self._runs = [jax.tree.map(lambda leaf, i=i: leaf[i], stack) for i in range(count)]
        self.states = [train.start(config, training, run) for run in self._runs]
        self._done, self._epochs = 0, epochs
        self._utterances = epochs * int(np.sum(stack.count))

    def __call__(self, lengths: str) -> float:
        """Trains, waits for the end of each, and returns utterances x runs."""
        for i, run in enumerate(self._runs):
            for epoch in range(self._done, self._done + self._epochs):
                self.states[i], value = self._epoch(self._data[lengths], run, self.states[i], epoch)
            jax.block_until_ready((self.states[i], value))
        self._done += self._epochs
        return self._utterances


class Torch:
    """A way of PyTorch, some steps a call: a whole epoch, or what fits into the seconds it is given.

    Args:
      allow: says before each call which arithmetic is wanted.
      step: one of `torch_model`'s.
      runs: R that it trains at once; 0 for a single one without a leading R.
      training: gives the batch.
      size: how much a call does.
    """

    def __init__(self, allow: Callable, step: Callable, runs: int, training: TrainConfig, size: Sizes):
        self._allow, self._step, self._runs, self._batch = allow, step, runs, training.batch
        self._steps: int | None = None
        self._most, self._seconds = max(size.epoch // training.batch, 1), size.seconds

    def __call__(self, data: "torch_model.Data") -> float:
        """Trains, waits for the end of it, and returns utterances x runs."""
        if self._steps is None:  # the first call compiles, the second tells how long a step is
            self._steps = 0
            return self._take(data, 1)
        if self._steps == 0:
            start = time.perf_counter()
            units = self._take(data, 1)
            self._steps = int(np.clip(self._seconds / (time.perf_counter() - start), 1, self._most))
            return units
        return self._take(data, self._steps)

    def _take(self, data: "torch_model.Data", steps: int) -> float:
        import torch

        shape = (steps, self._runs, self._batch) if self._runs else (steps, self._batch)
        device = data.logmel.device
        self._allow()
        for rows in torch.randint(len(data.logmel), shape, device=device):
            self._step(data, rows)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return float(np.prod(shape))


def ours(
    config: ModelConfig, training: TrainConfig, noise: Noise, size: Sizes, choices: bool = True
) -> dict[str, Callable]:
    """The ways of this package by name; calls of one run and of five take as long.

    Args:
      choices: whether the engine's choices are shown beside their alternatives.
    """
    five = partial(Stack, noise=noise, count=STACKED, most=size.epoch)
    ways: dict[str, Callable] = {
        "one": OneAfterAnother(config, training, noise, 1, size.epoch, epochs=STACKED),
        "five_after_another": OneAfterAnother(config, training, noise, STACKED, size.epoch),
        "five_engine": five(config, training),
        "cell_engine": Stack(config, training, noise, 5 * workload.SEEDS, size.cell),
    }
    if choices:
        other = other_stacking()
        ways[f"five_{other}"] = five(config, dataclasses.replace(training, stacking=other))
        ways["five_streamed"] = five(config, training, streamed=True)
    return ways


def other_stacking() -> str:
    """The one that the engine does not choose here."""
    return "vmap" if default_stacking() == "map" else "map"


def torchs(config: ModelConfig, training: TrainConfig, device: str, size: Sizes) -> dict[str, Callable]:
    """The ways of PyTorch by name.

    Raises: ImportError where it is not installed.
    """
    from experiments import torch_model

    allow = partial(torch_model.allow, config.precision)
    options = config, training.learning_rate, device
    return {
        "torch_eager": Torch(allow, torch_model.train_one(*options, compiled=False), 0, training, size),
        "torch_compile": Torch(allow, torch_model.train_one(*options, compiled=True), 0, training, size),
        "torch_stacked": Torch(allow, torch_model.train_stack(*options, STACKED), STACKED, training, size),
    }


def torch_data(corpus: Corpus, device: str) -> dict:
    """The corpus for PyTorch, by distribution of lengths; the features are shared.

    Raises: ImportError where it is not installed.
    """
    import torch

    from experiments import torch_model

    logmel = torch.from_numpy(corpus.logmel).transpose(1, 2).contiguous().to(device)
    labels = torch.from_numpy(corpus.labels).long().to(device)
    mean, scale = torch.zeros(logmel.shape[1], device=device), torch.ones(logmel.shape[1], device=device)
    return {
        name: torch_model.Data(logmel, torch.from_numpy(frames).to(device), labels, mean, scale)
        for name, frames in corpus.frames.items()
    }
