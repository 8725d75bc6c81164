"""Compile programs for accelerators that are not there, and derive the least time that they can take.

XLA compiles for a TPU with libtpu and for an NVIDIA GPU with JAX's CUDA plugin (extra: aot) on a machine that
has neither. No kernel of a compiled program can be faster than its bytes at the memory's bandwidth, or its
products at their peak; launches, latency and all other arithmetic come on top.
"""

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ser_jax import features, train
from ser_jax.benchmark import BenchmarkError
from ser_jax.benchmark.hlo import Program
from ser_jax.benchmark.throughput import TABLE2
from ser_jax.data.standardize import Scaler
from ser_jax.devices import runs_mesh
from ser_jax.engine import RunSpec
from ser_jax.experiment.config import Config
from ser_jax.features import RATE, whisper
from ser_jax.io import markdown_table
from ser_jax.train import Data, Procedure, Runs

ENVIRONMENT = {  # without it, libtpu refuses a second process and asks the network, and both compilers warn
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
# XLA chooses kernels by running them; without that, some products fit none of the tiles that Triton tries.
FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"


class Card(NamedTuple):
    """Describe a device.

    Attributes:
      memory, bandwidth: in GB and GB/s.
      float32, tf32, bfloat16: peaks of dense products in TFLOP/s, by precision. A TPU computes tf32 as
        bfloat16, and float32 in six passes of it.
      target: the smallest topology that libtpu knows of a TPU; or what XLA asks of a GPU: compute capability;
        multiprocessors, FPUs of each, their clock in GHz; L2 cache, shared memory of a multiprocessor and of
        a block, in bytes.
    """

    memory: float
    bandwidth: float
    float32: float
    tf32: float
    bfloat16: float
    target: str | tuple[float, ...]


# Data sheets: cloud.google.com/tpu/docs (v5e, v5p, v6e); nvidia.com, A100 80GB SXM, H100 SXM and H200 SXM,
# without sparsity. The descriptions of GPUs are those of OpenXLA, xla/backends/gpu/target_config/specs.
CARDS = {
    "v5e": Card(16, 819, 197 / 6, 197, 197, "v5e:2x2"),
    "v5p": Card(95, 2765, 459 / 6, 459, 459, "v5p:2x2x1"),
    "v6e": Card(32, 1638, 918 / 6, 918, 918, "v6e:2x2"),
    "a100": Card(80, 2039, 19.5, 156, 312, (8, 108, 64, 1.41, 41943040, 167936, 166912)),
    "h100": Card(80, 3350, 66.9, 494.7, 989.4, (9, 132, 128, 1.98, 52428800, 233472, 232448)),
    "h200": Card(141, 4800, 66.9, 494.7, 989.4, (9, 132, 128, 1.98, 52428800, 233472, 232448)),
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
"""


def use_compilers() -> None:
    """Prepare this process to compile for other devices; call this before JAX computes."""
    os.environ.update(ENVIRONMENT, XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip())
    jax.config.update("jax_platforms", "cpu")


def mesh_of(name: str) -> Mesh:
    """Return a mesh of one device of a card, to compile for.

    Raises: BenchmarkError if the compiler is not installed.
    """
    memory, bandwidth, *_, target = CARDS[name]
    try:
        if isinstance(target, str):
            found = topologies.get_topology_desc(target, "tpu")
        else:
            text = DESCRIPTION.format(*target, memory=1e9 * memory, bandwidth=1e9 * bandwidth)
            found = topologies.get_topology_desc("", "cuda", topology="1x1x1", target_config=text)
    except RuntimeError as error:
        reason = f'{str(error).splitlines()[0]}, expected its compiler: pip install "ser_jax[aot]"'
        raise BenchmarkError(f"{name}: {reason}") from error
    return runs_mesh(found.devices[:1])


class Work(NamedTuple):
    """Hold a lowered program, and what a step of its `steps` has to compute and to move at least."""

    name: str
    lowered: Any
    precision: str  # of its products
    units: int  # utterances times runs
    steps: int = 1
    least: int | None = None  # bytes; by default those of arguments and results, each once


def works(config: Config, runs: int, utterances: int, mesh: Mesh) -> Iterator[Work]:
    """Yield training, prediction and the extraction of features by Whisper, as `engine` and `prepare` do.

    An epoch trains every run on all utterances; a step has to move its batch, and the weights and the
    optimizer's state twice. Whisper has its defaults unless it is the front end, or a part of it.
    """
    task, training, corpora = config.tasks[0], config.train, len(config.corpora)
    network = config.network(task)
    precision = getattr(network, "precision", "float32")
    dtype = features.feature_type(features.describe(config.features))

    def example() -> tuple[Data, Runs, train.TrainState]:
        rows, levels = np.zeros(utterances, np.int32), jnp.zeros((1, network.bands))
        run = RunSpec(
            key=jax.random.key(0),
            train=rows,
            labels=rows if task.class_names else jnp.zeros((utterances, task.outputs)),
            scaler=Scaler(levels, levels),
            weights=None if training.class_weights == "none" else np.zeros(utterances, np.float32),
            unlabelled=rows[: utterances * training.objective.unlabelled],
        ).run()
        stack = jax.tree.map(lambda leaf: jnp.stack([leaf] * runs), run)
        speech = jnp.zeros((utterances, network.frames * network.bands), dtype)
        data = Data(features=speech, frames=rows, group=rows, speaker=rows, corpus=rows, corpora=corpora)
        return data, stack, train.start_runs(network, training, stack, None, corpora)

    def placed(tree: Any, *axes: str) -> Any:
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
        )

    data, stack, state = jax.eval_shape(example)
    procedure = Procedure(network, training, task.loss, "vmap", mesh)
    number = placed(jax.ShapeDtypeStruct((), jnp.int32))
    lowered = train._resident_epoch.lower(procedure, placed(data), *placed((stack, state), "runs"), number)
    batch = runs * training.batch * (1 + training.objective.unlabelled)
    least = batch * data.features.shape[1] * dtype.itemsize
    least += 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    yield Work("training", lowered, precision, runs * training.batch, -(-utterances // training.batch), least)

    rows = jax.ShapeDtypeStruct((runs, train.PREDICTION_BATCH), jnp.int32)
    batches = jax.eval_shape(train.gather, data, rows)
    lowered = train._predict_batch.lower(network, mesh, *placed((batches, stack, state.params), "runs"))
    yield Work("prediction", lowered, precision, runs * train.PREDICTION_BATCH)

    parts = getattr(config.features, "parts", (config.features,))
    encoder = next((part for part in parts if isinstance(part, whisper.Whisper)), whisper.Whisper())
    samples = jax.ShapeDtypeStruct((whisper.BATCH, round(encoder.seconds * RATE)), jnp.float32)
    length = jax.ShapeDtypeStruct((whisper.BATCH,), jnp.int32)
    how = encoder.layers, encoder.stride, encoder.relative, encoder.trim
    lowered = whisper._extract.lower(*placed((encoder._encoder, samples, length)), *how)
    yield Work("Whisper", lowered, "tf32", whisper.BATCH)


def report(config: Config, cards: Sequence[str], runs: int, utterances: int) -> str:
    """Return the figures of all programs on some cards as a table.

    Raises: BenchmarkError if a compiler is missing, or refuses a program, as for lack of memory.
    """
    lines = []
    for name in cards:
        card = CARDS[name]
        for work in works(config, runs, utterances, mesh_of(name)):
            try:
                compiled = work.lowered.compile()
            except jax.errors.JaxRuntimeError as error:
                raise BenchmarkError(f"{name}, {work.name}: {str(error).splitlines()[0]}") from error
            memory = compiled.memory_analysis()
            bandwidth, peak = 1e9 * card.bandwidth, 1e12 * getattr(card, work.precision)
            kernels, moved, flops, seconds = Program(compiled.as_text()).cost(bandwidth, peak) / work.steps
            least = memory.argument_size_in_bytes + memory.output_size_in_bytes
            fused = max(flops / peak, (least if work.least is None else work.least) / bandwidth)
            table2 = TABLE2 / work.units if work.name == "training" else math.nan  # steps
            figures = {
                "arguments, GB": memory.argument_size_in_bytes / 1e9,
                "temporaries, GB": memory.temp_size_in_bytes / 1e9,
                "code, MB": memory.generated_code_size_in_bytes / 1e6,
                "kernels": kernels,
                "GB moved": moved / 1e9,
                "GFLOP": flops / 1e9,
                "ms, as compiled": 1e3 * seconds,
                "ms, fused": 1e3 * fused,
                "Table 2, s, as compiled": table2 * seconds,
                "Table 2, s, fused": table2 * fused,
            }
            cells = [
                "" if math.isnan(x) else f"{x:,.0f}" if x >= 100 else f"{x:.3g}" for x in figures.values()
            ]
            lines.append([name, work.name, *cells])
    return f"""{markdown_table([["card", "program", *figures], *lines])}

{runs} runs, {utterances:,} utterances. Kernels, GB moved, GFLOP and ms are of a step: {runs} x \
{config.train.batch} utterances in training, {runs} x {train.PREDICTION_BATCH} in prediction, \
{whisper.BATCH} in Whisper. As compiled: the sum over the kernels of the least time of each. Fused: the same \
products, moving the step's batch, weights and results once. Table 2: {TABLE2 / 1e6:.1f} million \
utterance-steps on one card."""
