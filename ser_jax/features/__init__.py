"""Compute the features [T, F] of a network from 16 kHz samples, by front ends.

`FRONTENDS` are chosen by name, any other class by "module:Name", and several joined by "+". The paper's
features are 26 log-mel bands of 25 ms windows every 10 ms (Sec. 2). It does not specify the rest:

    frames       not centred: frame t covers samples [160 t, 160 t + 400); 1 + (n - 400) // 160 of them
    window       periodic Hann, 400 samples; no pre-emphasis, no dither
    spectrum     FFT of 400 points, squared magnitude, 201 bins
    mel filters  26 triangles, Slaney's scale and Slaney's area norm, 0 to 8000 Hz
    level        10 log10(max(power, 1e-10)) dB, no ceiling and no reference but 1

The result equals librosa's `power_to_db(melspectrogram(..., center=False), top_db=None)`. All front ends
receive samples from `remove_offset`.
"""

import abc
import dataclasses
import functools
import hashlib
import json
import math
import re
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

import numpy as np

from ser_jax.errors import UserError, import_name, meant
from ser_jax.shapes import Float32, Float64, Shaped

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RATE = 16000  # Hz, of the samples; the same for every front end
SECONDS = 7.5  # used of an utterance by default
BANDS = 26
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FLOOR = 1e-10  # power; -100 dB
OFFSET = 0.05  # times the root mean square: the mean of samples from which it is removed
Filters: TypeAlias = "csr_array"  # imported when needed, since SciPy loads slowly


class FrontendError(UserError):
    """A front end that does not exist or cannot be used."""


class ShortSignalError(UserError):
    """A signal too short to fill one window."""


@dataclasses.dataclass(frozen=True)
class Frontend(abc.ABC):
    """The base class of front ends, frozen dataclasses whose fields are JSON values.

    Worker processes receive a copy after `extract` was called once, with the values of any
    `functools.cached_property`. A class may have more methods: `extract_batch([samples, ...])`, used in place
    of `extract`, on an accelerator by a single process; `description()`, which returns what determines the
    features as JSON values, in place of all fields; `find(name)`, which returns features that are looked up
    by an utterance's id instead of computed; and `traceable(samples, count)`, a function of JAX that returns
    the features of `samples` [n] float64, which are 0 after the first `count`, and the number of frames, so
    that exports begin with samples.
    """

    name: ClassVar[str]  # lower case; part of the folder of a prepared corpus
    rate: ClassVar[float]  # frames per second
    dims: ClassVar[int]  # F, numbers per frame
    seconds: float = SECONDS  # used of each utterance, from its beginning

    @property
    def frames(self) -> int:
        """T, to which shorter utterances are padded with zeros."""
        return round(self.seconds * self.rate)

    @abc.abstractmethod
    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, "t F"]:
        """Return the features of at least 400 and at most 16000 * seconds samples at 16 kHz; t >= 1."""


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

    def traceable(self, samples: Any, count: Any) -> tuple[Any, Any]:
        """Return the log-mel energies in JAX."""
        from ser_jax.features import spectrum

        return spectrum.logmel(samples), frame_count(count)


@dataclasses.dataclass(frozen=True)
class MFCC(Frontend):
    """Mel-frequency cepstral coefficients: the first of the orthonormal cosine transform of `LogMel`.

    Attributes:
      dims: F, how many; the first is of the level.
    """

    name: ClassVar[str] = "mfcc"
    rate: ClassVar[float] = RATE / HOP
    dims: int = 13  # type: ignore[misc]  # a field here

    def __post_init__(self) -> None:
        if not 1 <= self.dims <= BANDS:
            raise FrontendError(f"{self.dims} coefficients, expected 1 to {BANDS}")

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Float64[np.ndarray, "t F"]:
        """Return the coefficients of at least 400 samples."""
        from scipy.fft import dct

        return dct(logmel(samples), norm="ortho", axis=1)[:, : self.dims]

    def traceable(self, samples: Any, count: Any) -> tuple[Any, Any]:
        """Return the coefficients in JAX."""
        from scipy.fft import dct

        from ser_jax.features import spectrum

        cosines = dct(np.eye(BANDS), norm="ortho", axis=1)[:, : self.dims]
        return spectrum.logmel(samples) @ cosines, frame_count(count)


@dataclasses.dataclass(frozen=True)
class Waveform(Frontend):
    """Samples at 16 kHz, one per frame, for networks that learn features; 480 kB per utterance."""

    name: ClassVar[str] = "waveform"
    rate: ClassVar[float] = float(RATE)
    dims: ClassVar[int] = 1

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Float32[np.ndarray, "n 1"]:
        """Return the samples as frames of one number."""
        return np.asarray(samples, np.float32)[:, None]

    def traceable(self, samples: Any, count: Any) -> tuple[Any, Any]:
        """Return the samples in JAX."""
        return samples[:, None], count


FRONTENDS = {  # imported when needed
    "logmel": "ser_jax.features:LogMel",
    "waveform": "ser_jax.features:Waveform",
    "mfcc": "ser_jax.features:MFCC",
    "egemaps": "ser_jax.features.egemaps:EGeMAPS",
    "whisper": "ser_jax.features.whisper:Whisper",
    "embeddings": "ser_jax.features.embeddings:Embeddings",
}


