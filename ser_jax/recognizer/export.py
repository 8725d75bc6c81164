"""Export a recogniser to one file that maps samples to predictions, including the features.

    stablehlo   for JAX without ser_jax: `jax.export.deserialize(content).call(samples, count)`
    onnx        for ONNX Runtime and other programs that read ONNX

Both are made from one JAX function of a single window of 16 kHz mono sound, full scale from -1 to 1:

    stablehlo   samples [n] float32, n = 120,000 for 7.5 s; count [] int32, how many of them are sound
    onnx        samples [n] float32 of any length; only the first window is used

The front end is part of the file if it has a function `traceable`: log-mels, MFCCs, waveforms and Whisper's
encoder. For others, such as openSMILE's or one that reads files, the inputs are the features [T, F] float32
and frames [] int32, the number of frames that are not padding.

The outputs, for each task of K classes or numbers, are means over the seeds, as in `Estimate`:

    <task>_probabilities [K]  calibrated; of a task with classes
    <task>_values        [K]  of a task that predicts numbers
    <task>_spread        [K]  sample standard deviation over the seeds (ddof = 1); 0 for a single seed
    <task>_attention     [S]  weights of the segments, which sum to 1; if there are several

Outputs are NaN if an input is not finite or shorter than one frame. Log-mels are computed in float64, as in
`logmel`. Whisper's features are rounded to float16 as in training and prediction; some may differ from the
recogniser's in the last digit, which changes probabilities by less than 1e-3.
"""

import json
import string
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jax.interpreters import partial_eval

import ser_jax
from ser_jax.errors import UserError
from ser_jax.features import OFFSET, RATE, WINDOW
from ser_jax.io import atomic_file
from ser_jax.recognizer.recognizer import Recognizer
from ser_jax.recognizer.trained import VERSION, Trained, predict
from ser_jax.shapes import Array, Float32, Int32

PLATFORMS = ("cpu", "cuda", "tpu")  # for which the StableHLO is lowered
OPSET = 18  # of ONNX


class ExportError(UserError):
    """A recogniser that cannot be exported, or a file that cannot be written."""


