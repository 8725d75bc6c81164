"""A recogniser as one file for other programs: from samples to probabilities, the features included.

    onnx        for ONNX Runtime and whatever else reads ONNX
    stablehlo   for JAX without ser_jax: `jax.export.deserialize(content).call(samples, count)`

Both take 16 kHz mono samples, float32, of one window, and what they say is named and meant as in `Estimate`,
for each target of the model:

    arousal_probability  []   calibrated, of high arousal or of positive valence: the mean of the seeds
    arousal_spread       []   the seeds' sample deviation from it (ddof = 1); 0 of a single seed
    arousal_attention    [S]  weights of the segments, the mean of the seeds

ONNX takes `samples` [n], n >= 400, and hears the first 120,240 of them: 750 frames, one every 10 ms.
StableHLO takes `samples` [120240] and `count` [] int32, how many of them are sound, whatever follows; fewer
than 400 give NaN. Samples that are not finite give NaN in both.

Features are computed in float64 as in `logmel`, their Fourier transform as a product of matrices, since not
every platform transforms float64. In float32, noise of -80 dB on an offset of 0.9 would come out 0.1 dB off,
which moves a probability by 1e-4.

The ONNX graph is written by hand, since jax2onnx pins an older orbax-checkpoint than ser_jax computes with;
what holds it to the networks of `ser_jax.model` is the comparison of both in the tests. A model of precision
"bfloat16" rounds as it does there; "tf32" is left to whoever runs the graph.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

import ser_jax
from ser_jax.errors import UserError, meant
from ser_jax.features import logmel
from ser_jax.io import atomic_file
from ser_jax.recognizer.recognizer import Recognizer
from ser_jax.recognizer.trained import TARGETS, VERSION, Trained, predict, weights

FORMATS = ("onnx", "stablehlo")
PLATFORMS = ("cpu", "cuda", "tpu")  # that the StableHLO is lowered for

SAYS = {
    "probability": "calibrated probability of {1} {0}, from 0 to 1: the mean of the networks",
    "spread": "sample deviation of the networks' probabilities, 0 of a single network",
    "attention": "weights of the segments of {2:g} s, which sum to 1: the mean of the networks",
}

# Dimensions as in `ser_jax`, and n samples.
GRAPH = """
<ir_version: 7, opset_import: ["": 13]>
recogniser (float[n] samples) => ({outputs})
{{
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  window = Constant <value_ints = [{logmel.WINDOW}]> ()
  hop = Constant <value_ints = [{logmel.HOP}]> ()
  reach = Constant <value_ints = [{reach}]> ()
  most = Constant <value_ints = [{sizes.frames}]> ()

  # 0, or NaN where a sample is not finite: maxima would hide it.
  sound = Slice (samples, zero, reach)
  precise = Cast <to = 11> (sound)
  total = ReduceSum <keepdims = 1> (precise, zero)
  doubt = Mul (total, nothing)
  fault = Cast <to = 1> (doubt)

  # Frames [t, window] in float64; of fewer samples than fill one, Gather says that they are too few.
  length = Shape (sound)
  beyond = Sub (length, window)
  hops = Div (beyond, hop)
  further = Max (hops, zero)
  frames = Add (further, one)
  first = Squeeze (zero)
  step = Squeeze (one)
  count = Squeeze (frames)
  numbers = Range (first, count, step)
  starts = Mul (numbers, hop)
  column = Unsqueeze (starts, one)
  places = Add (column, within)
  framed = Gather (precise, places)

  # Log-mels [t, F] in float64, dB.
  parts = MatMul (framed, spectrum)
  power = Mul (parts, parts)
  energy = MatMul (power, energies)
  audible = Max (energy, floor)
  logarithm = Log (audible)
  level = Mul (logarithm, decibel)
  logmel = Cast <to = 1> (level)

  # Standardised, and exactly zero where there is no sound: [1, F, {sizes.frames}].
  centred = Sub (logmel, mean)
  scaled = Mul (centred, scale)
  missing = Sub (most, frames)
  padding = Concat <axis = 0> (zero, zero, missing, zero)
  padded = Pad (scaled, padding)
  fitted = Reshape (padded, input_shape)
  input = Transpose <perm = [0, 2, 1]> (fitted)
{rounding}
  # Segments [A R, C, S]: convolution [1, A R C, P], the largest of each pool of positions, and relu.
  responses = Conv <kernel_shape = [{sizes.kernel}], strides = [{sizes.stride}]> (heard, kernels, biases)
  maxima = MaxPool <kernel_shape = [{sizes.pool}], strides = [{sizes.pool}]> (responses)
  rectified = Relu (maxima)
  segments = Reshape (rectified, segments_shape)

  # Attention [A R, 1, S]. The difference of both classes' logits is the sum over C and S of
  # segments (attention by_attended + by_segment): the classifier, its two parts in one.
  scores = MatMul (attention_vectors, segments)
  attention = Softmax <axis = 2> (scores)
  attended = Mul (attention, by_attended)
  factors = Add (attended, by_segment)
  products = Mul (segments, factors)
  sums = ReduceSum <keepdims = 0> (products, sum_axes)
  margins = Add (sums, by_itself)
  heard_frames = Cast <to = 1> (frames)
  share = Div (heard_frames, most_frames)
  cooled = Pow (share, decays)
  temperature = Div (temperatures, cooled)
  calibrated = Div (margins, temperature)
  each = Sigmoid (calibrated)

  # Of every target the mean and the deviation of its seeds.
  probabilities = Reshape (each, probabilities_shape)
  means = ReduceMean <axes = [1], keepdims = 1> (probabilities)
  mean_probabilities = Add (means, fault)
  deviations = Sub (probabilities, mean_probabilities)
  squares = Mul (deviations, deviations)
  summed = ReduceSum <keepdims = 1> (squares, one)
  variances = Div (summed, freedom)
  spreads = Sqrt (variances)
  attentions = Reshape (attention, attentions_shape)
  weights = ReduceMean <axes = [1], keepdims = 0> (attentions)
  mean_attentions = Add (weights, fault)
  {probabilities} = Split <axis = 0> (mean_probabilities)
  {spreads} = Split <axis = 0> (spreads)
  {attentions} = Split <axis = 0> (mean_attentions)
{targets}
}}
"""
TARGET = """
  {0}_probability = Squeeze ({0}_probability_1)
  {0}_spread = Squeeze ({0}_spread_1)
  {0}_attention = Squeeze ({0}_attention_1, zero)"""

EXACT = "  heard = Identity (input)\n"
ROUNDED = "  rounded = Cast <to = 16> (input)\n  heard = Cast <to = 1> (rounded)\n"  # to bfloat16, and back
Exported = Callable[[jax.Array, jax.Array], dict[str, jax.Array]]


class ExportError(UserError):
    """A file that cannot be written."""


def export(recognizer: Recognizer, kind: str, path: Path | str) -> None:
    """Write a recogniser as one file, whole or not at all; a file of that name is replaced.

    The same recogniser gives the same bytes.

    Args:
      recognizer: as loaded.
      kind: one of `FORMATS`.
      path: of the file.
    Raises: ExportError if a package is missing, or the file cannot be written.
    """
    if kind not in FORMATS:
        raise ExportError(f"format {kind!r}, expected one of {', '.join(FORMATS)}{meant(kind, FORMATS)}")
    _write(Path(path), {"onnx": onnx, "stablehlo": stablehlo}[kind](recognizer.model))


def onnx(trained: Trained) -> bytes:
    """Return the ONNX file of a recogniser: input `samples` [n] float32, outputs as above.

    Raises: ExportError without the package onnx.
    """
    with _needing("onnx"):
        import onnx.helper
        import onnx.numpy_helper
        import onnx.parser

    model = onnx.parser.parse_model(_text(trained))
    tensors = {**_constants(trained), **_weights(trained)}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.ascontiguousarray(tensor), name) for name, tensor in tensors.items()
    )
    for node in model.graph.node:
        node.name = node.output[0]  # what an error calls it
    _describe(model, trained)
    facts = {
        "rate": str(logmel.RATE),
        "classes": json.dumps({name: TARGETS[name].class_names for name in trained.targets}),
        "facts": json.dumps(trained.facts),
    }
    onnx.helper.set_model_props(model, facts)
    return model.SerializeToString(deterministic=True)


def stablehlo(trained: Trained) -> bytes:
    """Return the StableHLO of a recogniser as `jax.export` serialises it, for all of `PLATFORMS`.

    The exported function is called `recogniser`, or `demonstration` where it was trained on synthetic speech.

    Raises: ExportError without the package flatbuffers.
    """
    function = _exported(trained)
    function.__name__ = "demonstration" if trained.facts.get("synthetic") else "recogniser"
    inputs = (jax.ShapeDtypeStruct((reach(trained),), np.float32), jax.ShapeDtypeStruct((), np.int32))
    with _needing("flatbuffers"):
        import flatbuffers  # noqa: F401  jax.export serialises by it
    with jax.enable_x64(True), _no_locations():
        return bytes(jax_export.export(jax.jit(function), platforms=PLATFORMS)(*inputs).serialize())


def reach(trained: Trained) -> int:
    """Return the samples of a window: 120,240, to the end of its last frame."""
    return (trained.sizes.frames - 1) * logmel.HOP + logmel.WINDOW


def spectrum() -> np.ndarray:
    """Return [400, 402] float64: a frame times it is its windowed spectrum, real, then imaginary parts."""
    found = np.fft.rfft(np.diag(logmel.hann()))
    return np.concatenate([found.real, found.imag], axis=1)


def energies(trained: Trained) -> np.ndarray:
    """Return [402, F] float64: squares of the products with `spectrum`, times it, are the bands' energies."""
    return np.concatenate([trained.filters.T, trained.filters.T])


