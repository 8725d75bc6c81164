"""Join front ends: their frames side by side, or statistics over the frames of each."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ser_jax.features import Frontend, FrontendError, changes, describe, feature_type
from ser_jax.shapes import Shaped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined(Frontend):
    """The features of several front ends side by side, as in "whisper+egemaps".

    Frames have the rate of the fastest part, whose padding is that of all. The frame of a slower part is
    repeated for as long as it lasts, functionals over the whole utterance.

    Pooled features are one frame an utterance for networks that would pool frames anyway: the mean and the
    standard deviation of each part's frames, or the numbers themselves of a part with one frame an utterance.
    A probe of them is a linear classifier of the same numbers as one of the frames, and equal to it for equal
    weights if features are not standardized. If they are, the frames' statistics are scaled by the mean and
    deviation over all frames, and pooled features by those of each statistic over all utterances, so that a
    weight decay and an optimizer's steps act on other scales.

    Attributes:
      seconds: used of each utterance by all parts.
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
        """The parts' names joined by "+"; one alone is followed by it."""
        return "+".join(part.name for part in self.parts) + "+" * (len(self.parts) == 1)

    @property
    def rate(self) -> float:  # type: ignore[override]
        """The frames per second."""
        return (0 if self.pooled else self._fastest.rate) or 1 / self.seconds

    @property
    def frames(self) -> int:
        """T, to which shorter utterances are padded with zeros."""
        return 1 if self.pooled else self._fastest.frames

    @property
    def dims(self) -> int:  # type: ignore[override]
        """F, those of all parts, twice those of a part with a deviation."""
        return sum(part.dims * (1 + (self.pooled and part.frames > 1)) for part in self.parts)

    @property
    def notice(self) -> str:
        """What model cards say of the parts."""
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


def parts_of(frontend: Frontend) -> tuple[Frontend, ...]:
    """Return the parts of a joined front end, of any other itself."""
    return frontend.parts if isinstance(frontend, Joined) else (frontend,)


def compute(
    frontend: Frontend, names: Sequence[str], recordings: Sequence[Shaped[np.ndarray, "_"]]
) -> list[Shaped[np.ndarray, "_ F"]]:
    """Return the features of recordings, computed or found by name with the methods each front end has.

    Raises: FrontendError if a front end returns anything but [t, F].
    """
    each = []
    for part in parts_of(frontend):
        if hasattr(part, "find"):
            found = [part.find(name) for name in names]
        elif hasattr(part, "extract_batch"):
            found = part.extract_batch(recordings)
        else:
            found = list(map(part.extract, recordings))
        for name, features in zip(names, found, strict=True):
            if np.ndim(features) != 2 or not len(features) or features.shape[1] != part.dims:
                raise FrontendError(
                    f"front end {part.name} returned an array {list(np.shape(features))} for {name}, "
                    f"expected [t, {part.dims}]"
                )
        each.append(list(map(np.asarray, found)))
    return list(map(frontend.join, zip(*each, strict=True))) if isinstance(frontend, Joined) else each[0]


def spell(frontend: Frontend) -> list[str]:
    """Return the flags that choose a front end, and those of the fields that it changes."""
    parts = parts_of(frontend)
    names = "+".join(describe(part).get("class", part.name) for part in parts)
    words = ["--features", names + "+" * (parts != (frontend,) and len(parts) == 1)]
    owners = {"": frontend} | {f"parts.{i}.": part for i, part in enumerate(parts) if part is not frontend}
    for prefix, owner in owners.items():
        for field, value in changes(owner).items():
            if field != "parts" and not (prefix and field == "seconds"):  # which is that of all
                words.append(f"--features.{prefix}{field.replace('_', '-')}")
                words += map(str, value if isinstance(value, list | tuple) else [value] * (value is not True))
    return words
