"""A trained recogniser on disk: weights in safetensors, everything else in JSON.

    config.json         sizes, features, standardisation, classes, calibration, training corpora
    model.safetensors   the mel filters, the standardisation, and the parameters of all seeds
    metrics.json        evaluation on held-out speakers
    README.md           the model card

Nothing in it is executed. Tensors must have the names, types and shapes that its configuration implies.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ser_jax import model
from ser_jax.arrays import leaves_by_path
from ser_jax.errors import begun, no_folder
from ser_jax.features import logmel
from ser_jax.io import read_bytes
from ser_jax.model import ArchitectureError, AttentiveCNN
from ser_jax.recognizer.trained import DECAYS, TARGETS, VALUES, ModelError, Target, Temperature, Trained

FORMAT = "ser_jax recogniser"
VERSION = 2
FEATURES = {
    "rate": logmel.RATE,
    "window": logmel.WINDOW,
    "hop": logmel.HOP,
    "bands": logmel.BANDS,
    "frames": logmel.FRAMES,
    "floor": logmel.FLOOR,
}
MOST = 10_000  # seeds
EXPECTED = "a file of a recogniser's folder"
OWN = ("format", "version", "features", "model", "standardize", "targets", "sha256")  # facts are the others
BINS = logmel.WINDOW // 2 + 1  # of the spectrum


def write(folder: Path, trained: Trained) -> None:
    """Write `config.json` and `model.safetensors` into an existing folder.

    Raises: OSError.
    """
    from safetensors.numpy import save

    tensors = {"features.filters": trained.filters, "standardization.mean": trained.mean,
               "standardization.scale": trained.scale}  # fmt: skip
    for name, target in trained.targets.items():
        tensors |= {f"{name}.{key}": np.asarray(leaf) for key, leaf in leaves_by_path(target.params).items()}
    content = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    (folder / "model.safetensors").write_bytes(content)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "features": FEATURES,
        "model": dataclasses.asdict(trained.sizes),
        "standardize": "train",
        "targets": {
            name: {"classes": list(TARGETS[name].class_names), "temperature": target.temperature._asdict()}
            for name, target in trained.targets.items()
        },
        **trained.facts,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read(folder: Path | str) -> Trained:
    """Read what `write` wrote.

    Raises: ModelError naming the file and what is wrong with it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: {no_folder(folder)}, expected the folder that ser-jax train wrote")
    config = _config(folder / "config.json")
    try:
        sizes = AttentiveCNN(**config["model"])
    except ArchitectureError as error:
        raise ModelError(f"{folder / 'config.json'}: {error}") from error
    tensors = _tensors(folder / "model.safetensors", config, sizes)
    one = jax.tree.structure(model.shapes(sizes))
    targets = {}
    for name in (name for name in TARGETS if name in config["targets"]):
        leaves = [tensors[f"{name}.{key}"] for key in leaves_by_path(model.shapes(sizes))]
        given = config["targets"][name]["temperature"]
        temperature = Temperature(float(given["value"]), float(given["decay"]))
        targets[name] = Target(temperature, jax.tree.unflatten(one, leaves))
    return Trained(
        sizes=sizes,
        filters=tensors["features.filters"],
        mean=tensors["standardization.mean"],
        scale=tensors["standardization.scale"],
        targets=targets,
        facts={key: value for key, value in config.items() if key not in OWN},
    )


def demonstration() -> Path:
    """Return the folder of the model that comes with the package, trained on embedded synthetic speech."""
    return Path(__file__).parent / "demonstration"


class _Fits(NamedTuple):
    """What a value of the configuration must satisfy."""

    test: Callable[[Any], bool]
    expected: str


def _number(least: float, most: float, kinds: tuple[type, ...] = (int, float)) -> _Fits:
    text = f"{least:g} to {most:g}" if float in kinds else f"a whole number from {least:g} to {most:,}"
    return _Fits(lambda value: type(value) in kinds and least <= value <= most, text)


