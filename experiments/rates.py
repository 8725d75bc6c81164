"""What the timings of ways to train mean: rates, shares of what the machine can do, ratios."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments import workload
from experiments.throughput_report import LENGTHS, Row
from experiments.timing import Timing, ratio
from experiments.ways import STACKED, other_stacking
from experiments.workload import Corpus
from ser_jax.model import ModelConfig
from ser_jax.train import TrainConfig

EAGER = "torch_eager"


class Key(NamedTuple):
    """What is timed: a way to train, in one precision, on one distribution of lengths."""

    precision: str
    way: str
    lengths: str


class Timed(NamedTuple):
    """Everything of one precision.

    Attributes:
      timings: of the ways.
      product: FLOP/s, the fastest product of matrices.
      triad: bytes a second, the fastest that the memory moved.
    """

    timings: dict[Key, Timing]
    product: float
    triad: float


class Found:
    """What was found, in all precisions together.

    Attributes:
      bandwidth: bytes a second, the fastest that the memory moved.
    """

    def __init__(self, config: ModelConfig, training: TrainConfig, noise: Corpus, timings: dict[str, Timed]):
        self._config, self._batch, self._noise, self._timings = config, training.batch, noise, timings
        self.bandwidth = max(some.triad for some in timings.values())

    def flops(self, lengths: str, winners_only: bool = False) -> float:
        """FLOP that a step asks for per utterance, see `workload.useful_flops`."""
        return workload.useful_flops(self._config, self._noise.frames[lengths], winners_only)

    def bytes(self, lengths: str) -> float:
        """Bytes that a step must move per utterance."""
        return workload.useful_bytes(self._config, self._noise.frames[lengths], self._batch)

    def rows(self) -> list[Row]:
        """All ways, those of one length together."""
        return [
            self._row(key, timing)
            for some in self._timings.values()
            for lengths in LENGTHS
            for key, timing in some.timings.items()
            if key.lengths == lengths
        ]

    def _row(self, key: Key, timing: Timing) -> Row:
        some = self._timings[key.precision]
        low, high = np.quantile(timing.rates, (0.25, 0.75)) if timing.seconds else (np.nan, np.nan)
        return Row(
            way=key.way,
            precision=key.precision,
            lengths=key.lengths,
            rate=timing.rate,
            low=float(low),
            high=float(high),
            best=timing.best,
            rounds=len(timing.seconds),
            utterances=float(np.median(timing.units)) if timing.units else 0.0,
            compilation=timing.compilation,
            product_share=timing.rate * self.flops(key.lengths) / some.product,
            bandwidth_share=timing.rate * self.bytes(key.lengths) / self.bandwidth,
            over_torch=ratio(timing, some.timings[key._replace(way=EAGER)]),
            failed=timing.failed,
        )

    def ratios(
        self, ratio: Callable[[Timing, Timing], float], rate: Callable[[Timing], float]
    ) -> dict[str, float]:
        """By name: in float32 at IEMOCAP's lengths where the name says nothing else, NaN where unmeasured.

        Args:
          ratio: of the rates of two ways.
          rate: of one, to be compared with a peak.
        """

        def timing(way: str, precision: str = "float32", lengths: str = "iemocap") -> Timing:
            some = self._timings.get(precision)
            absent = Timing.absent("not asked for")
            return some.timings.get(Key(precision, way, lengths), absent) if some else absent

        def share(lengths: str, precision: str = "float32", winners_only: bool = False) -> float:
            if precision not in self._timings:
                return float("nan")
            flops = rate(timing("five_engine", precision, lengths)) * self.flops(lengths, winners_only)
            return flops / self._timings[precision].product

        five, cell, one, eager = map(timing, ("five_engine", "cell_engine", "one", EAGER))
        return {
            "engine_over_torch_eager": ratio(five, eager),
            "engine_over_torch_compile": ratio(five, timing("torch_compile")),
            "engine_over_torch_stacked": ratio(five, timing("torch_stacked")),
            "cell_over_torch_eager": ratio(cell, eager),
            "engine_bfloat16_over_torch_eager_float32": ratio(timing("five_engine", "bfloat16"), eager),
            "cell_bfloat16_over_torch_eager_float32": ratio(timing("cell_engine", "bfloat16"), eager),
            "one_run_over_torch_eager": ratio(one, eager),
            "five_runs_over_one_run_time": STACKED * ratio(one, five),
            "engine_over_five_after_another": ratio(five, timing("five_after_another")),
            "engine_over_other_stacking": ratio(five, timing(f"five_{other_stacking()}")),
            "streamed_over_resident": ratio(timing("five_streamed"), five),
            "useful_matmul_share": share("iemocap"),
            "useful_matmul_share_full_length": share("full"),
            "useful_matmul_share_bfloat16": share("iemocap", "bfloat16"),
            "useful_matmul_share_winners_only": share("iemocap", winners_only=True),
            "useful_bandwidth_share": rate(five) * self.bytes("iemocap") / self.bandwidth,
        }
