"""Configure an experiment by one tree of frozen dataclasses, the only source of defaults.

Every field is a flag of the experiments' command line, and the whole tree is stored with the results.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Suppress
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from ser_jax import features
from ser_jax.augment import AUGMENTATIONS
from ser_jax.data.labels import Rule
from ser_jax.data.standardize import Mode
from ser_jax.devices import Stacking
from ser_jax.errors import UserError, check_choices, import_name, meant
from ser_jax.features import FRONTENDS, Frontend, LogMel
from ser_jax.model import Architecture, AttentiveCNN, AttentivePooling, Probe
from ser_jax.objectives import OBJECTIVES
from ser_jax.tasks import TASKS, Binary, Joint, Task
from ser_jax.train import TrainConfig

MODELS: dict[str, Any] = {
    "attentive_cnn": AttentiveCNN,
    "attentive_pooling": AttentivePooling,
    "probe": Probe,
}
LOGMEL, ATTENTIVE_CNN, TRAIN = LogMel(), AttentiveCNN(), TrainConfig()


class ConfigError(UserError):
    """A configuration that does not exist or cannot be used."""


MOST = 1_000_000_000  # of anything that is counted; more is a slip of the pen


def flag(config: Any, name: str) -> str:
    """Spell a field of a part of the tree as on the command line."""
    return f"--{type(config).__name__.removesuffix('Config').lower()}.{name.replace('_', '-')}"


def at_least(config: Any, **least: int) -> None:
    """Raise ConfigError, naming the flag, if a count of a part of the tree is less."""
    for name, smallest in least.items():
        value = getattr(config, name)
        if value is not None and not smallest <= value <= MOST:
            found = f"{flag(config, name)} is {value}"
            raise ConfigError(f"{found}, expected a whole number from {smallest} to {MOST:,}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProtocolConfig:
    """The division into training, development and test sets, and how often it is repeated (Sec. 4).

    Attributes:
      seeds: runs per fold and task, numbered from 0.
      folds: number of folds; a corpus with fewer clusters of speakers has one fold per cluster, so a large
        number leaves out one speaker at a time.
      fold_file: table with the columns id and fold, such as a published split; replaces the folds.
      dev: the development set: one speaker (in dyads, the partner is in the training set), a session, or
        none.
      finetune_samples: utterances of the tested corpus for fine-tuning, per fold.
      finetune_epochs: epochs of fine-tuning.
      finetune_draw: how to draw them: split, from each fold's training set; disjoint, from a group of
        speakers that no other fold draws from; pooled, once for all folds, each of which uses those in its
        training set.
      standardize: the utterances whose mean and standard deviation standardize features, see
        `data.standardize`.
      adapted: further modes of `standardize`, as extra rows: monolingual in (a), cross-lingual in Table 2 and
        (c).
      baselines: linear classifiers of this number alone, as extra rows for every setting.
      most: maximum training utterances of each corpus, drawn once for all seeds; all by default.
      cut: the sets that `english_1308` cuts: training, or all (training, development and test).
      trim: remove frames before and after speech, found at this many dB below the loud frames (see
        `data.onset`); off by default.
      seconds: use the frames of the first seconds of each utterance only, of what is left after trimming.
        Where frames depend on all of the utterance (Whisper, functionals), prepare with --features.seconds.
      dialogue: use the utterances of one kind of dialogue only; all by default.
      label_rule: the class of a valence of 2.5 in IEMOCAP, see `data.labels.classes`.
    """

    seeds: int = 5
    folds: int = 5
    fold_file: str | None = None
    dev: Literal["speaker", "session", "none"] = "speaker"
    finetune_samples: int = 100
    finetune_epochs: int = 10
    finetune_draw: Literal["split", "disjoint", "pooled"] = "split"
    standardize: Mode = "train"
    adapted: tuple[Mode, ...] = ()
    baselines: tuple[Literal["level", "duration"], ...] = ()
    most: int | None = None
    cut: Literal["training", "all"] = "training"
    trim: float | None = None
    seconds: float | None = None
    dialogue: Literal["improvised", "scripted"] | None = None
    label_rule: Rule = "footnote"

    def __post_init__(self) -> None:
        at_least(self, seeds=1, folds=2, finetune_samples=1, finetune_epochs=1, most=1)
        check_choices(self, ConfigError)
        if self.standardize in self.adapted:
            raise ConfigError(f"--adapted {self.standardize} is the mode of all rows, expected another mode")
        if self.trim is not None and not 0 < self.trim <= 100:
            raise ConfigError(f"{flag(self, 'trim')} is {self.trim:g}, expected more than 0, at most 100 dB")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise ConfigError(f"{flag(self, 'seconds')} is {self.seconds:g}, expected more than 0 s")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """The devices, and how often to save checkpoints; changes results only by rounding.

    Attributes:
      devices: number of devices of this host; all by default.
      memory: GB to use per device; by default 80 % of its free memory.
      runs_at_once: runs in a stack per device; by default as many as fit.
      stacking: how to compute the runs of a stack; by default the faster way on the device.
      save_minutes: minutes between checkpoints.
      save_epochs: epochs between checkpoints, in addition to --compute.save-minutes; off by default.
      coordinator: HOST:PORT of the first of several hosts; auto under SLURM and on TPU pods.
      hosts: number of hosts, with a coordinator.
      host: number of this host, from 0.
    """

    devices: int | None = None
    memory: float | None = None
    runs_at_once: int | None = None
    stacking: Stacking = "auto"
    save_minutes: float = 1.0
    save_epochs: int | None = None
    coordinator: str | None = None
    hosts: int | None = None
    host: int | None = None

    def __post_init__(self) -> None:
        at_least(self, devices=1, runs_at_once=1, save_epochs=1, hosts=1, host=0)
        for name in ("memory", "save_minutes"):
            if (value := getattr(self, name)) is not None and not 0 < value <= 1e6:
                raise ConfigError(f"{flag(self, name)} is {value:g}, expected more than 0, at most 1,000,000")
        port = "1" if self.coordinator in (None, "auto") else self.coordinator.rpartition(":")[2]
        if not (re.fullmatch(r"\d{1,5}", port, re.ASCII) and 0 < int(port) < 65536):
            raise ConfigError(f"--compute.coordinator is {self.coordinator!r}, expected HOST:PORT or auto")
        if self.coordinator is None and (self.hosts, self.host) != (None, None):
            found = "--compute.hosts or --compute.host without --compute.coordinator"
            raise ConfigError(f"{found}, expected both")
        if self.hosts is not None and self.host is not None and self.host >= self.hosts:
            raise ConfigError(f"--compute.host is {self.host}, expected less than the {self.hosts} hosts")


PROTOCOL, COMPUTE = ProtocolConfig(), ComputeConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """An experiment's configuration; the defaults are the paper's.

    Attributes:
      corpora: names of prepared corpora.
      data_dir: folder of prepared corpora; $TFDS_DATA_DIR or ~/tensorflow_datasets by default.
      out: folder of the results.
      tasks: the tasks to predict.
      features: the front end that the corpora were prepared with.
      model: the network; its input and output sizes follow from features and tasks.
      train: how to train it.
      protocol: training, development and test sets.
      compute: devices and checkpoints.
    """

    corpora: tuple[str, ...] = ("iemocap", "recola")
    data_dir: Path | None = None
    out: Path = Path("results")
    tasks: Annotated[tuple[Task, ...], Suppress] = (TASKS["arousal"], TASKS["valence"])
    features: Frontend = LOGMEL
    model: Architecture = ATTENTIVE_CNN
    train: TrainConfig = TRAIN
    protocol: ProtocolConfig = PROTOCOL
    compute: ComputeConfig = COMPUTE

    def __post_init__(self) -> None:
        at_least(self.train, epochs=1)
        features.describe(self.features)  # checks it
        ruled = tuple(map(self._ruled, self.tasks))
        object.__setattr__(self, "tasks", ruled)
        names = [one.name for one in ruled]
        for what, each in (("corpora", self.corpora), ("tasks", names)):
            if not each or len(set(each)) < len(each):
                raise ConfigError(f"--{what} {' '.join(each)}, expected one or more, all different")
        if (weights := self.train.class_weights) != "none" and not all(one.class_names for one in ruled):
            found = f"--train.class-weights {weights} for a regression task or several tasks at once"
            raise ConfigError(f"{found}, expected none")
        if odd := [name for name in names if not re.fullmatch(r"\w+(\+\w+)*", name, re.ASCII)]:
            raise ConfigError(f"task {odd[0]!r}, expected a name of letters, digits and underscores")

    def _ruled(self, task: Task) -> Task:
        """Return a task whose arousal and valence follow the protocol's rule."""
        if isinstance(task, Joint):
            return dataclasses.replace(task, parts=tuple(map(self._ruled, task.parts)))
        return dataclasses.replace(task, rule=self.protocol.label_rule) if type(task) is Binary else task

    def network(self, task: Task) -> Architecture:
        """Return the network for a task: of the front end's sizes and the task's outputs."""
        sizes = {"bands": self.features.dims, "frames": self.features.frames, "outputs": task.outputs}
        try:
            return dataclasses.replace(self.model, **sizes)  # type: ignore[type-var]  # any dataclass
        except TypeError as error:
            raise ConfigError(
                f"network {type(self.model).__name__} takes no bands, frames or outputs ({error}), expected "
                "a dataclass with these fields"
            ) from error


