"""Measure what distortions of recordings cost a recogniser."""

import dataclasses
import io
import tempfile
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ser_jax import data
from ser_jax.features import RATE, Frontend, LogMel, describe, remove_offset
from ser_jax.io import markdown_table
from ser_jax.recognizer.train import evaluate_unseen
from ser_jax.recognizer.trained import Trained
from ser_jax.shapes import Float, Shaped

LOGMEL = LogMel()
KINDS = ("none", "level -10 dB", "level 10 dB", "offset 0.1", "noise 20 dB", "telephone", "mp3 64 kbit/s")
BITRATES = (8, 160)  # kbit/s, of MP3 at 16 kHz


@dataclasses.dataclass(frozen=True)
class Distorted(Frontend):
    """Features of distorted recordings.

    Attributes:
      kind: one of `KINDS`.
      inner: the front end.
    """

    name: ClassVar[str] = "distorted"
    kind: str = "none"
    inner: Frontend = LOGMEL

    @property
    def rate(self) -> float:  # type: ignore[override]
        """The frames per second."""
        return self.inner.rate

    @property
    def dims(self) -> int:  # type: ignore[override]
        """F of the front end."""
        return self.inner.dims

    @property
    def frames(self) -> int:
        """T of the front end."""
        return self.inner.frames

    def description(self) -> dict[str, Any]:
        """Return what determines the features."""
        inner = describe(self.inner)
        return {"kind": self.kind, "inner": inner, "dtype": inner.get("dtype", "float32")}

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, "t F"]:
        """Return the features of a recording after it was distorted."""
        return self.inner.extract(remove_offset(distort(np.asarray(samples, np.float64), self.kind)))


def distort(samples: Float[np.ndarray, " n"], kind: str) -> Float[np.ndarray, " n"]:
    """Return samples at 16 kHz after a distortion of `KINDS`.

    The level changes without clipping; the offset is of full scale 1; the noise is white, at that
    signal-to-noise ratio; the telephone passes 300 to 3400 Hz.
    """
    import scipy.signal
    import soundfile

    what, _, amount = kind.partition(" ")
    number = float(amount.split()[0]) if amount else 0.0
    if what == "level":
        return samples * 10 ** (number / 20)
    if what == "offset":
        return samples + number
    if what == "noise":
        noise = np.random.default_rng(0).normal(size=len(samples))
        return samples + noise * np.sqrt(np.mean(samples**2) / 10 ** (number / 10))
    if what == "telephone":
        band = scipy.signal.butter(4, (300, 3400), "bandpass", fs=RATE, output="sos")
        return scipy.signal.sosfilt(band, samples)
    if what == "mp3":
        (least, most), file = BITRATES, io.BytesIO()
        how: dict[str, Any] = {
            "bitrate_mode": "CONSTANT",
            "compression_level": (most - number) / (most - least),
        }
        soundfile.write(file, samples, RATE, format="MP3", **how)
        file.seek(0)
        return soundfile.read(file, frames=len(samples))[0]
    return samples


def measure(model: Trained, sources: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of the mean score over corpora for every distortion, in Markdown.

    Args:
      sources: arguments of `data.prepare` by the name of the corpus.
    Raises: UserError (a subclass) as `data.prepare`.
    """
    names = list(model.tasks)
    lines = [["recordings", *(f"{name}, {model.tasks[name].task.metric}" for name in names)]]
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            how: dict[str, Any] = {"features": Distorted(kind=kind, inner=model.frontend), "data_dir": folder}
            for name, source in sources.items():
                data.prepare(name=name, **source, **how)
            found = evaluate_unseen(model, [data.load(name, folder, how["features"]) for name in sources])
            scores = (found[name][model.tasks[name].task.metric] for name in names)
            lines.append([kind.replace("none", "as they are"), *(f"{score:.3f}" for score in scores)])
    return markdown_table(lines)
