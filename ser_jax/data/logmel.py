"""Samples to log-mel features: the one definition of what the network sees (Sec. 2).

26 bands, 25 ms windows every 10 ms, 16 kHz are the paper's; it is silent on the rest, which is here:

    frames       uncentred: frame t covers samples [160 t, 160 t + 400); 1 + (n - 400) // 160 of them
    window       periodic Hann, 400 samples; no pre-emphasis, no dither, no mean removal
    spectrum     FFT of 400 points, squared magnitude, 201 bins
    mel filters  26 triangles, Slaney's scale and Slaney's area norm, 0 to 8000 Hz
    level        10 log10(max(power, 1e-10)) dB, no ceiling and no reference but 1

The same numbers as librosa's `power_to_db(melspectrogram(..., center=False), top_db=None)`.
"""

import functools
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ser_jax.errors import UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RATE = 16000  # Hz
BANDS = 26
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FRAMES = 750  # the network's input
SECONDS = 7.5
FLOOR = 1e-10  # power; -100 dB
Filters: TypeAlias = "csr_array"  # imported when they are made, as SciPy takes its time


class ShortSignalError(UserError):
    """A signal too short to fill one window."""


@functools.cache
def filterbank() -> Filters:
    """[BANDS, 201] mel filters as a `scipy.sparse.csr_array`.

    Sparse, since a bin lies under two triangles at most, and since its product does not depend on the
    number of BLAS threads. The first call imports librosa, which takes seconds: a pool of processes
    computes it once and hands it over.
    """
    import scipy.sparse
    from librosa.filters import mel

    return scipy.sparse.csr_array(
        mel(sr=RATE, n_fft=WINDOW, n_mels=BANDS, fmin=0.0, fmax=RATE / 2, norm="slaney", dtype=np.float64)
    )


def logmel(samples: np.ndarray, filters: "Filters | None" = None) -> np.ndarray:
    """Log-mel energies of a signal.

    Args:
      samples: [n] real, 16 kHz, n >= 400.
      filters: what `filterbank()` returns, where it is at hand already.
    Returns: [frame_count(n), BANDS] float64, dB.
    Raises: ShortSignalError when n < 400.
    """
    samples = np.asarray(samples, np.float64)
    if samples.ndim != 1:
        raise ValueError(f"samples have shape {samples.shape}, expected [n]")
    if len(samples) < WINDOW:
        raise ShortSignalError(f"the signal holds {len(samples)} samples, expected at least {WINDOW} (25 ms)")
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * hann(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    energies = (filterbank() if filters is None else filters) @ power.T
    return np.ascontiguousarray(10 * np.log10(np.maximum(energies, FLOOR)).T)


def frame_count(samples: Any) -> Any:
    """How many frames n samples make, n >= 400; of an array [...] an array."""
    return 1 + (samples - WINDOW) // HOP


def hann() -> np.ndarray:
    """The window [400] float64."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


def pad(features: np.ndarray) -> tuple[np.ndarray, int]:
    """Fits features into the network's input: zeros follow short ones, long ones are cut.

    Args:
      features: [frames, BANDS] dB.
    Returns: ([FRAMES, BANDS] float32, the number of its frames that hold sound).
    """
    frames = min(len(features), FRAMES)
    padded = np.zeros((FRAMES, features.shape[1]), np.float32)
    padded[:frames] = features[:frames]
    return padded, frames
