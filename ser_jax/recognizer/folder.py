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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ser_jax import model
from ser_jax.arrays import leaves_by_path
from ser_jax.errors import no_folder
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
    place = folder / "config.json"
    config = _config(place)
    sizes, temperatures = _sizes(place, config), _temperatures(place, config)
    tensors = _tensors(folder / "model.safetensors", config, _expected(sizes, config, temperatures))
    one = jax.tree.structure(model.shapes(sizes))
    targets = {}
    for name, temperature in temperatures.items():
        leaves = [tensors[f"{name}.{key}"] for key in leaves_by_path(model.shapes(sizes))]
        targets[name] = Target(temperature, jax.tree.unflatten(one, leaves))
    ours = ("format", "version", "features", "model", "standardize", "targets", "sha256")
    return Trained(
        sizes=sizes,
        filters=tensors["features.filters"],
        mean=tensors["standardization.mean"],
        scale=tensors["standardization.scale"],
        targets=targets,
        facts={key: value for key, value in config.items() if key not in ours},
    )


def demonstration() -> Path:
    """Return the folder of the model that comes with the package, trained on embedded synthetic speech."""
    return Path(__file__).parent / "demonstration"


def _config(place: Path) -> dict[str, Any]:
    try:
        config = json.loads(read_bytes(place, ModelError, EXPECTED))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{place}: not JSON ({error}), expected what ser-jax train wrote") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelError(f"{place}: not the configuration of a recogniser, expected format {FORMAT!r}")
    if config.get("version") != VERSION:
        raise ModelError(
            f"{place}: version {config.get('version')!r} of the format, expected {VERSION}; train it again"
        )
    if config.get("features") != FEATURES:
        raise ModelError(f"{place}: features {config.get('features')!r}, expected {FEATURES}")
    if config.get("standardize") != "train":
        raise ModelError(f"{place}: standardize {config.get('standardize')!r}, expected 'train'")
    seeds = config.get("seeds")
    if not isinstance(seeds, int) or isinstance(seeds, bool) or not 1 <= seeds <= MOST:
        raise ModelError(f"{place}: seeds {seeds!r}, expected a whole number from 1 to {MOST:,}")
    return config


def _sizes(place: Path, config: dict[str, Any]) -> AttentiveCNN:
    given, defaults = config.get("model"), dataclasses.asdict(AttentiveCNN())
    if not isinstance(given, dict) or given.keys() != defaults.keys():
        raise ModelError(f"{place}: model {given!r}, expected {', '.join(defaults)}")
    for name, default in defaults.items():
        value = given[name]
        whole = isinstance(default, int) and (type(value) is not int or not 1 <= value <= 100_000)
        if whole or type(value) is not type(default):
            raise ModelError(f"{place}: model's {name} {value!r}, expected something like {default!r}")
    try:
        sizes = AttentiveCNN(**given)
    except ArchitectureError as error:
        raise ModelError(f"{place}: {error}") from error
    if (sizes.bands, sizes.frames, sizes.outputs) != (logmel.BANDS, logmel.FRAMES, 2):
        raise ModelError(
            f"{place}: a model of {sizes.bands} bands, {sizes.frames} frames and {sizes.outputs} outputs, "
            f"expected {logmel.BANDS}, {logmel.FRAMES} and 2"
        )
    return sizes


def _temperatures(place: Path, config: dict[str, Any]) -> dict[str, Temperature]:
    targets = config.get("targets")
    if not isinstance(targets, dict) or not targets or not targets.keys() <= TARGETS.keys():
        raise ModelError(f"{place}: targets {targets!r}, expected some of {', '.join(TARGETS)}")
    found = {}
    for name in (name for name in TARGETS if name in targets):
        own = targets[name] if isinstance(targets[name], dict) else {}
        classes = list(TARGETS[name].class_names)
        if own.get("classes") != classes:
            raise ModelError(f"{place}: classes {own.get('classes')!r} of {name}, expected {classes}")
        found[name] = _temperature(f"{place}: temperature of {name}", own.get("temperature"))
    return found


def _temperature(what: str, given: Any) -> Temperature:
    numbers = given if isinstance(given, dict) and given.keys() == set(Temperature._fields) else {}
    for name, (least, most) in (("value", VALUES), ("decay", DECAYS)):
        number: Any = numbers.get(name)
        if type(number) not in (int, float) or not least <= number <= most:
            raise ModelError(f"{what}: {name} {number!r}, expected {least:g} to {most:g}")
    return Temperature(float(numbers["value"]), float(numbers["decay"]))


def _expected(
    sizes: AttentiveCNN, config: dict[str, Any], targets: Iterable[str]
) -> dict[str, tuple[str, list[int]]]:
    """Return the type and shape of every tensor, by name."""
    bands = [sizes.bands]
    expected = {
        "features.filters": ("F64", [sizes.bands, BINS]),
        "standardization.mean": ("F32", bands),
        "standardization.scale": ("F32", bands),
    }
    for name in targets:
        for key, leaf in leaves_by_path(model.shapes(sizes)).items():
            expected[f"{name}.{key}"] = ("F32", [config["seeds"], *leaf.shape])
    return expected


def _tensors(
    place: Path, config: dict[str, Any], expected: dict[str, tuple[str, list[int]]]
) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load

    content = read_bytes(place, ModelError, EXPECTED)
    try:
        with safe_open(place, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  no mapping
            found = {name: (part.get_dtype(), list(part.get_shape())) for name, part in slices.items()}
    except SafetensorError as error:
        raise ModelError(f"{place}: not readable as safetensors ({error}), expected weights") from error
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise ModelError(
                f"{place}: {name} {_shown(found.get(name))}, expected {_shown(expected.get(name))} "
                "as config.json says"
            )
    if hashlib.sha256(content).hexdigest() != config.get("sha256"):
        raise ModelError(
            f"{place}: not the weights whose SHA-256 config.json names; one of the two is another's"
        )
    tensors = load(content)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelError(f"{place}: {name} holds numbers that are not finite, expected weights")
    return tensors


def _shown(kind: tuple[str, list[int]] | None) -> str:
    return "none" if kind is None else f"{kind[0]} {kind[1]}"
