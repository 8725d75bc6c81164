"""Extract the extended Geneva minimalistic acoustic parameter set by openSMILE, as a front end.

This is version 02 of eGeMAPS (Eyben et al. 2016, doi 10.1109/TAFFC.2015.2457417). openSMILE's licence forbids
commercial use of the program, and therefore of its features.
"""

import dataclasses
import functools
import warnings
from typing import Any, ClassVar

import numpy as np

from ser_jax.features import RATE, Frontend, FrontendError
from ser_jax.shapes import Float32, Shaped

PROSODY = ("F0semitoneFrom27.5Hz_sma3nz", "Loudness_sma3", "HNRdBACF_sma3nz")  # columns of openSMILE
DIMS = {"functionals": 88, "descriptors": 25, "prosody": len(PROSODY)}
SHORTEST = 1600  # samples; openSMILE returns NaN for shorter signals, which are padded with silence
DESCRIPTORS_PER_SECOND = 100


@dataclasses.dataclass(frozen=True)
class EGeMAPS(Frontend):
    """The 88 functionals of an utterance, as one frame, or its 25 low-level descriptors every 10 ms.

    Prosody alone is three of these: pitch, loudness and the harmonics-to-noise ratio.

    Needs the extra `opensmile`, whose licence is non-commercial.

    Attributes:
      level: "functionals", "descriptors" or "prosody".
    """

    name: ClassVar[str] = "egemaps"
    notice: ClassVar[str] = ", computed by openSMILE, whose licence forbids commercial use"  # in model cards
    level: str = "functionals"

    def __post_init__(self) -> None:
        if self.level not in DIMS:
            raise FrontendError(f"level {self.level!r} of egemaps, expected {', '.join(DIMS)}")

    @property
    def rate(self) -> float:  # type: ignore[override]  # follows from a field
        """The frames per second."""
        return 1 / self.seconds if self.level == "functionals" else DESCRIPTORS_PER_SECOND

    @property
    def dims(self) -> int:  # type: ignore[override]
        """F, the number of functionals or descriptors."""
        return DIMS[self.level]

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Float32[np.ndarray, "t F"]:
        """Return the functionals or descriptors, with 0 for what openSMILE cannot compute.

        Raises: FrontendError without openSMILE.
        """
        signal = np.zeros(max(len(samples), SHORTEST), np.float32)
        signal[: len(samples)] = samples
        table = _smile(self.level)(signal, RATE)
        found = (table[[*PROSODY]] if self.level == "prosody" else table).to_numpy(np.float32)
        return np.nan_to_num(found, posinf=0.0, neginf=0.0)


@functools.cache
def _smile(level: str) -> Any:
    """Return the function that processes a signal."""
    try:
        with warnings.catch_warnings(action="ignore"):
            import opensmile
    except ImportError as error:
        expected = 'expected the extra: pip install "ser_jax[opensmile]"'
        raise FrontendError(f"egemaps needs openSMILE ({error}), {expected}") from error
    chosen = "Functionals" if level == "functionals" else "LowLevelDescriptors"
    kind = getattr(opensmile.FeatureLevel, chosen)
    return opensmile.Smile(feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=kind).process_signal
