"""Represent a trained recogniser: its networks as pure functions, and its folder.

    config.json         front end, tasks, networks, temperatures and training corpora
    model.safetensors   the scaler, and the parameters of all seeds
    metrics.json        evaluation on held-out speakers
    README.md           the model card

Nothing in a folder is executed, and nothing is imported or downloaded because a folder names it. Tensors must
have the names, types and shapes that config.json implies.
"""

import dataclasses
import hashlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ser_jax import features, model
from ser_jax.data.standardize import Scaler
from ser_jax.devices import backend
from ser_jax.errors import UserError, begun, no_folder
from ser_jax.features import Frontend, whisper
from ser_jax.io import read_bytes
from ser_jax.model import Architecture, Array, Tree, leaves_by_path
from ser_jax.shapes import Float, Int
from ser_jax.tasks import Task

FORMAT = "ser_jax recogniser"
VERSION = 4
PACKAGED = ("default", "small")  # models that come with the package
LARGEST = 10_000_000  # numbers in the features of a window, 40 MB
Share = TypeVar("Share", float, np.ndarray, jax.Array)


class ModelError(UserError):
    """A folder that does not hold a recogniser, or one that cannot be used."""


class Temperature(NamedTuple):
    """The divisor of logits, value * share^-decay, for a window of which a share holds sound."""

    value: float  # of a full window
    decay: float = 0.0

    def at(self, share: Share) -> Share:
        """Return the temperature for shares of more than 0 and at most 1."""
        return self.value * share**-self.decay


@partial(
    jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["task", "network", "temperature"]
)
@dataclasses.dataclass(frozen=True, eq=False)
class TaskModel:
    """The networks of one task."""

    task: Task
    network: Architecture
    params: Tree  # with a leading R (seeds)
    temperature: Temperature | None  # None for numbers, and for logits before calibration

    @property
    def names(self) -> tuple[str, ...]:
        """K names of the classes, or of the predicted numbers."""
        numbered = tuple(map(str, range(self.task.outputs)))
        return self.task.class_names or getattr(self.task, "dimensions", numbered)


@partial(jax.tree_util.register_dataclass, data_fields=["scaler", "tasks"], meta_fields=["frontend", "facts"])
@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained recogniser: a tree of its arrays for `jax.tree` and `jax.device_put`.

    Attributes:
      frontend: computes the features of each window.
      scaler: mean and scale [F] that standardize them.
      tasks: the networks by the task's name.
      facts: JSON: `name`, `license`, `synthetic` (whether some training speech was), `seeds`, `corpora`,
        `unseen` (scores on other corpora, see `recognizer.train.evaluate_unseen`), ...
    """

    frontend: Frontend
    scaler: Scaler
    tasks: dict[str, TaskModel]
    facts: dict[str, Any]


def predict(
    own: TaskModel, scaler: Scaler, features: Float[Array, "B T F"], frames: Int[Array, " B"]
) -> tuple[Float[Array, "R B K"], Float[Array, "R B S"]]:
    """Predict a batch of windows by all seeds of a task; a pure function of the arrays.

    The first `frames` of each window hold sound; the others count as padding.

    Returns: (calibrated probabilities of the classes, or predicted numbers; weights of the segments, which
      sum to 1).
    """
    return _predict(own.network, own.params, scaler, own.temperature, features, frames)


@partial(jax.jit, static_argnums=0)  # equal networks of several tasks share one program
def _predict(
    network: Architecture,
    params: Tree,
    scaler: Scaler,
    temperature: Temperature | None,
    features: Array,
    frames: Array,
) -> tuple[Array, Array]:
    x = model.standardize(features, frames, scaler.mean, scaler.scale)
    values, attention, _ = jax.vmap(lambda params: model.apply(network, params, x))(params)
    if temperature is not None:
        share = jnp.clip(frames, 1, network.frames) / network.frames
        values = jax.nn.softmax(values / temperature.at(share)[None, :, None])
    return values, attention


def write(folder: Path, trained: Trained) -> None:
    """Write config.json and model.safetensors into an existing folder.

    Raises: OSError; TypeError if a front end, task or network has fields that JSON cannot express.
    """
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(leaf) for name, leaf in leaves_by_path(trained).items()})
    tasks = {
        name: {
            "task": own.task,
            "network": own.network,
            "temperature": own.temperature and own.temperature._asdict(),
        }
        for name, own in trained.tasks.items()
    }
    config = {
        "format": FORMAT,
        "version": VERSION,
        "frontend": trained.frontend,
        "features": features.describe(trained.frontend),
        "tasks": tasks,
        "facts": trained.facts,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / "model.safetensors").write_bytes(content)
    text = json.dumps(config, indent=2, default=_encode)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def read(folder: Path | str) -> Trained:
    """Read what `write` wrote.

    Raises: ModelError naming the file and the problem; MachineError as `devices.backend`.
    """
    backend()
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ModelError(f"{folder}: {no_folder(folder)}, expected the folder that ser-jax train wrote")
    place = folder / "config.json"
    content = read_bytes(place, ModelError, "the configuration of a recogniser")
    try:
        config = json.loads(content)
        with whisper.offline():
            shapes = _decode_config(config)
    except Exception as error:  # whatever a hostile file or a class of one's own raises
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise ModelError(f"{place}: {begun(reason, 300)}, expected what ser-jax train wrote") from error
    expected = leaves_by_path(shapes)
    tensors = _read_tensors(folder / "model.safetensors", config.get("sha256"), expected)
    return jax.tree.unflatten(jax.tree.structure(shapes), [tensors[name] for name in expected])


def unknown_tasks(model: Trained) -> set[str]:
    """Return the tasks with classes whose mean score on unseen corpora may be chance, by its interval."""
    unseen = model.facts.get("unseen") or {}
    chances = {name: 1 / len(own.names) for name, own in model.tasks.items() if own.task.class_names}
    lows = {name: unseen[name].get("interval", [None])[0] for name in chances if name in unseen}
    return {name for name, low in lows.items() if low is None or low <= chances[name]}


def packaged(name: str = "default") -> Path:
    """Return the folder of a model of `PACKAGED`."""
    return Path(__file__).parent / name


def _encode(value: Any) -> dict[str, Any]:
    """Return a dataclass as its class, "module:Name", and its fields."""
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    return {"class": f"{type(value).__module__}:{type(value).__qualname__}", **fields}


def _decode(content: dict[str, Any], interface: type) -> Any:
    """Return the dataclass that `_encode` described.

    Only the package's front ends and classes of modules that are imported already are found, and only those
    with the public methods of `interface` are called.
    """
    for known, place in features.FRONTENDS.items():
        if place == content["class"]:
            features.named(known)  # imports it
    module, _, name = content["class"].partition(":")
    if module not in sys.modules:
        raise ModelError(f"{content['class']} does not come with ser_jax: import {module} first")
    kind = vars(sys.modules[module]).get(name)  # getattr might import something
    needed = {method for method, own in vars(interface).items() if callable(own) and method[0] != "_"}
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and needed <= set(dir(kind))):
        raise ModelError(f"{content['class']} is not of type {interface.__name__}")
    return kind(**{key: _value(value, interface) for key, value in content.items() if key != "class"})


def _value(content: Any, interface: type) -> Any:
    """Return a field's value: lists as tuples, and nested descriptions decoded by `_decode`."""
    if isinstance(content, list):
        return tuple(_value(one, interface) for one in content)
    return _decode(content, interface) if isinstance(content, dict) else content


