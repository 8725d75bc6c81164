"""Training throughput in utterances x runs per second, compilation apart, beside PyTorch.

Variants of training run interleaved in one process, so that other load on the machine affects all of them
alike. The workload is noise of IEMOCAP's size, with IEMOCAP's lengths or all of one length.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import model, train
from ser_jax.data.standardize import Scaler
from ser_jax.devices import Machine
from ser_jax.engine import RunSpec
from ser_jax.experiment import provenance
from ser_jax.io import atomic_file, markdown_table
from ser_jax.model import AttentiveCNN
from ser_jax.train import Data, Procedure, Runs, TrainConfig, fill, spread, stack

# Share of IEMOCAP's turns that are shorter than this, s.
QUANTILES = {
    0: 0.58, 0.05: 1.39, 0.1: 1.68, 0.2: 2.14, 0.3: 2.56, 0.4: 2.98, 0.5: 3.52, 0.6: 4.20, 0.7: 5.14,
    0.8: 6.41, 0.86: 7.5, 0.9: 8.45, 0.95: 10.5, 0.99: 15.1, 1: 34.1,
}  # fmt: skip
TURNS = 10_039  # IEMOCAP's
RATE = 100  # frames per second
# Alone and merged, every utterance of IEMOCAP and RECOLA trains in four of five folds, across languages once;
# fine-tuning takes 100 utterances for 10 epochs. Five seeds, two tasks.
TABLE2 = ((4 + 4 + 1) * (TURNS + 1308) * 50 + 2 * 5 * 100 * 10) * 5 * 2  # utterance-steps
IEMOCAP = "IEMOCAP's"  # distribution of lengths
AXES = {"runs": "runs in a stack", "utterances": "utterances per run", "length": "length of utterances, s"}
MIN_ROUNDS = 3


class Sizes(NamedTuple):
    """How much is measured; the defaults are for accelerators.

    Attributes:
      utterances: N.
      epoch, cell: utterances that a run trains on per call, at most: alone or in a stack of five, and in
        larger stacks.
      products, triad: rows of the matrices, and MB of the arrays, that measure the peaks.
      seconds: s of a call of PyTorch, or that measures a peak.
      rounds, limit: rounds, and s after which no further one begins.
      runs, trained, lengths: numbers of runs, of utterances, and seconds whose cost is measured.
    """

    utterances: int = TURNS
    epoch: int = TURNS
    cell: int = 2048
    products: tuple[int, ...] = (2048, 4096, 8192)
    triad: int = 1024
    seconds: float = 0.5
    rounds: int = 7
    limit: int = 60
    runs: tuple[int, ...] = (1, 2, 10, 50, 100)
    trained: tuple[int, ...] = (32, 128, 512, 2048)
    lengths: tuple[float, ...] = (0.9, 1.8, 3.6, 5.4, 7.5)

    @classmethod
    def of(cls, platform: str, full: bool) -> "Sizes":
        """Return what suits a platform; `full` measures more."""
        if platform != "cpu":
            return cls(rounds=25, limit=600) if full else cls()
        own = cls(epoch=512, cell=64, products=(512, 1024, 2048), triad=128, limit=90)
        return own._replace(epoch=2048, cell=256, rounds=15, limit=900) if full else own


class Workload(NamedTuple):
    """Noise in place of speech.

    Attributes:
      features: [N, T, F] float32, standard normal, nowhere zero.
      labels: [N] int32, random.
      frames: [N] int32 frames that count, by distribution of lengths: "IEMOCAP's", and "2.7 s" and the like.
    """

    features: np.ndarray
    labels: np.ndarray
    frames: dict[str, np.ndarray]

    @classmethod
    def of(cls, config: AttentiveCNN, count: int, lengths: tuple[float, ...]) -> "Workload":
        """Return `count` utterances, the same for the same arguments."""
        draw = np.random.default_rng(1)
        seconds = {IEMOCAP: iemocap_seconds(count)} | {f"{one} s": np.full(count, one) for one in lengths}
        frames = {name: np.minimum(np.rint(own * RATE), config.frames) for name, own in seconds.items()}
        return cls(
            features=draw.standard_normal((count, config.frames, config.bands), dtype=np.float32),
            labels=draw.integers(0, config.outputs, count, dtype=np.int32),
            frames={name: own.astype(np.int32) for name, own in frames.items()},
        )

    def data(self, machine: Machine | None) -> dict[str, Data]:
        """Return the utterances by distribution of lengths, on a machine or, for None, on the host."""
        group = np.zeros(len(self.features), np.int32)
        features = machine.place(self.features, group)[0] if machine else self.features
        own = partial(Data, features=features, group=group)
        return {name: own(frames=frames) for name, frames in self.frames.items()}

    def runs(self, count: int, most: int) -> list[RunSpec]:
        """Return runs on four fifths of the utterances, at most `most`, the same ones for five seeds each."""
        draw, total = np.random.default_rng(2), len(self.features)
        rows = [draw.permutation(total)[: min(most, total * 4 // 5)].astype(np.int32) for _ in range(5)]
        ones = np.ones((1, self.features.shape[2]), np.float32)
        own = partial(RunSpec, labels=self.labels, scaler=Scaler(0 * ones, ones))
        return [own(key=jax.random.key(i), train=rows[i // 5 % 5]) for i in range(count)]


def iemocap_seconds(count: int) -> np.ndarray:
    """Return lengths [N] s with the distribution of IEMOCAP's turns, in random order."""
    share = (np.arange(count) + 0.5) / count
    return np.random.default_rng(0).permutation(np.interp(share, list(QUANTILES), list(QUANTILES.values())))