def _text(trained: Trained) -> str:
    sizes = trained.sizes

    def split(what: str) -> str:
        return ", ".join(f"{name}_{what}_1" for name in trained.targets)

    return GRAPH.format(
        outputs=", ".join(
            f"float {name}_probability, float {name}_spread, float[{sizes.segments}] {name}_attention"
            for name in trained.targets
        ),
        logmel=logmel,
        sizes=sizes,
        reach=reach(trained),
        rounding=ROUNDED if sizes.precision == "bfloat16" else EXACT,
        probabilities=split("probability"),
        spreads=split("spread"),
        attentions=split("attention"),
        targets="".join(map(TARGET.format, trained.targets)),
    )


def _constants(trained: Trained) -> dict[str, np.ndarray]:
    """What is no weight: of the features, and shapes."""
    sizes, seeds = trained.sizes, _seeds(trained)
    shapes = {
        "input_shape": [1, sizes.frames, sizes.bands],
        "segments_shape": [len(trained.targets) * seeds, sizes.channels, sizes.segments],
        "probabilities_shape": [len(trained.targets), seeds],
        "attentions_shape": [len(trained.targets), seeds, sizes.segments],
        "sum_axes": [1, 2],
    }
    return {
        "spectrum": spectrum(),
        "energies": energies(trained),
        "within": np.arange(logmel.WINDOW, dtype=np.int64),
        "nothing": np.array(0.0),
        "floor": np.array(logmel.FLOOR),
        "decibel": np.array(10 / np.log(10)),
        "mean": trained.mean,
        "scale": trained.scale,
        "most_frames": np.array(sizes.frames, np.float32),
        "freedom": np.array(max(1, seeds - 1), np.float32),
        **{name: np.array(shape, np.int64) for name, shape in shapes.items()},
    }


