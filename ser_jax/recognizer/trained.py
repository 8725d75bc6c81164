"""A trained recogniser: its networks as pure functions, and its folder.

    config.json         front end, tasks, networks, temperatures, and what they were trained on
    model.safetensors   the scaler, and the parameters of all seeds
    metrics.json        evaluation on held-out speakers
    README.md           the model card

Nothing in a folder is executed, and no module is imported because a folder names it. Tensors must have the
names, types and shapes that config.json implies.
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
from jaxtyping import Float, Float32, Int

from ser_jax import features, model
from ser_jax.data.standardize import Scaler
from ser_jax.errors import UserError, begun, no_folder
from ser_jax.features import Frontend, FrontendError
from ser_jax.io import read_bytes
from ser_jax.model import Architecture, Array, Tree, leaves_by_path
from ser_jax.tasks import Task

FORMAT = "ser_jax recogniser"
VERSION = 3
VALUES = (0.05, 50.0)  # limits of a temperature
DECAYS = (0.0, 3.0)
LARGEST = 10_000_000  # numbers in the features of a window, 40 MB
Share = TypeVar("Share", float, np.ndarray, jax.Array)


class ModelError(UserError):
    """A folder that does not hold a recogniser, or one that cannot be used."""


class Temperature(NamedTuple):
    """The divisor of logits, value * share^-decay; `share` of the window holds sound.

    Attributes:
      value: of a full window, within `VALUES`.
      decay: how fast it rises as the window empties, within `DECAYS`.
    """

    value: float = 1.0
    decay: float = 0.0

    def at(self, share: Share) -> Share:
        """Return the temperature for windows of which a share, more than 0 and at most 1, holds sound."""
        return self.value * share**-self.decay


UNCHANGED = Temperature()


@dataclasses.dataclass(frozen=True, eq=False)
class TaskModel:
    """The networks of one task.

    Attributes:
      task: what they predict.
      network: their configuration.
      params: their parameters, with a leading R (seeds).
      temperature: of the class probabilities; a task of numbers does not use it.
    """

    task: Task
    network: Architecture
    params: Tree
    temperature: Temperature = UNCHANGED

    @property
    def names(self) -> tuple[str, ...]:
        """K names of the classes, or of the predicted numbers."""
        numbered = tuple(map(str, range(self.task.outputs)))
        return self.task.class_names or getattr(self.task, "dimensions", numbered)


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained recogniser.

    Attributes:
      frontend: computes the features of each window.
      scaler: mean and scale [F] that standardize them.
      tasks: the networks by the task's name.
      facts: JSON: `name`, `synthetic` (whether some training speech was), `seeds`, `corpora`, ...
    """

    frontend: Frontend
    scaler: Scaler
    tasks: dict[str, TaskModel]
    facts: dict[str, Any]

    def to_device(self) -> "Trained":
        """Return a copy whose arrays are on the default device."""
        tasks = {
            name: dataclasses.replace(own, params=jax.device_put(own.params))
            for name, own in self.tasks.items()
        }
        return dataclasses.replace(self, scaler=jax.device_put(self.scaler), tasks=tasks)


class Outputs(NamedTuple):
    """The predictions of all seeds for a batch of windows.

    Attributes:
      values: calibrated probabilities of the classes, or predicted numbers.
      attention: weights of the segments, which sum to 1.
    """

    values: Float[Array, "R B K"]
    attention: Float[Array, "R B S"]


def predict(
    own: TaskModel, scaler: Scaler, features: Float32[Array, "B T F"], frames: Int[Array, " B"]
) -> Outputs:
    """Predict a batch of windows by all seeds of a task: a pure function of the arrays.

    Args:
      own: the task's networks.
      scaler: the recogniser's.
      features: zero in the padding.
      frames: how many frames of each window hold sound.
    """
    raw, attention = logits(own.network, own.params, scaler, features, frames)
    if not own.task.class_names:
        return Outputs(raw, attention)
    share = jnp.clip(jnp.asarray(frames), 1, own.network.frames) / own.network.frames
    return Outputs(jax.nn.softmax(raw / own.temperature.at(share)[:, None]), attention)


