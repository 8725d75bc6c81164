"""Compute spectra in JAX, for front ends that are compiled or exported."""

import jax.numpy as jnp
import numpy as np

from ser_jax.features import FLOOR, HOP, WINDOW, filterbank, frame_count, hann
from ser_jax.shapes import Array, Float, Float64


def power(samples: Float[Array, "*B n"]) -> Float[Array, "*B t bins"]:
    """Return the power spectra of windows of 400 samples every 160; t = `frame_count(n)`, 201 bins.

    The Fourier transform is a matrix product, since not every platform and runtime has it in any precision.
    """
    *batch, size = samples.shape
    count = frame_count(size)
    hops = jnp.pad(samples, [(0, 0)] * len(batch) + [(0, -size % HOP)]).reshape(*batch, -1, HOP)
    parts = [hops[..., i : i + count, :] for i in range(-(-WINDOW // HOP))]
    framed = jnp.concatenate(parts, axis=-1)[..., :WINDOW]
    matrix = np.fft.rfft(np.diag(hann()))  # a frame times it is its windowed spectrum
    real, imaginary = (
        jnp.dot(framed, part.astype(samples.dtype), precision="highest")
        for part in (matrix.real, matrix.imag)
    )
    return real**2 + imaginary**2


def logmel(samples: Float64[Array, " n"]) -> Float64[Array, "t F"]:
    """Return `features.logmel`, in JAX."""
    energy = jnp.dot(power(samples), filterbank().toarray().T, precision="highest")
    return 10 * jnp.log10(jnp.maximum(energy, FLOOR))
