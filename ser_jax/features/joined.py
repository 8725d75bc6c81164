"""Join front ends: concatenate their frames, or the mean and standard deviation over the frames of each.

A corpus is prepared with every part; their features are joined when it is loaded.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ser_jax.features import Frontend, FrontendError, describe, feature_type
from ser_jax.shapes import Shaped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined(Frontend):
    """The concatenated features of several front ends, as in "whisper+egemaps".

    Frames have the rate and the padding of the fastest part. Frames of a slower part are repeated,
    functionals over the whole utterance.

    Pooled features are one frame per utterance: the mean and standard deviation of each part's frames, or the
    numbers themselves for a part with one frame per utterance. A probe of pooled features is a linear
    classifier of the same numbers as a probe of frames, and for equal weights equal to it if features are not
    standardized. Standardisation scales frames by the mean and deviation over all frames, but pooled features
    by the mean and deviation over all utterances, so weight decay and optimiser steps act on different
    scales.

    Attributes:
      seconds: duration of each utterance that all parts use.
      parts: the front ends; one alone can be pooled.
      pooled: whether features are statistics.
    """

    parts: tuple[Frontend, ...]
    pooled: bool = False

    def __post_init__(self) -> None:
        for part in self.parts:
            if part.seconds not in (self.seconds, type(part).seconds):
                found = f"{part.name} of {part.seconds:g} s"
                raise FrontendError(f"{found}, expected the {self.seconds:g} s of all parts")
        alike = tuple(dataclasses.replace(part, seconds=self.seconds) for part in self.parts)
        object.__setattr__(self, "parts", alike)

    @property
    def name(self) -> str:  # type: ignore[override]  # follows from a field
        """Return the parts' names joined by "+", which also follows the name of a single part."""
        return "+".join(part.name for part in self.parts) + "+" * (len(self.parts) == 1)

    @property
    def rate(self) -> float:  # type: ignore[override]
        """Return the frames per second."""
        return (0 if self.pooled else self._fastest.rate) or 1 / self.seconds

    @property
    def frames(self) -> int:
        """Return T, to which shorter utterances are padded with zeros."""
        return 1 if self.pooled else self._fastest.frames

    @property
    def dims(self) -> int:  # type: ignore[override]
        """Return F, summed over the parts; parts with a deviation count twice."""
        return sum(part.dims * (1 + (self.pooled and part.frames > 1)) for part in self.parts)

    @property
    def notice(self) -> str:
        """Return the notices of the parts, for model cards."""
        return "".join(getattr(part, "notice", "") for part in self.parts)

    @property
    def _fastest(self) -> Frontend:
        return max(self.parts, key=lambda part: part.rate)

    def description(self) -> dict[str, Any]:
        """Return what determines the features."""
        parts = [describe(part) for part in self.parts]
        half = not self.pooled and all(feature_type(part) == np.float16 for part in parts)
        return {"pooled": self.pooled, "dtype": "float16" if half else "float32", "parts": parts}

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, "t F"]:
        """Return the features of one recording."""
        return self.join([part.extract(samples) for part in self.parts])

    def join(self, each: Sequence[Shaped[np.ndarray, "_ _"]]) -> Shaped[np.ndarray, "t F"]:
        """Return the features of an utterance from those of each part."""
        if self.pooled:
            numbers = []
            for part, x in zip(self.parts, each, strict=True):
                x = np.asarray(x[: part.frames], np.float64)
                numbers += [x.mean(axis=0), x.std(axis=0)] if part.frames > 1 else [x[0]]
            return np.concatenate(numbers)[None].astype(np.float32)
        time = (np.arange(len(each[self.parts.index(self._fastest)])) + 0.5) / self.rate
        places = (np.minimum(time * part.rate, len(x) - 1) for part, x in zip(self.parts, each, strict=True))
        return np.concatenate([x[place.astype(int)] for x, place in zip(each, places, strict=True)], axis=1)

    @property
    def traceable(self) -> Callable[[Any, Any], tuple[Any, Any]]:
        """Return the function of JAX; AttributeError if a part has none."""
        return functools.partial(self._trace, [part.traceable for part in self.parts])  # type: ignore[attr-defined]

    def _trace(self, functions: Sequence[Callable[..., Any]], samples: Any, count: Any) -> tuple[Any, Any]:
        import jax.numpy as jnp

        found = [function(samples, count) for function in functions]
        if not self.pooled:
            time = (np.arange(self.frames) + 0.5) / self.rate
            places = ((time * part.rate).astype(int) for part in self.parts)
            each = zip(found, places, strict=True)
            columns = [x[jnp.minimum(place, frames - 1)] for (x, frames), place in each]
            return jnp.concatenate(columns, axis=1), found[self.parts.index(self._fastest)][1]
        numbers = []
        for part, (x, frames) in zip(self.parts, found, strict=True):
            x, frames = x[: part.frames].astype(np.float32), jnp.minimum(frames, part.frames)
            valid = np.arange(len(x))[:, None] < frames
            mean = jnp.where(valid, x, 0).sum(axis=0) / frames
            variance = jnp.where(valid, (x - mean[None]) ** 2, 0).sum(axis=0) / frames
            numbers += [mean, jnp.sqrt(variance)] if part.frames > 1 else [x[0]]
        return jnp.concatenate(numbers)[None], jnp.ones_like(count)


def parts_of(frontend: Frontend) -> tuple[Frontend, ...]:
    """Return the parts of a joined front end, or any other front end itself."""
    return frontend.parts if isinstance(frontend, Joined) else (frontend,)