@partial(jax.jit, static_argnums=0)
def logits(
    network: Architecture,
    params: Tree,
    scaler: Scaler,
    features: Float32[Array, "B T F"],
    frames: Int[Array, " B"],
) -> tuple[Float[Array, "R B K"], Float[Array, "R B S"]]:
    """Return the networks' outputs before calibration, and their attention; arguments as of `predict`."""
    x = model.standardize(features, frames, scaler.mean, scaler.scale)
    output = jax.vmap(lambda params: model.apply(network, params, x))(params)
    return output.outputs, output.attention


def write(folder: Path, trained: Trained) -> None:
    """Write config.json and model.safetensors into an existing folder.

    Raises: OSError; ModelError if a front end, task or network has fields that are not JSON.
    """
    from safetensors.numpy import save

    tensors = {"scaler.mean": trained.scaler.mean, "scaler.scale": trained.scaler.scale}
    for name, own in trained.tasks.items():
        tensors |= {f"{name}.{path}": leaf for path, leaf in leaves_by_path(own.params).items()}
    content = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    config = {
        "format": FORMAT,
        "version": VERSION,
        "frontend": _encode(trained.frontend),
        "tasks": {
            name: {
                "task": _encode(own.task),
                "network": _encode(own.network),
                "temperature": own.temperature._asdict(),
            }
            for name, own in trained.tasks.items()
        },
        "facts": trained.facts,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read(folder: Path | str) -> Trained:
    """Read what `write` wrote.

    Raises: ModelError naming the file and what is wrong with it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: {no_folder(folder)}, expected the folder that ser-jax train wrote")
    place = folder / "config.json"
    try:
        config = json.loads(read_bytes(place, ModelError, "the configuration of a recogniser"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{place}: not JSON ({error}), expected what ser-jax train wrote") from error
    try:
        trained = _decode_config(config)
    except (ModelError, FrontendError, model.ArchitectureError) as error:
        raise ModelError(f"{place}: {error}") from error
    tensors = _read_tensors(folder / "model.safetensors", config.get("sha256"), trained)
    tasks = {}
    for name, own in trained.tasks.items():
        leaves = [tensors[f"{name}.{path}"] for path in leaves_by_path(own.params)]
        params = jax.tree.unflatten(jax.tree.structure(own.params), leaves)
        tasks[name] = dataclasses.replace(own, params=params)
    scaler = Scaler(tensors["scaler.mean"], tensors["scaler.scale"])
    return dataclasses.replace(trained, scaler=scaler, tasks=tasks)


def demonstration() -> Path:
    """Return the folder of the model that comes with the package, trained on embedded synthetic speech."""
    return Path(__file__).parent / "demonstration"


def _encode(value: Any) -> dict[str, Any]:
    """Return a dataclass as its class, "module:Name", and its fields."""
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    kind = type(value)
    try:
        return json.loads(json.dumps({"class": f"{kind.__module__}:{kind.__qualname__}", **fields}))
    except TypeError as error:
        raise ModelError(f"{kind.__name__} cannot be stored ({error}), expected fields of JSON") from error


def _decode(content: Any, name: str, interface: Any) -> Any:
    """Return the dataclass that `_encode` described, whose module must be imported already.

    Args:
      content: JSON of any kind.
      name: what it is, for errors.
      interface: Frontend, Task or Architecture, whose public methods it must have.
    """
    path = content.get("class") if isinstance(content, dict) else None
    if not isinstance(path, str):
        raise ModelError(f"{name} {begun(repr(content), 100)}, expected an object with a class")
    module, _, attribute = path.partition(":")
    if module not in sys.modules:
        raise ModelError(f"{name} {begun(path, 100)} is not part of ser_jax: import {module} first")
    kind = vars(sys.modules[module]).get(attribute)  # getattr might import something
    needed = [method for method, own in vars(interface).items() if callable(own) and method[0] != "_"]
    if not (dataclasses.is_dataclass(kind) and isinstance(kind, type) and set(needed) <= set(dir(kind))):
        raise ModelError(f"{name} {begun(path, 100)}, expected a dataclass with {', '.join(needed)}")
    try:
        value = kind(**{key: _tuples(own) for key, own in content.items() if key != "class"})
        hash(value)
    except Exception as error:  # of any class
        raise ModelError(f"{name} {path}: {error}, expected the fields of that class") from error
    return value


def _tuples(content: Any) -> Any:
    return tuple(map(_tuples, content)) if isinstance(content, list) else content


def _decode_config(config: Any) -> Trained:
    """Return the recogniser that config.json describes, with the shapes of its arrays in their place."""
    found = (config.get("format"), config.get("version")) if isinstance(config, dict) else None
    if found != (FORMAT, VERSION):
        raise ModelError(
            f"format and version {begun(repr(found), 100)}, expected {FORMAT!r} of version {VERSION}: "
            "train the model again"
        )
    facts, tasks = config.get("facts"), config.get("tasks")
    seeds = facts.get("seeds") if isinstance(facts, dict) else None
    if type(seeds) is not int or not 1 <= seeds <= 10_000:
        raise ModelError(f"seeds {begun(repr(seeds), 100)} in facts, expected a whole number of 1 to 10,000")
    if not isinstance(tasks, dict) or not tasks:
        raise ModelError(f"tasks {begun(repr(tasks), 100)}, expected an object with at least one")
    frontend = _decode(config.get("frontend"), "front end", Frontend)
    features.describe(frontend)  # checks it
    if frontend.frames * frontend.dims > LARGEST:
        raise ModelError(f"front end of {frontend.seconds} s, expected at most {LARGEST:,} numbers a window")
    vector = jax.ShapeDtypeStruct((frontend.dims,), jnp.float32)
    models = {name: _decode_task(name, own, frontend, seeds) for name, own in tasks.items()}
    return Trained(frontend, Scaler(vector, vector), models, facts)


def _decode_task(name: str, content: Any, frontend: Frontend, seeds: int) -> TaskModel:
    content = content if isinstance(content, dict) else {}
    task = _decode(content.get("task"), f"task {name}", Task)
    network = _decode(content.get("network"), f"network of {name}", Architecture)
    model.check(network)
    found = task.name, network.frames, network.bands, network.outputs
    expected = name, frontend.frames, frontend.dims, task.outputs
    if found != expected:
        raise ModelError(f"name, frames, bands and outputs of {name} are {found}, expected {expected}")
    try:
        temperature = Temperature(**{key: float(value) for key, value in content["temperature"].items()})
    except (KeyError, AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"temperature of {name}: {error!r}, expected value and decay") from error
    for key, (low, high) in (("value", VALUES), ("decay", DECAYS)):
        if not low <= getattr(temperature, key) <= high:
            raise ModelError(f"temperature of {name}: {key} not within {low:g} to {high:g}")
    params = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype), model.shapes(network)
    )
    return TaskModel(task, network, params, temperature)


def _read_tensors(place: Path, sha256: Any, trained: Trained) -> dict[str, np.ndarray]:
    """Read the weights and compare names, types and shapes with those of `trained`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    expected = {"scaler.mean": trained.scaler.mean, "scaler.scale": trained.scaler.scale}
    for name, own in trained.tasks.items():
        expected |= {f"{name}.{path}": leaf for path, leaf in leaves_by_path(own.params).items()}
    content = read_bytes(place, ModelError, "the weights of a recogniser")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{place}: its SHA-256 is not the one in config.json, expected files of one model")
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # also for types that NumPy lacks
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
