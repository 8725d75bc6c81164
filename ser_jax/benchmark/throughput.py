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
from ser_jax.arrays import Scaler
from ser_jax.benchmark import aligned
from ser_jax.devices import Machine
from ser_jax.engine import RunSpec
from ser_jax.experiment import provenance
from ser_jax.io import atomic_file
from ser_jax.model import AttentiveCNN
from ser_jax.runs import Data, Runs, default_stacking, fill, spread, stack
from ser_jax.train import Procedure, TrainConfig

# Share of IEMOCAP's turns that are shorter than this, s.
QUANTILES = {
    0: 0.58, 0.05: 1.39, 0.1: 1.68, 0.2: 2.14, 0.3: 2.56, 0.4: 2.98, 0.5: 3.52, 0.6: 4.20, 0.7: 5.14,
    0.8: 6.41, 0.86: 7.5, 0.9: 8.45, 0.95: 10.5, 0.99: 15.1, 1: 34.1,
}  # fmt: skip
SESSIONS = (1819, 1811, 2136, 2103, 2170)  # IEMOCAP's turns per session; each session is a test fold
RECOLA = 1308  # its turns
RATE = 100  # frames per second
SEEDS, TASKS, EPOCHS = 5, 2, 50  # Sec. 4
FINETUNE_SAMPLES, FINETUNE_EPOCHS = 100, 10
IEMOCAP = "IEMOCAP's"  # distribution of lengths
AXES = {"runs": "runs in a stack", "utterances": "utterances per run", "length": "length of utterances, s"}
MIN_ROUNDS = 3


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
      utterances: N.
      epoch, cell, sweep: utterances that a run trains on per call, at most: alone and in a stack of five; in
        a full cell; while the number of runs varies.
      products, triad: rows of the matrices, and MB of the arrays, that measure the peaks.
      peak, seconds: s of a call that measures a peak; of a call of PyTorch, at most.
      rounds, limit: rounds, and s after which no further one begins.
      runs, trained, lengths: numbers of runs, of utterances, and seconds whose cost is measured.
    """

    utterances: int = sum(SESSIONS)
    epoch: int = 10_039
    cell: int = 10_039
    sweep: int = 2048
    products: tuple[int, ...] = (2048, 4096, 8192)
    triad: int = 1024
    peak: float = 0.2
    seconds: float = 1
    rounds: int = 7
    limit: int = 60
    runs: tuple[int, ...] = (1, 2, 5, 10, 25, 50, 100)
    trained: tuple[int, ...] = (32, 128, 512, 2048, 8192)
    lengths: tuple[float, ...] = (0.9, 1.8, 2.7, 3.6, 4.5, 5.4, 6.3, 7.5)

    @classmethod
    def of(cls, platform: str, full: bool) -> "Sizes":
        """Return what suits a platform: calls of seconds on a CPU, whole epochs elsewhere; `full` is more."""
        if platform != "cpu":
            return cls(rounds=25, limit=600) if full else cls()
        epoch, some, rounds, limit = (2048, 256, 15, 900) if full else (512, 64, 7, 90)
        return cls(
            epoch=epoch, cell=some, sweep=some, products=(512, 1024, 2048), triad=128, seconds=0.8,
            rounds=rounds, limit=limit, trained=(32, 128, 512, 2048),
        )  # fmt: skip


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
        group, features = np.zeros(len(self.features), np.int32), self.features
        if machine is not None:
            features, _ = dataclasses.replace(machine, budget=sys.maxsize).place(features, group)
        return {
            name: Data(features=features, frames=frames, group=group) for name, frames in self.frames.items()
        }

    def runs(self, count: int, most: int) -> list[RunSpec]:
        """Return runs of a cross-validation: the seeds of the first fold, then those of the next.

        Args:
          count: R; beyond a cell's 25 the folds are repeated with other seeds.
          most: utterances that a run trains on; larger folds are cut at random.
        """
        draw, utterances = np.random.default_rng(2), np.arange(len(self.features))
        session = np.repeat(np.arange(5), SESSIONS)[utterances * sum(SESSIONS) // len(utterances)]
        rows = [draw.permutation(utterances[session != i])[:most].astype(np.int32) for i in range(5)]
        ones = np.ones((1, self.features.shape[2]), np.float32)
        own = partial(RunSpec, labels=self.labels, scaler=Scaler(0 * ones, ones))
        return [own(key=jax.random.key(i), train=rows[i // SEEDS % 5]) for i in range(count)]


def iemocap_seconds(count: int) -> np.ndarray:
    """Return lengths [N] s with the distribution of IEMOCAP's turns, in random order."""
    share = (np.arange(count) + 0.5) / count
    return np.random.default_rng(0).permutation(np.interp(share, list(QUANTILES), list(QUANTILES.values())))


