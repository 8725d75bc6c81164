"""Measure training in utterances x runs per second, without compilation, and compare it with PyTorch.

Variants of training run interleaved in one process, so other load on the machine affects all of them alike.
The workload is noise with the size and the durations of IEMOCAP.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import train
from ser_jax.benchmark import RECOLA, TURNS, iemocap_seconds
from ser_jax.convolution import Precision
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Machine
from ser_jax.engine import RunSpec
from ser_jax.experiment import provenance
from ser_jax.io import markdown_table
from ser_jax.model import AttentiveCNN
from ser_jax.train import Data, Procedure, TrainConfig, fill, stack

FRAME_RATE = 100  # frames/s
# Alone and merged, every utterance of IEMOCAP and RECOLA trains in four of five folds, across languages once;
# fine-tuning takes 100 utterances for 10 epochs. Five seeds, two tasks.
TABLE2 = ((4 + 4 + 1) * (TURNS + RECOLA) * 50 + 2 * 5 * 100 * 10) * 5 * 2  # utterance-steps


class Sizes(NamedTuple):
    """Say how much is measured; the defaults are for accelerators."""

    utterances: int = TURNS
    epoch: int = TURNS  # utterances that a run trains on per call, at most, alone or in a stack of five
    cell: int = 2048  # the same in a stack of 25
    products: tuple[int, ...] = (2048, 4096, 8192)  # rows of the square matrices whose product is measured
    seconds: float = 0.5  # s that a call of PyTorch or of a matrix product lasts
    rounds: int = 7


CPU_SIZES = Sizes(epoch=512, cell=64, products=(512, 1024, 2048))


class Workload(NamedTuple):
    """Noise in place of speech."""

    features: np.ndarray  # [N, T, F] float32, standard normal
    labels: np.ndarray  # [N] int32, random
    frames: np.ndarray  # [N] int32, that hold sound

    @classmethod
    def of(cls, config: AttentiveCNN, count: int) -> "Workload":
        """Return `count` utterances, the same for the same arguments."""
        draw = np.random.default_rng(1)
        frames = np.minimum(np.rint(iemocap_seconds(count) * FRAME_RATE), config.frames).astype(np.int32)
        return cls(
            features=draw.standard_normal((count, config.frames, config.bands), dtype=np.float32),
            labels=draw.integers(0, config.outputs, count, dtype=np.int32),
            frames=frames,
        )

    def data(self, machine: Machine | None) -> Data:
        """Return the utterances on a machine or, for None, on the host."""
        group = np.zeros(len(self.features), np.int32)
        features = machine.place(self.features, group)[0] if machine else self.features
        return Data(features=features, frames=self.frames, group=group)

    def runs(self, count: int, most: int) -> list[RunSpec]:
        """Return runs on four fifths of the utterances, `most` at most; five seeds share a fold."""
        draw, total = np.random.default_rng(2), len(self.features)
        rows = [draw.permutation(total)[: min(most, total * 4 // 5)].astype(np.int32) for _ in range(5)]
        ones = np.ones((1, self.features.shape[2]), np.float32)
        spec = partial(RunSpec, labels=self.labels, scaler=Scaler(0 * ones, ones))
        return [spec(key=jax.random.key(i), train=rows[i // 5 % 5]) for i in range(count)]


def useful_flops(config: AttentiveCNN, frames: np.ndarray) -> float:
    """Return the FLOP of a step per utterance, forward and for the gradient of the kernels.

    Only segments that hold sound count, at the positions that are pooled; `frames` are [N]. The gradient
    counts as the matrix product that it is without the pooling. There is no input gradient, and what follows
    the pooling is a thousandth.
    """
    live = np.minimum(np.ceil(frames / config.segment_frames), config.segments)
    return float(live.mean()) * 2 * 2 * config.pool * config.kernel * config.bands * config.channels


class Trainer:
    """A stack of runs in training, as `train.fit_runs` trains it: per call, all epochs of the procedure."""

    def __init__(self, procedure: Procedure, data: Data, specs: list[RunSpec]):
        config, training, *_, mesh = procedure
        self._units = float(training.epochs * sum(len(spec.train) for spec in specs))
        size = mesh.size if mesh else 1
        runs = fill(stack([spec.run() for spec in specs]), -(-len(specs) // size) * size)
        self._fit = partial(train.fit_runs, procedure, data, runs)
        self._losses = np.zeros((training.epochs, len(runs.train)), np.float32)
        self.state = train.start_runs(config, training, runs)

    def __call__(self) -> float:
        """Train, wait for the end, and return utterances x runs."""
        self.state, _ = self._fit(resume=(0, self.state, self._losses))
        jax.block_until_ready(self.state)
        return self._units


class Timing(NamedTuple):
    """Rates of one variant; NaN if it failed."""

    compilation: float  # s that the first call took longer than the second, which does the same
    rates: list[float]  # units per second of each call after these
    failed: str | None = None  # the reason


def interleaved(works: Mapping[Any, Callable[[], float]], rounds: int) -> dict[Any, Timing]:
    """Call each work twice to warm up, then all in turn, round after round.

    A call works, waits for the end and returns the units done. A work that raises an exception in its first
    call is left out.
    """

    def timed(work: Callable[[], float]) -> tuple[float, float]:
        start = time.perf_counter()
        units = work()
        return time.perf_counter() - start, units

    timings = {}
    for name, work in works.items():
        try:
            timings[name] = Timing(max(timed(work)[0] - timed(work)[0], 0), [])
        except (ImportError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            timings[name] = Timing(math.nan, [math.nan], reason)
    for _ in range(rounds):
        for name in (name for name in works if timings[name].failed is None):
            seconds, units = timed(works[name])
            timings[name].rates.append(units / seconds)
    return timings


def ratio(above: Timing, below: Timing) -> float:
    """Return the median over the rounds of the ratio of two rates; NaN if one was not measured."""
    return float(np.median([a / b for a, b in zip(above.rates, below.rates, strict=False)]))


def matmul(size: int, precision: str, seconds: float) -> Callable[[], float]:
    """Return a call that multiplies square matrices for some seconds and returns the FLOP."""
    kind = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    how = "highest" if precision == "float32" else "default"
    a, b = (jax.random.normal(jax.random.key(i), (size, size), kind) for i in range(2))
    multiply = jax.jit(partial(jnp.matmul, precision=how, preferred_element_type=jnp.float32))

    def work() -> float:
        start, done = time.perf_counter(), 0
        while not done or time.perf_counter() - start < seconds:
            multiply(a, b).block_until_ready()
            done += 1
        return 2.0 * size**3 * done

    return work


def variants(
    config: AttentiveCNN, training: TrainConfig, sizes: Sizes, workload: Workload
) -> dict[str, Callable[[], float]]:
    """Return calls that train, each some of a variant's work; those of PyTorch raise ImportError without it.

    In float32 these include alternatives to what the engine chooses, and all of PyTorch's.
    """
    machine, most = Machine.here(budget=sys.maxsize), sizes.epoch
    chosen, on_mesh = machine.computes_runs_by, workload.data(machine)
    on_one = on_mesh if machine.mesh.size == 1 else workload.data(Machine.here(1, budget=sys.maxsize))

    def trainer(runs: int, most: int, data: Data = on_mesh, epochs: int = 1, **how: Any) -> Trainer:
        procedure = Procedure(config, dataclasses.replace(training, epochs=epochs), **how)
        return Trainer(procedure, data, workload.runs(runs, most))

    stacked = partial(trainer, stacking=chosen, mesh=machine.mesh)
    calls: dict[str, Callable[[], float]] = {
        "one": trainer(1, most, on_one, epochs=5),  # as much work as five runs
        "five": stacked(5, most),
        "25": stacked(25, sizes.cell),
    }
    theirs = ["torch eager"]
    if config.precision == "float32":
        other = "vmap" if chosen == "map" else "map"
        calls[f"five, {other}"] = stacked(5, most, stacking=other)
        calls["five, streamed"] = stacked(5, most, workload.data(None))
        theirs.append("torch compile")
    try:
        from ser_jax.benchmark import torch_reference

        made = torch_reference.variants(config, training, workload, machine.platform, sizes.seconds)
    except ImportError as error:
        made = dict.fromkeys(theirs, partial(_fail, error))
    return calls | {name: made[name] for name in theirs}


def _fail(error: Exception) -> float:
    raise error


def measure(
    config: AttentiveCNN, training: TrainConfig, sizes: Sizes, precisions: list[Precision]
) -> dict[str, Any]:
    """Measure the variants in every precision.

    Returns: a report. Its environment; load, averages before and after; peak, FLOP/s of a matrix product by
      precision; rows, what was measured of every variant, NaN for what was not.
    """
    before, workload = provenance.load(), Workload.of(config, sizes.utterances)
    works: dict[Any, Callable[[], float]] = {}
    for precision in precisions:
        found = variants(dataclasses.replace(config, precision=precision), training, sizes, workload)
        works |= {(name, precision): work for name, work in found.items()}
        works |= {(n, precision): matmul(n, precision, sizes.seconds) for n in sizes.products}
    timings = interleaved(works, sizes.rounds)
    peak = {name: max(max(timings[size, name].rates) for size in sizes.products) for name in precisions}
    flops = useful_flops(config, workload.frames)

    def row(variant: str, precision: Any) -> dict[str, Any]:
        timing = timings[variant, precision]
        low, rate, high = np.quantile(timing.rates, (0.25, 0.5, 0.75)).tolist()
        over = (ratio(timing, timings[name, precision]) for name in ("five", "torch eager"))
        values = rate, low, high, timing.compilation, *over, rate * flops / peak[precision]
        numbers = dict(zip(COLUMNS, (*values, TABLE2 / rate / 3600), strict=True))
        return {"variant": variant, "precision": precision, **numbers, "failed": timing.failed}

    return {
        "environment": provenance.describe_environment(),
        "load": [before, provenance.load()],
        "rounds": sizes.rounds,
        "peak": peak,
        "rows": [row(*key) for key in works if isinstance(key[0], str)],
    }


COLUMNS = {  # of the table: the head, and the form
    "rate": ("utt x runs/s", ",.0f"), "low": ("from", ",.0f"), "high": ("to", ",.0f"),
    "compilation": ("compilation, s", ".1f"), "over_five": ("x five", ".2f"),
    "over_torch": ("x PyTorch", ".2f"), "of_matmul": ("of matmul", ".0%"),
    "table2_hours": ("Table 2, h", ".2f"),
}  # fmt: skip


def markdown(report: dict[str, Any]) -> str:
    """Return a report as a table, and sentences on what was measured."""
    where, load = report["environment"], report["load"]
    lines = [["training", "precision", *(head for head, _ in COLUMNS.values())]]
    for row in report["rows"]:
        numbers = ((row[name], form) for name, (_, form) in COLUMNS.items())
        fields = ["?" if math.isnan(number) else format(number, form) for number, form in numbers]
        if row["failed"]:
            fields = [f"not measured: {row['failed']}", *[""] * (len(COLUMNS) - 1)]
        lines.append([row["variant"], row["precision"], *fields])
    versions = ", ".join(f"{name} {where[name]}" for name in ("jax", "torch", "python") if where[name])
    peaks = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in report["peak"].items())
    return f"""{markdown_table(lines)}

{where["device"]}, {where["cores"]} cores, for JAX as for PyTorch; {versions}; load average {load[0]} \
before, {load[1]} after.
Rates: utterances x runs trained per second, median and quartiles of n = {report["rounds"]} interleaved \
rounds; other load distorts them. Compilation: what the first call took longer than the second. Ratios, \
medians over the rounds: to five runs stacked, and to PyTorch eager. Of matmul: the arithmetic of segments \
that hold sound, as a share of the fastest matrix product ({peaks}). Table 2: {TABLE2 / 1e6:.1f} million \
utterance-steps."""
