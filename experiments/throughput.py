"""How fast runs are trained: utterances x runs a second, compilation apart, beside PyTorch.

    python -m experiments.throughput                           # five minutes on two cores
    python -m experiments.throughput --json throughput.json    # the numbers, and throughput.png beside them
    python -m experiments.throughput --full                    # more rounds of more utterances

Trains on noise of IEMOCAP's size, in IEMOCAP's lengths and in 7.5 s throughout: one run, five one after
another, five as a stack, a full cell's 25; and the same network, batch, optimiser and precision in PyTorch
(extra: bench), in the same process on the same device, by turns, so that whatever else the machine does meets
all alike.
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import NamedTuple

import jax
import numpy as np

from experiments import throughput_report, workload
from experiments.rates import EAGER, Found, Key, Timed
from experiments.throughput_report import LENGTHS, Point, Report
from experiments.timing import Peak, Timing, by_turns, product, ratio, triad
from experiments.ways import TITLES, Noise, OneAfterAnother, Sizes, Stack, ours, sizes, torch_data, torchs
from experiments.workload import Corpus
from ser_jax import devices, flags
from ser_jax.convolution import PRECISIONS
from ser_jax.experiment import provenance
from ser_jax.io import write_json
from ser_jax.model import ModelConfig
from ser_jax.shutdown import run_script
from ser_jax.train import TrainConfig

ROUNDS = 3  # of the costs


def measure(
    config: ModelConfig, training: TrainConfig, size: Sizes, precisions: list[str], full: bool = False
) -> Report:
    """Times every way in every precision, and what runs cost in the first of them.

    Args:
      config, training: sizes and procedure of what is trained.
      size: how much of it.
      precisions: of `ModelConfig.precision`.
      full: whether alternatives and all of PyTorch's ways are timed beyond float32 as well.
    """
    before, noise = provenance.load(), workload.corpus(config, size.utterances)
    bench = _Bench(training, size, Noise.of(noise), *_torch_data(noise))
    _say(f"ways to train in {', '.join(precisions)}")
    timings = _time(bench, {name: dataclasses.replace(config, precision=name) for name in precisions}, full)
    found = Found(config, training, noise, timings)
    _say(f"cost against runs, utterances and length in {precisions[0]}")
    costs = _costs(bench, dataclasses.replace(config, precision=precisions[0]))
    steps = {"cell": workload.cell_steps(), "table2": workload.table2_steps()}
    return Report(
        machine=provenance.describe_environment(),
        load=(before, provenance.load()),
        sizes=dataclasses.asdict(size),
        useful={
            lengths: {"flops": found.flops(lengths), "bytes": found.bytes(lengths)} for lengths in LENGTHS
        },
        peak={precision: some.product for precision, some in timings.items()},
        bandwidth=found.bandwidth,
        rows=found.rows(),
        steps=steps,
        seconds={
            f"{way} {precision}": {name: count / rate for name, count in steps.items()}
            for precision, some in timings.items()
            for way in ("cell_engine", EAGER)
            if np.isfinite(rate := some.timings[Key(precision, way, "iemocap")].rate)
        },
        costs=costs,
        ratios=found.ratios(ratio, lambda timing: timing.rate),
        best_ratios=found.ratios(lambda above, below: above.best / below.best, lambda timing: timing.best),
    )


def _say(what: str) -> None:
    print(f"experiments.throughput: {what}", file=sys.stderr, flush=True)


class _Bench(NamedTuple):
    """What everything is timed on: `noise` is JAX's, `heard` PyTorch's; `missing` says why there is none."""

    training: TrainConfig
    size: Sizes
    noise: Noise
    heard: dict
    missing: str | None


def _torch_data(noise: Corpus) -> tuple[dict, str | None]:
    try:
        import torch
    except ImportError:
        return {}, "PyTorch is not installed"
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        return {}, "PyTorch finds no GPU"
    torch.set_num_threads(devices.cores())
    return torch_data(noise, device), None


def _time(bench: _Bench, configs: dict[str, ModelConfig], full: bool) -> dict[str, Timed]:
    """Everything of every precision, all by turns."""
    training, size = bench.training, bench.size
    things: dict[Key, Callable[[], float]] = {}
    absent: dict[Key, Timing] = {}
    peaks: dict[str, list[Peak]] = {}
    memory = triad(size.triad, size.peak)
    for precision, config in configs.items():
        for way, call in ours(config, training, bench.noise, size, full or precision == "float32").items():
            things |= {Key(precision, way, name): partial(call, name) for name in LENGTHS}
        every = [way for way in TITLES if way.startswith("torch")]
        wanted = [
            Key(precision, way, name)
            for way in (every if full or precision == "float32" else [EAGER])
            for name in LENGTHS
        ]
        if bench.missing is None:
            calls = torchs(config, training, bench.heard["full"].logmel.device.type, size)
            things |= {key: partial(calls[key.way], bench.heard[key.lengths]) for key in wanted}
        else:
            absent |= {key: Timing.absent(bench.missing) for key in wanted}
        peaks[precision] = [product(side, precision, size.peak) for side in size.products]
    works = [*chain.from_iterable(peaks.values()), memory]
    measured = {Key("", "peak", str(i)): work for i, work in enumerate(works)}
    limit = size.limit * len(configs)
    timings = by_turns(things | measured, size.rounds, limit, lambda key: key.way.startswith("torch"))
    ways = {key: timings[key] for key in things} | absent
    return {
        precision: Timed(
            {key: timing for key, timing in ways.items() if key.precision == precision},
            max(peak.rate for peak in peaks[precision]),
            memory.rate,
        )
        for precision in configs
    }


def _costs(bench: _Bench, config: ModelConfig) -> dict[str, list[Point]]:
    """Stacks of more and more runs; one run on more and more utterances, and on longer and longer ones."""
    training, size, noise = bench.training, bench.size, bench.noise
    things: dict[tuple[str, float], Callable[[], float]] = {}
    for count in size.runs:
        things["runs", count] = partial(Stack(config, training, noise, count, size.swept), "iemocap")
    for most in size.trained:
        things["trained", most] = partial(OneAfterAnother(config, training, noise, 1, most), "iemocap")
    whole, heard = noise.on_one["full"], {}
    for seconds in size.heard:
        frames = np.full(size.utterances, min(seconds * workload.FRAMES, config.frames), np.int32)
        heard[f"{seconds:g}"] = whole._replace(frames=frames)
    one = OneAfterAnother(config, training, noise._replace(on_one=heard), 1, size.epoch)
    things |= {("heard", seconds): partial(one, f"{seconds:g}") for seconds in size.heard}
    costs: dict[str, list[Point]] = {"runs": [], "trained": [], "heard": []}
    for (axis, value), timing in by_turns(things, ROUNDS, size.limit).items():
        costs[axis].append(Point(value, float(np.median(timing.seconds)), timing.rate, timing.compilation))
    return costs


def main(arguments: list[str] | None = None) -> None:
    """Measures with the flags given and prints the tables."""
    # JAX would take three quarters of a GPU's memory for itself, and PyTorch is to have its share.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if provenance.busy(provenance.load()):
        # PyTorch's threads wait actively, three times slower where anybody else needs the cores.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    parser = flags.Parser(prog="python -m experiments.throughput", description=__doc__)
    add = parser.add_argument
    add(
        "--json",
        type=flags.new_file,
        metavar="FILE",
        help="write the numbers there, and a figure beside it (.png)",
    )
    add(
        "--precision", nargs="+", choices=PRECISIONS, metavar="P",
        help=f"of {', '.join(PRECISIONS)} (default: all; without tf32 on a CPU, where it is float32)",
    )  # fmt: skip
    add("--full", action="store_true", help="more rounds, more utterances, all ways in all precisions")
    options = parser.parse_args(arguments)

    devices.use_all_cores()

    def work() -> None:
        backend = devices.backend()
        default = [name for name in PRECISIONS if backend != "cpu" or name != "tf32"]
        precisions = list(dict.fromkeys(options.precision or default))
        size = sizes(backend, options.full)
        report = measure(ModelConfig(), TrainConfig(), size, precisions, options.full)
        print(throughput_report.markdown(report))
        if options.json is not None:
            write_json(options.json, throughput_report.as_dict(report))
            try:
                throughput_report.draw(report, options.json.with_suffix(".png"))
            except ImportError:
                _say("no figure, since matplotlib is not installed")

    run_script("throughput", work)


if __name__ == "__main__":
    main()
