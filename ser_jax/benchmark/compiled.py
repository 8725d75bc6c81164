"""Compile programs for accelerators that are not there, and derive the least time that they can take.

XLA compiles for a TPU with libtpu and for an NVIDIA GPU with JAX's CUDA plugin (extra: aot) on a machine that
has neither. From the compiled program follow its memory, the operations it launches, the bytes they move to
and from the device's memory, and the arithmetic of their matrix products. No kernel can be faster than its
bytes at the memory's bandwidth, or its products at their peak; everything else, as launches, latency and
elementwise arithmetic, comes on top.
"""

import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ser_jax import features, train
from ser_jax.benchmark import BenchmarkError
from ser_jax.data.standardize import Scaler
from ser_jax.devices import runs_mesh
from ser_jax.experiment.config import Config
from ser_jax.features import RATE, whisper
from ser_jax.io import markdown_table
from ser_jax.train import Data, Procedure, Runs

ENVIRONMENT = {
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # any; without one, libtpu asks the network
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
NO_AUTOTUNING = "--xla_gpu_autotune_level=0"  # which runs kernels


def use_compilers() -> None:
    """Prepare this process to compile for other devices; call this before JAX computes."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ.update(ENVIRONMENT, XLA_FLAGS=f"{flags} {NO_AUTOTUNING}".strip())
    jax.config.update("jax_platforms", "cpu")


class Card(NamedTuple):
    """A device: its memory in GB, the memory's bandwidth in GB/s, and the peaks of products in TFLOP/s.

    Peaks are of dense products of float32, of float32 in the device's default precision (TF32 on a GPU,
    bfloat16 on a TPU), and of bfloat16. A TPU multiplies float32 in six passes of bfloat16.

    Attributes:
      tpu: the smallest topology that libtpu knows of it.
      gpu: XLA's description: compute capability; multiprocessors, FPUs of each, their clock in GHz; L2 cache,
        shared memory of a multiprocessor and of a block, in bytes.
    """

    memory: float
    bandwidth: float
    float32: float
    tf32: float
    bfloat16: float
    tpu: str = ""
    gpu: tuple[float, ...] = ()


# Data sheets: cloud.google.com/tpu/docs (v5e, v5p, v6e); nvidia.com, A100 80GB SXM, H100 SXM and H200 SXM,
# without sparsity. The descriptions of GPUs are those of OpenXLA, xla/backends/gpu/target_config/specs.
CARDS = {
    "v5e": Card(16, 819, 197 / 6, 197, 197, tpu="v5e:2x2"),
    "v5p": Card(95, 2765, 459 / 6, 459, 459, tpu="v5p:2x2x1"),
    "v6e": Card(32, 1638, 918 / 6, 918, 918, tpu="v6e:2x2"),
    "a100": Card(80, 2039, 19.5, 156, 312, gpu=(8, 108, 64, 1.41, 41943040, 167936, 166912)),
    "h100": Card(80, 3350, 66.9, 494.7, 989.4, gpu=(9, 132, 128, 1.98, 52428800, 233472, 232448)),
    "h200": Card(141, 4800, 66.9, 494.7, 989.4, gpu=(9, 132, 128, 1.98, 52428800, 233472, 232448)),
}
DESCRIPTION = """
gpu_device_info {{
  cuda_compute_capability {{ major: {0} }}
  core_count: {1} fpus_per_core: {2} clock_rate_ghz: {3} l2_cache_size: {4}
  shared_memory_per_core: {5} shared_memory_per_block_optin: {6} shared_memory_per_block: 49152
  device_memory_size: {memory:.0f} memory_bandwidth: {bandwidth:.0f}
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{name}"
"""


def find_device(name: str) -> Any:
    """Return the device of a card to compile for.

    Raises: BenchmarkError if the compiler is not installed.
    """
    card = CARDS[name]
    try:
        if card.tpu:
            return topologies.get_topology_desc(card.tpu, "tpu").devices[0]
        sizes = {"memory": 1e9 * card.memory, "bandwidth": 1e9 * card.bandwidth, "name": name.upper()}
        target = {"topology": "1x1x1", "target_config": DESCRIPTION.format(*card.gpu, **sizes)}
        return topologies.get_topology_desc("", "cuda", **target).devices[0]
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].partition(";")[0]
        expected = 'expected its compiler: pip install "ser_jax[aot]"'
        raise BenchmarkError(f"{name}: {reason}, {expected}") from error


class Cost(NamedTuple):
    """What operations cost: how many they are, GB moved, GFLOP of products, and least times in ms.

    `products` is the time of the products alone, `time` the sum over the operations.
    """

    operations: float = 0
    moved: float = 0
    flops: float = 0
    products: float = 0
    time: float = 0

    def plus(self, other: "Cost", times: float = 1) -> "Cost":
        return Cost(*(a + times * b for a, b in zip(self, other, strict=True)))


class Op(NamedTuple):
    """An instruction of an HLO program: type, code, names of operands, and the text after them."""

    kind: str
    code: str
    operands: list[str]
    rest: str
    is_root: bool


Computation = dict[str, Op]
INSTRUCTION = re.compile(r"\s+(ROOT )?%?(\S+) = (.*?) ([a-z][\w-]*)\(([^)]*)\)(.*)")
ARRAY = re.compile(r"\b([a-z]+)(\d*)\w*\[([\d,]*)\](?:\{([\d,]*)(?::([^{}]*))?\})?")
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier",
}  # fmt: skip
VIEWS, SLICES, UPDATE = {"bitcast", "reshape"}, {"dynamic-slice", "slice", "gather"}, "dynamic-update-slice"
SEEN_THROUGH = VIEWS | {"broadcast"}  # by what a fusion reads
FREE_CALLS = re.compile("AllocateBuffer|ConcatBitcast")  # of a TPU


def shapes(kind: str) -> list[list[int]]:
    """Return the shapes of the arrays of a type."""
    return [[int(axis) for axis in axes.split(",") if axis] for _, _, axes, *_ in ARRAY.findall(kind)]


def sizes(kind: str, anywhere: bool = False) -> list[int]:
    """Return the bytes of the arrays of a type, padded to the tiles of their layout.

    Arrays on the chip, outside the device's memory, count as 0 unless `anywhere`.

    >>> sizes("(f32[750,26]{1,0:T(8,128)}, s32[5]{0:T(128)S(1)})")
    [385024, 0]
    """
    found = []
    for shape, (_, bits, _, order, tiling) in zip(shapes(kind), ARRAY.findall(kind), strict=True):
        if order and (tile := re.match(r"T\(([\d,]+)\)", tiling)):
            for axis, multiple in zip(order.split(","), reversed(tile[1].split(",")), strict=False):
                shape[int(axis)] = -(-shape[int(axis)] // int(multiple)) * int(multiple)
        there = anywhere or "S(" not in tiling
        found.append(there * math.prod(shape) * max(int(bits or 8), 8) // 8)
    return found


class Program:
    """The computations of a compiled program."""

    def __init__(self, text: str):
        self.computations: dict[str, Computation] = {}
        for line in text.splitlines():
            if head := re.match(r"(ENTRY )?%?(\S+) \(.*\{$", line):
                own: Computation = {}
                self.computations[head[2]] = own
                if head[1]:
                    self.entry = own
            elif part := INSTRUCTION.match(line):
                root, name, kind, code, operands, rest = part.groups()
                names = re.findall(r"%([\w.-]+)", operands) or [operands]
                own[name] = Op(kind, code, names, re.sub(r"metadata=\{.*?\}", "", rest), root is not None)

    def cost(self, card: Card, computation: Computation | None = None) -> Cost:
        """Return the cost of a computation, by default of the program.

        Loops count as often as they run; of branches, the slowest counts.
        """
        total, own = Cost(), self.entry if computation is None else computation
        for op in own.values():
            called = self._called(op)
            if op.code == "while":
                total = total.plus(self.cost(card, called["body"]), self._trips(op))
            elif op.code == "conditional":
                total = total.plus(max((self.cost(card, one) for one in called.values()), key=lambda c: c.time))
            elif op.code in ("call", "async-start"):
                total = total.plus(self.cost(card, next(iter(called.values()))))
            elif op.code not in FREE and not op.code.endswith("-done") and not FREE_CALLS.search(op.rest):
                flops = {which: 0 for which in ("float32", "tf32", "bfloat16")}
                for precision, count in self._products(op, own):
                    flops[precision] += count
                moved = self._moved(op, own)
                products = 1e-9 * sum(count / getattr(card, which) for which, count in flops.items())
                time = max(products, 1e-6 * moved / card.bandwidth)
                total = total.plus(Cost(1, moved / 1e9, sum(flops.values()) / 1e9, products, time))
        return total

    def _called(self, op: Op) -> dict[str, Computation]:
        """Return the computations that an instruction names, by their role or, for branches, by name."""
        named = re.findall(r"(\w+)=%([\w.-]+)", op.rest)
        for several in re.findall(r"branch_computations=\{(.*?)\}", op.rest):
            named += [(name, name) for name in re.findall(r"%([\w.-]+)", several)]
        return {role: self.computations[name] for role, name in named if name in self.computations}

    def _trips(self, op: Op) -> int:
        """Return how often a loop runs: what XLA knows, or else what the counter is compared with."""
        if known := re.search(r'known_trip_count":\{"n":"(\d+)"', op.rest):
            return int(known[1])
        condition = self._called(op)["condition"].values()
        return max((int(one.operands[0]) for one in condition if one.operands[0].isdecimal()), default=1)

    def _products(self, op: Op, own: Computation) -> Iterator[tuple[str, int]]:
        """Yield the precision and the FLOP of the matrix products of an instruction."""
        if op.code == "fusion":
            inner = self._called(op)["calls"]
            for one in inner.values():
                yield from self._products(one, inner)
            return
        axes = re.search(r'lhs_contracting_dim(?:ension)?s"?[=:][{[]([\d,"]*)', op.rest)
        labels = re.search(r"dim_labels=\w+_(\w+)->", op.rest)
        if axes is None and labels is None:
            return
        left, right = (shapes(own[name].kind)[0] for name in op.operands[:2])
        if axes is not None:
            summed = math.prod(left[int(axis)] for axis in re.findall(r"\d+", axes[1]))
        else:  # if the input is dilated, as TPUs write batches of products, most taps are zeros
            assert labels is not None
            window = dict(re.findall(r"(size|lhs_dilate)=([\dx]+)", op.rest))
            taps = [int(size) for size in window.get("size", "1").split("x")]
            holes = [int(hole) for hole in window.get("lhs_dilate", "1").split("x")]
            summed = right[labels[1].index("i")]
            summed *= math.prod(-(-tap // hole) for tap, hole in zip(taps, holes * len(taps), strict=False))
        half = re.match(r"b?f16", own[op.operands[0]].kind)
        precision = "bfloat16" if half else "float32" if "highest" in op.rest.lower() else "tf32"
        yield precision, 2 * summed * math.prod(shapes(op.kind)[0])

    def _moved(self, op: Op, own: Computation) -> int:
        """Return the bytes that an instruction reads from the device's memory and writes to it."""
        if op.code.endswith("-start"):  # (..., destination, context); one end is on the chip
            return sizes(op.kind, anywhere=True)[-2]
        written = sizes(op.kind)
        if op.code in SLICES:
            return 2 * sum(written)
        if op.code == UPDATE:
            return 2 * sum(sizes(own[op.operands[1]].kind))
        inner = self._called(op)["calls"] if op.code == "fusion" else None
        if inner is not None:
            written = [min(each) for each in zip(written, self._updated(inner), strict=True)]
        read = 0
        for place, name in enumerate(op.operands):
            if name in own and name not in op.operands[:place]:
                full = sum(sizes(own[name].kind))
                read += full if inner is None else self._read(inner, op.operands, name, full)
        return sum(written) + read

    def _read(self, inner: Computation, operands: list[str], name: str, full: int) -> int:
        """Return the bytes that a fusion reads of an operand of `full` bytes: perhaps only slices."""
        places = [str(place) for place, operand in enumerate(operands) if operand == name]
        views = [one for one, op in inner.items() if op.code == "parameter" and op.operands[0] in places]
        total = 0
        for view in views:  # grows
            for one, op in inner.items():
                if view not in op.operands:
                    continue
                first = op.operands[0] == view and op.operands.count(view) == 1
                if op.code in SEEN_THROUGH:
                    views.append(one)
                elif op.code == "fusion":
                    total += self._read(self._called(op)["calls"], op.operands, view, full)
                elif first and op.code in SLICES:
                    total += sum(sizes(op.kind, anywhere=True))
                elif not (first and op.code == UPDATE):
                    return full
        return min(total, full)

    def _updated(self, inner: Computation) -> list[int]:
        """Return the bytes that a fusion writes of each of its results: perhaps only updates in place."""
        root = next(op for op in inner.values() if op.is_root)
        found = []
        for op in [inner[name] for name in root.operands] if root.code == "tuple" else [root]:
            while op.code in VIEWS:
                op = inner[op.operands[0]]
            kind = inner[op.operands[1]].kind if op.code == UPDATE else op.kind
            found += sizes(kind, anywhere=True)
        return found


class Work(NamedTuple):
    """A program to compile.

    Attributes:
      name: of the program.
      lower: lowers it for the devices of a mesh.
      steps: of one call.
      units: utterances times runs of a step.
      least: bytes that a step has to move; by default arguments and results, each once.
    """

    name: str
    lower: Callable[[Mesh], Any]
    steps: int
    units: int
    least: int | None = None


def works(config: Config, runs: int, utterances: int) -> list[Work]:
    """Return training, prediction and the extraction of features by Whisper, as `engine` and `prepare` do.

    An epoch trains every run on all utterances; all that a step has to move is its batch, and the weights and
    the optimizer's state twice. Whisper has its defaults unless it is the front end, or a part of it.
    """
    task, training = config.tasks[0], config.train
    network = config.network(task)
    dtype = features.feature_type(features.describe(config.features))

    def example() -> tuple[Data, Runs, train.TrainState]:
        rows, levels = jnp.zeros(utterances, jnp.int32), jnp.zeros((1, network.bands))
        run = Runs(
            key=jax.random.key(0),
            train=rows,
            count=jnp.int32(0),
            labels=rows if task.class_names else jnp.zeros((utterances, task.outputs)),
            scaler=Scaler(levels, levels),
            weights=None if training.class_weights == "none" else jnp.zeros(utterances),
            unlabelled=(rows, jnp.int32(0)) if training.objective.unlabelled else None,
        )
        stack = jax.tree.map(lambda leaf: jnp.stack([leaf] * runs), run)
        speech = jnp.zeros((utterances, network.frames * network.bands), dtype)
        more = {"speaker": rows, "corpus": rows, "corpora": len(config.corpora)}
        data = Data(features=speech, frames=rows, group=rows, **more)
        return data, stack, train.start_runs(network, training, stack, None, len(config.corpora))

    data, stack, state = jax.eval_shape(example)

    def fit(mesh: Mesh) -> Any:
        procedure = Procedure(network, training, task.loss, "vmap", mesh)
        number = jax.ShapeDtypeStruct((), jnp.int32)
        shared, own = placed((data, number), mesh), placed((stack, state), mesh, "runs")
        return train._resident_epoch.lower(procedure, shared[0], *own, shared[1])

    def predict(mesh: Mesh) -> Any:
        rows = jax.ShapeDtypeStruct((runs, train.PREDICTION_BATCH), jnp.int32)
        arguments = jax.eval_shape(train.gather, data, rows), stack, state.params
        return train._predict_batch.lower(network, mesh, *placed(arguments, mesh, "runs"))

    parts = getattr(config.features, "parts", (config.features,))
    encoder = next((part for part in parts if isinstance(part, whisper.Whisper)), whisper.Whisper())

    def extract(mesh: Mesh) -> Any:
        samples = jax.ShapeDtypeStruct((whisper.BATCH, round(encoder.seconds * RATE)), jnp.float32)
        length = jax.ShapeDtypeStruct((whisper.BATCH,), jnp.int32)
        arguments = placed((encoder._encoder, samples, length), mesh)
        return whisper._extract.lower(
            *arguments, encoder.layers, encoder.stride, encoder.relative, encoder.trim
        )

    batch = runs * training.batch * (1 + training.objective.unlabelled)
    weights = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    least = batch * data.features.shape[1] * dtype.itemsize + 2 * weights
    return [
        Work("training", fit, -(-utterances // training.batch), runs * training.batch, least),
        Work("prediction", predict, 1, runs * train.PREDICTION_BATCH),
        Work("Whisper", extract, 1, whisper.BATCH),
    ]


def placed(tree: Any, mesh: Mesh, *axes: str) -> Any:
    """Return the shapes of a tree of arrays on the devices of a mesh, which share the first axis if named."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


class Figures(NamedTuple):
    """What a compiler says of a program: GB of arguments and temporaries, MB of code, and costs of a step.

    `fused` is the least time of a step, in ms, in a program that moves only what it has to.
    """

    arguments: float
    temporaries: float
    code: float
    step: Cost
    fused: float


def compile_for(device: Any, card: Card, work: Work) -> Figures:
    """Compile a program for a device.

    Raises: BenchmarkError if the compiler refuses it, as for lack of memory.
    """
    try:
        compiled = work.lower(runs_mesh([device])).compile()
    except jax.errors.JaxRuntimeError as error:
        raise BenchmarkError(str(error).splitlines()[0].rpartition(": ")[2]) from error
    memory = compiled.memory_analysis()
    step = Cost().plus(Program(compiled.as_text()).cost(card), 1 / work.steps)
    least = memory.argument_size_in_bytes + memory.output_size_in_bytes if work.least is None else work.least
    fused = max(step.products, 1e-6 * least / card.bandwidth)
    arguments, temporaries = memory.argument_size_in_bytes / 1e9, memory.temp_size_in_bytes / 1e9
    return Figures(arguments, temporaries, memory.generated_code_size_in_bytes / 1e6, step, fused)


def table2_steps(config: Config, utterances: int) -> int:
    """Return the utterance-steps of a full Table 2.

    All corpora train in all folds but one, alone and merged, and once across languages; models are fine-tuned
    in every fold.
    """
    protocol = config.protocol
    epochs = (2 * (protocol.folds - 1) + 1) * config.train.epochs
    finetuned = 2 * protocol.folds * protocol.finetune_samples * protocol.finetune_epochs
    return (epochs * utterances + finetuned) * protocol.seeds * len(config.tasks)


HEAD = (
    "card", "program", "arguments, GB", "temporaries, GB", "code, MB", "operations", "GB moved", "GFLOP",
    "ms, as compiled", "ms, fused",
)  # fmt: skip


def report(config: Config, cards: Sequence[str], runs: int, utterances: int) -> str:
    """Return the figures of all programs on some cards as a table, and the least times of a Table 2.

    Cards whose compiler is missing are named on standard error.

    Raises: BenchmarkError if that of all cards is.
    """
    lines, sentences, missing = [list(HEAD)], [], []
    total = table2_steps(config, utterances)
    for name in cards:
        try:
            device = find_device(name)
        except BenchmarkError as error:
            missing.append(str(error))
            print(f"Not compiled: {error}.", file=sys.stderr)
            continue
        for work in works(config, runs, utterances):
            try:
                found = compile_for(device, CARDS[name], work)
            except BenchmarkError as error:
                lines.append([name, work.name, f"not compiled: {error}", *[""] * (len(HEAD) - 3)])
                continue
            step, sizes = found.step, (found.arguments, found.temporaries, found.code)
            numbers = *(f"{size:.2f}" for size in sizes), f"{step.operations:,.0f}", f"{step.moved:.3g}"
            times = f"{step.flops:.3g}", f"{step.time:.3g}", f"{found.fused:.3g}"
            lines.append([name, work.name, *numbers, *times])
            if work.name == "training":
                compiled, fused = (1e-3 * total / work.units * time for time in (step.time, found.fused))
                sentences.append(f"{name} {compiled:,.0f} s as compiled, {fused:,.0f} s fused")
    if len(missing) == len(cards):
        raise BenchmarkError(missing[0] if len(cards) == 1 else f"no card has a compiler: {missing[0]}")
    return f"""{markdown_table(lines)}

{runs} runs, {utterances:,} utterances. Operations, GB, GFLOP and ms are of a step: of {runs} x \
{config.train.batch} utterances in training, {runs} x {train.PREDICTION_BATCH} in prediction, \
{whisper.BATCH} in Whisper. As compiled: the sum over the operations of the least time of each. Fused: the \
same products, moving the step's batch, weights and results once.
Least time of Table 2, {total / 1e6:.1f} million utterance-steps, on one card: {"; ".join(sentences)}."""
