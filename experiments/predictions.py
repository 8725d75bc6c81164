"""The product of an experiment on disk: per cell what every run said of every utterance."""

import contextlib
import dataclasses
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ser_jax.errors import ResultsError
from ser_jax.io import atomic_replace, sync

PART = ".part"  # ends the name of what is not whole yet


class Cell(NamedTuple):
    """One number of a table.

    Attributes:
      setting: how it was trained.
      train, test: on which corpora, and asked about which; several joined by "+".
      target: what it tells.
    """

    setting: str
    train: str
    test: str
    target: str

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """The cell that is written so; `ValueError` where none is."""
        setting, train, test, target = text.split("-")
        return cls(setting, train, test, target)

    @property
    def trained(self) -> list[str]:
        """The corpora of `train`."""
        return self.train.split("+")

    @property
    def tested(self) -> list[str]:
        """The corpora of `test`."""
        return self.test.split("+")

    def __str__(self) -> str:
        return "-".join(self)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the runs of a cell said of its test utterances.

    Attributes:
      utterance, speaker: [M] str.
      fold: [M] int, the fold that tested the utterance, from 0.
      label: [M] int8 true class.
      seed: [R] int.
      probability: [R, M] float32 of class 1, high arousal or positive valence.
    """

    utterance: np.ndarray
    speaker: np.ndarray
    fold: np.ndarray
    label: np.ndarray
    seed: np.ndarray
    probability: np.ndarray


def file(out: Path, cell: Cell) -> Path:
    """Where a cell's predictions are kept."""
    return out / "predictions" / f"{cell}.npz"


def write(out: Path, cell: Cell, predictions: Predictions) -> None:
    """Stores a cell's predictions, whole or not at all."""
    write_arrays(file(out, cell), dataclasses.asdict(predictions))


def read(out: Path, cell: Cell) -> Predictions:
    """Reads a cell's predictions, of the seeds that answered for every utterance.

    What a run says that was stopped is stored as NaN; without one of its folds a seed has no UAR.

    Raises: ResultsError where there are none, or the file is damaged.
    """
    names = [field.name for field in dataclasses.fields(Predictions)]
    said = Predictions(**read_arrays(file(out, cell), names))
    count = len(said.utterance)
    lists = (said.speaker, said.fold, said.label)
    if any(part.shape != (count,) for part in lists) or said.probability.shape != (len(said.seed), count):
        raise ResultsError(
            f"{file(out, cell)} is not a predictions file (its arrays differ in length); delete it to "
            "compute it again"
        )
    whole_seeds = np.isfinite(said.probability).all(axis=1)
    return dataclasses.replace(said, seed=said.seed[whole_seeds], probability=said.probability[whole_seeds])


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Stores arrays, whole or not at all."""
    with whole(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Reads the arrays of these names.

    Raises: ResultsError where there are none, or the file is damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except FileNotFoundError:
        raise ResultsError(
            f"no {path.parent.name} {path}; expected a folder that an experiment has written"
        ) from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ResultsError(
            f"{path} is not a {path.parent.name} file ({error}); delete it to compute it again"
        ) from None


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path; what is written there appears under `path` at once, or not at all."""
    new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    with atomic_replace(path, temporary, synced=True):
        yield temporary
    for folder in (path.parent, path.parent.parent)[: 1 + new]:
        sync(folder)


def sweep(out: Path) -> None:
    """Removes what processes left behind that were killed while they wrote into a results folder."""
    for folder in (out, out / "predictions", out / "training"):
        for file in folder.glob(f".*.*{PART}"):
            if file.name.removesuffix(PART).rpartition(".")[2].isdigit():
                file.unlink(missing_ok=True)
