"""What `experiments.throughput` found, as a table, as numbers and as a figure."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.markdown import aligned
from experiments.ways import TITLES
from ser_jax.experiment.provenance import busy
from ser_jax.io import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LENGTHS = {"iemocap": "as IEMOCAP's", "full": "7.5 s"}
AXES = {"runs": "runs in a stack", "trained": "utterances a run", "heard": "length of every utterance, s"}


class Row(NamedTuple):
    """One way to train, in one precision, on one distribution of lengths.

    Attributes:
      way: one of `ways.TITLES`.
      precision, lengths: of `ModelConfig.precision`; "iemocap" or "full".
      rate: utterances x runs a second, the median over the rounds.
      low, high: its quartiles.
      best: of the fastest round.
      rounds: how many.
      utterances: x runs, done in a round.
      compilation: s, apart from all that.
      product_share: of the measured peak of the matrix product, by useful arithmetic alone.
      bandwidth_share: of the measured bandwidth of the memory, by the bytes that must move.
      over_torch: times PyTorch's, eager, in the same precision and lengths.
      failed: why there are no numbers; None where there are.
    """

    way: str
    precision: str
    lengths: str
    rate: float
    low: float
    high: float
    best: float
    rounds: int
    utterances: float
    compilation: float
    product_share: float
    bandwidth_share: float
    over_torch: float
    failed: str | None


class Point(NamedTuple):
    """What one number of runs, or utterances, or one length costs.

    Attributes:
      value: how many, or s.
      seconds: s, a call, the median over the rounds.
      rate: utterances x runs a second.
      compilation: s.
    """

    value: float
    seconds: float
    rate: float
    compilation: float


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured, and where.

    Attributes:
      machine: as `provenance.describe_environment` says.
      load: processes that ran or waited, before and after; None where the system does not tell.
      sizes: as `ways.Sizes`.
      useful: FLOP and bytes that a step asks for per utterance, by distribution of lengths.
      peak: FLOP/s of a large product of matrices, by precision: the fastest seen.
      bandwidth: bytes a second that the memory moves: the fastest seen.
      rows: all ways.
      steps: utterance-steps of a "cell" and of "table2".
      seconds: s that these take, extrapolated from IEMOCAP's lengths, by way and precision.
      costs: points against "runs", "trained" utterances and "heard" seconds.
      ratios: in float32 at IEMOCAP's lengths, unless their names say otherwise; medians over the rounds.
      best_ratios: the same of the fastest rounds.
    """

    machine: dict[str, Any]
    load: tuple[float | None, float | None]
    sizes: dict[str, Any]
    useful: dict[str, dict[str, float]]
    peak: dict[str, float]
    bandwidth: float
    rows: list[Row]
    steps: dict[str, int]
    seconds: dict[str, dict[str, float]]
    costs: dict[str, list[Point]]
    ratios: dict[str, float]
    best_ratios: dict[str, float]