def _weights(trained: Trained) -> dict[str, np.ndarray]:
    """Of all networks, target by target and seed by seed."""
    sizes, seeds = trained.sizes, _seeds(trained)
    params = [target.params for target in trained.targets.values()]

    def stacked(leaves: Iterator[Any]) -> np.ndarray:
        return np.concatenate([np.asarray(leaf) for leaf in leaves])

    kernels = stacked(own["kernel"] for own in params)  # [A R, k, F, C]
    if sizes.precision == "bfloat16":
        kernels = kernels.astype(jnp.bfloat16).astype(np.float32)
    classifier = stacked(own["classifier"]["kernel"] for own in params)  # [A R, C + S C, K]
    bias = stacked(own["classifier"]["bias"] for own in params)
    margin = classifier[:, :, 1] - classifier[:, :, 0]
    by_segment = margin[:, sizes.channels :].reshape(-1, sizes.segments, sizes.channels)
    temperature = [target.temperature.value for target in trained.targets.values()]
    decay = [target.temperature.decay for target in trained.targets.values()]
    return {
        "kernels": kernels.transpose(0, 3, 2, 1).reshape(-1, sizes.bands, sizes.kernel),
        "biases": stacked(own["bias"] for own in params).reshape(-1),
        "attention_vectors": stacked(own["attention"] for own in params).transpose(0, 2, 1),
        "by_attended": margin[:, : sizes.channels, None],
        "by_segment": by_segment.transpose(0, 2, 1),
        "by_itself": bias[:, 1] - bias[:, 0],
        "temperatures": np.repeat(np.array(temperature, np.float32), seeds),
        "decays": np.repeat(np.array(decay, np.float32), seeds),
    }