def useful_flops(config: AttentiveCNN, frames: np.ndarray, winners_only: bool = False) -> float:
    """Return the FLOP that a step needs per utterance: forward, and the gradient of the kernels.

    Only segments that hold sound count, at the positions that they pool; frames are [N]. The gradient counts
    as the matrix product that it is without the pooling, or as one window per segment and kernel (the
    maximum's). No input gradient is needed, and what follows the pooling is a thousandth.
    """
    live = np.minimum(np.ceil(frames / config.segment_frames), config.segments)
    product = 2 * config.kernel * config.bands * config.channels
    return float(live.mean()) * product * (config.pool + (1 if winners_only else config.pool))


def useful_bytes(config: AttentiveCNN, frames: np.ndarray, batch: int) -> float:
    """Return the bytes that a step must move per utterance.

    The frames [N] that hold sound are read once; parameters and both of Adam's moments are read and written
    once per batch.
    """
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model.shapes(config)))
    return 4 * (float(frames.mean()) * config.bands + 6 * parameters / batch)


class Trainer:
    """Runs in training; each call trains all of them for some epochs and returns utterances x runs.

    Attributes:
      states: of each run after the last call; of the stack as a list of one.
    """

    def __init__(
        self, how: Procedure, data: dict[str, Data], specs: list[RunSpec], stacked: bool, epochs: int = 1
    ):
        """Prepare to train runs side by side, as the engine does, or one by one, as `train.fit` does."""
        config, training, mesh = how.config, how.training, how.mesh
        self._data, self._epochs, self._done = data, epochs, 0
        self._utterances = epochs * sum(len(one.train) for one in specs)
        self._runs: list[Runs]
        if stacked:
            size = mesh.size if mesh else 1
            runs = fill(stack([one.run() for one in specs]), -(-len(specs) // size) * size)
            self._runs, self._epoch = [spread(runs, mesh)], partial(train.epoch, how)
            self.states = [spread(train.start_runs(config, training, self._runs[0]), mesh)]
        else:
            self._runs = [jax.tree.map(jnp.asarray, one.run()) for one in specs]
            self._epoch = partial(jax.jit(train.one_epoch, static_argnums=0), how)
            self.states = [train.start(config, training, run) for run in self._runs]

    def __call__(self, lengths: str) -> float:
        """Train on utterances of a distribution of lengths and wait for the end."""
        for i, runs in enumerate(self._runs):
            for number in range(self._done, self._done + self._epochs):
                self.states[i], losses = self._epoch(self._data[lengths], runs, self.states[i], number)
            jax.block_until_ready((self.states[i], losses))
        self._done += self._epochs
        return self._utterances


class Timing(NamedTuple):
    """Rates of one thing.

    Attributes:
      compilation: s that the first call took longer than the second, which does the same.
      rates: units per second of each call after these.
      failed: the reason if there are none; compilation and rates are NaN.
    """

    compilation: float
    rates: list[float]
    failed: str | None = None

    @property
    def rate(self) -> float:
        """The median over the rounds."""
        return float(np.median(self.rates))


def interleaved(
    things: Mapping[Any, Callable[[], float] | str],
    rounds: int,
    limit: float,
    may_fail: Callable[[Any], bool] = lambda name: False,
) -> dict[Any, Timing]:
    """Call each thing twice to warm up, then all in turn, round after round.

    Args:
      things: by name; a call works, waits for the end and returns the units done. For what cannot be called,
        the reason.
      rounds: how many.
      limit: s after which no further round begins, once there are `MIN_ROUNDS`.
      may_fail: whether a thing may fail; it is then left out, with the reason.
    """

    def timed(thing: Callable[[], float]) -> tuple[float, float]:
        start = time.perf_counter()
        units = thing()
        return time.perf_counter() - start, units

    timings = {}
    for name, thing in things.items():
        try:
            if isinstance(thing, str):
                raise ImportError(thing)
            timings[name] = Timing(max(timed(thing)[0] - timed(thing)[0], 0), [])
        except Exception as error:
            if not (may_fail(name) or isinstance(thing, str)):
                raise
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            timings[name] = Timing(math.nan, [math.nan], reason)
    start = time.perf_counter()
    for done in range(rounds):
        if done >= MIN_ROUNDS and time.perf_counter() - start > limit:
            break
        for name, thing in things.items():
            if timings[name].failed is None and not isinstance(thing, str):
                seconds, units = timed(thing)
                timings[name].rates.append(units / seconds)
    return timings


def ratio(above: Timing, below: Timing) -> float:
    """Return the median over the rounds of the ratio of two rates; NaN if one was not measured."""
    return float(np.median([a / b for a, b in zip(above.rates, below.rates, strict=False)]))


class Peak:
    """The highest rate seen of some work, which a call repeats for some time.

    Attributes:
      rate: units per second.
    """

    def __init__(self, work: Callable[[], None], units: float, seconds: float):
        """Prepare to repeat `work`, which does `units` and waits for the end, for `seconds` a call."""
        self._work, self._units, self._seconds, self.rate = work, units, seconds, 0.0

    def __call__(self) -> float:
        """Work and return the units done."""
        start = now = time.perf_counter()
        done = 0
        while not done or now - start < self._seconds:
            self._work()
            before, now, done = now, time.perf_counter(), done + 1
            self.rate = max(self.rate, self._units / (now - before))
        return self._units * done


def matmul(size: int, precision: str, seconds: float) -> Peak:
    """Return a product of square matrices, summed in float32; units are FLOP."""
    kind = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    how = "highest" if precision == "float32" else "default"
    a, b = (jax.random.normal(jax.random.key(i), (size, size), kind) for i in range(2))
    multiply = jax.jit(partial(jnp.matmul, precision=how, preferred_element_type=jnp.float32))
    return Peak(lambda: multiply(a, b).block_until_ready(), 2 * size**3, seconds)


def triad(megabytes: int, seconds: float) -> Peak:
    """Return a <- s a + b over arrays of so many MB, too large for any cache; units are bytes."""
    count, passes = megabytes * 1_000_000 // 4, 4
    state, b = jnp.ones(count), jnp.full(count, 0.5)

    @partial(jax.jit, donate_argnums=0)
    def move(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, passes, lambda _, a: 0.5 * a + b, a)

    def work() -> None:
        nonlocal state
        state = move(state, b).block_until_ready()

    return Peak(work, 3 * 4 * count * passes, seconds)


class Key(NamedTuple):
    """One measurement: a variant in one precision, on one distribution of lengths.

    Attributes:
      value: of the runs, utterances or seconds whose cost the variant shows; 0 for the others.
    """

    variant: str
    precision: str
    lengths: str = IEMOCAP
    value: float = 0


def variants(
    config: AttentiveCNN, training: TrainConfig, sizes: Sizes, workload: Workload, every: bool, costs: bool
) -> dict[Key, Callable[[], float] | str]:
    """Return calls that train, each some of a variant's work; for those that cannot run, the reason.

    With `every`, alternatives to what the engine chooses are among them, and all of PyTorch's; with `costs`,
    stacks of more and more runs, and one run on more and on longer utterances.
    """
    machine, most = Machine.here(budget=sys.maxsize), sizes.epoch
    chosen, on_mesh = machine.computes_runs_by, workload.data(machine)
    on_one = on_mesh if machine.mesh.size == 1 else workload.data(Machine.here(1, budget=sys.maxsize))

    def stacked(count: int, most: int, stacking: str = chosen, data: dict[str, Data] = on_mesh) -> Trainer:
        how = Procedure(config, training, stacking=stacking, mesh=machine.mesh)
        return Trainer(how, data, workload.runs(count, most), stacked=True)

    def sequential(count: int, most: int, epochs: int = 1) -> Trainer:
        return Trainer(Procedure(config, training), on_one, workload.runs(count, most), False, epochs)

    calls: dict[str, Any] = {
        "one": sequential(1, most, epochs=5),  # as much work as five runs
        "five sequential": sequential(5, most),
        "five": stacked(5, most),
        "cell": stacked(25, sizes.cell),
    }
    if every:
        other = "vmap" if chosen == "map" else "map"
        calls[f"five {other}"] = stacked(5, most, stacking=other)
        calls["five streamed"] = stacked(5, most, data=workload.data(None))
    theirs = ("torch eager", "torch compile", "torch func") if every else ("torch eager",)
    try:
        from ser_jax.benchmark import torch_reference

        limit = sizes.seconds, max(most // training.batch, 1)
        made = torch_reference.variants(config, training, workload, machine.platform, limit)
        calls |= {name: made[name] for name in theirs}
    except ImportError as error:
        calls |= dict.fromkeys(theirs, str(error))
    found: dict[Key, Callable[[], float] | str] = {}
    for name, call in calls.items():
        for lengths in (IEMOCAP, f"{sizes.lengths[-1]} s"):
            found[Key(name, config.precision, lengths)] = (
                call if isinstance(call, str) else partial(call, lengths)
            )
    if costs:
        key, one = partial(Key, precision=config.precision), sequential(1, most)
        for count in sizes.runs:
            found[key("runs", value=count)] = partial(stacked(count, sizes.cell), IEMOCAP)
        for some in sizes.trained:
            found[key("utterances", value=some)] = partial(sequential(1, some), IEMOCAP)
        for seconds in sizes.lengths:
            found[key("length", lengths=f"{seconds} s", value=seconds)] = partial(one, f"{seconds} s")
    return found


def measure(
    config: AttentiveCNN, training: TrainConfig, sizes: Sizes, precisions: list[str], full: bool = False
) -> dict[str, Any]:
    """Measure the variants in every precision; costs in the first, and all variants in float32 alone.

    Args:
      config, training, sizes: network, procedure, and how much is measured.
      precisions: of `AttentiveCNN.precision`.
      full: whether all variants are measured in every precision.
    Returns: a report as JSON. Its environment, load (averages before and after) and sizes; peak, FLOP/s of a
      matrix product by precision, and bandwidth, bytes/s of the memory, the highest seen; rows, what was
      found of every variant, None for what was not measured.
    """
    before, workload = provenance.load(), Workload.of(config, sizes.utterances, sizes.lengths)
    found: dict[Key, Callable[[], float] | str] = {}
    peaks: dict[str, list[Peak]] = {}
    for i, precision in enumerate(precisions):
        own, every = dataclasses.replace(config, precision=precision), full or precision == "float32"
        found |= variants(own, training, sizes, workload, every, costs=i == 0)
        peaks[precision] = [matmul(size, precision, sizes.seconds) for size in sizes.products]
    memory = triad(sizes.triad, sizes.seconds)
    works = dict(enumerate([memory, *(one for some in peaks.values() for one in some)]))
    limit = sizes.limit * len(precisions)
    timings = interleaved(found | works, sizes.rounds, limit, lambda key: key in found and "torch" in key[0])
    peak = {precision: max(one.rate for one in some) for precision, some in peaks.items()}

    def row(key: Key) -> dict[str, Any]:
        timing, frames, top = timings[key], workload.frames[key.lengths], peak[key.precision]
        low, high = np.quantile(timing.rates, (0.25, 0.75))
        flops, winners = (useful_flops(config, frames, of) for of in (False, True))
        moved = useful_bytes(config, frames, training.batch)

        def over(variant: str, precision: str) -> float:
            below = Key(variant, precision, key.lengths)
            return ratio(timing, timings[below]) if below in timings else math.nan

        numbers = {
            "rate": timing.rate,
            "low": float(low),
            "high": float(high),
            "best": float(np.max(timing.rates)),
            "compilation": timing.compilation,
            "over_five": over("five", key.precision),
            "over_torch": over("torch eager", key.precision),
            "over_torch_float32": over("torch eager", "float32"),
            "flops": flops,
            "bytes": moved,
            "of_matmul": timing.rate * flops / top,
            "of_matmul_winners_only": timing.rate * winners / top,
            "of_memory": timing.rate * moved / memory.rate,
            "table2_hours": TABLE2 / timing.rate / 3600,
        }
        measured = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        rounds = 0 if timing.failed else len(timing.rates)
        return {**key._asdict(), **measured, "rounds": rounds, "failed": timing.failed}

    return {
        "environment": provenance.describe_environment(),
        "load": [before, provenance.load()],
        "sizes": sizes._asdict(),
        "peak": peak,
        "bandwidth": memory.rate,
        "rows": [row(key) for key in found],
    }


COLUMNS = {  # of the table: the head, and the form
    "rate": ("utt x runs/s", ",.0f"), "low": ("from", ",.0f"), "high": ("to", ",.0f"),
    "best": ("fastest", ",.0f"), "rounds": ("rounds", "d"), "compilation": ("compilation, s", ".1f"),
    "over_five": ("x five", ",.2f"), "over_torch": ("x PyTorch", ",.2f"),
    "over_torch_float32": ("x its float32", ",.2f"), "of_matmul": ("of matmul", ".0%"),
    "of_matmul_winners_only": ("winners only", ".0%"), "of_memory": ("of memory", ".1%"),
    "table2_hours": ("Table 2, h", ",.2f"),
}  # fmt: skip


def markdown(report: dict[str, Any]) -> str:
    """Return a report as a table, and sentences on what was measured."""

    def number(value: float | None, form: str = ",.2f") -> str:
        return "?" if value is None else format(value, form)

    where, load = report["environment"], report["load"]
    rows = [["training", "precision", "lengths", *(head for head, _ in COLUMNS.values())]]
    for row in report["rows"]:
        name = f"{row['variant']} {row['value']:g}" if row["value"] else row["variant"]
        fields = [number(row[column], form) for column, (_, form) in COLUMNS.items()]
        if row["failed"]:
            fields = [f"not measured: {row['failed']}", *[""] * (len(COLUMNS) - 1)]
        rows.append([name, row["precision"], row["lengths"], *fields])
    versions = ", ".join(f"{name} {where[name]}" for name in ("jax", "torch", "python") if where[name])
    peaks = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in report["peak"].items())
    busy = "Other load distorts rates: compare the fastest only. " if provenance.busy(load[0]) else ""
    return f"""{markdown_table(rows)}

{where["device"]}, {where["cores"]} cores, for JAX as for PyTorch; {versions}; OMP_WAIT_POLICY \
{where["omp_wait_policy"]}; load average {number(load[0])} before, {number(load[1])} after. {busy}
Rates: utterances x runs trained per second, median over interleaved rounds, quartiles, fastest round. \
Compilation: what the first call took longer than the second. Ratios, medians over the rounds: to five runs \
stacked, to PyTorch eager, to that in float32. Cell: 25 runs stacked. Runs: in a stack; utterances, length: \
of one run. Table 2: {TABLE2 / 1e6:.1f} million utterance-steps. Peaks, the highest seen: matmul {peaks}; \
memory {report["bandwidth"] / 1e9:,.0f} GB/s. Of matmul: the arithmetic of segments that hold sound, forward \
and for the kernels' gradient as the matrix product that it is without the pooling; winners only: of the \
pooled windows alone. Of memory: the sound read once, parameters and Adam's moments read and written once a \
step."""


def draw(report: dict[str, Any], file: Path) -> None:
    """Draw rates and costs as a PNG.

    Raises: ImportError if matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in report["rows"] if not row["failed"]]
    shown, unit = [row for row in rows if row["variant"] not in AXES], "utterances x runs per second"
    names = [f"{row['variant']}, {row['precision']}, {row['lengths']}" for row in shown]
    rates = np.array([[row[name] for name in ("rate", "low", "high", "best")] for row in shown]).T
    figure = Figure(figsize=(13, 9), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(1.5, 1))
    axes = figure.add_subplot(grid[0, :])
    axes.barh(names, rates[0], xerr=abs(rates[1:3] - rates[0]))
    axes.plot(rates[3], names, "k|")
    axes.tick_params("y", labelsize=7)
    axes.set_xlabel(f"{unit} (bar: median; line: quartiles; tick: fastest round)")
    for i, (axis, label) in enumerate(AXES.items()):
        axes, own = figure.add_subplot(grid[1, i]), [row for row in rows if row["variant"] == axis]
        axes.plot([row["value"] for row in own], [row["rate"] for row in own], "o-")
        axes.set(xlabel=label, ylabel=unit, ylim=(0, None), xscale="linear" if axis == "length" else "log")
    with atomic_file(file) as stream:
        FigureCanvasAgg(figure).print_png(stream)
