"""The paper's features (Sec. 2): 26 log-mel bands, 25 ms windows every 10 ms at 16 kHz.

The paper does not specify the rest:

    frames       not centred: frame t covers samples [160 t, 160 t + 400); 1 + (n - 400) // 160 of them
    window       periodic Hann, 400 samples; no pre-emphasis, no dither, no mean removal
    spectrum     FFT of 400 points, squared magnitude, 201 bins
    mel filters  26 triangles, Slaney's scale and Slaney's area norm, 0 to 8000 Hz
    level        10 log10(max(power, 1e-10)) dB, no ceiling and no reference but 1

The result equals librosa's `power_to_db(melspectrogram(..., center=False), top_db=None)`.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from ser_jax.errors import UserError
from ser_jax.features import Frontend
from ser_jax.shapes import Float64, Shaped

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RATE = 16000  # Hz, of the samples; the same for every front end
BANDS = 26
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FRAMES = 750
SECONDS = 7.5
FLOOR = 1e-10  # power; -100 dB
Filters: TypeAlias = "csr_array"  # imported when needed, since SciPy loads slowly


class ShortSignalError(UserError):
    """A signal too short to fill one window."""


@dataclasses.dataclass(frozen=True)
class LogMel(Frontend):
    """Log-mel energies, dB."""

    name: ClassVar[str] = "logmel"
    rate: ClassVar[float] = RATE / HOP
    dims: ClassVar[int] = BANDS

    @functools.cached_property
    def _filters(self) -> Filters:
        return filterbank()

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Float64[np.ndarray, "t F"]:
        """Return the log-mel energies of at least 400 samples."""
        return logmel(samples, self._filters)


@functools.cache
def filterbank() -> Filters:
    """Return the mel filters [F, 201], a `scipy.sparse.csr_array`.

    They are sparse because a bin lies under at most two triangles, and because a sparse product does not
    depend on the number of BLAS threads. The first call imports librosa, which takes seconds.
    """
    import scipy.sparse
    from librosa.filters import mel

    return scipy.sparse.csr_array(
        mel(sr=RATE, n_fft=WINDOW, n_mels=BANDS, fmin=0.0, fmax=RATE / 2, norm="slaney", dtype=np.float64)
    )


def logmel(samples: Shaped[np.ndarray, " n"], filters: "Filters | None" = None) -> Float64[np.ndarray, "t F"]:
    """Return the log-mel energies of a signal in dB, of t = `frame_count(n)` frames.

    Args:
      samples: real, 16 kHz, at least 400.
      filters: of `filterbank()`, which is called by default.
    Raises: ShortSignalError for fewer than 400 samples.
    """
    samples = np.asarray(samples, np.float64)
    if len(samples) < WINDOW:
        raise ShortSignalError(f"the signal holds {len(samples)} samples, expected at least {WINDOW} (25 ms)")
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * hann(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    energies = (filterbank() if filters is None else filters) @ power.T
    return np.ascontiguousarray(10 * np.log10(np.maximum(energies, FLOOR)).T)


def frame_count(samples: Any) -> Any:
    """Return the number of frames of at least 400 samples; elementwise for an array of numbers."""
    return 1 + (samples - WINDOW) // HOP


def hann() -> np.ndarray:
    """Return the window [400] float64."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
