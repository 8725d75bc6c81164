"""The product of an experiment on disk: its protocol, and per cell what every run said of every utterance."""

import contextlib
import dataclasses
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ser_jax.errors import UserError


class ResultsError(UserError):
    """A results folder that does not hold what was asked for."""


class Cell(NamedTuple):
    """One number of Table 2."""

    setting: str
    corpus: str
    target: str


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
    return out / "predictions" / f"{cell.setting}-{cell.corpus}-{cell.target}.npz"


def write(out: Path, cell: Cell, predictions: Predictions) -> None:
    """Stores a cell's predictions, whole or not at all."""
    with whole(file(out, cell)) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **dataclasses.asdict(predictions))


def read(out: Path, cell: Cell) -> Predictions:
    """Reads a cell's predictions.

    Raises: ResultsError where there are none, or the file is damaged.
    """
    path = file(out, cell)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return Predictions(
                **{field.name: arrays[field.name] for field in dataclasses.fields(Predictions)}
            )
    except FileNotFoundError:
        raise ResultsError(
            f"no predictions {path}; expected a folder that an experiment has written"
        ) from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ResultsError(
            f"{path} is not a predictions file ({error}); delete it to compute it again"
        ) from None


def claim(out: Path, asked: dict[str, Any]) -> None:
    """Makes `out` the home of results of the protocol asked for, or finds that it is already.

    Raises: ResultsError where it holds results of another protocol, or of none; OSError where it cannot be
      written.
    """
    path = out / "protocol.json"
    if out.exists() and not out.is_dir():
        raise ResultsError(f"{out} is a file, expected a folder for the results")
    asked = json.loads(json.dumps(asked))
    if path.exists():
        found = protocol(out)
        if found != asked:
            raise ResultsError(
                f"{out} holds results of another protocol ({', '.join(_differences(found, asked))}); "
                f"choose another --out or delete {out}"
            )
        return
    orphans = [name for name in ("predictions", "models") if (out / name).exists()]
    if orphans:
        raise ResultsError(
            f"{out} holds {' and '.join(orphans)} without the protocol.json that says of what; "
            "choose another --out or delete it"
        )
    with whole(path) as temporary:
        temporary.write_text(json.dumps(asked, indent=2) + "\n")


def _differences(found: Any, asked: Any, name: str = "") -> Iterator[str]:
    """What differs by name, one dict within another, with both values where they are single ones."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in sorted(found.keys() | asked.keys()):
            if found.get(key) != asked.get(key):
                yield from _differences(found.get(key), asked.get(key), f"{name} {key}".strip())
    elif isinstance(found, dict | list) or isinstance(asked, dict | list):
        yield f"other {name}"
    else:
        yield f"{name}: {found} there, {asked} asked for"


def protocol(out: Path) -> dict[str, Any]:
    """The protocol that the results in `out` were made by.

    Raises: ResultsError where its file is damaged.
    """
    path = out / "protocol.json"
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ResultsError(f"{path} is not a protocol, expected a JSON object; choose another --out")
    return found


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path; what is written there appears under `path` at once, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