def named(name: str) -> type[Frontend]:
    """Return the class of a front end by its name or as "module:Name"; raise FrontendError without one."""
    place = FRONTENDS.get(name, name)
    found = import_name(place, FrontendError, f"front end {name!r}") if ":" in place else None
    if not (isinstance(found, type) and dataclasses.is_dataclass(found) and hasattr(found, "extract")):
        known = ", ".join(FRONTENDS)
        raise FrontendError(f"no front end {name!r}, expected {known} or module:Name{meant(name, FRONTENDS)}")
    return cast("type[Frontend]", found)


def make(name: str, **fields: Any) -> Frontend:
    """Return a front end by its name, as in `named`, with fields that differ from the defaults.

    Names joined by "+", or one followed by it, make a `joined.Joined`.

    Raises: FrontendError.
    """
    try:
        if "+" in name:
            from ser_jax.features.joined import Joined

            return Joined(parts=tuple(map(make, name.removesuffix("+").split("+"))), **fields)
        return named(name)(**fields)
    except (TypeError, ValueError) as error:
        raise FrontendError(
            f"front end {name} cannot be made ({error}), expected a class with defaults"
        ) from error


def describe(frontend: Frontend) -> dict[str, Any]:
    """Return the configuration of a front end as JSON: its name, rate, frames, dims and fields.

    A front end that does not come with the package also has a "class", "module:Name".

    Raises: FrontendError if it does not meet `Frontend`.
    """
    kind = type(frontend)
    try:
        shared = {key: getattr(frontend, key) for key in ("name", "rate", "frames", "dims", "seconds")}
        own = frontend.description() if hasattr(frontend, "description") else _fields(frontend)
        found = json.loads(json.dumps(shared | own))
        if not re.fullmatch("[a-z][a-z0-9_+]*", found["name"]):
            raise ValueError(f"its name is {found['name']!r}, expected lower-case letters")
        for key, kinds in (("rate", (int, float)), ("seconds", (int, float)), ("frames", int), ("dims", int)):
            if not (isinstance(found[key], kinds) and 0 < found[key] < math.inf):
                raise ValueError(f"its {key} are {found[key]}, expected a positive number")
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise FrontendError(f"front end {kind.__name__} cannot be used: {error}") from error
    place = f"{kind.__module__}:{kind.__qualname__}"
    return found if place in FRONTENDS.values() else found | {"class": place}


def tag(frontend: Frontend) -> str:
    """Return the suffix of the folders of corpora prepared with a front end, "" for `LogMel()`.

    >>> tag(LogMel()), tag(Waveform()), tag(Waveform(seconds=2.0))
    ('', '-waveform', '-waveform-deead9bf')
    """
    if frontend == LogMel():
        return ""
    digest = hashlib.sha256(json.dumps(describe(frontend), sort_keys=True).encode()).hexdigest()
    return f"-{frontend.name}" + (f"-{digest[:8]}" if changes(frontend) else "")


def changes(frontend: Frontend) -> dict[str, Any]:
    """Return the fields that differ from the defaults of the class."""
    fields = _fields(frontend).items()
    return {key: value for key, value in fields if value != getattr(type(frontend), key, None)}


def _fields(frontend: Frontend) -> dict[str, Any]:
    return {field.name: getattr(frontend, field.name) for field in dataclasses.fields(frontend) if field.init}


def feature_type(described: dict[str, Any]) -> np.dtype:
    """Return the type of stored features: the "dtype" of a front end's description, or float32."""
    return np.dtype(described.get("dtype", "float32"))


def pad(features: Shaped[np.ndarray, "t F"], frames: int) -> tuple[Shaped[np.ndarray, "T F"], int]:
    """Cut features to T = `frames`, or append zeros; also return how many frames are not padding.

    Features are float32 then, unless they are float16.
    """
    count = min(len(features), frames)
    dtype = np.float16 if features.dtype == np.float16 else np.float32
    padded = np.zeros((frames, features.shape[1]), dtype)
    padded[:count] = features[:count]
    return padded, count


@functools.cache
def filterbank() -> Filters:
    """Return the mel filters [F, 201], a `scipy.sparse.csr_array`.

    They are sparse: each bin is under at most two triangles, and a sparse product does not depend on the
    number of BLAS threads. The first call imports librosa, which takes seconds.
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


def remove_offset(samples: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """Return the samples of a window without their mean if that is more than `OFFSET` of their level.

    A constant offset, which many sound cards add, fills the lowest band of all pauses. A smaller mean is
    kept, so that the features of speech without an offset are bit-identical.
    """
    mean, power = np.mean(samples, dtype=np.float64), np.mean(np.square(samples, dtype=np.float64))
    return samples - mean if mean**2 > OFFSET**2 * power else samples


def frame_count(samples: Any) -> Any:
    """Return the number of frames of at least 400 samples; elementwise for an array of numbers."""
    return 1 + (samples - WINDOW) // HOP


def hann() -> np.ndarray:
    """Return the window [400] float64."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