def _decode_config(config: dict[str, Any]) -> Trained:
    """Return the recogniser that config.json describes, with the shapes of its arrays in their place."""
    if (config["format"], config["version"]) != (FORMAT, VERSION):
        raise ModelError(f"not a {FORMAT} of version {VERSION}: train the model again")
    frontend = _decode(config["frontend"], Frontend)
    features.describe(frontend)  # checks it
    if frontend.frames * frontend.dims > LARGEST:
        raise ModelError(f"windows of {frontend.frames} frames of {frontend.dims} numbers are too large")
    tasks, seeds = {}, config["facts"]["seeds"]
    for name, content in config["tasks"].items():
        task, network = _decode(content["task"], Task), _decode(content["network"], Architecture)
        model.check(network)
        found = task.name, network.frames, network.bands, network.outputs
        if found != (name, frontend.frames, frontend.dims, task.outputs):
            raise ModelError(f"task {name}: name, frames, bands and outputs {found} do not fit the rest")
        temperature = content["temperature"] and Temperature(**content["temperature"])
        if not all(isinstance(number, float) for number in temperature or ()):
            raise ModelError(f"task {name}: {temperature}, expected two numbers")
        params = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype), model.shapes(network)
        )
        tasks[name] = TaskModel(task, network, params, temperature)
    if (computed := features.describe(frontend)) != config["features"]:
        raise ModelError(f"its front end computes {computed}, but it was trained on {config['features']}")
    vector = jax.ShapeDtypeStruct((frontend.dims,), np.float32)
    decoded = Trained(frontend, Scaler(vector, vector), tasks, config["facts"])
    unknown_tasks(decoded)  # checks the facts that it reads
    return decoded


def _read_tensors(place: Path, sha256: Any, expected: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read the weights and compare their names, types and shapes with the expected ones."""
    from safetensors.numpy import load

    content = read_bytes(place, ModelError, "the weights of a recogniser")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{place}: its SHA-256 is not that of config.json, expected files of one model")
    try:
        tensors = load(content)
    except Exception as error:  # safetensors' own, and KeyError for types that NumPy lacks
        raise ModelError(f"{place}: not readable as safetensors ({error!r}), expected weights") from error
    for name in sorted(tensors.keys() | expected.keys()):
        found, wanted = (
            f"{arrays[name].dtype} {list(arrays[name].shape)}" if name in arrays else "none"
            for arrays in (tensors, expected)
        )
        if found != wanted:
            raise ModelError(f"{place}: {name} {found}, expected {wanted} as config.json says")
        if not np.isfinite(tensors[name]).all():
            raise ModelError(f"{place}: {name} holds numbers that are not finite, expected weights")
    return tensors
