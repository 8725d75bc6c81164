"""A trained recogniser: on disk, in memory, and its networks as pure functions.

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
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import model
from ser_jax.errors import UserError, begun, no_folder
from ser_jax.features import logmel
from ser_jax.io import read_bytes
from ser_jax.model import Architecture, ArchitectureError, Array, AttentiveCNN, Tree, leaves_by_path
from ser_jax.tasks import Binary

TARGETS = {name: Binary(name) for name in ("arousal", "valence")}
VALUES = (0.05, 50.0)  # of a temperature
DECAYS = (0.0, 3.0)
Share = TypeVar("Share", float, np.ndarray, jax.Array)
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


class ModelError(UserError):
    """A folder that does not hold a recogniser, or one of another kind."""


class Temperature(NamedTuple):
    """The divisor of margins.

    Attributes:
      value: for a full window, within `VALUES`.
      decay: how fast it rises as the window empties, within `DECAYS`.
    """

    value: float
    decay: float = 0.0

    def at(self, share: Share) -> Share:
        """Return T for windows of which `share` [...] holds sound; numbers or arrays of NumPy or JAX."""
        return self.value * share**-self.decay


class Target(NamedTuple):
    """The networks of one target.

    Attributes:
      temperature: what the difference of the two logits is divided by.
      params: the networks' parameters with a leading R, one for each seed.
    """

    temperature: Temperature
    params: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained recogniser.

    Attributes:
      sizes: the configuration of its networks.
      filters: [F, bins] float64, the mel filters that its features are made with.
      mean, scale: [F] float32, dB and 1 / dB: its networks are given (x - mean) * scale.
      targets: by name, in the order of `TARGETS`.
      facts: its name and what it was trained on, as JSON: `name`, `synthetic`, `seeds`, `corpora`, ...
    Raises: ModelError if its networks are not attentive CNNs.
    """

    sizes: AttentiveCNN
    filters: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    targets: dict[str, Target]
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        if type(self.sizes) is not AttentiveCNN:
            raise ModelError(
                f"a recogniser of networks by {type(self.sizes).__name__}, expected AttentiveCNN: its files "
                "hold no other"
            )


class Weights(NamedTuple):
    """The arrays of a `Trained`, stacked for computation.

    Attributes:
      mean, scale: [F] float32.
      params: of all networks, with leading [A, R]: targets, seeds.
      temperature: of [A] float32 each.
    """

    mean: jax.Array
    scale: jax.Array
    params: Tree
    temperature: Temperature


class Probabilities(NamedTuple):
    """The networks' predictions for some windows.

    Attributes:
      probability: [A, R, B] float32, calibrated, of class 1.
      attention: [A, R, B, S] float32; each row sums to 1.
    """

    probability: Array
    attention: Array


def weights(trained: Trained) -> Weights:
    """Stack the arrays of a recogniser."""
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(t.params for t in trained.targets.values()))
    each = zip(*(target.temperature for target in trained.targets.values()), strict=True)
    numbers: list[Tree] = [jnp.array(own, jnp.float32) for own in each]
    return Weights(jnp.asarray(trained.mean), jnp.asarray(trained.scale), params, Temperature(*numbers))


@partial(jax.jit, static_argnums=0)
def margins(config: Architecture, own: Weights, features: Array, frames: Array) -> tuple[Array, Array]:
    """Apply all networks to some windows; arguments as of `predict`.

    Returns: ([A, R, B] the second class's logit minus the first one's, attention [A, R, B, S]).
    """
    x = model.standardize(features, frames, own.mean, own.scale)
    output = jax.vmap(jax.vmap(lambda params: model.apply(config, params, x)))(own.params)
    return output.outputs[..., 1] - output.outputs[..., 0], output.attention


@partial(jax.jit, static_argnums=0)
def predict(config: Architecture, own: Weights, features: Array, frames: Array) -> Probabilities:
    """Predict some windows by all networks.

    Args:
      config: the network.
      own: their weights.
      features: [B, T, F] float32, dB.
      frames: [B] int32, frames of each that hold sound.
    Returns: Probabilities(probability [A, R, B], attention [A, R, B, S]).
    """
    margin, attention = margins(config, own, features, frames)
    share = jnp.clip(frames, 1, config.frames) / config.frames
    each = jax.vmap(lambda temperature: temperature.at(share))(own.temperature)  # [A, B]
    return Probabilities(jax.nn.sigmoid(margin / each[:, None, :]), attention)


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
