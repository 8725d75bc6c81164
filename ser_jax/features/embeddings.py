"""Read features that were computed elsewhere, by any model, as a front end."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ser_jax.features import Frontend, FrontendError
from ser_jax.shapes import Shaped


@dataclasses.dataclass(frozen=True)
class Embeddings(Frontend):
    """Arrays that are read from files, by the ids of utterances or a manifest's column `embedding`.

    Attributes:
      folder: folder of ID.npy, [t, F] or [F], of every utterance (for `a.wav` also `a.npy`), or a file of
        safetensors named by the ids.
      rate: frames per second; 0 for one frame per utterance.
      dims: F.
    """

    name: ClassVar[str] = "embeddings"
    folder: str = ""
    rate: float = 50.0  # type: ignore[misc]  # fields here
    dims: int = 768  # type: ignore[misc]

    @property
    def frames(self) -> int:
        """T, to which shorter utterances are padded with zeros."""
        return max(1, round(self.seconds * self.rate))

    def description(self) -> dict[str, Any]:
        """Return what determines the features; the folder by its name, wherever it is."""
        return {"rate": self.rate or 1 / self.seconds, "folder": Path(self.folder).name}

    def find(self, name: str) -> Shaped[np.ndarray, "t F"]:
        """Return the array of an utterance; raise FrontendError naming the file if it cannot be read."""
        place = Path(self.folder).expanduser()
        named = (place / f"{name}.npy", place / Path(name).with_suffix(".npy"))
        file = place if place.is_file() else next(filter(Path.exists, named), named[0])
        try:
            if file == place:
                from safetensors import safe_open

                with safe_open(file, "numpy") as tensors:
                    found = tensors.get_tensor(name)
            else:
                found = np.load(file, allow_pickle=False)
        except Exception as error:  # safetensors' own, and whatever a damaged file raises
            raise FrontendError(f"{file}: {error}, expected the embedding of {name}") from error
        return np.atleast_2d(found)

    def extract(self, samples: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, "t F"]:
        """Raise FrontendError, since nothing is computed from samples."""
        raise FrontendError("embeddings are read from files, expected a front end that computes them")