KINDS: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {  # what names choose, and what it must have
    "tasks": (TASKS, ("labels", "loss", "predict", "score")),
    "features": (FRONTENDS, ("extract",)),
    "model": (MODELS, ("network",)),
    "train.augment": (AUGMENTATIONS, ("__call__",)),
    "train.objective": (OBJECTIVES, ("__call__", "heads")),
}


DERIVED = ("bands", "frames", "outputs")  # fields of a network that follow from features and task
REGISTRY = ConstructorRegistry()


@REGISTRY.struct_rule
def _concrete(info: StructTypeInfo) -> Any:
    """Make flags of the fields of the value where the annotation is a protocol."""
    kind = type(info.default)
    if not dataclasses.is_dataclass(kind) or kind is info.type:
        return None
    spec: Any = ConstructorRegistry.get_struct_spec(StructTypeInfo.make(kind, info.default, False))
    hidden = DERIVED if info.type is Architecture else ("parts",) if kind is Joint else ()
    fields = tuple(field for field in spec.fields if field.name not in hidden)
    kept = {field.name: getattr(info.default, field.name) for field in spec.fields if field not in fields}
    return StructConstructorSpec(functools.partial(spec.instantiate, **kept), fields)


def choose(kind: str, name: str) -> Any:
    """Return the value that a name of `KINDS[kind]` or "module:Name" chooses; UserError if none.

    Front ends joined by + are made by `features.make`; tasks joined by + become a `Joint`.
    """
    if kind == "features" and "+" in name:
        return features.make(name)
    known, needed = KINDS[kind]
    what = f"--{kind} {name}"
    if kind == "tasks" and "+" in name:
        return Joint(tuple(choose(kind, one) for one in name.split("+")))
    if name not in known and ":" not in name:
        raise ConfigError(f"{what}: expected one of {', '.join(known)}, or module:Name{meant(name, known)}")
    found = known.get(name, name)
    found = import_name(found, ConfigError, what) if isinstance(found, str) else found
    try:
        found = found() if inspect.isclass(found) else found
        hash(found)
    except Exception as error:  # of any class
        expected = "a frozen dataclass with a default for every field"
        raise ConfigError(f"{what}: {error}, expected {expected}") from error
    lacking = [method for method in needed if not callable(getattr(found, method, None))]
    if lacking or not dataclasses.is_dataclass(found):
        reason = f"no {lacking[0]}" if lacking else "no dataclass"
        raise ConfigError(f"{what}: {reason}, expected a frozen dataclass with {', '.join(needed)}")
    return found