def export(recognizer: Recognizer, format: str, path: Path | str) -> None:
    """Write a recogniser to a file, atomically; the same recogniser gives the same bytes.

    An existing file is replaced; `format` is "onnx" or "stablehlo".

    Raises: ExportError if a package is missing, the network cannot be translated or the file not be written.
    """
    try:
        content = {"onnx": to_onnx, "stablehlo": to_stablehlo}[format](recognizer.model)
    except ImportError as error:
        expected = 'expected it: pip install "ser_jax[export]"'
        raise ExportError(f"the package {error.name} is missing ({error}), {expected}") from error
    try:
        with atomic_file(Path(path), synced=True) as stream:
            stream.write(content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        expected = f"expected room for {len(content) / 1e6:.1f} MB"
        raise ExportError(f"{path}: cannot be written ({reason}), {expected}") from error


def to_stablehlo(model: Trained) -> bytes:
    """Return the StableHLO of a recogniser as `jax.export` serialises it, for all of `PLATFORMS`.

    The exported function is named `recogniser`.
    """
    import flatbuffers  # noqa: F401  jax.export serialises with it

    function, inputs = exported(model)
    option = "jax_traceback_in_locations_limit"
    limit = getattr(jax.config, option)
    jax.config.update(option, 0)  # no folders and lines of this source
    try:
        with jax.enable_x64(True):
            return bytes(jax_export.export(jax.jit(function), platforms=PLATFORMS)(*inputs).serialize())
    finally:
        jax.config.update(option, limit)


def to_onnx(model: Trained) -> bytes:
    """Return the ONNX file of a recogniser.

    Raises: ExportError if it computes what `TRANSLATIONS` lacks, or takes more than protobuf's 2 GB.
    """
    import onnx

    function, inputs = exported(model)
    graph, names = Graph(), ["features", "frames"]
    with jax.enable_x64(True):
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*inputs)
        jaxpr, _ = partial_eval.dce_jaxpr(traced.jaxpr, [True] * len(shapes), instantiate=True)
        arguments: list[Value] = list(names)
        if hasattr(model.frontend, "traceable"):
            arguments = graph.fit_samples(*inputs[0].shape)
            names, inputs = ["samples"], (jax.ShapeDtypeStruct(("n",), jnp.float32),)
        results = graph.translate(jaxpr, traced.consts, arguments)
    for name, result in zip(shapes, results, strict=True):
        graph.nodes.append(("Identity", [graph.named(result)], [name], {}))
    make = onnx.helper
    given, found = (
        [make.make_tensor_value_info(name, TYPES[own.dtype], own.shape) for name, own in values]
        for values in (zip(names, inputs, strict=True), shapes.items())
    )
    nodes = [make.make_node(kind, ins, outs, outs[0], **rest) for kind, ins, outs, rest in graph.nodes]
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    proto = make.make_model(
        make.make_graph(nodes, function.__name__, given, found, constants),
        producer_name="ser_jax",
        producer_version=ser_jax.__version__,
        model_version=VERSION,
        doc_string=_description(model),
        ir_version=8,
        opset_imports=[make.make_opsetid("", OPSET)],
    )
    about = {"rate": RATE, "names": {name: own.names for name, own in model.tasks.items()}}
    make.set_model_props(proto, {k: json.dumps(v) for k, v in {**about, "facts": model.facts}.items()})
    content: bytes = proto.SerializeToString(deterministic=True)
    if len(content) > (most := onnx.checker.MAXIMUM_PROTOBUF):
        raise ExportError(f"{len(content) / 1e9:.2f} GB of ONNX, expected {most / 1e9:.2f} GB at most")
    return content


def exported(model: Trained) -> tuple[Callable[..., dict[str, jax.Array]], tuple[Any, ...]]:
    """Return the function that is exported, to be traced with float64 enabled, and its inputs' types."""
    frontend = model.frontend
    traceable: Any = getattr(frontend, "traceable", None)

    def from_features(features: Float32[Array, "T F"], frames: Int32[Array, ""]) -> dict[str, jax.Array]:
        valid = jnp.arange(frontend.frames)[:, None] < frames
        is_usable = (frames > 0) & jnp.isfinite(jnp.where(valid, features, 0)).all()
        found = {}
        for name, own in model.tasks.items():
            values, attention = predict(own, model.scaler, features[None], frames[None])
            values = values[:, 0]
            found[f"{name}_{'probabilities' if own.task.class_names else 'values'}"] = values.mean(axis=0)
            found[f"{name}_spread"] = values.std(axis=0, ddof=min(1, len(values) - 1))
            if own.network.segments > 1:
                found[f"{name}_attention"] = attention[:, 0].mean(axis=0)
        return {name: jnp.where(is_usable, value, jnp.nan) for name, value in found.items()}

    def from_samples(samples: Float32[Array, " n"], count: Int32[Array, ""]) -> dict[str, jax.Array]:
        count = jnp.minimum(count, len(samples))
        valid = jnp.arange(len(samples)) < count
        sound = jnp.where(valid, samples, 0).astype(jnp.float64)
        mean, power = sound.sum() / count, (sound**2).sum() / count
        is_offset = valid & (mean**2 > OFFSET**2 * power)  # remove_offset
        features, frames = traceable(jnp.where(is_offset, sound - mean, sound), count)
        features = features[: frontend.frames].astype(jnp.float32)
        padded = jnp.pad(features, [(0, frontend.frames - len(features)), (0, 0)])
        is_usable = (count >= WINDOW) & jnp.isfinite(power)
        frames = jnp.where(is_usable, jnp.minimum(frames, len(features)), 0)
        return from_features(padded, frames.astype(jnp.int32))

    shape = (round(frontend.seconds * RATE),) if traceable else (frontend.frames, frontend.dims)
    function = from_samples if traceable else from_features
    function.__name__ = "recogniser"
    return function, (jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((), jnp.int32))