def useful_flops(config: AttentiveCNN, frames: np.ndarray, winners_only: bool = False) -> float:
    """Return the FLOP that a step needs per utterance: forward, and the gradient of the kernels.

    Only segments that hold sound count, at the positions that they pool. No input gradient is needed, and
    what follows the pooling is a thousandth.

    Args:
      config: sizes.
      frames: [N] frames that hold sound.
      winners_only: count in the gradient one window per segment and kernel, the maximum's; else the matrix
        product that the gradient is without the pooling.
    """
    live = np.minimum(np.ceil(frames / config.segment_frames), config.segments)
    product = 2 * config.kernel * config.bands * config.channels
    return float(live.mean()) * product * (config.pool + (1 if winners_only else config.pool))


def useful_bytes(config: AttentiveCNN, frames: np.ndarray, batch: int) -> float:
    """Return the bytes that a step must move per utterance.

    The frames that hold sound are read once; parameters and both of Adam's moments are read and written once
    per batch.
    """
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model.shapes(config)))
    return 4 * (float(frames.mean()) * config.bands + 6 * parameters / batch)


def table2_steps() -> int:
    """Return the utterance-steps of all of Table 2, counting development utterances as training ones.

    Alone and merged, every utterance trains in four of five folds; across languages once.
    """
    trained = (4 + 4 + 1) * (sum(SESSIONS) + RECOLA) * EPOCHS
    return (trained + 2 * 5 * FINETUNE_SAMPLES * FINETUNE_EPOCHS) * SEEDS * TASKS