def describe(value: Any) -> Any:
    """Return a part of the tree as JSON; a dataclass as its fields and its class, "module:Name".

    Raises: ConfigError if it is anything else than numbers, text, paths, tuples and dataclasses.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", **fields}
    if isinstance(value, tuple | list):
        return [describe(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{value!r} in a configuration, expected numbers, text, tuples or dataclasses")


def rebuild(content: Any) -> Any:
    """Return the value that `describe` described, its class imported; ConfigError if there is none."""
    if isinstance(content, list):
        return tuple(map(rebuild, content))
    if not isinstance(content, dict):
        return content
    kind = import_name(str(content.get("class")), ConfigError, "a stored configuration")
    try:
        fields = {field.name: field.init for field in dataclasses.fields(kind)}
        values = {name: rebuild(value) for name, value in content.items() if name != "class"}
        return kind(**{name: value for name, value in values.items() if fields[name]})
    except (TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"a stored {content['class']} does not fit ({error}), expected the fields of the class"
        ) from error


def digest(content: Any) -> str:
    """Return the SHA-256 of JSON, however it is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Yield what differs between two JSON values by name, with both values if they are short.

    >>> list(differences({"train": {"epochs": 5}, "folds": {}}, {"train": {"epochs": 6}, "folds": {"a": 1}}))
    ['folds a: None there, 1 expected', 'train epochs: 5 there, 6 expected']
    """
    if found == wanted:
        return
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from differences(found.get(key), wanted.get(key), f"{name} {key}".strip())
        return
    there, expected = _short(found), _short(wanted)
    known = there and expected and there != expected
    yield f"{name}: {there} there, {expected} expected" if known else f"other {name}"


def _short(value: Any) -> str:
    """Return a value as it stands in a sentence; "" if it is too long, or an object."""
    if isinstance(value, list):
        value = " ".join(str(one.get("name", "...") if isinstance(one, dict) else one) for one in value)
    return "" if isinstance(value, dict) or len(str(value)) > 80 else str(value)