def _description(model: Trained) -> str:
    text = f"Speech emotion recognition: {', '.join(model.tasks)} from one window of sound. "
    if hasattr(model.frontend, "traceable"):
        text += f"Input: mono sound, {RATE} Hz, full scale from -1 to 1, at least {WINDOW} "
        text += f"samples; those beyond {model.frontend.seconds:g} s are not used."
    else:
        text += f"Inputs: padded features ({model.frontend.name}), which this file cannot compute from "
        text += "samples, and how many frames are not padding."
    if model.facts.get("synthetic"):
        text += " It was trained on synthetic speech: its results mean nothing for people."
    return text


# The rest translates a jaxpr to ONNX. A value is the name of a tensor, or an array if it is constant.
Value: TypeAlias = str | np.ndarray
Node: TypeAlias = tuple[str, list[str], list[str], dict[str, Any]]  # operator, inputs, outputs, attributes
FOLDED = 1024  # numbers; a constant result is computed now unless it is larger than this and its inputs
HALF = {jnp.dtype(jnp.bfloat16): 16, jnp.dtype(jnp.float16): 10}  # held as float32, but rounded
TYPES = {  # numbers of TensorProto.DataType; few runtimes compute in others
    np.dtype(np.float32): 1, np.dtype(np.float64): 11, np.dtype(np.int32): 6, np.dtype(np.int64): 7,
    np.dtype(np.bool_): 9, **dict.fromkeys(HALF, 1),
}  # fmt: skip
CALLS = ("jit", "closed_call", "checkpoint", "custom_jvp_call", "custom_vjp_call")  # of a jaxpr
OPERATORS = {  # that mean the same in JAX and ONNX, all elementwise
    "abs": "Abs", "add": "Add", "and": "And", "ceil": "Ceil", "copy": "Identity", "cos": "Cos", "div": "Div",
    "eq": "Equal", "erf": "Erf", "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater",
    "le": "LessOrEqual", "log": "Log", "logistic": "Sigmoid", "lt": "Less", "max": "Max", "min": "Min",
    "mul": "Mul", "neg": "Neg", "not": "Not", "or": "Or", "pow": "Pow", "sign": "Sign", "sin": "Sin",
    "sqrt": "Sqrt", "stop_gradient": "Identity", "sub": "Sub", "tanh": "Tanh",
}  # fmt: skip
COMPOUNDS: dict[str, Callable[..., Any]] = {  # primitives in terms of others
    "clamp": lambda low, x, high: jnp.minimum(jnp.maximum(x, low), high),
    "erfc": lambda x: 1 - jax.lax.erf(x),
    "expm1": lambda x, **_: jnp.exp(x) - 1,
    "is_finite": lambda x: jnp.abs(x) < jnp.inf,
    "integer_pow": lambda x, y: jnp.pow(x, jnp.asarray(y, x.dtype)),
    "log1p": lambda x, **_: jnp.log(1 + x),
    "ne": lambda a, b: ~(a == b),
    "reduce_and": lambda x, axes, **_: x.astype(jnp.int32).min(axes) == 1,
    "reduce_or": lambda x, axes, **_: x.astype(jnp.int32).max(axes) == 1,
    "rsqrt": lambda x, **_: 1 / jnp.sqrt(x),
    "square": lambda x, **_: x * x,
    "stack": lambda *parts, axis: jnp.concatenate([jnp.expand_dims(part, axis) for part in parts], axis),
}