def as_dict(found: Any) -> Any:
    """A report, or what it consists of, as JSON has it; what was not measured is null."""
    if dataclasses.is_dataclass(found):
        return {field.name: as_dict(getattr(found, field.name)) for field in dataclasses.fields(found)}
    if isinstance(found, dict):
        return {key: as_dict(value) for key, value in found.items()}
    if hasattr(found, "_asdict"):
        return as_dict(found._asdict())
    if isinstance(found, list | tuple):
        return [as_dict(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def markdown(report: Report) -> str:
    """The report as tables and the sentences that say of what they are."""
    where, threads = report.machine, report.machine["cores"]
    cpu, policy = where["backend"] == "cpu", where["omp_wait_policy"]
    versions = ", ".join(f"{name} {where[name]}" for name in ("jax", "torch") if where[name])
    peaks = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in report.peak.items())
    live, whole = (report.useful[name]["flops"] / 1e6 for name in LENGTHS)
    return "\n".join(
        [
            aligned(_ways(report)),
            "",
            aligned(_extrapolated(report)),
            "",
            aligned(_costs(report)),
            "",
            aligned(_ratios(report)),
            "",
            f"{where['device']}, {threads} cores, {versions}, Python {where['python']}"
            + (f"; as many threads for JAX as for PyTorch: {threads}" if cpu and where["torch"] else "")
            + (f" (OMP_WAIT_POLICY={policy})" if cpu and policy else "")
            + f". Load average {_number(report.load[0])} before, {_number(report.load[1])} after.",
            "Utterances x runs trained a second: median over the rounds, quartiles, fastest round; the ways "
            "take turns. Compilation stands apart: what the first call took beyond a later one."
            + (
                " The machine had other work: only the fastest rounds mean something."
                if busy(report.load[0])
                else ""
            ),
            f"Peaks, the fastest seen in the same rounds: matrix product {peaks}; memory "
            f"{report.bandwidth / 1e9:,.0f} GB/s (a = s a + b). Of the product: only the arithmetic of "
            f"segments that hold sound, forward and for the kernels' gradient, {live:.1f} MFLOP an utterance "
            f"at IEMOCAP's lengths and {whole:.1f} at 7.5 s; the gradient counts as the product that it is "
            "without the pooling, although a CPU sums up the windows that won alone (winners_only counts "
            "these). Of the memory: the sound read once, parameters and Adam's moments read and written once "
            "a step.",
        ]
    )


def _number(value: float | None, form: str = ",.2f") -> str:
    return "?" if value is None or not math.isfinite(value) else format(value, form)


def _ways(report: Report) -> list[tuple[str, ...]]:
    head = (
        "training", "precision", "lengths", "utt x runs/s", "quartiles", "fastest", "rounds", "compiled in",
        "of product", "of memory", "x PyTorch eager",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for row in report.rows:
        name = TITLES[row.way], row.precision, LENGTHS[row.lengths]
        if row.failed is not None:
            rows.append((*name, f"not measured: {row.failed}", *[""] * 7))
            continue
        rows.append(
            (
                *name,
                f"{row.rate:,.0f}",
                f"{row.low:,.0f} - {row.high:,.0f}",
                f"{row.best:,.0f}",
                str(row.rounds),
                f"{row.compilation:.1f} s",
                _number(row.product_share, ".0%"),
                _number(row.bandwidth_share, ".1%"),
                _number(row.over_torch),
            )
        )
    return rows


def _extrapolated(report: Report) -> list[tuple[str, ...]]:
    cell, table = (report.steps[name] / 1e6 for name in ("cell", "table2"))
    rows: list[tuple[str, ...]] = [
        (
            "extrapolated from the rates at IEMOCAP's lengths",
            "precision",
            f"a full cell, {cell:.1f} million utterance-steps",
            f"Table 2, {table:.1f} million",
        )
    ]
    for name, seconds in report.seconds.items():
        way, precision = name.split()
        rows.append((TITLES[way], precision, _duration(seconds["cell"]), _duration(seconds["table2"])))
    return rows


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "not measured"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _costs(report: Report) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("against", "", "a call", "utt x runs/s", "compiled in")]
    for axis, points in report.costs.items():
        for point in points:
            took = f"{point.seconds:.3f} s", f"{point.rate:,.0f}", f"{point.compilation:.1f} s"
            rows.append((AXES[axis], f"{point.value:g}", *took))
    return rows


def _ratios(report: Report) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("ratio", "median of the rounds", "of the fastest")]
    for name, value in report.ratios.items():
        rows.append((name, _number(value, ".3f"), _number(report.best_ratios[name], ".3f")))
    return rows


def draw(report: Report, file: Path) -> None:
    """Draws rates and costs as a PNG.

    Raises: ImportError where matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(1.15, 1))
    _draw_ways(figure.add_subplot(grid[0, :]), report)
    for i, (axis, points) in enumerate(report.costs.items()):
        _draw_cost(figure.add_subplot(grid[1, i]), AXES[axis], points)
    where = report.machine
    figure.suptitle(f"Training: {where['device']}, {where['cores']} cores, jax {where['jax']}", fontsize=11)
    with atomic_file(file) as stream:
        FigureCanvasAgg(figure).print_png(stream)


def _draw_ways(axes: "Axes", report: Report) -> None:
    kinds = list(dict.fromkeys((row.precision, row.lengths) for row in report.rows))
    ways = list(dict.fromkeys(row.way for row in report.rows))
    height = 0.8 / len(kinds)
    for k, kind in enumerate(kinds):
        rows = {row.way: row for row in report.rows if (row.precision, row.lengths) == kind}
        shown = [(i, rows[way]) for i, way in enumerate(ways) if way in rows and rows[way].failed is None]
        places = [i + (k - (len(kinds) - 1) / 2) * height for i, _ in shown]
        rates = [row.rate for _, row in shown]
        around = [
            [row.rate - row.low for _, row in shown],
            [row.high - row.rate for _, row in shown],
        ]
        label = f"{kind[0]}, {LENGTHS[kind[1]]}"
        axes.barh(places, rates, height, xerr=around, label=label, error_kw={"lw": 1, "ecolor": "0.3"})
        axes.plot([row.best for _, row in shown], places, "|", color="black", markersize=5)
    axes.set_yticks(range(len(ways)), [TITLES[way] for way in ways])
    axes.invert_yaxis()
    axes.set_xlabel("utterances x runs a second (bar: median; line: quartiles; tick: fastest round)")
    axes.legend(frameon=False, fontsize=8, title="precision, lengths", title_fontsize=8)


def _draw_cost(axes: "Axes", label: str, points: list[Point]) -> None:
    values = [point.value for point in points]
    axes.plot(values, [point.rate for point in points], "o-")
    if max(values) > 20 * min(values):
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label)
    axes.set_ylabel("utterances x runs a second")
    axes.grid(alpha=0.3)