def _like(default: Any) -> _Fits:
    return _Fits(lambda value: type(value) is type(default), f"something like {default!r}")


def _structure(targets: Any) -> dict[str, Any]:
    """Return what `config.json` must hold, if these are its targets: values, or what they must satisfy."""
    sizes: dict[str, Any] = {}
    for name, default in dataclasses.asdict(AttentiveCNN()).items():
        sizes[name] = _number(1, 100_000, (int,)) if isinstance(default, int) else _like(default)
    temperature = {"value": _number(*VALUES), "decay": _number(*DECAYS)}
    known = {
        name: {"classes": list(task.class_names), "temperature": temperature}
        for name, task in TARGETS.items()
        if isinstance(targets, dict) and name in targets
    }
    return {
        "format": FORMAT,
        "version": _Fits(lambda value: value == VERSION, f"{VERSION}; train it again"),
        "features": FEATURES,
        "standardize": "train",
        "seeds": _number(1, MOST, (int,)),
        "model": {**sizes, "bands": logmel.BANDS, "frames": logmel.FRAMES, "outputs": 2},
        "targets": known or _Fits(lambda _: False, f"some of {', '.join(TARGETS)}"),
    }


def _check(place: Path, name: str, found: Any, expected: Any) -> None:
    """Compare a value of the configuration, and all that it holds, with what is expected of it."""
    if isinstance(expected, dict) and isinstance(found, dict) and found.keys() == expected.keys():
        for key, inner in expected.items():
            _check(place, f"{name}.{key}" if name else key, found[key], inner)
        return
    fits = expected if isinstance(expected, _Fits) else _Fits(lambda value: value == expected, repr(expected))
    if isinstance(expected, dict):
        fits = _Fits(lambda _: False, f"an object of {', '.join(expected)}")
    if not fits.test(found):
        raise ModelError(f"{place}: {name} {begun(repr(found), 200)}, expected {fits.expected}")


def _config(place: Path) -> dict[str, Any]:
    try:
        config = json.loads(read_bytes(place, ModelError, EXPECTED))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{place}: not JSON ({error}), expected what ser-jax train wrote") from error
    if not isinstance(config, dict):
        raise ModelError(f"{place}: not the configuration of a recogniser, expected a JSON object")
    expected = _structure(config.get("targets"))
    _check(place, "", {name: config.get(name) for name in expected}, expected)
    return config


def _tensors(place: Path, config: dict[str, Any], sizes: AttentiveCNN) -> dict[str, np.ndarray]:
    """Read the weights and compare their names, types and shapes with the configuration."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    expected = {
        "features.filters": f"float64 {[sizes.bands, BINS]}",
        "standardization.mean": f"float32 {[sizes.bands]}",
        "standardization.scale": f"float32 {[sizes.bands]}",
    }
    for name in config["targets"]:
        for key, leaf in leaves_by_path(model.shapes(sizes)).items():
            expected[f"{name}.{key}"] = f"float32 {[config['seeds'], *leaf.shape]}"
    content = read_bytes(place, ModelError, EXPECTED)
    if hashlib.sha256(content).hexdigest() != config.get("sha256"):
        raise ModelError(
            f"{place}: not the weights whose SHA-256 config.json names; one of the two is another's"
        )
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # types that NumPy lacks, too
        raise ModelError(f"{place}: not readable as safetensors ({error!r}), expected weights") from error
    found = {name: f"{tensor.dtype} {list(tensor.shape)}" for name, tensor in tensors.items()}
    for name in sorted(found.keys() | expected.keys()):
        own, wanted = found.get(name, "none"), expected.get(name, "none")
        if own != wanted:
            raise ModelError(f"{place}: {name} {own}, expected {wanted} as config.json says")
        if not np.isfinite(tensors[name]).all():
            raise ModelError(f"{place}: {name} holds numbers that are not finite, expected weights")
    return tensors