class Trainer:
    """Runs in training; each call trains all of them for some epochs and returns utterances x runs.

    Attributes:
      states: of each run after the last call; of the stack as a list of one.
    """

    def __init__(
        self,
        procedure: Procedure,
        data: dict[str, Data],
        specs: list[RunSpec],
        stacked: bool = True,
        epochs: int = 1,
    ):
        """Prepare to train runs side by side, as the engine does, or one by one, as `train.fit` does."""
        config, training, mesh = procedure.config, procedure.training, procedure.mesh
        self._data, self._epochs, self._done = data, epochs, 0
        self._utterances = epochs * sum(len(one.train) for one in specs)
        self._runs: list[Runs]
        if stacked:
            size = mesh.size if mesh else 1
            runs = fill(stack([one.run() for one in specs]), -(-len(specs) // size) * size)
            self._runs, self._epoch = [spread(runs, mesh)], partial(train.epoch, procedure)
            self.states = [spread(train.start_runs(config, training, self._runs[0]), mesh)]
        else:
            self._runs = [jax.tree.map(jnp.asarray, one.run()) for one in specs]
            self._epoch = partial(jax.jit(train.one_epoch, static_argnums=0), procedure)
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
    """Time that one thing took.

    Attributes:
      compilation: s that the first call took longer than the second, which does the same.
      seconds: s of each call after these.
      units: what each of them did.
      failed: the reason if there are none.
    """

    compilation: float
    seconds: list[float]
    units: list[float]
    failed: str | None = None

    @classmethod
    def missing(cls, reason: str) -> "Timing":
        """Return the timing of what could not be timed: NaN."""
        return cls(math.nan, [math.nan], [math.nan], reason)

    @property
    def rates(self) -> np.ndarray:
        """Units per second, by round."""
        return np.array(self.units) / np.array(self.seconds)

    @property
    def rate(self) -> float:
        """The median over the rounds."""
        return float(np.median(self.rates))


def interleaved(
    things: Mapping[Any, Callable[[], float]],
    rounds: int,
    limit: float,
    may_fail: Callable[[Any], bool] = lambda name: False,
) -> dict[Any, Timing]:
    """Call each thing twice to warm up, then all in turn, round after round.

    Args:
      things: by name; a call works, waits for the end and returns the units done.
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
            timings[name] = Timing(max(timed(thing)[0] - timed(thing)[0], 0), [], [])
        except Exception as error:
            if not may_fail(name):
                raise
            reason = next(iter(str(error).splitlines()), "")
            timings[name] = Timing.missing(f"{type(error).__name__}: {reason}"[:200])
    start = time.perf_counter()
    for done in range(rounds):
        if done >= MIN_ROUNDS and time.perf_counter() - start > limit:
            break
        for name, thing in things.items():
            if timings[name].failed is None:
                seconds, units = timed(thing)
                timings[name].seconds.append(seconds)
                timings[name].units.append(units)
    return timings


def ratio(above: Timing, below: Timing) -> float:
    """Return the median over the rounds of the ratio of two rates; NaN if one was not measured."""
    both = min(len(above.seconds), len(below.seconds))
    return float(np.median(above.rates[:both] / below.rates[:both]))


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

    Args:
      config, training, sizes, workload: network, procedure, and what it is trained on.
      every: whether alternatives to what the engine chooses are among them, and all of PyTorch's.
      costs: whether stacks of more and more runs, and one run on more and on longer utterances, are.
    """
    machine, alone = Machine.here(), Machine.here(devices=1)
    chosen = default_stacking(machine.platform)
    on_mesh, on_host = workload.data(machine), workload.data(None)
    on_one = on_mesh if machine.mesh.size == 1 else workload.data(alone)
    found: dict[Key, Callable[[], float] | str] = {}

    def stacked(
        count: int, most: int = sizes.epoch, stacking: str = chosen, data: dict[str, Data] = on_mesh
    ) -> Trainer:
        procedure = Procedure(config, training, stacking=stacking, mesh=machine.mesh)
        return Trainer(procedure, data, workload.runs(count, most))

    def sequential(count: int, most: int = sizes.epoch, epochs: int = 1) -> Trainer:
        runs = workload.runs(count, most)
        return Trainer(Procedure(config, training), on_one, runs, stacked=False, epochs=epochs)

    calls: dict[str, Any] = {
        "one": sequential(1, epochs=5),  # as much work as five runs
        "five sequential": sequential(5),
        "five": stacked(5),
        "cell": stacked(5 * SEEDS, sizes.cell),
    }
    if every:
        other = "vmap" if chosen == "map" else "map"
        calls[f"five {other}"] = stacked(5, stacking=other)
        calls["five streamed"] = stacked(5, data=on_host)
    theirs = ("torch eager", "torch compile", "torch func") if every else ("torch eager",)
    try:
        from ser_jax.benchmark import torch_reference

        limit = sizes.seconds, max(sizes.epoch // training.batch, 1)
        made = torch_reference.variants(config, training, workload, machine.platform, limit)
        calls |= {name: made[name] for name in theirs}
    except ImportError as error:
        calls |= dict.fromkeys(theirs, f"no PyTorch ({error})")
    for name, call in calls.items():
        for lengths in (IEMOCAP, f"{sizes.lengths[-1]} s"):
            own = call if isinstance(call, str) else partial(call, lengths)
            found[Key(name, config.precision, lengths)] = own
    if costs:
        for count in sizes.runs:
            found[Key("runs", config.precision, value=count)] = partial(stacked(count, sizes.sweep), IEMOCAP)
        for most in sizes.trained:
            found[Key("utterances", config.precision, value=most)] = partial(sequential(1, most), IEMOCAP)
        one = sequential(1)
        for seconds in sizes.lengths:
            found[Key("length", config.precision, f"{seconds} s", seconds)] = partial(one, f"{seconds} s")
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
        peaks[precision] = [matmul(size, precision, sizes.peak) for size in sizes.products]
    memory = triad(sizes.triad, sizes.peak)
    things: dict[Any, Callable[[], float]] = {key: call for key, call in found.items() if callable(call)}
    works = dict(enumerate([memory, *(one for some in peaks.values() for one in some)]))
    limit = sizes.limit * len(precisions)
    timings = interleaved(things | works, sizes.rounds, limit, lambda key: key in found and "torch" in key[0])
    timings |= {key: Timing.missing(reason) for key, reason in found.items() if isinstance(reason, str)}
    peak = {precision: max(one.rate for one in some) for precision, some in peaks.items()}

    def row(key: Key) -> dict[str, Any]:
        timing, frames, top = timings[key], workload.frames[key.lengths], peak[key.precision]
        low, high = np.quantile(timing.rates, (0.25, 0.75))
        flops, winners_only = (useful_flops(config, frames, of) for of in (False, True))
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
            "of_matmul_winners_only": timing.rate * winners_only / top,
            "of_memory": timing.rate * moved / memory.rate,
            "table2_hours": table2_steps() / timing.rate / 3600,
        }
        measured = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        rounds = 0 if timing.failed else len(timing.seconds)
        return {**key._asdict(), **measured, "rounds": rounds, "failed": timing.failed}

    return {
        "environment": provenance.describe_environment(),
        "load": [before, provenance.load()],
        "sizes": dataclasses.asdict(sizes),
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
    policy = f", OMP_WAIT_POLICY={where['omp_wait_policy']}" if where["omp_wait_policy"] else ""
    peaks = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in report["peak"].items())
    busy = " Other load distorts them: compare the fastest rounds only." if provenance.busy(load[0]) else ""
    return f"""{aligned(rows)}

{where["device"]}, {where["cores"]} cores, for JAX as for PyTorch, {versions}{policy}. Load average \
{number(load[0])} before, {number(load[1])} after.
Utterances x runs trained per second: median over interleaved rounds, quartiles, fastest round.{busy} \
Compilation: what the first call took longer than the second. Ratios are medians over the rounds: to five runs \
stacked, to PyTorch eager in the same precision and in float32. Cell: the 25 runs of a setting and task. \
Runs: in a stack; utterances, length: of one run. Table 2: its {table2_steps() / 1e6:.1f} million utterance-steps.
Peaks, the highest seen in the same rounds: matmul {peaks}; memory {report["bandwidth"] / 1e9:,.0f} GB/s \
(a = s a + b). Of matmul: the arithmetic of segments that hold sound, forward and for the kernels' gradient, \
which counts as the matrix product that it is without the pooling; "winners only" counts the pooled windows \
alone, which a CPU sums up. Of memory: the sound read once, parameters and Adam's moments read and written \
once per step."""


def draw(report: dict[str, Any], file: Path) -> None:
    """Draw rates and costs as a PNG.

    Raises: ImportError if matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in report["rows"] if not row["failed"]]
    shown = [row for row in rows if row["variant"] not in AXES]
    figure = Figure(figsize=(13, 9), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(1.5, 1))
    axes, places = figure.add_subplot(grid[0, :]), range(len(shown))
    rates = np.array([[row[name] for name in ("rate", "low", "high", "best")] for row in shown]).T
    axes.barh(places, rates[0], xerr=abs(rates[1:3] - rates[0]), error_kw={"lw": 1, "ecolor": "0.3"})
    axes.plot(rates[3], places, "|", color="black", markersize=5)
    names = [f"{row['variant']}, {row['precision']}, {row['lengths']}" for row in shown]
    axes.set_yticks(places, names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("utterances x runs per second (bar: median; line: quartiles; tick: fastest round)")
    for i, (axis, label) in enumerate(AXES.items()):
        axes, own = figure.add_subplot(grid[1, i]), [row for row in rows if row["variant"] == axis]
        axes.plot([row["value"] for row in own], [row["rate"] for row in own], "o-")
        axes.set(xlabel=label, ylabel="utterances x runs per second", ylim=(0, None))
        axes.set_xscale("linear" if axis == "length" else "log")
        axes.grid(alpha=0.3)
    where = report["environment"]
    figure.suptitle(f"Training: {where['device']}, {where['cores']} cores, jax {where['jax']}", fontsize=11)
    with atomic_file(file) as stream:
        FigureCanvasAgg(figure).print_png(stream)
