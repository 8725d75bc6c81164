"""A recogniser as one file for other programs: from samples to probabilities, the features included.

    onnx        for ONNX Runtime and whatever else reads ONNX; `onnx_graph` says how it is built
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
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from ser_jax.errors import UserError, meant
from ser_jax.features import logmel
from ser_jax.io import atomic_file
from ser_jax.recognizer import onnx_graph
from ser_jax.recognizer.recognizer import Recognizer
from ser_jax.recognizer.trained import Trained, predict, weights

FORMATS = ("onnx", "stablehlo")
PLATFORMS = ("cpu", "cuda", "tpu")  # that the StableHLO is lowered for
LARGEST = 2**31 - 2**24  # bytes of weights; neither format holds 2 GiB in one file


Exported = Callable[[jax.Array, jax.Array], dict[str, jax.Array]]


class ExportError(UserError):
    """A file that cannot be written."""


def export(recognizer: Recognizer, kind: str, path: Path | str) -> None:
    """Writes a recogniser as one file, whole or not at all; a file of that name is replaced.

    The same recogniser gives the same bytes.

    Args:
      recognizer: as loaded.
      kind: one of `FORMATS`.
      path: of the file.
    Raises: ExportError where a package is missing, or the file cannot be written.
    """
    if kind not in FORMATS:
        raise ExportError(f"format {kind!r}, expected one of {', '.join(FORMATS)}{meant(kind, FORMATS)}")
    params = [target.params for target in recognizer.model.targets.values()]
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    if size > LARGEST:
        raise ExportError(
            f"weights of {size / 1e9:.1f} GB, expected at most {LARGEST / 1e9:.1f} GB: a file holds no more"
        )
    _write(Path(path), {"onnx": onnx, "stablehlo": stablehlo}[kind](recognizer.model))


def onnx(trained: Trained) -> bytes:
    """The ONNX file of a recogniser.

    Raises: ExportError without the package onnx.
    """
    with _needing("onnx"):
        return onnx_graph.serialised(trained, reach(trained), spectrum(), energies(trained))


def stablehlo(trained: Trained) -> bytes:
    """The StableHLO of a recogniser as `jax.export` serialises it, for all of `PLATFORMS`.

    The exported function is called `recogniser`, or `demonstration` where it was trained on synthetic speech.

    Raises: ExportError without the package flatbuffers.
    """
    function = _exported(trained)
    function.__name__ = "demonstration" if trained.facts.get("synthetic") else "recogniser"
    inputs = (
        jax.ShapeDtypeStruct((reach(trained),), np.float32),
        jax.ShapeDtypeStruct((), np.int32),
    )
    with _needing("flatbuffers"):
        import flatbuffers  # noqa: F401  jax.export serialises by it
    with jax.enable_x64(True), _no_locations():
        return bytes(jax_export.export(jax.jit(function), platforms=PLATFORMS)(*inputs).serialize())


def reach(trained: Trained) -> int:
    """Return the samples of a window: 120,240, to the end of its last frame."""
    return (trained.sizes.frames - 1) * logmel.HOP + logmel.WINDOW


def spectrum() -> np.ndarray:
    """Return [400, 402] float64: a frame times it is its windowed spectrum, real, then imaginary parts."""
    time = np.arange(logmel.WINDOW)
    bins = np.arange(logmel.WINDOW // 2 + 1)
    # Whole turns are taken off first, so that a large angle is no less exact than a small one.
    angle = 2 * np.pi * (time[:, None] * bins[None, :] % logmel.WINDOW) / logmel.WINDOW
    return logmel.hann()[:, None] * np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)


def energies(trained: Trained) -> np.ndarray:
    """Return [402, F] float64: squares of the products with `spectrum`, times it, are the bands' energies."""
    return np.concatenate([trained.filters.T, trained.filters.T])


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
