"""Front ends, which compute the features [T, F] of a network from 16 kHz samples.

`logmel` (the paper's) and `waveform` are chosen by name, any other class by "module:Name".
"""

import abc
import dataclasses
import hashlib
import importlib
import json
import math
import re
from typing import Any, ClassVar, cast

import numpy as np

from ser_jax.errors import UserError, meant
from ser_jax.shapes import Float32, Shaped


class FrontendError(UserError):
    """A front end that does not exist or cannot be used."""


@dataclasses.dataclass(frozen=True)
class Frontend(abc.ABC):
    """The base class of front ends, frozen dataclasses whose fields are JSON values.

    Worker processes get a copy after `extract` was called once, so the value of a
    `functools.cached_property` is computed once and sent along.
    """

    name: ClassVar[str]  # lower case; part of the folder of a prepared corpus
    rate: ClassVar[float]  # frames per second
    dims: ClassVar[int]  # F, numbers per frame
    seconds: float = 7.5  # used of each utterance, from its beginning

    @property
    def frames(self) -> int:
        """T, to which shorter utterances are padded with zeros."""
        return round(self.seconds * self.rate)

    @abc.abstractmethod
    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, "t F"]:
        """Return the features of at least 400 and at most 16000 * seconds samples at 16 kHz; t >= 1."""


def named(name: str) -> type[Frontend]:
    """Return the class of a front end by its name or as "module:Name".

    Raises: FrontendError.
    """
    if name in FRONTENDS:
        return FRONTENDS[name]
    module, _, attribute = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute) if attribute else None
    except (AttributeError, ImportError, ValueError) as error:
        raise FrontendError(f"front end {name!r}: {error}, expected module:Name") from error
    if not (isinstance(found, type) and dataclasses.is_dataclass(found) and hasattr(found, "extract")):
        known = ", ".join(FRONTENDS)
        raise FrontendError(f"no front end {name!r}, expected {known} or module:Name{meant(name, FRONTENDS)}")
    return cast("type[Frontend]", found)


def make(name: str, **fields: Any) -> Frontend:
    """Return a front end by its name, as in `named`, with fields that differ from the defaults.

    Raises: FrontendError.
    """
    try:
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
        keys = ("name", "rate", "frames", "dims", "seconds", *_fields(kind))
        found = json.loads(json.dumps({key: getattr(frontend, key) for key in keys}))
        if not re.fullmatch("[a-z][a-z0-9_]*", found["name"]):
            raise ValueError(f"its name is {found['name']!r}, expected lower-case letters")
        for key, kinds in (("rate", (int, float)), ("seconds", (int, float)), ("frames", int), ("dims", int)):
            if not (isinstance(found[key], kinds) and 0 < found[key] < math.inf):
                raise ValueError(f"its {key} are {found[key]}, expected a positive number")
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise FrontendError(f"front end {kind.__name__} cannot be used: {error}") from error
    own = kind in FRONTENDS.values()
    return found if own else found | {"class": f"{kind.__module__}:{kind.__qualname__}"}


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
    fields = {key: getattr(frontend, key) for key in _fields(type(frontend))}
    return {key: value for key, value in fields.items() if value != getattr(type(frontend), key, None)}


def _fields(kind: type[Frontend]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.init]


def pad(features: Shaped[np.ndarray, "t F"], frames: int) -> tuple[Float32[np.ndarray, "T F"], int]:
    """Cut features to T = `frames`, or append zeros.

    Returns: (the features, how many of their frames are not padding).
    """
    count = min(len(features), frames)
    padded = np.zeros((frames, features.shape[1]), np.float32)
    padded[:count] = features[:count]
    return padded, count


from ser_jax.features.logmel import LogMel  # noqa: E402  these import `Frontend` from here
from ser_jax.features.waveform import Waveform  # noqa: E402

FRONTENDS: dict[str, type[Frontend]] = {"logmel": LogMel, "waveform": Waveform}