class Graph:
    """An ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []  # in the order of computation
        self.constants: dict[str, np.ndarray] = {}

    def add(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        """Append a node and return the name of its output; an input is a value, or integers (int64)."""
        names = [self.named(value) for value in inputs]
        outputs = [f"{operator}_{len(self.nodes)}_{i}" for i in range(2 if operator == "TopK" else 1)]
        self.nodes.append((operator, names, outputs, attributes))
        return outputs[-1]  # of TopK, the indices

    def cast(self, x: Any, dtype: Any) -> str:
        """Append a conversion to another type."""
        return self.add("Cast", x, to=TYPES[np.dtype(dtype)])

    def named(self, value: Any) -> str:
        """Return the name of a value; arrays become constants of the graph."""
        if isinstance(value, str):
            return value
        array = value if isinstance(value, np.ndarray) else np.array(value, np.int64)
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(array, np.float32 if array.dtype in HALF else None, order="C")
        return name

    def fit_samples(self, size: int) -> list[Value]:
        """Cut or pad the input `samples` to [size] float32, and return them and their count [] int32."""
        cut = self.add("Slice", "samples", [0], [size])
        count = self.add("Shape", cut)
        padding = self.add("Concat", [0], self.add("Sub", [size], count), axis=0)
        return [self.add("Pad", cut, padding), self.cast(self.add("Squeeze", count), np.int32)]

    def translate(self, jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Value]) -> list[Value]:
        """Append the equations of a jaxpr and return the values of its outputs.

        Raises: ExportError naming a primitive that has no translation.
        """
        values: dict[Any, Value] = dict(zip(jaxpr.constvars, map(np.asarray, constants), strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Value:
            return np.asarray(atom.val, atom.aval.dtype) if hasattr(atom, "val") else values[atom]

        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: list[Any]) -> list[Value]:
        name, params = equation.primitive.name, equation.params
        if name in CALLS:
            inner = params.get("jaxpr") or params["call_jaxpr"]
            return self.translate(getattr(inner, "jaxpr", inner), getattr(inner, "consts", []), inputs)
        if name == "platform_index":  # the last one is the default
            return [np.array(len(params["platforms"]) - 1, np.int32)]
        if name == "cond" and not isinstance(inputs[0], str):
            inner = params["branches"][int(inputs[0])]
            return self.translate(inner.jaxpr, inner.consts, inputs[1:])
        if name == "scan":
            return self._unroll(equation, inputs)
        types = [atom.aval.dtype for atom in (*equation.invars, *equation.outvars)]
        sizes = [value.size for value in inputs if not isinstance(value, str)]
        if len(sizes) == len(inputs) and equation.outvars[0].aval.size <= max(FOLDED, *sizes, 0):
            found = equation.primitive.bind(*inputs, **params)
            return [np.asarray(part) for part in (found if equation.primitive.multiple_results else [found])]
        if name in COMPOUNDS:
            shapes = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in equation.invars]
            inner = jax.make_jaxpr(partial(COMPOUNDS[name], **params))(*shapes)
            return self.translate(inner.jaxpr, inner.consts, inputs)
        if any(dtype not in TYPES for dtype in types):
            raise _untranslated(f"{name} of {', '.join(map(str, types))}")
        if name in OPERATORS and (types[0] == np.bool_ or name not in ("and", "or", "not")):
            result: Value | list[Value] = self.add(OPERATORS[name], *inputs)
        elif name in TRANSLATIONS:
            result = TRANSLATIONS[name](self, equation, *inputs)
        else:
            raise _untranslated(name)
        if rounding := HALF.get(equation.outvars[0].aval.dtype):
            return [self.cast(self.add("Cast", result, to=rounding), np.float32)]
        return result if isinstance(result, list) else [result]

    def _unroll(self, scan: Any, inputs: list[Any]) -> list[Value]:
        """Append the steps of a scan one after another."""
        params, body = scan.params, scan.params["jaxpr"]
        if params["reverse"]:
            raise _untranslated("a scan in reverse")
        first, carried = params["num_consts"], params["num_carry"]
        fixed, carry, rows = inputs[:first], inputs[first:][:carried], inputs[first + carried :]
        kinds = [atom.aval for atom in scan.outvars[carried:]]
        stacked: list[list[Value]] = [[np.zeros((0, *it.shape[1:]), it.dtype)] for it in kinds]  # of no steps
        for i in range(params["length"]):
            own = [self.add("Gather", x, np.array(i), axis=0) if isinstance(x, str) else x[i] for x in rows]
            results = self.translate(body.jaxpr, body.consts, [*fixed, *carry, *own])
            carry = results[:carried]
            for column, value in zip(stacked, results[carried:], strict=True):
                column.append(self.add("Unsqueeze", value, [0]))
        return [*carry, *(self.add("Concat", *column, axis=0) for column in stacked)]


def _untranslated(what: str) -> ExportError:
    return ExportError(f"the recogniser computes {what}, which ONNX export cannot translate; StableHLO can")


def _shape(it: Any, i: int = 0) -> tuple[int, ...]:
    return it.invars[i].aval.shape


def _reshape(graph: Graph, it: Any, x: Value) -> str:
    return graph.add("Reshape", x, it.outvars[0].aval.shape)


def _broadcast(graph: Graph, it: Any, x: Value) -> str:
    shape, dimensions = it.params["shape"], it.params["broadcast_dimensions"]
    wide = np.ones(len(shape), np.int64)
    wide[list(dimensions)] = _shape(it)
    return graph.add("Expand", graph.add("Reshape", x, wide), shape)


def _iota(graph: Graph, it: Any) -> str:
    shape, axis = it.params["shape"], it.params["dimension"]
    wide = np.ones(len(shape), np.int64)
    wide[axis] = shape[axis]
    numbers = graph.cast(graph.add("Range", 0, shape[axis], 1), it.outvars[0].aval.dtype)
    return graph.add("Expand", graph.add("Reshape", numbers, wide), shape)


def _product(graph: Graph, it: Any, *factors: Value) -> str:
    (contracted, batch), dtype = it.params["dimension_numbers"], it.outvars[0].aval.dtype
    left, right = (string.ascii_letters[26 * i :][: len(_shape(it, i))] for i in (0, 1))
    for i, j in zip((*contracted[0], *batch[0]), (*contracted[1], *batch[1]), strict=True):
        right = right.replace(right[j], left[i])
    summed = [left[i] for i in contracted[0]]
    result = [left[i] for i in batch[0]]
    result += [letter for letter in left + right if letter not in (*summed, *result)]
    equation = f"{left},{right}->{''.join(result)}"
    return graph.add("Einsum", *(graph.cast(x, dtype) for x in factors), equation=equation)


def _convolution(graph: Graph, it: Any, x: Value, kernel: Value) -> str:
    numbers = it.params["dimension_numbers"]
    if set(it.params["lhs_dilation"]) != {1} or it.params["batch_group_count"] != 1:
        raise _untranslated("a transposed convolution")
    result = graph.add(
        "Conv",
        graph.add("Transpose", x, perm=numbers.lhs_spec),
        graph.add("Transpose", kernel, perm=numbers.rhs_spec),
        strides=it.params["window_strides"],
        dilations=it.params["rhs_dilation"],
        pads=np.transpose(it.params["padding"]).flatten().tolist(),
        group=it.params["feature_group_count"],
    )
    return graph.add("Transpose", result, perm=np.argsort(numbers.out_spec).tolist())


def _pad(graph: Graph, it: Any, x: Value, value: Value) -> str:
    below, above, between = zip(*it.params["padding_config"], strict=True)
    if any(between):
        raise _untranslated("padding between numbers")
    return graph.add("Pad", x, [*below, *above], value)


def _slice(graph: Graph, it: Any, x: Value) -> str:
    starts, ends, steps = (it.params[key] for key in ("start_indices", "limit_indices", "strides"))
    return graph.add("Slice", x, starts, ends, range(len(starts)), steps or [1] * len(starts))


def _reversed(graph: Graph, it: Any, x: Value) -> str:
    axes = it.params["dimensions"]
    backwards, beyond = [-1] * len(axes), [np.iinfo(np.int64).min] * len(axes)
    return graph.add("Slice", x, backwards, beyond, axes, backwards)


def _gather(graph: Graph, it: Any, x: Value, indices: Value) -> str:
    """Gather from the flattened operand; indices outside it are clipped, whatever the mode."""
    numbers, shape, result = it.params["dimension_numbers"], _shape(it), it.outvars[0].aval.shape
    if numbers.operand_batching_dims:
        raise _untranslated("gather in batches")
    sizes, axes = it.params["slice_sizes"], list(numbers.start_index_map)
    flat = np.arange(np.prod(shape)).reshape(shape)
    start = graph.add("Max", graph.cast(indices, np.int64), 0)
    start = graph.add("Min", start, np.subtract(shape, sizes)[axes])
    start = graph.add("Mul", start, np.array(flat.strides)[axes] // flat.itemsize)
    start = graph.add("ReduceSum", start, [-1], keepdims=0)
    is_offset = [axis in numbers.offset_dims for axis in range(len(result))]
    start = graph.add("Reshape", start, np.where(is_offset, 1, result))
    offset = flat[tuple(map(slice, sizes))].reshape(np.where(is_offset, result, 1))
    return graph.add("Gather", graph.add("Reshape", x, [-1]), graph.add("Add", start, offset))


def _whole(graph: Graph, it: Any, x: Value, *rest: Value) -> Value:
    """Slice or replace a whole array by dynamic_slice or scatter."""
    update = {"dynamic_slice": 0, "scatter": 2}[it.primitive.name]
    is_moved = update == 2 and it.params["dimension_numbers"].inserted_window_dims
    if is_moved or _shape(it) != it.outvars[0].aval.shape or _shape(it, update) != _shape(it):
        raise _untranslated(f"{it.primitive.name} of a part of an array")
    return (x, *rest)[update]


def _sort(graph: Graph, it: Any, key: Value, *rest: Value) -> list[Value]:
    axis = it.params["dimension"]
    if it.params["num_keys"] != 1:
        raise _untranslated("sort by several keys")
    number = graph.cast(key, np.int32) if it.invars[0].aval.dtype == np.bool_ else key
    order = graph.add("TopK", number, [_shape(it)[axis]], axis=axis, largest=0)
    return [graph.add("GatherElements", operand, order, axis=axis) for operand in (key, *rest)]


def _reduction(operator: str) -> Callable[..., str]:
    return lambda graph, it, x: graph.add(operator, x, it.params["axes"], keepdims=0)


TRANSLATIONS: dict[str, Callable[..., Value | list[Value]]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda graph, it, *parts: graph.add("Concat", *parts, axis=it.params["dimension"]),
    "conv_general_dilated": _convolution,
    "convert_element_type": lambda graph, it, x: graph.cast(x, it.params["new_dtype"]),
    "dot_general": _product,
    "dynamic_slice": _whole,
    "gather": _gather,
    "iota": _iota,
    "pad": _pad,
    "reduce_max": _reduction("ReduceMax"),
    "reduce_min": _reduction("ReduceMin"),
    "reduce_sum": _reduction("ReduceSum"),
    "rem": lambda graph, _, a, b: graph.add("Mod", a, b, fmod=1),
    "reshape": _reshape,
    "rev": _reversed,
    "scatter": _whole,
    "select_n": lambda graph, _, which, *cases: graph.add("Where", which, *cases[::-1]),
    "slice": _slice,
    "sort": _sort,
    "squeeze": _reshape,
    "transpose": lambda graph, it, x: graph.add("Transpose", x, perm=it.params["permutation"]),
}
