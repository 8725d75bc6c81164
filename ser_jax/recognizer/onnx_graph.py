"""A recogniser as an ONNX graph: the features, all networks side by side, and the mean of the seeds.

The graph is written by hand, since jax2onnx pins an older orbax-checkpoint than ser_jax computes with; what
holds it to the networks of `ser_jax.model` is the comparison of both in the tests. A model of precision
"bfloat16" rounds as it does there; "tf32" is left to whoever runs the graph.
"""

import json
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

import ser_jax
from ser_jax.features import logmel
from ser_jax.recognizer import folder
from ser_jax.recognizer.trained import TARGETS, Trained

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
  window = Constant <value_ints = [{window}]> ()
  hop = Constant <value_ints = [{hop}]> ()
  reach = Constant <value_ints = [{reach}]> ()
  most = Constant <value_ints = [{frames}]> ()

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

  # Standardised, and exactly zero where there is no sound: [1, F, {frames}].
  centred = Sub (logmel, mean)
  scaled = Mul (centred, scale)
  missing = Sub (most, frames)
  padding = Concat <axis = 0> (zero, zero, missing, zero)
  padded = Pad (scaled, padding)
  fitted = Reshape (padded, input_shape)
  input = Transpose <perm = [0, 2, 1]> (fitted)
{rounding}
  # Segments [A R, C, S]: convolution [1, A R C, P], the largest of each pool of positions, and relu.
  responses = Conv <kernel_shape = [{kernel}], strides = [{stride}]> (heard, kernels, biases)
  maxima = MaxPool <kernel_shape = [{pool}], strides = [{pool}]> (responses)
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
{targets}
}}
"""
TARGET = """
  {name}_number = Constant <value_int = {number}> ()
  {name}_mean = Gather <axis = 0> (mean_probabilities, {name}_number)
  {name}_probability = Squeeze ({name}_mean)
  {name}_deviation = Gather <axis = 0> (spreads, {name}_number)
  {name}_spread = Squeeze ({name}_deviation)
  {name}_attention = Gather <axis = 0> (mean_attentions, {name}_number)"""
EXACT = "  heard = Identity (input)\n"
ROUNDED = "  rounded = Cast <to = 16> (input)\n  heard = Cast <to = 1> (rounded)\n"  # to bfloat16, and back


def serialised(trained: Trained, reach: int, spectrum: np.ndarray, energies: np.ndarray) -> bytes:
    """The ONNX file of a recogniser: input `samples` [n] float32, outputs as `exporting` says.

    Args:
      trained: the recogniser.
      reach: samples of a window.
      spectrum: [400, 402] float64, what a frame is multiplied with.
      energies: [402, F] float64, what the squares of that are.
    Raises: ImportError without the package onnx.
    """
    import onnx.helper
    import onnx.numpy_helper
    import onnx.parser

    model = onnx.parser.parse_model(_text(trained, reach))
    tensors = {"spectrum": spectrum, "energies": energies, **_constants(trained), **_weights(trained)}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.ascontiguousarray(tensor), name) for name, tensor in tensors.items()
    )
    for node in model.graph.node:
        node.name = node.output[0]  # what an error calls it
    _describe(model, trained)
    onnx.helper.set_model_props(model, _metadata(trained))
    return model.SerializeToString(deterministic=True)


def _text(trained: Trained, reach: int) -> str:
    sizes = trained.sizes
    return GRAPH.format(
        outputs=", ".join(
            f"float {name}_probability, float {name}_spread, float[{sizes.segments}] {name}_attention"
            for name in trained.targets
        ),
        window=logmel.WINDOW,
        hop=logmel.HOP,
        reach=reach,
        frames=sizes.frames,
        rounding=ROUNDED if sizes.precision == "bfloat16" else EXACT,
        kernel=sizes.kernel,
        stride=sizes.stride,
        pool=sizes.pool,
        targets="".join(TARGET.format(name=name, number=i) for i, name in enumerate(trained.targets)),
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

    def stacked(leaves: Iterable[ArrayLike]) -> np.ndarray:
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
    model.model_version = folder.VERSION
    targets = " and ".join(trained.targets)
    model.doc_string = f"Speech emotion recognition: {targets} from the samples of one window of sound."
    if trained.facts.get("synthetic"):
        model.doc_string += " A demonstration, trained on synthetic speech: it says nothing about people."
    samples = model.graph.input[0]
    samples.doc_string = (
        f"mono sound, {logmel.RATE} Hz, full scale from -1 to 1, at least {logmel.WINDOW} samples; "
        f"what is beyond {logmel.SECONDS:g} s is not heard"
    )
    for output in model.graph.output:
        target, what = output.name.rsplit("_", 1)
        output.doc_string = SAYS[what].format(target, TARGETS[target].class_names[1], segment)


def _metadata(trained: Trained) -> dict[str, str]:
    """What a program may want to know: `rate` in Hz, and as JSON `classes` and `facts`."""
    return {
        "rate": str(logmel.RATE),
        "classes": json.dumps({name: TARGETS[name].class_names for name in trained.targets}),
        "facts": json.dumps(trained.facts),
    }