def _seeds(trained: Trained) -> int:
    return len(next(iter(trained.targets.values())).params["bias"])


def _describe(model: Any, trained: Trained) -> None:
    """Says in the file what it is and what comes in and out."""
    sizes = trained.sizes
    segment = sizes.segment_frames * logmel.HOP / logmel.RATE
    model.producer_name, model.producer_version = "ser_jax", ser_jax.__version__
    model.model_version = VERSION
    targets = " and ".join(trained.targets)
    model.doc_string = f"Speech emotion recognition: {targets} from the samples of one window of sound."
    if trained.facts.get("synthetic"):
        model.doc_string += " A demonstration, trained on synthetic speech: it says nothing about people."
    samples = model.graph.input[0]
    samples.doc_string = (
        f"mono sound, {logmel.RATE} Hz, full scale from -1 to 1, at least {logmel.WINDOW} samples; "
        f"what is beyond {logmel.SECONDS:g} s is not used"
    )
    for output in model.graph.output:
        target, what = output.name.rsplit("_", 1)
        output.doc_string = SAYS[what].format(target, TARGETS[target].class_names[1], segment)


def _exported(trained: Trained) -> Exported:
    """Return the function that is exported as StableHLO; trace it with float64 enabled."""
    frames, hop, window = trained.sizes.frames, logmel.HOP, logmel.WINDOW
    transform, filters = spectrum(), energies(trained)
    own = jax.tree.map(np.asarray, weights(trained))

    def function(samples: jax.Array, count: jax.Array) -> dict[str, jax.Array]:
        sound = jnp.where(jnp.arange(len(samples)) < count, samples, 0).astype(jnp.float64)
        is_sound = (count >= window) & jnp.isfinite(sound).all()  # maxima would hide what is not finite
        start, within = hop * jnp.arange(frames), jnp.arange(window)
        power = jnp.dot(sound[start[:, None] + within[None, :]], transform, precision="highest") ** 2
        energy = jnp.dot(power, filters, precision="highest")
        level = (10 * jnp.log10(jnp.maximum(energy, logmel.FLOOR))).astype(jnp.float32)
        valid = jnp.clip(logmel.frame_count(count), 0, frames).astype(jnp.int32)
        predicted = predict(trained.sizes, own, level[None], valid[None])
        found = {}
        for target, probability, attention in zip(
            trained.targets, predicted.probability[:, :, 0], predicted.attention[:, :, 0], strict=True
        ):
            found[f"{target}_probability"] = probability.mean()
            found[f"{target}_spread"] = probability.std(ddof=min(1, len(probability) - 1))
            found[f"{target}_attention"] = attention.mean(axis=0)
        return {name: jnp.where(is_sound, value, jnp.nan) for name, value in found.items()}

    return function


@contextlib.contextmanager
def _no_locations() -> Iterator[None]:
    """Keep folders and lines of the source out of what is exported."""
    option = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, option)
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


@contextlib.contextmanager
def _needing(package: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ExportError(
            f'the package {package} is missing ({error}); pip install "ser_jax[export]" brings it'
        ) from error


def _write(path: Path, content: bytes) -> None:
    try:
        with atomic_file(path, synced=True) as stream:
            stream.write(content)
    except (OSError, ValueError) as error:
        raise ExportError(
            f"{path}: cannot be written ({getattr(error, 'strerror', None) or error}), expected a place for "
            f"a file of {len(content) / 1e6:.1f} MB"
        ) from error
